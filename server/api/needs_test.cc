#include "server/api/needs.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "netprov/v1/access.pb.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::api {
namespace {

using ::google::protobuf::MethodDescriptor;
using ::testing::ElementsAre;

// `CreateVeth veths/v {a=b}`, `CreateVeth +host`; `?` behind a resource that may be made.
std::string Text(const Need& need) {
  std::string text = need.demand.method;
  if (need.demand.right.has_value()) return absl::StrCat(text, " +", access::NameOf(*need.demand.right));
  absl::StrAppend(&text, " ", need.demand.resource, need.may_be_made ? "?" : "");
  if (need.labels.has_value()) {
    absl::StrAppend(&text, " {");
    for (const auto& [key, value] : *need.labels) absl::StrAppend(&text, key, "=", value);
    absl::StrAppend(&text, "}");
  }
  return text;
}

template <typename Request>
Needs Of(const std::string& method, const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return NeedsOf(method, request);
}

template <typename Request>
std::vector<std::string> TextsOf(const std::string& method, const std::string& text) {
  std::vector<std::string> texts;
  for (const Need& need : Of<Request>(method, text).all) texts.push_back(Text(need));
  return texts;
}

// Every method of the API.
std::vector<const MethodDescriptor*> AllMethods() {
  std::vector<const MethodDescriptor*> methods;
  for (const auto* file : {v1::WhoAmIRequest::descriptor()->file(), v1::Bridge::descriptor()->file(),
                           v1::Device::descriptor()->file(), v1::HostReport::descriptor()->file(),
                           v1::ListLinksRequest::descriptor()->file(), v1::RenewLeaseRequest::descriptor()->file(),
                           v1::Namespace::descriptor()->file(), v1::Veth::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) methods.push_back(file->service(i)->method(j));
    }
  }
  return methods;
}

TEST(MethodTest, EachHasARule) {
  std::set<std::string> names;
  for (const MethodDescriptor* method : AllMethods()) {
    EXPECT_TRUE(access::PowerOf(method->name()).has_value()) << method->full_name() << " is in no role (policy.cc)";
    EXPECT_TRUE(names.insert(method->name()).second) << method->name() << " is not the only one of its name";
  }
  // And no rule is for one that is no more.
  for (const std::string& name : access::MethodsOf(access::BuiltInRoles().back())) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(MethodTest, EachRequestNeedsSomething) {
  for (const MethodDescriptor* method : AllMethods()) {
    const std::unique_ptr<google::protobuf::Message> request(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(method->input_type())->New());
    const Needs needs = NeedsOf(method->name(), *request);
    ASSERT_FALSE(needs.all.empty()) << method->full_name();
    for (const Need& need : needs.all) EXPECT_EQ(need.demand.method, method->name());
  }
}

TEST(MethodTest, OnlyListsAndWhoAmIAreAboutNothingInParticular) {
  for (const MethodDescriptor* method : AllMethods()) {
    // Set whatever names the resource.
    const std::unique_ptr<google::protobuf::Message> request(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(method->input_type())->New());
    for (const char* name : {"name", "parent", "owner", "namespace_id", "veth_id", "bridge_id", "device_id"}) {
      const auto* field = request->GetDescriptor()->FindFieldByName(name);
      if (field != nullptr) request->GetReflection()->SetString(request.get(), field, "x");
    }
    for (const char* name : {"namespace", "veth", "bridge", "device"}) {
      const auto* field = request->GetDescriptor()->FindFieldByName(name);
      if (field == nullptr || request->GetDescriptor()->FindFieldByName("update_mask") == nullptr) continue;
      auto* resource = request->GetReflection()->MutableMessage(request.get(), field);
      resource->GetReflection()->SetString(resource, resource->GetDescriptor()->FindFieldByName("name"), "x");
    }
    const bool is_general = method->name() == "WhoAmI" || method->name() == "ListNamespaces" ||
                            method->name() == "ListVeths" || method->name() == "ListBridges" ||
                            method->name() == "ListDevices";
    EXPECT_EQ(NeedsOf(method->name(), *request).all.front().demand.resource.empty(), is_general) << method->name();
  }
}

TEST(NeedsTest, APairNeedsItsEndsToo) {
  EXPECT_THAT(
      TextsOf<v1::CreateVethRequest>("CreateVeth", R"pb(
        veth_id: "v"
        veth {
          endpoint_a {
            host {}
            bridge: "bridges/br"
          }
          endpoint_b { namespace: "namespaces/a" }
          metadata { labels { key: "k" value: "v" } }
        })pb"),
      ElementsAre("CreateVeth veths/v {k=v}", "CreateVeth +host", "CreateVeth bridges/br", "CreateVeth namespaces/a"));
  EXPECT_THAT(TextsOf<v1::CreateVethRequest>("CreateVeth", R"pb(veth {
                                                                  endpoint_a { netns_path: "/x" }
                                                                  endpoint_b { pid: 7 }
                                                                })pb"),
              ElementsAre("CreateVeth veths/ {}", "CreateVeth +path", "CreateVeth +pid"));
}

TEST(NeedsTest, NamespacesThatComeWithAPairAreMade) {
  EXPECT_THAT(
      TextsOf<v1::CreateVethRequest>("CreateVeth", R"pb(
        veth_id: "v"
        veth {
          endpoint_a { namespace: "namespaces/a" }
          metadata { labels { key: "k" value: "v" } }
        }
        create_namespaces: true)pb"),
      ElementsAre("CreateVeth veths/v {k=v}", "CreateVeth namespaces/a? {k=v}", "CreateNamespace namespaces/a? {k=v}"));
}

TEST(NeedsTest, AnUpdateNeedsTheObjectAsItIsAndAsItWillBe) {
  EXPECT_THAT(
      TextsOf<v1::UpdateVethRequest>("UpdateVeth", R"pb(veth {
                                                          name: "veths/v"
                                                          endpoint_b { bridge: "bridges/br" }
                                                          metadata {
                                                            owner: "ci"
                                                            labels { key: "k" value: "v" }
                                                          }
                                                        }
                                                        update_mask { paths: "metadata" })pb"),
      ElementsAre("UpdateVeth veths/v", "UpdateVeth veths/v {k=v}", "UpdateVeth owners/ci", "UpdateVeth bridges/br"));
  // What is left out is taken away, and what the mask does not name stays.
  EXPECT_THAT(TextsOf<v1::UpdateNamespaceRequest>("UpdateNamespace", R"pb(namespace { name: "namespaces/a" }
                                                                          update_mask { paths: "metadata" })pb"),
              ElementsAre("UpdateNamespace namespaces/a", "UpdateNamespace namespaces/a {}"));
  EXPECT_THAT(TextsOf<v1::UpdateNamespaceRequest>("UpdateNamespace", R"pb(namespace {
                                                                            name: "namespaces/a"
                                                                            metadata { owner: "x" }
                                                                          }
                                                                          update_mask { paths: "metadata.ttl" })pb"),
              ElementsAre("UpdateNamespace namespaces/a"));
  for (const char* path : {"*", "metadata.labels", "metadata.labels.team"}) {
    EXPECT_EQ(TextsOf<v1::UpdateBridgeRequest>(
                  "UpdateBridge", absl::StrCat("bridge { name: 'bridges/b' } update_mask { paths: '", path, "' }"))
                  .size(),
              2u)
        << path;
  }
  EXPECT_EQ(Of<v1::UpdateVethRequest>("UpdateVeth", R"pb(veth { name: "veths/v" })pb").changes, "veths/v");
  EXPECT_EQ(Of<v1::DeleteBridgeRequest>("DeleteBridge", R"pb(name: "bridges/b")pb").changes, "bridges/b");
  EXPECT_EQ(Of<v1::GetBridgeRequest>("GetBridge", R"pb(name: "bridges/b")pb").changes, "");
}

TEST(NeedsTest, AnOwnerIsNeededByWhomMakesSomethingForIt) {
  EXPECT_THAT(TextsOf<v1::CreateNamespaceRequest>("CreateNamespace", R"pb(namespace_id: "a"
                                                                          namespace { metadata { owner: "ci" } })pb"),
              ElementsAre("CreateNamespace namespaces/a {}", "CreateNamespace owners/ci"));
  EXPECT_EQ(Of<v1::CreateVethRequest>("CreateVeth", R"pb(veth_id: "v")pb").changes, "veths/v");
}

TEST(NeedsTest, ADeviceNeedsWhatItStandsOn) {
  EXPECT_THAT(TextsOf<v1::CreateDeviceRequest>("CreateDevice", R"pb(device_id: "m"
                                                                    device {
                                                                      namespace: "namespaces/a"
                                                                      lower_interface: "eth1"
                                                                      macvlan {}
                                                                    })pb"),
              ElementsAre("CreateDevice devices/m {}", "CreateDevice namespaces/a", "CreateDevice +host"));
  EXPECT_THAT(TextsOf<v1::CreateDeviceRequest>("CreateDevice", R"pb(device_id: "x"
                                                                    device {
                                                                      namespace: "namespaces/a"
                                                                      lower_namespace: "namespaces/b"
                                                                      vxlan {}
                                                                    })pb"),
              ElementsAre("CreateDevice devices/x {}", "CreateDevice namespaces/a", "CreateDevice namespaces/b"));
  // The packets of a vxlan are at the host, also without a link there.
  EXPECT_THAT(TextsOf<v1::CreateDeviceRequest>("CreateDevice", R"pb(device_id: "x"
                                                                    device {
                                                                      namespace: "namespaces/a"
                                                                      vxlan {}
                                                                    })pb"),
              ElementsAre("CreateDevice devices/x {}", "CreateDevice namespaces/a", "CreateDevice +host"));
  EXPECT_THAT(TextsOf<v1::CreateBridgeRequest>("CreateBridge", R"pb(bridge_id: "b"
                                                                    bridge { host {} })pb"),
              ElementsAre("CreateBridge bridges/b {}", "CreateBridge +host"));
}

TEST(NeedsTest, APortNeedsItsBridge) {
  EXPECT_THAT(TextsOf<v1::CreateDeviceRequest>("CreateDevice", R"pb(device_id: "i"
                                                                    device {
                                                                      host {}
                                                                      bridge: "bridges/br"
                                                                      ifb {}
                                                                    })pb"),
              ElementsAre("CreateDevice devices/i {}", "CreateDevice +host", "CreateDevice bridges/br"));
  EXPECT_THAT(TextsOf<v1::UpdateDeviceRequest>("UpdateDevice", R"pb(device { name: "devices/i" bridge: "bridges/br" }
                                                                    update_mask { paths: "bridge" })pb"),
              ElementsAre("UpdateDevice devices/i", "UpdateDevice bridges/br"));
  // One that is not netprov's is a part of the place, which is needed anyway: the host's here.
  EXPECT_THAT(TextsOf<v1::CreateVethRequest>("CreateVeth", R"pb(veth_id: "v"
                                                                veth {
                                                                  endpoint_a {
                                                                    host {}
                                                                    bridge_interface: "br-lan"
                                                                  }
                                                                  endpoint_b { namespace: "namespaces/a" }
                                                                })pb"),
              ElementsAre("CreateVeth veths/v {}", "CreateVeth +host", "CreateVeth namespaces/a"));
  // And of an update the object says where it is (ObjectFacts).
  EXPECT_EQ(Of<v1::UpdateVethRequest>("UpdateVeth", R"pb(veth {
                                                           name: "veths/v"
                                                           endpoint_a { bridge_interface: "br-lan" }
                                                         })pb")
                .changes,
            "veths/v");
}

TEST(NeedsTest, LeasesAreAnOwnersAndTheHostIsTheHosts) {
  EXPECT_THAT(TextsOf<v1::RenewLeaseRequest>("RenewLease", R"pb(owner: "ci")pb"), ElementsAre("RenewLease owners/ci"));
  EXPECT_THAT(TextsOf<v1::CollectGarbageRequest>("CollectGarbage", R"pb(owner: "ci")pb"),
              ElementsAre("CollectGarbage owners/ci"));
  EXPECT_THAT(TextsOf<v1::CheckHostRequest>("CheckHost", ""), ElementsAre("CheckHost host"));
  EXPECT_THAT(TextsOf<v1::ListLinksRequest>("ListLinks", R"pb(parent: "host")pb"),
              ElementsAre("ListLinks host", "ListLinks +host"));
  EXPECT_THAT(TextsOf<v1::ListRoutesRequest>("ListRoutes", R"pb(parent: "namespaces/a")pb"),
              ElementsAre("ListRoutes namespaces/a"));
  EXPECT_THAT(TextsOf<v1::AdoptNamespaceRequest>("AdoptNamespace", R"pb(name: "namespaces/a")pb"),
              ElementsAre("AdoptNamespace namespaces/a {}"));
}

TEST(FilterTest, TakesOutWhatMayNotBeSeen) {
  v1::ListVethsResponse response;
  for (const char* name : {"veths/a", "veths/b", "veths/c", "veths/d"}) {
    v1::Veth& veth = *response.add_veths();
    veth.set_name(name);
    (*veth.mutable_metadata()->mutable_labels())["of"] = name;
  }
  response.set_next_page_token("next");
  Filter(response, [](const std::string& resource, const access::Labels& labels) {
    EXPECT_EQ(labels.at("of"), resource);
    return resource == "veths/b" || resource == "veths/d";
  });
  ASSERT_EQ(response.veths_size(), 2);
  EXPECT_EQ(response.veths(0).name(), "veths/b");
  EXPECT_EQ(response.veths(1).name(), "veths/d");
  EXPECT_EQ(response.next_page_token(), "next");
  // Links have no metadata, as they are nobody's: who may list them sees all.
  v1::ListLinksResponse links;
  links.add_links()->set_name("namespaces/a/links/1");
  Filter(links, [](const std::string&, const access::Labels&) { return false; });
  EXPECT_EQ(links.links_size(), 1);
}

}  // namespace
}  // namespace netprov::api
