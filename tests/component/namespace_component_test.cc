// The namespace methods as a client sees them.
#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

class NamespaceTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }

  // All ids, read in pages of `page_size`.
  std::vector<std::string> ListAll(int page_size) {
    std::vector<std::string> names;
    v1::ListNamespacesRequest request;
    request.set_page_size(page_size);
    do {
      const auto page = client_->List(request);
      EXPECT_TRUE(page.ok()) << page.message;
      EXPECT_LE(page.value.namespaces_size(), page_size);
      for (const auto& netns : page.value.namespaces()) names.push_back(netns.name());
      request.set_page_token(page.value.next_page_token());
    } while (!request.page_token().empty());
    return names;
  }
};

TEST_F(NamespaceTest, IsCreatedReadListedAndDeleted) {
  const auto created = client_->CreateNamespace("blue");
  ASSERT_TRUE(created.ok()) << created.message;
  EXPECT_EQ(created.value.name(), "namespaces/blue");
  EXPECT_EQ(created.value.path(), "/run/netns/blue");
  EXPECT_EQ(created.value.uid().size(), 36u);
  EXPECT_TRUE(created.value.managed());
  EXPECT_TRUE(created.value.has_create_time());
  EXPECT_EQ(created.value.state(), v1::Namespace::STATE_READY);
  EXPECT_NE(created.value.cookie(), 0u);

  const auto read = client_->GetNamespace("blue");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value.SerializeAsString(), created.value.SerializeAsString());
  EXPECT_THAT(ListAll(10), ElementsAre("namespaces/blue"));

  EXPECT_TRUE(client_->DeleteNamespace("blue").ok());
  EXPECT_EQ(client_->GetNamespace("blue").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_THAT(ListAll(10), ElementsAre());
}

TEST_F(NamespaceTest, ShowsWhatOthersMadeAndLeavesItAlone) {
  kernel_.AddForeignNetnsForTest("foreign");
  kernel_.AddForeignNetnsForTest("my net");
  kernel_.AddForeignNetnsForTest("\xff");
  kernel_.AddStaleFileForTest("stale");
  const std::string before = kernel_.DumpForTest();
  EXPECT_THAT(ListAll(2),
              ElementsAre("namespaces/foreign", "namespaces/my%20net", "namespaces/stale", "namespaces/%FF"));

  const auto foreign = client_->GetNamespace("my%20net");
  ASSERT_TRUE(foreign.ok()) << foreign.message;
  EXPECT_FALSE(foreign.value.managed());
  EXPECT_EQ(foreign.value.path(), "/run/netns/my net");
  EXPECT_EQ(foreign.value.uid(), "");
  EXPECT_EQ(client_->GetNamespace("%FF").value.path(), "");
  EXPECT_EQ(client_->GetNamespace("stale").value.state(), v1::Namespace::STATE_STALE);

  const auto deleted = client_->DeleteNamespace("foreign");
  EXPECT_EQ(deleted.Summary(), "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED");
  EXPECT_EQ(deleted.Get<google::rpc::ResourceInfo>()->resource_name(), "namespaces/foreign");
  EXPECT_EQ(deleted.Get<google::rpc::PreconditionFailure>()->violations(0).subject(), "namespaces/foreign");
  EXPECT_EQ(client_->DeleteNamespace("my%20net").Summary(), "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED");
  EXPECT_EQ(client_->DeleteNamespace("stale").Summary(), "FAILED_PRECONDITION NAMESPACE_FILE_STALE");
  EXPECT_EQ(client_->CreateNamespace("foreign").Summary(), "ALREADY_EXISTS NAMESPACE_NOT_MANAGED");
  EXPECT_EQ(client_->CreateNamespace("stale").Summary(), "FAILED_PRECONDITION NAMESPACE_FILE_STALE");
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(NamespaceTest, AlreadyExistsUnlessAllowed) {
  const auto first = client_->CreateNamespace("blue");
  const auto second = client_->CreateNamespace("blue");
  EXPECT_EQ(second.Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS");
  EXPECT_THAT(second.Metadata(), ElementsAre(Pair("specs_match", "true")));
  EXPECT_EQ(second.Get<google::rpc::ResourceInfo>()->resource_type(), "netprov.v1.Namespace");
  EXPECT_EQ(second.Get<google::rpc::ResourceInfo>()->resource_name(), "namespaces/blue");
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  request.set_allow_existing(true);
  EXPECT_EQ(client_->Create(request).value.uid(), first.value.uid());
  kernel_.AddForeignNetnsForTest("foreign");
  request.set_namespace_id("foreign");
  EXPECT_EQ(client_->Create(request).Summary(), "ALREADY_EXISTS NAMESPACE_NOT_MANAGED");
}

TEST_F(NamespaceTest, SysctlsComeBackAndARefusalNamesThem) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  auto& sysctls = *request.mutable_namespace_()->mutable_sysctls();
  sysctls["net/ipv4/ip_forward"] = "1";
  const auto made = client_->Create(request);
  ASSERT_TRUE(made.ok()) << made.message;
  EXPECT_EQ(made.value.sysctls().at("net.ipv4.ip_forward"), "1");
  EXPECT_EQ(client_->GetNamespace("blue").value.sysctls().at("net.ipv4.ip_forward"), "1");

  // The same in other words.
  sysctls.clear();
  sysctls["net.ipv4.ip_forward"] = "1 ";
  EXPECT_THAT(client_->Create(request).Metadata(), ElementsAre(Pair("specs_match", "true")));
  sysctls["net.ipv4.ip_forward"] = "0";
  EXPECT_THAT(client_->Create(request).Metadata(), ElementsAre(Pair("specs_match", "false")));

  request.set_namespace_id("green");
  sysctls["net.ipv4.nothing"] = "1";
  const auto refused = client_->Create(request);
  EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION SYSCTL_REFUSED");
  EXPECT_THAT(refused.Metadata(), Contains(Pair("operation", "sysctl net.ipv4.nothing")));
  EXPECT_THAT(refused.message, HasSubstr("the kernel does not have it"));
  EXPECT_EQ(client_->GetNamespace("green").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(NamespaceTest, ABusyOneIsDeletedByForceOnly) {
  const auto made = client_->CreateNamespace("blue");
  kernel_.StartProcessForTest({.name = "blue", .cookie = made.value.cookie()}, "sleep");
  const auto refused = client_->DeleteNamespace("blue");
  EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION NAMESPACE_BUSY");
  EXPECT_THAT(refused.Metadata(), UnorderedElementsAre(Pair("processes", "1000 sleep"), Pair("process_count", "1")));
  EXPECT_EQ(refused.Get<google::rpc::PreconditionFailure>()->violations(0).subject(), "namespaces/blue");

  v1::GetNamespaceRequest get;
  get.set_name("namespaces/blue");
  EXPECT_FALSE(client_->Get(get).value.has_processes());
  get.set_view(v1::NAMESPACE_VIEW_FULL);
  const auto full = client_->Get(get);
  ASSERT_EQ(full.value.processes().first_size(), 1);
  EXPECT_EQ(full.value.processes().first(0).pid(), 1000);
  EXPECT_EQ(full.value.processes().first(0).command(), "sleep");
  EXPECT_EQ(full.value.processes().count(), 1);

  v1::DeleteNamespaceRequest request;
  request.set_name("namespaces/blue");
  request.set_force(true);
  EXPECT_TRUE(client_->Delete(request).ok());
}

TEST_F(NamespaceTest, NotFoundUnlessAllowed) {
  const auto missing = client_->DeleteNamespace("nothing");
  EXPECT_EQ(missing.Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_EQ(missing.Get<google::rpc::ResourceInfo>()->resource_name(), "namespaces/nothing");
  EXPECT_THAT(missing.Fields(), ElementsAre());
  v1::DeleteNamespaceRequest request;
  request.set_name("namespaces/nothing");
  request.set_allow_missing(true);
  EXPECT_TRUE(client_->Delete(request).ok());
}

TEST_F(NamespaceTest, OneThatIsGoneFromTheKernelShowsAndCanBeDeleted) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  kernel_.RemoveForeignNetnsForTest("blue");
  const auto read = client_->GetNamespace("blue");
  EXPECT_EQ(read.value.state(), v1::Namespace::STATE_MISSING);
  EXPECT_EQ(read.value.cookie(), 0u);
  EXPECT_TRUE(client_->DeleteNamespace("blue").ok());
  EXPECT_EQ(client_->GetNamespace("blue").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(NamespaceTest, ValidateOnlyChangesNothing) {
  const std::string before = kernel_.DumpForTest();
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.set_validate_only(true);
  const auto would_be = client_->Create(create);
  ASSERT_TRUE(would_be.ok());
  EXPECT_EQ(would_be.value.name(), "namespaces/blue");
  EXPECT_EQ(would_be.value.uid(), "");
  EXPECT_EQ(would_be.value.cookie(), 0u);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_EQ(client_->GetNamespace("blue").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");

  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  EXPECT_EQ(client_->Create(create).Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS");
  v1::DeleteNamespaceRequest del;
  del.set_name("namespaces/blue");
  del.set_validate_only(true);
  EXPECT_TRUE(client_->Delete(del).ok());
  EXPECT_TRUE(client_->GetNamespace("blue").ok());
  del.set_name("namespaces/nothing");
  EXPECT_EQ(client_->Delete(del).Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(NamespaceTest, ARequestIdReturnsTheFirstAnswerAlsoAfterARestart) {
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.set_request_id(kUuid1);
  const auto first = client_->Create(create);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(client_->Create(create).value.SerializeAsString(), first.value.SerializeAsString());
  Restart();
  EXPECT_EQ(client_->Create(create).value.SerializeAsString(), first.value.SerializeAsString());

  v1::DeleteNamespaceRequest del;
  del.set_name("namespaces/blue");
  del.set_request_id(kUuid2);
  EXPECT_TRUE(client_->Delete(del).ok());
  EXPECT_TRUE(client_->Delete(del).ok());
  Restart();
  EXPECT_TRUE(client_->Delete(del).ok());
  // Still the first answer, though the namespace is gone.
  EXPECT_EQ(client_->Create(create).value.uid(), first.value.uid());
  EXPECT_EQ(client_->GetNamespace("blue").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(NamespaceTest, ARequestIdBelongsToOneRequest) {
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.set_request_id(kUuid1);
  ASSERT_TRUE(client_->Create(create).ok());
  create.set_namespace_id("green");
  const auto reused = client_->Create(create);
  EXPECT_EQ(reused.Summary(), "INVALID_ARGUMENT REQUEST_ID_REUSED");
  EXPECT_THAT(reused.Fields(), ElementsAre("request_id"));
  v1::DeleteNamespaceRequest del;
  del.set_name("namespaces/blue");
  del.set_request_id(kUuid1);
  EXPECT_EQ(client_->Delete(del).Summary(), "INVALID_ARGUMENT REQUEST_ID_REUSED");
  EXPECT_EQ(client_->GetNamespace("green").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(NamespaceTest, ARequestIdBelongsToOneUpdateOfOneNamespace) {
  v1::UpdateNamespaceRequest update;
  update.set_request_id(kUuid1);
  update.mutable_update_mask()->add_paths("metadata.labels");
  (*update.mutable_namespace_()->mutable_metadata()->mutable_labels())["tier"] = "web";
  for (const char* id : {"blue", "green"}) ASSERT_TRUE(client_->CreateNamespace(id).ok());
  update.mutable_namespace_()->set_name("namespaces/blue");
  ASSERT_TRUE(client_->Update(update).ok());
  EXPECT_TRUE(client_->Update(update).ok());
  update.mutable_namespace_()->set_name("namespaces/green");
  EXPECT_EQ(client_->Update(update).Summary(), "INVALID_ARGUMENT REQUEST_ID_REUSED");
}

TEST_F(NamespaceTest, AFailureIsNotRemembered) {
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.set_request_id(kUuid1);
  kernel_.FailNextForTest("CreateNetns", ENOMEM);
  EXPECT_EQ(client_->Create(create).Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
  EXPECT_TRUE(client_->Create(create).ok());
}

TEST_F(NamespaceTest, TellsWhatTheKernelSaid) {
  const std::string before = kernel_.DumpForTest();
  for (const auto& [code, summary] : std::vector<std::pair<int, std::string>>{
           {EPERM, "FAILED_PRECONDITION KERNEL_PERMISSION_DENIED"},
           {ENOSYS, "FAILED_PRECONDITION KERNEL_FEATURE_MISSING"},
           {ENOSPC, "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED"},
           {EMFILE, "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED"},
           {EIO, "INTERNAL KERNEL_REFUSED"},
       }) {
    kernel_.FailNextForTest("CreateNetns", code, "in the kernel's words");
    const auto reply = client_->CreateNamespace("blue");
    EXPECT_EQ(reply.Summary(), summary);
    EXPECT_THAT(reply.Metadata(), Contains(Pair("errno", std::string(strerrorname_np(code)))));
    EXPECT_THAT(reply.Metadata(), Contains(Pair("operation", "CreateNetns")));
    EXPECT_THAT(reply.Metadata(), Contains(Pair("extack", "in the kernel's words")));
    EXPECT_THAT(reply.Metadata(), Contains(Pair("step", "create namespace blue")));
    EXPECT_EQ(reply.Get<google::rpc::PreconditionFailure>().has_value(),
              reply.code == absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(reply.Get<google::rpc::QuotaFailure>().has_value(), reply.code == absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
  kernel_.FailNextForTest("ListNetns", EACCES);
  EXPECT_EQ(client_->List(v1::ListNamespacesRequest()).Summary(), "FAILED_PRECONDITION KERNEL_PERMISSION_DENIED");
}

TEST_F(NamespaceTest, PagesNeitherMissNorRepeatWhatStays) {
  std::set<std::string> stable;
  for (int i = 0; i < 30; ++i) {
    const std::string id = absl::StrFormat("n%02d", i);
    ASSERT_TRUE(client_->CreateNamespace(id).ok());
    if (i % 3 != 0) stable.insert("namespaces/" + id);
  }
  std::vector<std::string> seen;
  v1::ListNamespacesRequest request;
  request.set_page_size(7);
  int round = 0;
  do {
    const auto page = client_->List(request);
    ASSERT_TRUE(page.ok());
    for (const auto& netns : page.value.namespaces()) seen.push_back(netns.name());
    // Behind, at and before the border of the pages: some go, also the one that the token names, and some come.
    const std::string last = page.value.namespaces().empty() ? "" : seen.back();
    if (!last.empty() && !stable.contains(last)) {
      EXPECT_TRUE(client_->DeleteNamespace(last.substr(sizeof("namespaces/") - 1)).ok());
    }
    client_->DeleteNamespace(absl::StrFormat("n%02d", 3 * round));
    client_->DeleteNamespace(absl::StrFormat("n%02d", 27 - 3 * round));
    EXPECT_TRUE(client_->CreateNamespace(absl::StrCat("a", round)).ok());
    EXPECT_TRUE(client_->CreateNamespace(absl::StrCat("z", round)).ok());
    ++round;
    request.set_page_token(page.value.next_page_token());
  } while (!request.page_token().empty() && round < 20);
  EXPECT_TRUE(request.page_token().empty());
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  for (const std::string& name : stable) EXPECT_THAT(seen, Contains(name));
}

}  // namespace
}  // namespace netprov::testing
