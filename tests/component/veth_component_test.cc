// The veth methods as a client sees them.
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
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
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// While it lives, this process can't write to files: a full disk for the registry.
class FullDisk {
 public:
  FullDisk() {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none = {.rlim_cur = 0, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_;
};

class VethTest : public ServerTest {
 protected:
  void SetUp() override {
    StartServer();
    ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  }
};

TEST_F(VethTest, IsUpdatedInPlace) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "");
  request.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("10.0.0.2/24");
  const auto created = client_->Create(request);
  ASSERT_TRUE(created.ok()) << created.message;
  v1::UpdateVethRequest update;
  update.mutable_veth()->set_name("veths/v");
  update.mutable_veth()->mutable_endpoint_a()->set_mtu(1400);
  update.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("10.0.0.3/24");
  (*update.mutable_veth()->mutable_metadata()->mutable_labels())["team"] = "net";
  for (const char* path : {"endpoint_a.mtu", "endpoint_b.addresses", "metadata.labels"}) {
    update.mutable_update_mask()->add_paths(path);
  }
  const auto updated = client_->Update(update);
  ASSERT_TRUE(updated.ok()) << updated.message;
  EXPECT_EQ(updated.value.uid(), created.value.uid());
  EXPECT_EQ(updated.value.endpoint_a().mtu(), 1400u);
  EXPECT_EQ(updated.value.endpoint_a().mac_address(), created.value.endpoint_a().mac_address());
  ASSERT_EQ(updated.value.endpoint_b().addresses_size(), 1);
  EXPECT_EQ(updated.value.endpoint_b().addresses(0).address(), "10.0.0.3/24");
  EXPECT_EQ(client_->GetVeth("v").value.DebugString(), updated.value.DebugString());

  update.mutable_veth()->mutable_endpoint_a()->set_mtu(1);
  update.mutable_veth()->mutable_endpoint_b()->mutable_addresses(0)->set_address("x");
  EXPECT_EQ(client_->Update(update).Summary(), "INVALID_ARGUMENT INVALID_FIELD");
  EXPECT_EQ(client_->GetVeth("v").value.DebugString(), updated.value.DebugString());
  update.mutable_veth()->set_name("veths/none");
  EXPECT_EQ(client_->Update(update).Summary(), "NOT_FOUND VETH_NOT_FOUND");
  update.mutable_update_mask()->clear_paths();
  EXPECT_EQ(client_->Update(update).Summary(), "INVALID_ARGUMENT INVALID_FIELD");
}

TEST_F(VethTest, IsCreatedReadListedAndDeleted) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "");
  request.mutable_veth()->mutable_endpoint_a()->set_mac_address("02:00:5E:10:00:0A");
  request.mutable_veth()->mutable_endpoint_a()->set_mtu(9000);
  request.mutable_veth()->mutable_endpoint_b()->set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  const auto created = client_->Create(request);
  ASSERT_TRUE(created.ok()) << created.message;
  EXPECT_EQ(created.value.name(), "veths/v");
  EXPECT_EQ(created.value.uid().size(), 36u);
  EXPECT_EQ(created.value.state(), v1::Veth::STATE_READY);
  const v1::VethEndpoint& a = created.value.endpoint_a();
  EXPECT_TRUE(a.has_host());
  EXPECT_EQ(a.interface_name(), "h0");
  EXPECT_EQ(a.mac_address(), "02:00:5e:10:00:0a");
  EXPECT_EQ(a.mtu(), 9000u);
  EXPECT_EQ(a.admin_state(), v1::VethEndpoint::ADMIN_STATE_UP);
  EXPECT_NE(a.ifindex(), 0u);
  const v1::VethEndpoint& b = created.value.endpoint_b();
  EXPECT_EQ(b.namespace_(), "namespaces/blue");
  EXPECT_EQ(b.interface_name(), "veth0");
  EXPECT_EQ(b.mac_address().size(), 17u);
  EXPECT_EQ(b.mtu(), 1500u);
  EXPECT_EQ(b.admin_state(), v1::VethEndpoint::ADMIN_STATE_DOWN);

  EXPECT_EQ(client_->GetVeth("v").value.SerializeAsString(), created.value.SerializeAsString());
  const auto list = client_->List(v1::ListVethsRequest());
  ASSERT_EQ(list.value.veths_size(), 1);
  EXPECT_EQ(list.value.veths(0).SerializeAsString(), created.value.SerializeAsString());

  EXPECT_TRUE(client_->DeleteVeth("v").ok());
  EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  EXPECT_EQ(client_->DeleteVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  // The names are free at once.
  EXPECT_TRUE(client_->Create(request).ok());
}

TEST_F(VethTest, TheServerChoosesAnIdWhenItIsLeftOut) {
  const auto created = client_->Create(VethRequest("", "h0", "blue", "eth0"));
  ASSERT_TRUE(created.ok());
  EXPECT_THAT(created.value.name(), HasSubstr("veths/veth-"));
  EXPECT_TRUE(client_->GetVeth(created.value.name().substr(sizeof("veths/") - 1)).ok());
  EXPECT_TRUE(log_.WaitFor({"method=CreateVeth", absl::StrCat("resource=", created.value.name())}));
}

TEST_F(VethTest, DeletingANamespaceTakesItsPairsAlong) {
  ASSERT_TRUE(client_->Create(VethRequest("v", "h0", "blue", "eth0")).ok());
  ASSERT_TRUE(client_->DeleteNamespace("blue").ok());
  EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  EXPECT_TRUE(client_->Create(VethRequest("v", "h0", "blue", "eth0")).ok());
}

TEST_F(VethTest, SaysWhichNamespaceCannotBeUsed) {
  kernel_.AddForeignNetnsForTest("foreign");
  kernel_.AddStaleFileForTest("stale");
  ASSERT_TRUE(client_->CreateNamespace("gone").ok());
  kernel_.RemoveForeignNetnsForTest("gone");
  const std::string before = kernel_.DumpForTest();
  for (const auto& [id, summary] : std::vector<std::pair<std::string, std::string>>{
           {"nothing", "NOT_FOUND NAMESPACE_NOT_FOUND"},
           {"foreign", "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED"},
           {"stale", "FAILED_PRECONDITION NAMESPACE_FILE_STALE"},
           {"gone", "FAILED_PRECONDITION NAMESPACE_MISSING"},
       }) {
    const auto reply = client_->Create(VethRequest("v", "h0", id, "eth0"));
    EXPECT_EQ(reply.Summary(), summary);
    EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_b.namespace"));
    EXPECT_THAT(reply.Metadata(), Contains(Pair("field", "veth.endpoint_b.namespace")));
    EXPECT_EQ(reply.Get<google::rpc::ResourceInfo>()->resource_name(), "namespaces/" + id);
    EXPECT_EQ(reply.Get<google::rpc::PreconditionFailure>().has_value(),
              reply.code == absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(VethTest, SaysWhichEndsNameIsTaken) {
  kernel_.AddForeignLinkForTest({}, "h0");
  auto reply = client_->Create(VethRequest("v", "h0", "blue", "eth0"));
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS INTERFACE_NAME_TAKEN");
  EXPECT_THAT(reply.Metadata(),
              UnorderedElementsAre(Pair("field", "veth.endpoint_a.interface_name"), Pair("interface", "h0")));
  EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_a.interface_name"));
  EXPECT_EQ(reply.Get<google::rpc::ResourceInfo>()->resource_name(), "h0");

  ASSERT_TRUE(client_->Create(VethRequest("w", "h1", "blue", "eth0")).ok());
  reply = client_->Create(VethRequest("v", "h2", "blue", "eth0"));
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS INTERFACE_NAME_TAKEN");
  EXPECT_THAT(reply.Metadata(), Contains(Pair("field", "veth.endpoint_b.interface_name")));
}

TEST_F(VethTest, AlreadyExistsSaysWhetherItIsTheSame) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
  const auto first = client_->Create(request);
  ASSERT_TRUE(first.ok());
  auto reply = client_->Create(request);
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS VETH_ALREADY_EXISTS");
  EXPECT_THAT(reply.Metadata(), ElementsAre(Pair("specs_match", "true")));
  EXPECT_EQ(reply.Get<google::rpc::ResourceInfo>()->resource_name(), "veths/v");

  request.set_allow_existing(true);
  EXPECT_EQ(client_->Create(request).value.uid(), first.value.uid());
  request.mutable_veth()->mutable_endpoint_a()->set_mtu(1400);
  reply = client_->Create(request);
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS VETH_ALREADY_EXISTS");
  EXPECT_THAT(reply.Metadata(), ElementsAre(Pair("specs_match", "false")));
}

TEST_F(VethTest, ValidateOnlyChangesNothing) {
  const std::string before = kernel_.DumpForTest();
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth%d");
  request.set_validate_only(true);
  const auto would_be = client_->Create(request);
  ASSERT_TRUE(would_be.ok()) << would_be.message;
  EXPECT_EQ(would_be.value.name(), "veths/v");
  EXPECT_EQ(would_be.value.uid(), "");
  EXPECT_EQ(would_be.value.endpoint_b().interface_name(), "eth0");
  EXPECT_EQ(would_be.value.endpoint_b().mac_address(), "");
  EXPECT_EQ(would_be.value.endpoint_b().ifindex(), 0u);
  request.clear_veth_id();
  EXPECT_EQ(client_->Create(request).value.name(), "");
  EXPECT_EQ(kernel_.DumpForTest(), before);

  kernel_.AddForeignLinkForTest({}, "h0");
  EXPECT_EQ(client_->Create(request).Summary(), "ALREADY_EXISTS INTERFACE_NAME_TAKEN");
}

TEST_F(VethTest, ARequestIdReturnsTheFirstAnswerAlsoAfterARestart) {
  // Without an id, a repeat that was not recognised would make a second pair.
  v1::CreateVethRequest request = VethRequest("", "", "blue", "");
  request.set_request_id(kUuid1);
  const auto first = client_->Create(request);
  ASSERT_TRUE(first.ok());
  const std::string after = kernel_.DumpForTest();
  EXPECT_EQ(client_->Create(request).value.SerializeAsString(), first.value.SerializeAsString());
  Restart();
  EXPECT_EQ(client_->Create(request).value.SerializeAsString(), first.value.SerializeAsString());
  EXPECT_EQ(kernel_.DumpForTest(), after);
  request.mutable_veth()->mutable_endpoint_a()->set_mtu(1400);
  EXPECT_EQ(client_->Create(request).Summary(), "INVALID_ARGUMENT REQUEST_ID_REUSED");
}

TEST_F(VethTest, APairThatIsGoneShowsAndCanBeDeletedOrMadeAnew) {
  ASSERT_TRUE(client_->Create(VethRequest("v", "h0", "blue", "eth0")).ok());
  kernel_.RebootForTest();
  const auto read = client_->GetVeth("v");
  EXPECT_EQ(read.value.state(), v1::Veth::STATE_MISSING);
  EXPECT_EQ(read.value.endpoint_a().ifindex(), 0u);
  EXPECT_TRUE(client_->DeleteVeth("v").ok());
  EXPECT_EQ(client_->GetNamespace("blue").value.state(), v1::Namespace::STATE_MISSING);
}

TEST_F(VethTest, PagesAreOrderedAndBounded) {
  for (const char* id : {"c", "a", "e", "b", "d"}) {
    ASSERT_TRUE(client_->Create(VethRequest(id, "", "blue", "")).ok());
  }
  std::vector<std::string> names;
  v1::ListVethsRequest request;
  request.set_page_size(2);
  int pages = 0;
  do {
    const auto page = client_->List(request);
    ASSERT_TRUE(page.ok());
    EXPECT_LE(page.value.veths_size(), 2);
    for (const auto& veth : page.value.veths()) names.push_back(veth.name());
    request.set_page_token(page.value.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("veths/a", "veths/b", "veths/c", "veths/d", "veths/e"));
  EXPECT_EQ(pages, 3);

  // A token of another method's list is none of this one's.
  v1::ListNamespacesRequest other;
  other.set_page_size(1);
  ASSERT_TRUE(client_->CreateNamespace("green").ok());
  request.set_page_token(client_->List(other).value.next_page_token());
  EXPECT_FALSE(request.page_token().empty());
  const auto reply = client_->List(request);
  EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
  EXPECT_THAT(reply.Fields(), ElementsAre("page_token"));
}

TEST_F(VethTest, APatternWhoseNumbersRunOutSaysSo) {
  kernel_.FailNextForTest("FreeLinkName", ENFILE);
  const auto reply = client_->Create(VethRequest("v", "p%d", "blue", "eth0"));
  EXPECT_EQ(reply.Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
  EXPECT_THAT(reply.Metadata(), Contains(Pair("field", "veth.endpoint_a.interface_name")));
}

TEST_F(VethTest, AFullDiskIsToldAndNothingChanges) {
  const std::string before = kernel_.DumpForTest();
  {
    const FullDisk full;
    EXPECT_EQ(client_->Create(VethRequest("v", "h0", "blue", "eth0")).Summary(), "INTERNAL REGISTRY_FAILED");
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_TRUE(client_->Create(VethRequest("v", "h0", "blue", "eth0")).ok());
}

TEST_F(VethTest, AFailedRollbackSaysWhatIsLeftAndARestartPutsItRight) {
  const std::string before = kernel_.DumpForTest();
  std::unique_ptr<FullDisk> full;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    // The pair is made, but can neither be recorded nor taken back.
    if (operation == "CreateVeth") full = std::make_unique<FullDisk>();
    if (operation == "DeleteLink") return KernelError{.code = EBUSY, .operation = "RTM_DELLINK h0", .extack = ""};
    return std::nullopt;
  });
  const auto reply = client_->Create(VethRequest("v", "h0", "blue", "eth0"));
  full.reset();
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(reply.Summary(), "INTERNAL ROLLBACK_FAILED");
  EXPECT_THAT(reply.Metadata()["residue"], HasSubstr("EBUSY"));
  EXPECT_NE(kernel_.DumpForTest(), before);
  Restart();
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
}

}  // namespace
}  // namespace netprov::testing
