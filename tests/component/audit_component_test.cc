// The audit log: one line for each call that may change something, whatever becomes of it, and none for others.
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/access/policy.h"
#include "server/engine/tag.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using ::google::protobuf::MethodDescriptor;
using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";

class AuditTest : public ServerTest {
 protected:
  void SetUp() override {
    path_ = directory_ + "/audit.log";
    Audit(path_);
    StartServer();
  }

  // The lines since the last time, each of which must be JSON.
  std::vector<json> NewLines() {
    std::ifstream file(path_);
    file.seekg(static_cast<std::streamoff>(read_));
    std::vector<json> lines;
    for (std::string line; std::getline(file, line);) {
      read_ += line.size() + 1;
      lines.push_back(json::parse(line, nullptr, /*allow_exceptions=*/false));
      EXPECT_TRUE(lines.back().is_object()) << line;
      EXPECT_TRUE(ids_.insert(lines.back().value("id", "")).second) << "not its own: " << line;
    }
    return lines;
  }
  // The one line since the last time.
  json NewLine() {
    const std::vector<json> lines = NewLines();
    EXPECT_THAT(lines, SizeIs(1));
    return lines.empty() ? json::object() : lines.front();
  }

  // What a crash would leave of the registry now; and the next start finds that.
  void KeepRegistry() {
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::copy_file(absl::StrCat(directory_, "/registry.db", suffix),
                                 absl::StrCat(directory_, "/kept.db", suffix));
    }
  }
  void BringBackRegistry() {
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::rename(absl::StrCat(directory_, "/kept.db", suffix),
                              absl::StrCat(directory_, "/registry.db", suffix));
    }
  }

  std::string path_;
  size_t read_ = 0;
  std::set<std::string> ids_;
};

bool OnlyReads(const std::string& method) {
  return method == "WhoAmI" || absl::StartsWith(method, "Get") || absl::StartsWith(method, "List");
}

TEST_F(AuditTest, EachMethodThatMayChangeSomethingHasOneLineWhateverComesOfIt) {
  int methods = 0;
  for (const char* name : {"Access", "Bridge", "Device", "Host", "Inspection", "Lease", "Namespace", "Veth"}) {
    const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
        absl::StrCat("netprov.v1.", name, "Service"));
    ASSERT_NE(service, nullptr);
    for (int i = 0; i < service->method_count(); ++i) {
      const MethodDescriptor& method = *service->method(i);
      SCOPED_TRACE(method.full_name());
      const std::string path = absl::StrCat("/", service->full_name(), "/", method.name());
      struct Case {
        const char* what;
        std::string bytes;
        bool is_allowed;
        const char* decision;
      };
      // With nothing in it most requests are invalid; some need nothing.
      for (const Case& one : {Case{"malformed", "\xff", true, "none"}, Case{"empty", "", true, "allowed"},
                              Case{"denied", "", false, "denied"}}) {
        SCOPED_TRACE(one.what);
        server().SetPolicy(one.is_allowed ? access::DefaultPolicy(std::nullopt) : access::Policy());
        const Reply<std::string> reply = client_->Raw(path, one.bytes);
        if (OnlyReads(method.name())) {
          EXPECT_THAT(NewLines(), IsEmpty());
          continue;
        }
        ++methods;
        const json line = NewLine();
        EXPECT_EQ(line.value("method", ""), method.name());
        EXPECT_EQ(line.value("decision", ""), one.decision);
        EXPECT_EQ(line.value("code", ""), absl::StatusCodeToString(reply.code));
        EXPECT_EQ(absl::StrCat(line.value("code", ""), line.contains("reason") ? " " : "", line.value("reason", "")),
                  reply.Summary());
        EXPECT_EQ(line.at("who").value("name", ""), absl::StrCat("uid:", ::geteuid()));
        EXPECT_EQ(line.value("from", ""), absl::StrCat("pid:", ::getpid()));
      }
    }
  }
  EXPECT_EQ(methods, 17 * 3) << "a method was added: does it change something?";
}

TEST_F(AuditTest, ALineSaysWhoAskedForWhatAndWhatWasChanged) {
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.set_request_id(kUuid1);
  EXPECT_TRUE(client_->Create(create).ok());
  const json made = NewLine();
  EXPECT_EQ(made.at("who").at("uid"), ::geteuid());
  EXPECT_EQ(made.at("who").at("gid"), ::getegid());
  EXPECT_EQ(made.at("who").at("pid"), ::getpid());
  EXPECT_EQ(made.at("resource"), "namespaces/blue");
  EXPECT_EQ(made.at("request_id"), kUuid1);
  EXPECT_EQ(made.at("request_sha256").get<std::string>().size(), 64u);
  EXPECT_EQ(made.at("decision"), "allowed");
  EXPECT_EQ(made.at("code"), "OK");
  EXPECT_FALSE(made.contains("validate_only"));
  EXPECT_EQ(made.at("changes"), json::parse(R"([{"resource": "namespaces/blue", "fate": "done"}])"));
  EXPECT_GT(made.at("duration_us").get<int>(), 0);
  EXPECT_GE(made.at("duration_us").get<int>(), made.at("queue_us").get<int>());
  ASSERT_TRUE(log_.WaitFor({"method=CreateNamespace", absl::StrCat("call_id=", made.at("id").get<std::string>())}));

  // The same call again is another call with the same request, which changes nothing.
  EXPECT_TRUE(client_->Create(create).ok());
  const json again = NewLine();
  EXPECT_EQ(again.at("request_sha256"), made.at("request_sha256"));
  EXPECT_NE(again.at("id"), made.at("id"));
  EXPECT_FALSE(again.contains("changes"));

  create.set_request_id(kUuid2);
  create.set_validate_only(true);
  EXPECT_EQ(client_->Create(create).Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS");
  const json validated = NewLine();
  EXPECT_EQ(validated.at("validate_only"), true);
  EXPECT_NE(validated.at("request_sha256"), made.at("request_sha256"));
  EXPECT_THAT(validated.at("error").get<std::string>(), HasSubstr("blue"));
}

TEST_F(AuditTest, TheServersChoiceOfANameIsInTheLine) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  NewLines();
  const auto made = client_->Create(VethRequest("", "h0", "blue", "eth0"));
  ASSERT_TRUE(made.ok()) << made.message;
  const json line = NewLine();
  EXPECT_EQ(line.at("resource"), made.value.name());
  EXPECT_EQ(line.at("changes")[0].at("resource"), made.value.name());
}

TEST_F(AuditTest, TheKernelsWordsAreInTheLine) {
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateNetns") return std::nullopt;
    return KernelError{.code = ENOSPC, .operation = "unshare(CLONE_NEWNET)", .extack = "no more"};
  });
  EXPECT_FALSE(client_->CreateNamespace("blue").ok());
  const json line = NewLine();
  EXPECT_EQ(line.at("code"), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(line.at("reason"), "KERNEL_RESOURCES_EXHAUSTED");
  EXPECT_EQ(line.at("errno"), "ENOSPC");
  EXPECT_EQ(line.at("extack"), "no more");
  EXPECT_EQ(line.at("changes")[0].at("fate"), "undone");
}

TEST_F(AuditTest, OneLineTellsOfAllThatACallChanges) {
  for (const char* id : {"a", "b", "c"}) {
    v1::CreateNamespaceRequest create;
    create.set_namespace_id(id);
    create.mutable_namespace_()->mutable_metadata()->set_owner("ci");
    ASSERT_TRUE(client_->Create(create).ok());
  }
  NewLines();
  v1::CollectGarbageRequest collect;
  collect.set_owner("ci");
  EXPECT_TRUE(client_->Collect(collect).ok());
  EXPECT_EQ(NewLine().at("changes"), json::parse(R"([{"resource": "namespaces/a", "fate": "done"},
                                                     {"resource": "namespaces/b", "fate": "done"},
                                                     {"resource": "namespaces/c", "fate": "done"}])"));
}

TEST_F(AuditTest, ADenialThatIsUpToTheObjectIsADenial) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  NewLines();
  const access::Rule rule = {.who = {{.kind = access::Principal::Kind::kUid, .id = ::geteuid()}},
                             .role = access::BuiltInRoles().back(),
                             .labels = {{"team", "ci"}}};
  server().SetPolicy(access::Policy({rule}));
  EXPECT_EQ(client_->DeleteNamespace("blue").Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  const json line = NewLine();
  EXPECT_EQ(line.at("decision"), "denied");
  EXPECT_FALSE(line.contains("changes"));
}

TEST_F(AuditTest, ACallThatIsGivenUpWhileItWaitsHasItsLine) {
  Gate reached;
  Gate go_on;
  BlockNext("CreateNetns", reached, go_on);
  auto held = std::async(std::launch::async, [this] { return client_->CreateNamespace("blue"); });
  reached.Wait();
  std::promise<std::function<void()>> cancel;
  auto waiting = std::async(std::launch::async, [&] {
    v1::DeleteNamespaceRequest del;
    del.set_name("namespaces/blue");
    return client_->Delete(del,
                           {.started = [&cancel](std::function<void()> how) { cancel.set_value(std::move(how)); }});
  });
  while (server().waiting() == 0) std::this_thread::yield();
  cancel.get_future().get()();
  EXPECT_EQ(waiting.get().code, absl::StatusCode::kCancelled);
  ASSERT_TRUE(log_.WaitFor({"method=DeleteNamespace"}));
  const json line = NewLine();
  EXPECT_EQ(line.at("method"), "DeleteNamespace");
  EXPECT_EQ(line.at("code"), "CANCELLED");
  EXPECT_EQ(line.at("decision"), "allowed");
  EXPECT_FALSE(line.contains("changes"));
  go_on.Open();
  EXPECT_TRUE(held.get().ok());
  EXPECT_EQ(NewLine().at("method"), "CreateNamespace");
}

TEST_F(AuditTest, ACallBeyondTheLimitsHasNone) {
  const access::Principal me = {.kind = access::Principal::Kind::kUid, .id = ::geteuid()};
  const access::Rule rule = {.who = {me}, .role = access::BuiltInRoles().back()};
  server().SetPolicy(access::Policy({rule}, {{.who = {me}, .calls = {.calls_per_second = 0.001, .burst = 1}}}));
  EXPECT_TRUE(client_->CreateNamespace("a").ok());
  EXPECT_EQ(client_->CreateNamespace("b").Summary(), "RESOURCE_EXHAUSTED CALL_LIMIT_EXCEEDED");
  EXPECT_EQ(NewLine().at("resource"), "namespaces/a");
}

TEST_F(AuditTest, ATraceIsTakenIfItIsOne) {
  v1::DeleteNamespaceRequest del;
  del.set_name("namespaces/gone");
  const std::string valid = absl::StrCat("00-", kTrace, "-", kSpan, "-01");
  client_->Delete(del, {.traceparents = {valid}});
  json line = NewLine();
  EXPECT_EQ(line.at("trace_id"), kTrace);
  EXPECT_EQ(line.at("span_id"), kSpan);
  EXPECT_TRUE(log_.WaitFor({"method=DeleteNamespace", absl::StrCat("trace_id=", kTrace)}));
  const std::vector<std::vector<std::string>> ignored = {
      {}, {"nonsense"}, {absl::StrCat("00-", kTrace, "-0000000000000000-01")}, {valid, valid}};
  for (const std::vector<std::string>& traceparents : ignored) {
    client_->Delete(del, {.traceparents = traceparents});
    line = NewLine();
    EXPECT_FALSE(line.contains("trace_id")) << line;
    EXPECT_FALSE(line.contains("span_id")) << line;
  }
  // A read has it in the log.
  v1::GetNamespaceRequest get;
  get.set_name("namespaces/gone");
  client_->Get(get, {.traceparents = {valid}});
  EXPECT_TRUE(log_.WaitFor({"method=GetNamespace", absl::StrCat("trace_id=", kTrace)}));
}

// Recovery finds what a process left that died between the outcome and the line, and between the line and the note that
// it is written.
TEST_F(AuditTest, AStartWritesTheLinesThatAreMissingAndNoOther) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  ASSERT_TRUE(client_->CreateNamespace("green").ok());
  const std::vector<json> lines = NewLines();
  ASSERT_THAT(lines, SizeIs(2));
  // As it would be after the first line, had the process died then.
  KeepRegistry();
  StopServer();
  BringBackRegistry();
  // The order of the fields counts.
  {
    std::ofstream file(path_, std::ios::trunc);
    file << R"({"time":)" << lines[0].at("time") << R"(,"id":)" << lines[0].at("id") << "}\n";
  }
  read_ = std::filesystem::file_size(path_);
  ids_ = {lines[0].at("id")};
  StartServer();
  const json recovered = NewLine();
  EXPECT_EQ(recovered.at("id"), lines[1].at("id"));
  EXPECT_EQ(recovered.at("recovered"), true);
  EXPECT_EQ(recovered.at("method"), "CreateNamespace");
  EXPECT_EQ(recovered.at("resource"), "namespaces/green");
  EXPECT_EQ(recovered.at("who"), lines[1].at("who"));
  EXPECT_EQ(recovered.at("changes"), lines[1].at("changes"));
  EXPECT_FALSE(recovered.contains("code")) << "nobody was answered";
  Restart();
  EXPECT_THAT(NewLines(), IsEmpty());
}

TEST_F(AuditTest, AStartTellsOfWhatItDidByItself) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  KeepRegistry();
  ASSERT_TRUE(client_->CreateNamespace("green").ok());
  StopServer();
  // It has forgotten the end, as after a loss of power.
  BringBackRegistry();
  NewLines();
  StartServer();
  const json line = NewLine();
  EXPECT_EQ(line.at("who").at("name"), "self");
  EXPECT_EQ(line.at("method"), "RemoveOrphan");
  EXPECT_EQ(line.at("resource"), "namespaces/green");
  EXPECT_EQ(line.at("code"), "OK");
}

TEST_F(AuditTest, WhatACheckRemovesIsInItsLine) {
  engine::LinkSpec stray{.netns = {}, .name = "stray0"};
  engine::LinkSpec peer{.netns = {}, .name = "stray1"};
  const std::string tag = engine::TagOf(registry().id(), engine::NewUid(), "veths/stray");
  ASSERT_TRUE(kernel_.CreateVeth(stray, peer, tag).ok());
  v1::CheckHostRequest check;
  check.set_validate_only(true);
  ASSERT_TRUE(client_->Check(check).ok());
  EXPECT_FALSE(NewLine().contains("changes"));
  check.set_validate_only(false);
  ASSERT_TRUE(client_->Check(check).ok());
  const json changes = NewLine().at("changes");
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].at("resource"), "veths/stray");
  EXPECT_EQ(changes[0].at("fate"), "removed");
}

TEST_F(AuditTest, WhatComesAndGoesWithAnObjectIsInTheLine) {
  v1::CreateVethRequest create;
  create.set_veth_id("v");
  create.set_create_namespaces(true);
  create.mutable_veth()->mutable_endpoint_a()->mutable_host();
  create.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/blue");
  ASSERT_TRUE(client_->Create(create).ok());
  auto objects = [](const json& line) {
    std::vector<std::string> names;
    for (const json& change : line.at("changes")) names.push_back(change.at("resource"));
    return names;
  };
  EXPECT_THAT(objects(NewLine()), ElementsAre("veths/v", "namespaces/blue"));
  ASSERT_TRUE(client_->DeleteNamespace("blue").ok());
  EXPECT_THAT(objects(NewLine()), ElementsAre("namespaces/blue", "veths/v"));
  // In place of one that somebody removed.
  ASSERT_TRUE(client_->Create(create).ok());
  NewLine();
  const uint64_t cookie = (*kernel_.FindNetns("blue"))->cookie;
  ASSERT_TRUE(kernel_.RemoveNetns({.name = "blue", .cookie = cookie}).ok());
  v1::CreateNamespaceRequest again;
  again.set_namespace_id("blue");
  ASSERT_TRUE(client_->Create(again).ok());
  EXPECT_THAT(objects(NewLine()), ElementsAre("namespaces/blue", "veths/v"));
}

// The call's line says nothing of what a start does with its object.
TEST_F(AuditTest, WhatAStartRestoresHasALineThoughItsCallHasOne) {
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.mutable_namespace_()->mutable_metadata()->set_persistent(true);
  ASSERT_TRUE(client_->Create(create).ok());
  EXPECT_EQ(NewLine().at("method"), "CreateNamespace");
  KeepRegistry();
  StopServer();
  BringBackRegistry();
  kernel_.RebootForTest();
  StartServer();
  const json line = NewLine();
  EXPECT_EQ(line.at("method"), "Restore");
  EXPECT_EQ(line.at("resource"), "namespaces/blue");
}

// What is intended and not done when the process dies is undone by the next one, which says so in the call's line.
TEST_F(AuditTest, ACallThatDiedHalfwayIsToldOfAsUndone) {
  Gate reached;
  Gate go_on;
  BlockNext("CreateNetns", reached, go_on);
  auto held = std::async(std::launch::async, [this] { return client_->CreateNamespace("blue"); });
  reached.Wait();
  KeepRegistry();
  go_on.Open();
  EXPECT_TRUE(held.get().ok());
  const std::string id = NewLine().at("id");
  StopServer();
  BringBackRegistry();
  std::ofstream(path_, std::ios::trunc).flush();
  read_ = 0;
  ids_.clear();
  StartServer();
  const json line = NewLine();
  EXPECT_EQ(line.at("id"), id);
  EXPECT_EQ(line.at("recovered"), true);
  EXPECT_EQ(line.at("changes"), json::parse(R"([{"resource": "namespaces/blue", "fate": "rolled_back"}])"));
}

}  // namespace
}  // namespace netprov::testing
