// Who may call what: every method by every role on every pattern, and what is up to the objects themselves.
#include <unistd.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "netprov/v1/access.pb.h"
#include "server/access/policy.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using access::Policy;
using access::Right;
using access::Rule;
using ::google::protobuf::Descriptor;
using ::google::protobuf::Message;
using ::google::protobuf::MethodDescriptor;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

const access::Role& RoleOf(const std::string& name) {
  for (const access::Role& role : access::BuiltInRoles()) {
    if (role.name == name) return role;
  }
  ADD_FAILURE() << name;
  return access::BuiltInRoles().front();
}

// Of whoever runs the test.
access::Principal Me() { return {.kind = access::Principal::Kind::kUid, .id = ::geteuid()}; }

Rule Allowing(const std::string& role, std::vector<std::string> resources = {"*"}) {
  return {.name = "test", .who = {Me()}, .role = RoleOf(role), .resources = std::move(resources)};
}

// What the least role is that may call a method, said here a second time: a new method must be added.
const std::map<std::string, std::string>& LeastRoles() {
  static const auto* const roles = new std::map<std::string, std::string>{
      {"WhoAmI", ""},
      {"GetNamespace", "viewer"},
      {"ListNamespaces", "viewer"},
      {"CreateNamespace", "operator"},
      {"UpdateNamespace", "operator"},
      {"DeleteNamespace", "operator"},
      {"AdoptNamespace", "admin"},
      {"ReleaseNamespace", "admin"},
      {"GetVeth", "viewer"},
      {"ListVeths", "viewer"},
      {"CreateVeth", "operator"},
      {"UpdateVeth", "operator"},
      {"DeleteVeth", "operator"},
      {"GetBridge", "viewer"},
      {"ListBridges", "viewer"},
      {"CreateBridge", "operator"},
      {"UpdateBridge", "operator"},
      {"DeleteBridge", "operator"},
      {"GetDevice", "viewer"},
      {"ListDevices", "viewer"},
      {"CreateDevice", "operator"},
      {"UpdateDevice", "operator"},
      {"DeleteDevice", "operator"},
      {"ListLinks", "viewer"},
      {"ListAddresses", "viewer"},
      {"ListRoutes", "viewer"},
      {"ListNeighbors", "viewer"},
      {"GetHostReport", "viewer"},
      {"CheckHost", "admin"},
      {"RenewLease", "operator"},
      {"CollectGarbage", "operator"},
  };
  return *roles;
}

int RankOf(const std::string& role) { return role == "admin" ? 3 : role == "operator" ? 2 : role == "viewer" ? 1 : 0; }

// The methods of all services that the server has, as reflection of what is linked in says.
std::vector<const MethodDescriptor*> AllMethods() {
  std::vector<const MethodDescriptor*> methods;
  for (const char* name : {"Access", "Bridge", "Device", "Host", "Inspection", "Lease", "Namespace", "Veth"}) {
    const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
        absl::StrCat("netprov.v1.", name, "Service"));
    if (service == nullptr) {
      ADD_FAILURE() << name;
      continue;
    }
    for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
  }
  return methods;
}

void SetString(Message& message, const std::string& name, const std::string& value) {
  const auto* field = message.GetDescriptor()->FindFieldByName(name);
  if (field != nullptr) message.GetReflection()->SetString(&message, field, value);
}

// A request that is about one resource, and the resource's name; empty where the method is about none.
std::pair<std::unique_ptr<Message>, std::string> RequestOf(const MethodDescriptor& method) {
  std::unique_ptr<Message> request(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(method.input_type())->New());
  const Descriptor& type = *request->GetDescriptor();
  if (method.service()->name() == "HostService") return {std::move(request), "host"};
  if (type.FindFieldByName("owner") != nullptr) {
    SetString(*request, "owner", "x");
    return {std::move(request), "owners/x"};
  }
  if (type.FindFieldByName("parent") != nullptr) {
    SetString(*request, "parent", "namespaces/x");
    return {std::move(request), "namespaces/x"};
  }
  std::string resource;
  for (const char* kind : {"namespace", "veth", "bridge", "device"}) {
    if (!absl::StrContains(absl::AsciiStrToLower(method.name()), kind)) continue;
    resource = absl::StrCat(kind, "s/x");
    SetString(*request, absl::StrCat(kind, "_id"), "x");
    SetString(*request, "name", resource);
    if (type.FindFieldByName("update_mask") == nullptr) continue;
    Message* object = request->GetReflection()->MutableMessage(request.get(), type.FindFieldByName(kind));
    SetString(*object, "name", resource);
  }
  if (absl::StartsWith(method.name(), "List")) resource.clear();
  return {std::move(request), resource};
}

class AccessTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }

  // The reason of the error that a call ends with; empty: none.
  std::string ReasonOf(const MethodDescriptor& method, const Message& request) {
    const auto reply =
        client_->Raw(absl::StrCat("/", method.service()->full_name(), "/", method.name()), request.SerializeAsString());
    const auto info = reply.Get<google::rpc::ErrorInfo>();
    return info.has_value() ? info->reason() : reply.message;
  }

  Reply<v1::WhoAmIResponse> WhoAmI() {
    const auto raw = client_->Raw("/netprov.v1.AccessService/WhoAmI", "");
    Reply<v1::WhoAmIResponse> reply{Ending(raw), {}};
    EXPECT_TRUE(reply.value.ParseFromString(raw.value));
    return reply;
  }

  void Use(std::vector<Rule> rules) { server().SetPolicy(Policy(std::move(rules))); }

  v1::CreateVethRequest HostPair(const std::string& id) {
    v1::CreateVethRequest request;
    request.set_veth_id(id);
    request.mutable_veth()->mutable_endpoint_a()->mutable_host();
    request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/a");
    return request;
  }
};

TEST_F(AccessTest, EachMethodByEachRoleOnEachPattern) {
  std::vector<const MethodDescriptor*> methods = AllMethods();
  ASSERT_EQ(methods.size(), LeastRoles().size());
  int allowed = 0;
  int denied = 0;
  for (const MethodDescriptor* method : methods) {
    ASSERT_TRUE(LeastRoles().contains(method->name())) << method->name() << ": which role may call it?";
    const auto [request, resource] = RequestOf(*method);
    const int least = RankOf(LeastRoles().at(method->name()));
    for (const std::string role : {"", "viewer", "operator", "admin"}) {
      for (const std::string pattern : {"*", "exact", "namespaces/*", "other/x"}) {
        std::vector<Rule> rules;
        const std::string text = pattern == "exact" ? resource : pattern;
        if (!role.empty()) rules.push_back(Allowing(role, {text.empty() ? "*" : text}));
        Use(rules);
        const bool names_it = resource.empty() || pattern == "*" || pattern == "exact" ||
                              (pattern == "namespaces/*" && absl::StartsWith(resource, "namespaces/"));
        const bool is_allowed = least == 0 || (RankOf(role) >= least && names_it);
        EXPECT_EQ(ReasonOf(*method, *request) != "ACCESS_DENIED", is_allowed)
            << method->name() << " by `" << role << "` on `" << text << "`";
        ++(is_allowed ? allowed : denied);
      }
    }
  }
  // Neither half is empty.
  EXPECT_GT(allowed, 100);
  EXPECT_GT(denied, 100);
}

TEST_F(AccessTest, ADenialSaysWhatIsMissingAndNotWhetherItExists) {
  ASSERT_TRUE(client_->CreateNamespace("there").ok());
  Use({Allowing("viewer", {"namespaces/mine-*"})});
  const auto there = client_->GetNamespace("there");
  EXPECT_EQ(there.Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  EXPECT_EQ(there.Metadata()["caller"], absl::StrCat("uid:", ::geteuid()));
  EXPECT_EQ(there.Metadata()["method"], "GetNamespace");
  EXPECT_EQ(there.Metadata()["resource"], "namespaces/there");
  EXPECT_THAT(there.message, HasSubstr("no rule of the policy allows it"));
  EXPECT_EQ(client_->GetNamespace("gone").Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  EXPECT_EQ(client_->GetNamespace("mine-gone").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(AccessTest, TheHostsNamespaceIsARightAlsoOfWhatIsThereAlready) {
  ASSERT_TRUE(client_->CreateNamespace("a").ok());
  ASSERT_TRUE(client_->Create(HostPair("there")).ok());
  Rule rule = Allowing("operator");
  Use({rule});
  EXPECT_EQ(client_->Create(HostPair("new")).Metadata()["right"], "host");
  v1::DeleteVethRequest del;
  del.set_name("veths/there");
  EXPECT_EQ(client_->Delete(del).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  v1::UpdateVethRequest update;
  update.mutable_veth()->set_name("veths/there");
  update.mutable_veth()->mutable_endpoint_a()->set_mtu(1400);
  update.mutable_update_mask()->add_paths("endpoint_a.mtu");
  EXPECT_EQ(client_->Update(update).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  // To see is not to touch.
  v1::GetVethRequest get;
  get.set_name("veths/there");
  EXPECT_TRUE(client_->Get(get).ok());
  rule.rights = {Right::kHost};
  Use({rule});
  EXPECT_TRUE(client_->Update(update).ok());
  EXPECT_TRUE(client_->Create(HostPair("new")).ok());
  EXPECT_TRUE(client_->Delete(del).ok());
}

TEST_F(AccessTest, PathsAndProcessesAreRightsOfTheirOwn) {
  ASSERT_TRUE(client_->CreateNamespace("a").ok());
  Rule rule = Allowing("operator");
  rule.rights = {Right::kHost};
  Use({rule});
  v1::CreateVethRequest by_path = HostPair("p");
  by_path.mutable_veth()->mutable_endpoint_a()->set_netns_path("/var/run/x");
  EXPECT_EQ(client_->Create(by_path).Metadata()["right"], "path");
  v1::CreateVethRequest by_pid = HostPair("p");
  by_pid.mutable_veth()->mutable_endpoint_a()->set_pid(7);
  EXPECT_EQ(client_->Create(by_pid).Metadata()["right"], "pid");
  rule.rights = {Right::kPath, Right::kPid};
  Use({rule});
  EXPECT_NE(client_->Create(by_path).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  EXPECT_NE(client_->Create(by_pid).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  EXPECT_EQ(client_->Create(HostPair("p")).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
}

TEST_F(AccessTest, APairMayOnlyEndInNamespacesThatItsMakerMayUse) {
  ASSERT_TRUE(client_->CreateNamespace("mine").ok());
  ASSERT_TRUE(client_->CreateNamespace("other").ok());
  Use({Allowing("operator", {"veths/*", "namespaces/mine"})});
  v1::CreateVethRequest request;
  request.set_veth_id("v");
  request.mutable_veth()->mutable_endpoint_a()->set_namespace_("namespaces/mine");
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/other");
  EXPECT_EQ(client_->Create(request).Metadata()["resource"], "namespaces/other");
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/new");
  request.set_create_namespaces(true);
  EXPECT_EQ(client_->Create(request).Metadata()["resource"], "namespaces/new");
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/mine");
  EXPECT_TRUE(client_->Create(request).ok());
}

v1::CreateNamespaceRequest Labelled(const std::string& id, const std::string& team) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id(id);
  if (!team.empty()) (*request.mutable_namespace_()->mutable_metadata()->mutable_labels())["team"] = team;
  return request;
}

TEST_F(AccessTest, LabelsDecideOfWhatIsThereAndOfWhatIsMade) {
  ASSERT_TRUE(client_->Create(Labelled("ours", "ci")).ok());
  ASSERT_TRUE(client_->Create(Labelled("theirs", "prod")).ok());
  Rule rule = Allowing("operator");
  rule.labels = {{"team", "ci"}};
  Use({rule});
  EXPECT_TRUE(client_->GetNamespace("ours").ok());
  EXPECT_EQ(client_->GetNamespace("theirs").Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  // What is not there has no labels.
  EXPECT_EQ(client_->GetNamespace("gone").Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  // Which labels it takes is said of either, and nothing of what there is.
  for (const char* id : {"theirs", "gone"}) {
    EXPECT_THAT(client_->GetNamespace(id).message,
                EndsWith(": no rule of the policy allows it without the labels team=ci"));
  }
  EXPECT_TRUE(client_->Create(Labelled("new", "ci")).ok());
  EXPECT_EQ(client_->Create(Labelled("bare", "")).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  // Nothing is given away, nor taken.
  v1::UpdateNamespaceRequest update;
  update.mutable_namespace_()->set_name("namespaces/ours");
  (*update.mutable_namespace_()->mutable_metadata()->mutable_labels())["team"] = "prod";
  update.mutable_update_mask()->add_paths("metadata.labels");
  EXPECT_EQ(client_->Update(update).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  update.mutable_namespace_()->set_name("namespaces/theirs");
  (*update.mutable_namespace_()->mutable_metadata()->mutable_labels())["team"] = "ci";
  EXPECT_EQ(client_->Update(update).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  v1::DeleteNamespaceRequest del;
  del.set_name("namespaces/theirs");
  EXPECT_EQ(client_->Delete(del).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  del.set_name("namespaces/ours");
  EXPECT_TRUE(client_->Delete(del).ok());
}

// What is missing has its name still, and whoever is to take that over needs what it takes to delete it.
TEST_F(AccessTest, WhatIsMissingIsNotTakenOver) {
  ASSERT_TRUE(client_->Create(Labelled("prod", "prod")).ok());
  kernel_.RemoveForeignNetnsForTest("prod");
  Rule rule = Allowing("operator");
  rule.labels = {{"team", "ci"}};
  Use({rule});
  EXPECT_EQ(client_->Create(Labelled("prod", "ci")).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  Use({Allowing("operator")});
  EXPECT_TRUE(client_->Create(Labelled("prod", "ci")).ok());
}

TEST_F(AccessTest, AnUpdateTakesNoLabelsAwayByLeavingThemOut) {
  ASSERT_TRUE(client_->Create(Labelled("ours", "ci")).ok());
  Rule rule = Allowing("operator");
  rule.labels = {{"team", "ci"}};
  Use({rule});
  for (const char* path : {"metadata", "metadata.labels", "*"}) {
    v1::UpdateNamespaceRequest update;
    update.mutable_namespace_()->set_name("namespaces/ours");
    update.mutable_update_mask()->add_paths(path);
    EXPECT_EQ(client_->Update(update).Summary(), "PERMISSION_DENIED ACCESS_DENIED") << path;
  }
  v1::UpdateNamespaceRequest update;
  update.mutable_namespace_()->set_name("namespaces/ours");
  update.mutable_namespace_()->mutable_metadata()->set_self_heal(true);
  update.mutable_update_mask()->add_paths("metadata.self_heal");
  EXPECT_TRUE(client_->Update(update).ok());
}

TEST_F(AccessTest, ADeletionWhoseAnswerWasLostCanBeRepeated) {
  ASSERT_TRUE(client_->Create(Labelled("ours", "ci")).ok());
  Rule rule = Allowing("operator");
  rule.labels = {{"team", "ci"}};
  Use({rule});
  v1::DeleteNamespaceRequest del;
  del.set_name("namespaces/ours");
  del.set_request_id(kUuid1);
  EXPECT_TRUE(client_->Delete(del).ok());
  EXPECT_TRUE(client_->Delete(del).ok());
  del.set_request_id(kUuid2);
  EXPECT_EQ(client_->Delete(del).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
}

TEST_F(AccessTest, GarbageIsWhatTheCallerMayDelete) {
  auto create = [this](const std::string& id) {
    v1::CreateNamespaceRequest request;
    request.set_namespace_id(id);
    request.mutable_namespace_()->mutable_metadata()->set_owner("ci");
    ASSERT_TRUE(client_->Create(request).ok());
  };
  create("mine-1");
  create("other");
  create("a");
  v1::CreateVethRequest pair = HostPair("mine-host");
  pair.mutable_veth()->mutable_metadata()->set_owner("ci");
  ASSERT_TRUE(client_->Create(pair).ok());
  Use({Allowing("operator", {"owners/ci", "namespaces/mine-*", "veths/*"})});
  v1::CollectGarbageRequest collect;
  collect.set_owner("ci");
  const auto collected = client_->Collect(collect);
  ASSERT_TRUE(collected.ok()) << collected.message;
  // Not the pair, which has an end at the host, nor what it stands on, nor what has another name.
  EXPECT_THAT(collected.value.deleted(), ElementsAre("namespaces/mine-1"));
  EXPECT_EQ(collected.value.failures_size(), 0);
}

TEST_F(AccessTest, SomethingIsMadeForAnOwnerByWhomThatIsUpTo) {
  Use({Allowing("operator", {"namespaces/*", "owners/mine"})});
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("a");
  request.mutable_namespace_()->mutable_metadata()->set_owner("other");
  EXPECT_EQ(client_->Create(request).Metadata()["resource"], "owners/other");
  request.mutable_namespace_()->mutable_metadata()->set_owner("mine");
  EXPECT_TRUE(client_->Create(request).ok());
}

TEST_F(AccessTest, ABridgeShowsThePortsThatTheCallerMaySee) {
  v1::CreateBridgeRequest bridge;
  bridge.set_bridge_id("br");
  bridge.mutable_bridge()->mutable_host();
  ASSERT_TRUE(client_->Create(bridge).ok());
  ASSERT_TRUE(client_->CreateNamespace("a").ok());
  for (const char* id : {"mine", "other"}) {
    v1::CreateVethRequest request = HostPair(id);
    request.mutable_veth()->mutable_endpoint_a()->set_bridge("bridges/br");
    ASSERT_TRUE(client_->Create(request).ok());
  }
  for (const char* id : {"mine", "other"}) {
    v1::CreateDeviceRequest request;
    request.set_device_id(id);
    request.mutable_device()->mutable_host();
    request.mutable_device()->mutable_ifb();
    request.mutable_device()->set_bridge("bridges/br");
    ASSERT_TRUE(client_->Create(request).ok());
  }
  Use({Allowing("viewer", {"bridges/*", "veths/mine", "devices/mine"})});
  const auto seen = client_->GetBridge("br");
  ASSERT_TRUE(seen.ok()) << seen.message;
  EXPECT_THAT(seen.value.ports(), ElementsAre("devices/mine", "veths/mine"));
}

TEST_F(AccessTest, APortNeedsTheRightToItsBridge) {
  v1::CreateBridgeRequest bridge;
  bridge.set_bridge_id("br");
  bridge.mutable_bridge()->set_namespace_("namespaces/a");
  ASSERT_TRUE(client_->CreateNamespace("a").ok());
  ASSERT_TRUE(client_->Create(bridge).ok());
  v1::CreateVethRequest pair = HostPair("mine");
  ASSERT_TRUE(client_->Create(pair).ok());
  Use({Allowing("operator", {"devices/*", "veths/*", "namespaces/*"})});
  v1::CreateDeviceRequest device;
  device.set_device_id("mine");
  device.mutable_device()->set_namespace_("namespaces/a");
  device.mutable_device()->mutable_ifb();
  device.mutable_device()->set_bridge("bridges/br");
  EXPECT_EQ(client_->Create(device).Metadata()["resource"], "bridges/br");
  device.mutable_device()->clear_bridge();
  EXPECT_TRUE(client_->Create(device).ok());
  v1::UpdateDeviceRequest join;
  join.mutable_device()->set_name("devices/mine");
  join.mutable_device()->set_bridge("bridges/br");
  join.mutable_update_mask()->add_paths("bridge");
  EXPECT_EQ(client_->Update(join).Metadata()["resource"], "bridges/br");
  // A bridge of the host that is not netprov's is the host's.
  v1::UpdateVethRequest foreign;
  foreign.mutable_veth()->set_name("veths/mine");
  foreign.mutable_veth()->mutable_endpoint_a()->set_bridge_interface("br-lan");
  foreign.mutable_update_mask()->add_paths("endpoint_a.bridge_interface");
  EXPECT_EQ(client_->Update(foreign).Metadata()["right"], "host");
}

TEST_F(AccessTest, ListsShowWhatTheCallerMaySee) {
  ASSERT_TRUE(client_->Create(Labelled("ours", "ci")).ok());
  ASSERT_TRUE(client_->Create(Labelled("theirs", "prod")).ok());
  ASSERT_TRUE(client_->Create(Labelled("mirror", "")).ok());
  Rule rule = Allowing("viewer");
  rule.labels = {{"team", "ci"}};
  Use({rule, Allowing("viewer", {"namespaces/mirror"})});
  const auto list = client_->List(v1::ListNamespacesRequest());
  ASSERT_TRUE(list.ok()) << list.message;
  std::vector<std::string> names;
  for (const v1::Namespace& netns : list.value.namespaces()) names.push_back(netns.name());
  EXPECT_THAT(names, ElementsAre("namespaces/mirror", "namespaces/ours"));
}

TEST_F(AccessTest, PagesGoOnAndTheirTokensTellNothing) {
  for (const char* id : {"a", "hidden-1", "hidden-2", "z"}) ASSERT_TRUE(client_->CreateNamespace(id).ok());
  Use({Allowing("viewer", {"namespaces/a", "namespaces/z"})});
  std::vector<std::string> names;
  v1::ListNamespacesRequest list;
  list.set_page_size(1);
  do {
    const auto page = client_->List(list);
    ASSERT_TRUE(page.ok()) << page.message;
    for (const v1::Namespace& netns : page.value.namespaces()) names.push_back(netns.name());
    list.set_page_token(page.value.next_page_token());
    std::string plain;
    EXPECT_TRUE(absl::WebSafeBase64Unescape(list.page_token(), &plain));
    EXPECT_THAT(plain, ::testing::Not(HasSubstr("hidden")));
  } while (!list.page_token().empty());
  EXPECT_THAT(names, ElementsAre("namespaces/a", "namespaces/z"));
  list.set_page_token("MTpMaXN0TmFtZXNwYWNlczpoaWRkZW4");
  EXPECT_EQ(client_->List(list).Summary(), "INVALID_ARGUMENT INVALID_FIELD");
}

TEST_F(AccessTest, AnOwnerIsRenewedOnlyByWhomItIsUpTo) {
  Use({Allowing("operator", {"owners/mine"})});
  v1::RenewLeaseRequest renew;
  renew.set_owner("mine");
  EXPECT_TRUE(client_->Renew(renew).ok());
  renew.set_owner("other");
  EXPECT_EQ(client_->Renew(renew).Summary(), "PERMISSION_DENIED ACCESS_DENIED");
}

TEST_F(AccessTest, WhoAmISaysWhoOneIsAndWhatOneMay) {
  Rule rule = Allowing("viewer", {"namespaces/ci-*"});
  rule.labels = {{"team", "ci"}};
  rule.rights = {Right::kHost};
  Use({rule, {.name = "others", .who = {{.kind = access::Principal::Kind::kPlaintext}}, .role = RoleOf("admin")}});
  const auto reply = WhoAmI();
  ASSERT_TRUE(reply.ok()) << reply.message;
  const v1::Identity& identity = reply.value.identity();
  EXPECT_EQ(identity.kind(), v1::Identity::KIND_UNIX);
  EXPECT_EQ(identity.name(), absl::StrCat("uid:", ::geteuid()));
  EXPECT_EQ(identity.peer(), absl::StrCat("pid:", ::getpid()));
  EXPECT_EQ(identity.uid(), ::geteuid());
  EXPECT_EQ(identity.gids(0), ::getegid());
  ASSERT_EQ(reply.value.grants_size(), 1);
  const v1::Grant& grant = reply.value.grants(0);
  EXPECT_EQ(grant.rule(), "test");
  EXPECT_EQ(grant.role(), "viewer");
  EXPECT_THAT(grant.methods(), ::testing::Contains("GetNamespace"));
  EXPECT_THAT(grant.methods(), ::testing::Not(::testing::Contains("CreateNamespace")));
  EXPECT_THAT(grant.resources(), ElementsAre("namespaces/ci-*"));
  EXPECT_EQ(grant.labels().at("team"), "ci");
  EXPECT_THAT(grant.rights(), ElementsAre("host"));
}

TEST_F(AccessTest, CallsBeyondTheLimitAreRefusedUntilThereIsRoom) {
  server().SetPolicy(Policy({Allowing("operator")}, {{.who = {Me()}, .calls = {.calls_per_second = 1, .burst = 2}}}));
  EXPECT_TRUE(client_->CreateNamespace("a").ok());
  EXPECT_TRUE(client_->CreateNamespace("b").ok());
  const auto refused = client_->CreateNamespace("c");
  EXPECT_EQ(refused.Summary(), "RESOURCE_EXHAUSTED CALL_LIMIT_EXCEEDED");
  EXPECT_TRUE(refused.Get<google::rpc::QuotaFailure>().has_value());
  const auto retry = refused.Get<google::rpc::RetryInfo>();
  ASSERT_TRUE(retry.has_value());
  EXPECT_GT(retry->retry_delay().nanos() + retry->retry_delay().seconds(), 0);
  server().SetPolicy(Policy({Allowing("operator")}));
  EXPECT_TRUE(client_->CreateNamespace("c").ok());
}

TEST_F(AccessTest, CallsUnderWayAreLimited) {
  server().SetPolicy(Policy({Allowing("operator")}, {{.who = {Me()}, .calls = {.concurrent_calls = 1}}}));
  Gate reached;
  Gate go_on;
  BlockNext("CreateNetns", reached, go_on);
  auto held = std::async(std::launch::async, [this] { return client_->CreateNamespace("held"); });
  reached.Wait();
  EXPECT_EQ(client_->GetNamespace("held").Summary(), "RESOURCE_EXHAUSTED CALL_LIMIT_EXCEEDED");
  go_on.Open();
  EXPECT_TRUE(held.get().ok());
}

TEST_F(AccessTest, APolicyCountsFromTheNextCallOn) {
  EXPECT_TRUE(client_->CreateNamespace("a").ok());
  Use({});
  EXPECT_EQ(client_->CreateNamespace("b").Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  ASSERT_TRUE(
      log_.WaitFor({"method=CreateNamespace resource=namespaces/b code=PERMISSION_DENIED reason=ACCESS_DENIED"}));
  Use({Allowing("operator")});
  EXPECT_TRUE(client_->CreateNamespace("b").ok());
}

}  // namespace
}  // namespace netprov::testing
