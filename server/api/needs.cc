#include "server/api/needs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/field_mask.pb.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr char kHost[] = "host";

access::Labels LabelsOf(const v1::Metadata& metadata) {
  return access::Labels(metadata.labels().begin(), metadata.labels().end());
}

// Whether a mask, which has not been checked, may change a field of the metadata.
bool Names(const google::protobuf::FieldMask& mask, absl::string_view field) {
  return std::any_of(mask.paths().begin(), mask.paths().end(), [field](const std::string& path) {
    return path == "*" || path == "metadata" || absl::StartsWith(path, field);
  });
}

// Collects what a call of one method needs.
class Collector {
 public:
  explicit Collector(absl::string_view method) : method_(method) {}

  // The resource as it is.
  void Add(const std::string& resource) { Push({.demand = {.method = method_, .resource = resource}}); }
  // The resource as it will be, and whose.
  void AddMade(const std::string& resource, const v1::Metadata& metadata) {
    Push({.demand = {.method = method_, .resource = resource}, .labels = LabelsOf(metadata)});
    AddOwner(metadata);
  }
  // What is made takes the place of what has the name and is missing.
  void AddCreated(const std::string& resource, const v1::Metadata& metadata) {
    AddMade(resource, metadata);
    needs_.changes = resource;
  }
  // A sign of the owner's life, and more for the owner to collect.
  void AddOwner(const v1::Metadata& metadata) {
    if (!metadata.owner().empty()) Add(absl::StrCat("owners/", metadata.owner()));
  }
  // A namespace that is made by the way if it is not there.
  void AddOrMake(const std::string& name_space, const v1::Metadata& metadata) {
    Push({.demand = {.method = method_, .resource = name_space}, .labels = LabelsOf(metadata), .may_be_made = true});
    Push({.demand = {.method = "CreateNamespace", .resource = name_space},
          .labels = LabelsOf(metadata),
          .may_be_made = true});
  }
  void Add(access::Right right) { Push({.demand = {.method = method_, .right = right}}); }

  // An object that is there and will be changed.
  void AddChanged(const std::string& resource) {
    Add(resource);
    needs_.changes = resource;
  }

  // Where an end is, and of which bridge it is a port.
  void AddEnd(const v1::VethEndpoint& end, bool makes_namespaces, const v1::Metadata& metadata) {
    switch (end.location_case()) {
      case v1::VethEndpoint::kHost:
        Add(access::Right::kHost);
        break;
      case v1::VethEndpoint::kNamespace:
        if (makes_namespaces) {
          AddOrMake(end.namespace_(), metadata);
        } else {
          Add(end.namespace_());
        }
        break;
      case v1::VethEndpoint::kNetnsPath:
        Add(access::Right::kPath);
        break;
      case v1::VethEndpoint::kPid:
        Add(access::Right::kPid);
        break;
      case v1::VethEndpoint::LOCATION_NOT_SET:
        break;
    }
    AddBridge(end);
  }

  // Of which an end or a device becomes a port. One that is not netprov's is where that is, which the call needs too.
  template <typename Port>
  void AddBridge(const Port& port) {
    if (!port.bridge().empty()) Add(port.bridge());
  }

  // Of a bridge or another device.
  template <typename Resource>
  void AddPlace(const Resource& resource) {
    if (resource.has_host()) Add(access::Right::kHost);
    if (!resource.namespace_().empty()) Add(resource.namespace_());
  }

  void AddLower(const v1::Device& device) {
    if (!device.lower_namespace().empty()) {
      Add(device.lower_namespace());
    } else if (!device.lower_interface().empty() || device.has_vxlan()) {
      Add(access::Right::kHost);
    }
  }

  // What an update gives an object. What the mask names and the object leaves out is taken away.
  template <typename Resource>
  void AddUpdate(const Resource& resource, const google::protobuf::FieldMask& mask) {
    AddChanged(resource.name());
    const v1::Metadata& metadata = resource.metadata();
    if (Names(mask, "metadata.labels")) {
      Push({.demand = {.method = method_, .resource = resource.name()}, .labels = LabelsOf(metadata)});
    }
    if (Names(mask, "metadata.owner")) AddOwner(metadata);
  }

  Needs Take() { return std::move(needs_); }

 private:
  void Push(Need need) { needs_.all.push_back(std::move(need)); }

  const std::string method_;
  Needs needs_;
};

void Collect(const v1::CreateNamespaceRequest& request, Collector& needs) {
  needs.AddCreated(absl::StrCat("namespaces/", request.namespace_id()), request.namespace_().metadata());
}

void Collect(const v1::UpdateNamespaceRequest& request, Collector& needs) {
  needs.AddUpdate(request.namespace_(), request.update_mask());
}

void Collect(const v1::AdoptNamespaceRequest& request, Collector& needs) {
  needs.AddMade(request.name(), request.namespace_().metadata());
}

void Collect(const v1::CreateVethRequest& request, Collector& needs) {
  const v1::Metadata& metadata = request.veth().metadata();
  needs.AddCreated(absl::StrCat("veths/", request.veth_id()), metadata);
  for (const v1::VethEndpoint* end : {&request.veth().endpoint_a(), &request.veth().endpoint_b()}) {
    needs.AddEnd(*end, request.create_namespaces(), metadata);
  }
}

void Collect(const v1::UpdateVethRequest& request, Collector& needs) {
  needs.AddUpdate(request.veth(), request.update_mask());
  for (const v1::VethEndpoint* end : {&request.veth().endpoint_a(), &request.veth().endpoint_b()}) {
    needs.AddBridge(*end);
  }
}

void Collect(const v1::CreateBridgeRequest& request, Collector& needs) {
  needs.AddCreated(absl::StrCat("bridges/", request.bridge_id()), request.bridge().metadata());
  needs.AddPlace(request.bridge());
}

void Collect(const v1::UpdateBridgeRequest& request, Collector& needs) {
  needs.AddUpdate(request.bridge(), request.update_mask());
}

void Collect(const v1::CreateDeviceRequest& request, Collector& needs) {
  needs.AddCreated(absl::StrCat("devices/", request.device_id()), request.device().metadata());
  needs.AddPlace(request.device());
  needs.AddLower(request.device());
  needs.AddBridge(request.device());
}

void Collect(const v1::UpdateDeviceRequest& request, Collector& needs) {
  needs.AddUpdate(request.device(), request.update_mask());
  needs.AddBridge(request.device());
}

// Leases and garbage are an owner's.
template <typename Request>
void CollectOwner(const Request& request, Collector& needs) {
  needs.Add(absl::StrCat("owners/", request.owner()));
}

template <typename Request>
void CollectParent(const Request& request, Collector& needs) {
  needs.Add(request.parent());
  if (request.parent() == kHost) needs.Add(access::Right::kHost);
}

// Calls `collect` if the request is one of its type.
template <typename Request>
bool If(const Message& request, void (*collect)(const Request&, Collector&), Collector& needs) {
  const auto* typed = dynamic_cast<const Request*>(&request);
  if (typed != nullptr) collect(*typed, needs);
  return typed != nullptr;
}

template <typename... Requests>
bool IfAny(const Message& request, Collector& needs) {
  return (If<Requests>(request, static_cast<void (*)(const Requests&, Collector&)>(Collect), needs) || ...);
}

}  // namespace

Needs NeedsOf(absl::string_view method, const Message& request) {
  Collector needs(method);
  const bool is_collected =
      IfAny<v1::CreateNamespaceRequest, v1::UpdateNamespaceRequest, v1::AdoptNamespaceRequest, v1::CreateVethRequest,
            v1::UpdateVethRequest, v1::CreateBridgeRequest, v1::UpdateBridgeRequest, v1::CreateDeviceRequest,
            v1::UpdateDeviceRequest>(request, needs) ||
      If(request, CollectOwner<v1::RenewLeaseRequest>, needs) ||
      If(request, CollectOwner<v1::CollectGarbageRequest>, needs) ||
      If(request, CollectParent<v1::ListLinksRequest>, needs) ||
      If(request, CollectParent<v1::ListAddressesRequest>, needs) ||
      If(request, CollectParent<v1::ListRoutesRequest>, needs) ||
      If(request, CollectParent<v1::ListNeighborsRequest>, needs);
  if (is_collected) return needs.Take();
  // What reads, deletes or releases one resource names it; what does not is about all of them, or about the host.
  const FieldDescriptor* name = request.GetDescriptor()->FindFieldByName("name");
  if (name != nullptr && name->type() == FieldDescriptor::TYPE_STRING && !name->is_repeated()) {
    const std::string resource = request.GetReflection()->GetString(request, name);
    if (absl::StartsWith(method, "Get")) {
      needs.Add(resource);
    } else {
      needs.AddChanged(resource);
    }
  } else if (absl::StartsWith(method, "List") || method == "WhoAmI") {
    needs.Add("");
  } else {
    needs.Add(kHost);
  }
  return needs.Take();
}

void Filter(Message& response,
            const std::function<bool(const std::string& resource, const access::Labels& labels)>& may_see) {
  const google::protobuf::Reflection& reflection = *response.GetReflection();
  // A page has its resources and the token of the next one.
  if (response.GetDescriptor()->FindFieldByName("next_page_token") == nullptr) return;
  for (int i = 0; i < response.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* list = response.GetDescriptor()->field(i);
    if (!list->is_repeated() || list->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const FieldDescriptor* name = list->message_type()->FindFieldByName("name");
    const FieldDescriptor* metadata = list->message_type()->FindFieldByName("metadata");
    if (name == nullptr || metadata == nullptr) continue;
    int kept = 0;
    for (int j = 0; j < reflection.FieldSize(response, list); ++j) {
      const Message& resource = reflection.GetRepeatedMessage(response, list, j);
      const auto& its_metadata =
          static_cast<const v1::Metadata&>(resource.GetReflection()->GetMessage(resource, metadata));
      if (!may_see(resource.GetReflection()->GetString(resource, name), LabelsOf(its_metadata))) continue;
      if (kept != j) reflection.SwapElements(&response, list, kept, j);
      ++kept;
    }
    while (reflection.FieldSize(response, list) > kept) reflection.RemoveLast(&response, list);
  }
}

void FilterPorts(Message& response, const std::function<bool(const std::string& port)>& may_see) {
  auto filter = [&may_see](v1::Bridge& bridge) {
    auto& ports = *bridge.mutable_ports();
    ports.erase(std::remove_if(ports.begin(), ports.end(), [&](const std::string& port) { return !may_see(port); }),
                ports.end());
  };
  if (auto* bridge = dynamic_cast<v1::Bridge*>(&response); bridge != nullptr) filter(*bridge);
  if (auto* page = dynamic_cast<v1::ListBridgesResponse*>(&response); page != nullptr) {
    for (v1::Bridge& bridge : *page->mutable_bridges()) filter(bridge);
  }
}

std::string DeletionOf(absl::string_view resource) {
  for (const auto& [collection, method] :
       {std::pair("namespaces/", "DeleteNamespace"), std::pair("veths/", "DeleteVeth"),
        std::pair("bridges/", "DeleteBridge"), std::pair("devices/", "DeleteDevice")}) {
    if (absl::StartsWith(resource, collection)) return method;
  }
  return "";
}

}  // namespace netprov::api
