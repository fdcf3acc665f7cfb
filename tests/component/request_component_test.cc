// Requests that are wrong, down to the bytes: each is refused with the field and the reason, and nothing changes.
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kCreateNamespace[] = "/netprov.v1.NamespaceService/CreateNamespace";
constexpr char kCreateVeth[] = "/netprov.v1.VethService/CreateVeth";

// A length-delimited field on the wire; numbers below 16 and lengths below 128.
std::string Wire(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}

class RequestTest : public ServerTest {
 protected:
  void SetUp() override {
    StartServer();
    ASSERT_TRUE(client_->CreateNamespace("blue").ok());
    before_ = kernel_.DumpForTest();
  }
  void TearDown() override { EXPECT_EQ(kernel_.DumpForTest(), before_); }

  std::string before_;
};

// Names that no id may be, and none of which is UTF-8's fault.
std::vector<std::string> BadIds(size_t longest) {
  return {std::string(),           std::string("."),      std::string(".."),      std::string("a/b"),
          std::string("/"),        std::string("../x"),   std::string("a b"),     std::string(" "),
          std::string("a\tb"),     std::string("a\nb"),   std::string("a\0b", 3), std::string("\0", 1),
          std::string("-a"),       std::string(".a"),     std::string("a%2Fb"),   std::string("b\xc3\xbcro"),
          std::string("a:b"),      std::string("\x1b[m"), std::string("a\\b"),    std::string(longest + 1, 'a'),
          std::string(100000, 'a')};
}

TEST_F(RequestTest, BadNamespaceIds) {
  for (const std::string& id : BadIds(255)) {
    const auto reply = client_->CreateNamespace(id);
    EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD") << id.substr(0, 50);
    EXPECT_THAT(reply.Fields(), ElementsAre("namespace_id"));
    EXPECT_THAT(reply.message, HasSubstr("namespace_id must be 1 to 255 characters of A-Z a-z 0-9 . _ -"));
  }
}

TEST_F(RequestTest, BadNamespaceNames) {
  for (const char* name :
       {"", "blue", "namespaces/", "namespaces/.", "namespaces/..", "namespaces/a/b", "namespaces/a%2Fb",
        "namespaces/%2E%2E", "namespaces/..%2F..%2Fetc%2Fpasswd", "namespaces/%00", "namespaces/a b", "veths/v"}) {
    v1::GetNamespaceRequest get;
    get.set_name(name);
    const auto read = client_->Get(get);
    EXPECT_EQ(read.Summary(), "INVALID_ARGUMENT INVALID_FIELD") << name;
    EXPECT_THAT(read.Fields(), ElementsAre("name"));
    v1::DeleteNamespaceRequest del;
    del.set_name(name);
    del.set_allow_missing(true);
    EXPECT_EQ(client_->Delete(del).Summary(), "INVALID_ARGUMENT INVALID_FIELD") << name;
    v1::CreateVethRequest veth = VethRequest("v", "h0", "", "eth0");
    veth.mutable_veth()->mutable_endpoint_b()->set_namespace_(name);
    EXPECT_THAT(client_->Create(veth).Fields(), ElementsAre("veth.endpoint_b.namespace")) << name;
  }
}

TEST_F(RequestTest, BadVethIds) {
  for (const std::string& id : BadIds(63)) {
    if (id.empty()) continue;  // The server chooses one.
    const auto reply = client_->Create(VethRequest(id, "h0", "blue", "eth0"));
    EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD") << id.substr(0, 50);
    EXPECT_THAT(reply.Fields(), ElementsAre("veth_id"));
    EXPECT_EQ(client_->GetVeth(id).Summary(), "INVALID_ARGUMENT INVALID_FIELD");
    EXPECT_EQ(client_->DeleteVeth(id).Summary(), "INVALID_ARGUMENT INVALID_FIELD");
  }
}

TEST_F(RequestTest, BadInterfaceNames) {
  for (const std::string& name :
       {std::string("."), std::string(".."), std::string("a/b"), std::string("a:b"), std::string("a b"),
        std::string("a\tb"), std::string("a\n"), std::string("a\0b", 3), std::string("sixteen-bytes-xx"),
        std::string("b\xc3\xbcro"), std::string("%s"), std::string("%d%d"), std::string("100%"), std::string("all"),
        std::string("default")}) {
    auto reply = client_->Create(VethRequest("v", name, "blue", "eth0"));
    EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD") << name;
    EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_a.interface_name"));
    reply = client_->Create(VethRequest("v", "h0", "blue", name));
    EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_b.interface_name"));
  }
}

TEST_F(RequestTest, BadEndpoints) {
  using Change = std::function<void(v1::VethEndpoint&)>;
  for (const auto& [field, change] : std::vector<std::pair<std::string, Change>>{
           {".mtu", [](auto& end) { end.set_mtu(67); }},
           {".mtu", [](auto& end) { end.set_mtu(65536); }},
           {".mtu", [](auto& end) { end.set_mtu(4294967295u); }},
           {".mac_address", [](auto& end) { end.set_mac_address("nonsense"); }},
           {".mac_address", [](auto& end) { end.set_mac_address("02:00:5e:10:00"); }},
           {".mac_address", [](auto& end) { end.set_mac_address("02-00-5e-10-00-01"); }},
           {".mac_address", [](auto& end) { end.set_mac_address("00:00:00:00:00:00"); }},
           {".mac_address", [](auto& end) { end.set_mac_address("01:00:5e:00:00:01"); }},
           {".admin_state", [](auto& end) { end.set_admin_state(static_cast<v1::VethEndpoint::AdminState>(3)); }},
           {"", [](auto& end) { end.clear_location(); }},
       }) {
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    change(*request.mutable_veth()->mutable_endpoint_a());
    const auto reply = client_->Create(request);
    EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD") << request.DebugString();
    EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_a" + field));
  }
}

TEST_F(RequestTest, TwoEndsOfOneNameInOnePlace) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "h0");
  request.mutable_veth()->mutable_endpoint_b()->mutable_host();
  EXPECT_THAT(client_->Create(request).Fields(), ElementsAre("veth.endpoint_b.interface_name"));
  request = VethRequest("v", "h0", "blue", "h0");
  request.mutable_veth()->mutable_endpoint_a()->set_namespace_("namespaces/blue");
  EXPECT_THAT(client_->Create(request).Fields(), ElementsAre("veth.endpoint_b.interface_name"));
}

TEST_F(RequestTest, AllViolationsAreToldAtOnce) {
  v1::CreateVethRequest request;
  request.set_veth_id("/");
  request.set_request_id("/");
  for (v1::VethEndpoint* end :
       {request.mutable_veth()->mutable_endpoint_a(), request.mutable_veth()->mutable_endpoint_b()}) {
    end->set_namespace_(std::string(100000, '/'));
    end->set_interface_name(std::string(100000, '\x01'));
    end->set_mac_address(std::string(100000, '"'));
    end->set_mtu(1);
    end->set_admin_state(static_cast<v1::VethEndpoint::AdminState>(9));
  }
  const auto reply = client_->Create(request);
  EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
  EXPECT_THAT(reply.Fields(), SizeIs(12));
}

TEST_F(RequestTest, OtherFields) {
  v1::ListNamespacesRequest list;
  list.set_page_size(-1);
  list.set_page_token("made up");
  EXPECT_THAT(client_->List(list).Fields(), ElementsAre("page_size", "page_token"));
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("green");
  create.set_request_id("not a UUID");
  EXPECT_THAT(client_->Create(create).Fields(), ElementsAre("request_id"));
  v1::CreateVethRequest veth = VethRequest("", "h0", "blue", "eth0");
  veth.set_allow_existing(true);
  EXPECT_THAT(client_->Create(veth).Fields(), ElementsAre("allow_existing"));
  EXPECT_THAT(client_->Create(v1::CreateVethRequest()).Fields(), ElementsAre("veth"));
}

TEST_F(RequestTest, StringsThatAreNotUtf8) {
  auto reply = client_->Raw(kCreateNamespace, Wire(1, "a\xff"));
  EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT MALFORMED_REQUEST");
  EXPECT_THAT(reply.Fields(), ElementsAre("namespace_id"));
  EXPECT_THAT(reply.message, HasSubstr("\"a\\xff\""));
  reply = client_->Raw(kCreateVeth, Wire(2, Wire(6, Wire(3, "\xc0\x80"))));
  EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT MALFORMED_REQUEST");
  EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_b.interface_name"));
}

TEST_F(RequestTest, BytesThatAreNoMessage) {
  const auto reply = client_->Raw(kCreateNamespace, "\x07garbage");
  EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT MALFORMED_REQUEST");
  EXPECT_THAT(reply.Fields(), IsEmpty());
  EXPECT_THAT(reply.message, HasSubstr("netprov.v1.CreateNamespaceRequest"));
  EXPECT_EQ(client_->Raw("/netprov.v1.NamespaceService/NoSuchMethod", "").code, absl::StatusCode::kUnimplemented);
  // Larger than the server takes.
  EXPECT_EQ(client_->Raw(kCreateNamespace, std::string(2 << 20, 'x')).code, absl::StatusCode::kResourceExhausted);
}

TEST_F(RequestTest, RandomBytesAreAnsweredAndChangeNothing) {
  std::mt19937 random(1);
  const std::vector<std::string> methods = {kCreateNamespace, kCreateVeth,
                                            "/netprov.v1.NamespaceService/DeleteNamespace",
                                            "/netprov.v1.VethService/ListVeths"};
  for (int i = 0; i < 400; ++i) {
    std::string bytes;
    // A first field that makes sense, so that some get further; 0xff keeps a name from being one.
    if (i % 2 == 0) bytes = Wire(1, std::string{'\xff', static_cast<char>(random())});
    for (int length = static_cast<int>(random() % 40); length > 0; --length) bytes += static_cast<char>(random());
    const auto reply = client_->Raw(methods[i % methods.size()], bytes);
    EXPECT_THAT(reply.code, ::testing::AnyOf(absl::StatusCode::kOk, absl::StatusCode::kInvalidArgument))
        << reply.message;
  }
}

TEST_F(RequestTest, LogLinesCannotBeForged) {
  client_->CreateNamespace("x\nmethod=Forged code=OK");
  ASSERT_TRUE(log_.WaitFor({"method=CreateNamespace", "reason=INVALID_FIELD"}));
  for (const std::string& line : log_.All()) {
    EXPECT_THAT(line, Not(HasSubstr("\n")));
    EXPECT_EQ(line.rfind("method=Forged", 0), std::string::npos);
  }
  EXPECT_THAT(log_.All(), Contains(HasSubstr("resource=\"namespaces/x\\\\x0amethod=Forged code=OK\"")));
}

}  // namespace
}  // namespace netprov::testing
