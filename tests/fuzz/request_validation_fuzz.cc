// What anybody who can reach the server might send: the bytes of each request, read and checked as the server does.
//
// The input's first byte chooses the method, the rest is the request. Whatever is accepted must be safe: an id can't
// lead out of /run/netns, and an interface name is one that the kernel takes. Whatever is refused must be so with a
// reason, in text that can be shown, and small enough to be sent.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"
#include "server/api/bridge.h"
#include "server/api/device.h"
#include "server/api/errors.h"
#include "server/api/inspection.h"
#include "server/api/lease.h"
#include "server/api/metadata.h"
#include "server/api/namespace.h"
#include "server/api/needs.h"
#include "server/api/request.h"
#include "server/api/veth.h"
#include "server/engine/address_translation.h"
#include "server/engine/objects.h"
#include "server/netlink/nat.h"
#include "server/netlink/session.h"

namespace netprov::api {
namespace {

// gRPC takes 8 KiB of trailers; details travel in base64, beside the message.
constexpr size_t kMostErrorBytes = 7500;

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckError(const absl::Status& status) {
  Require(status.code() == absl::StatusCode::kInvalidArgument);
  Require(ReasonOf(status) == "INVALID_FIELD" || ReasonOf(status) == "MALFORMED_REQUEST");
  size_t bytes = status.message().size();
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { bytes += url.size() + payload.size() + 8; });
  Require(status.message().size() + (bytes + 2) / 3 * 4 < kMostErrorBytes);
  for (char c : status.message()) Require(c >= 0x20 && c <= 0x7e);
}

void CheckFileName(const std::string& id) {
  Require(!id.empty() && id.size() <= 255 && id != "." && id != "..");
  Require(id.find('/') == std::string::npos && id.find('\0') == std::string::npos);
}

// The characters that ids of netprov's own have.
void CheckId(const std::string& id, size_t longest) {
  CheckFileName(id);
  Require(id.size() <= longest && id[0] != '-' && id[0] != '.');
  for (char c : id) {
    Require((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
            c == '-');
  }
}

void CheckContext(const engine::CallContext& context) {
  Require(context.request_id.empty() || context.request_id.size() == 36);
}

// All of it fits into one transaction, and every port is one.
void CheckNat(const engine::EndpointConfig& config) {
  for (const engine::PortForward& forward : config.port_forwards) {
    Require(forward.host_port != 0 && forward.port != 0 && forward.count != 0);
    Require(forward.host_port + forward.count <= 65536 && forward.port + forward.count <= 65536);
    Require(!engine::NatElements(forward, config, "").empty());
  }
  const std::vector<netlink::NatElement> elements = engine::NatElements(config, /*ifindex=*/7, "");
  Require(elements.size() <= netlink::Session::kMaxTransactionRequests);
  Require(elements.empty() || config.HasNat());
  std::set<std::string> keys;
  for (const netlink::NatElement& element : elements) Require(keys.insert(engine::NatKey(element)).second);
}

// Of one bridge, or of none.
void CheckPort(const engine::EndpointConfig& config) {
  Require(config.bridge.empty() || config.bridge_interface.empty());
  Require(config.IsPort() || config.port.empty());
  Require(config.bridge_interface.size() <= 15 && config.bridge_interface.find_first_of("/%:") == std::string::npos);
}

void CheckEndpoint(const engine::EndpointSpec& spec) {
  if (!spec.namespace_id.empty()) CheckFileName(spec.namespace_id);
  if (spec.place.has_value()) {
    const std::string& path = spec.place->path;
    Require(path.empty() ? spec.place->pid != 0 : path[0] == '/' && path.find('\0') == std::string::npos);
  }
  const std::string& name = spec.interface_name;
  Require(!name.empty() && name.size() <= 15 && name != "." && name != "..");
  for (char c : name) Require(c > 0x20 && c < 0x7f && c != '/' && c != ':');
  // The kernel formats a pattern: only one %d may stand in it.
  const size_t percent = name.find('%');
  if (percent != std::string::npos) {
    Require(name.compare(percent, 2, "%d") == 0 && name.find('%', percent + 1) == std::string::npos);
  }
  Require(!spec.mac.has_value() || (spec.mac->IsUnicast() && !spec.mac->IsZero()));
  Require(!spec.mtu.has_value() || (*spec.mtu >= 68 && *spec.mtu <= 65535));
  CheckNat(spec.config);
  CheckPort(spec.config);
}

void CheckMetadata(const engine::Metadata& metadata) {
  Require(metadata.owner.empty() || IsOwner(metadata.owner));
  Require(metadata.labels.size() <= 64);
  for (const auto& [key, value] : metadata.labels) Require(!key.empty() && key.size() <= 63 && value.size() <= 255);
  Require(metadata.ttl == absl::ZeroDuration() || (metadata.ttl >= absl::Seconds(1) && !metadata.owner.empty()));
}

void CheckSysctls(const engine::Sysctls& sysctls) {
  Require(sysctls.size() <= 64);
  for (const auto& [name, value] : sysctls) {
    Require(name.rfind("net.", 0) == 0 && name.size() <= 128 && name.find("..") == std::string::npos);
    // A slash is a dot of the path.
    for (const char* part : {"./.", ".//."}) Require((name + ".").find(part) == std::string::npos);
    Require(!value.empty() && value.size() <= 255 && value.find_first_of(std::string("\n\0", 2)) == std::string::npos);
  }
}

// Each is a line, or a word of one.
void CheckDns(const engine::DnsSpec& dns) {
  Require(dns.nameservers.size() <= 3 && dns.searches.size() <= 32 && dns.options.size() <= 16);
  Require(dns.hosts.size() <= 256);
  auto check = [](const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      Require(!word.empty() && word.size() <= 253);
      for (char c : word) Require(c > 0x20 && c < 0x7f && c != '#' && c != ';');
    }
  };
  check(dns.nameservers);
  check(dns.searches);
  check(dns.options);
  for (const engine::HostsEntry& entry : dns.hosts) {
    check({entry.address});
    Require(!entry.names.empty() && entry.names.size() <= 16);
    check(entry.names);
  }
}

// What RenewLease and the gets come to: an owner, or an id.
void CheckCall(const std::string& text) {
  if (!IsOwner(text)) CheckFileName(text);
}
void CheckCall(const GetNamespaceQuery& query) { CheckFileName(query.id); }
void CheckCall(const GarbageQuery& query) { Require(IsOwner(query.owner)); }
void CheckCall(const ListCall& call) { Require(call.limit >= 1 && call.limit <= 1000 && call.after.size() < 1024); }
template <typename Filter>
void CheckCall(const InspectCall<Filter>& call) {
  CheckCall(call.page);
  if (!call.filter.namespace_id.empty()) CheckFileName(call.filter.namespace_id);
  const std::string& name = call.filter.interface_name;
  Require(name.size() <= 127 && name.find('\0') == std::string::npos);
}
void CheckCall(const engine::CreateNamespaceCall& call) {
  CheckContext(call.context);
  CheckId(call.id, 255);
  CheckSysctls(call.spec.sysctls);
  CheckDns(call.spec.dns);
  CheckMetadata(call.metadata);
}
void CheckCall(const engine::DeleteNamespaceCall& call) {
  CheckContext(call.context);
  CheckFileName(call.id);
}
void CheckCall(const engine::AdoptNamespaceCall& call) {
  CheckContext(call.context);
  CheckFileName(call.id);
  CheckSysctls(call.spec.sysctls);
  CheckDns(call.spec.dns);
  CheckMetadata(call.metadata);
  Require(!call.metadata.persistent);
}
void CheckCall(const engine::ReleaseNamespaceCall& call) {
  CheckContext(call.context);
  CheckFileName(call.id);
}
void CheckCall(const engine::CreateVethCall& call) {
  CheckContext(call.context);
  if (!call.id.empty()) CheckId(call.id, 63);
  CheckEndpoint(call.spec.a);
  CheckEndpoint(call.spec.b);
  CheckMetadata(call.metadata);
}
void CheckCall(const engine::DeleteVethCall& call) {
  CheckContext(call.context);
  CheckId(call.id, 63);
}
void CheckDevice(const engine::DeviceSpec& spec) {
  CheckEndpoint(spec.link);
  const engine::LowerSpec& lower = spec.lower;
  Require(lower.interface_name.size() <= 15 && lower.interface_name.find('%') == std::string::npos);
  if (!lower.namespace_id.empty()) CheckFileName(lower.namespace_id);
  Require(engine::HasLower(spec.options) || lower == engine::LowerSpec());
  if (const auto* vxlan = std::get_if<engine::VxlanOptions>(&spec.options); vxlan != nullptr) {
    Require(vxlan->info.vni >= 1 && vxlan->info.vni < 1u << 24 && vxlan->info.port != 0 && vxlan->fdb.size() <= 1024);
  } else {
    Require(!engine::HasLower(spec.options) || !lower.interface_name.empty());
  }
}
// Of a bridge or another device, by its resource name.
std::string IdOfDevice(const std::string& name) {
  const std::string collection = engine::DeviceName("");
  Require(name.rfind(collection, 0) == 0 || name.rfind("bridges/", 0) == 0);
  return name.substr(name.find('/') + 1);
}
void CheckCall(const engine::CreateDeviceCall& call) {
  CheckContext(call.context);
  const std::string id = IdOfDevice(call.name);
  if (!id.empty()) CheckId(id, 63);
  CheckDevice(call.spec);
  CheckMetadata(call.metadata);
}

void CheckCall(const engine::DeleteDeviceCall& call) {
  CheckContext(call.context);
  CheckId(IdOfDevice(call.name), 63);
}

// Any edit of what may be there is something that may be there, or is refused with its fields.
template <typename Spec, typename Check>
void CheckEdit(const engine::Edit<Spec>& edit, const engine::Asked<Spec>& present, Check check) {
  const auto asked = edit(present);
  if (asked.ok()) {
    CheckMetadata(asked->metadata);
    return check(asked->spec);
  }
  Require(!asked.error().empty());
  for (const engine::InvalidField& field : asked.error()) Require(!field.field.empty() && !field.description.empty());
}
void CheckCall(const engine::UpdateNamespaceCall& call) {
  CheckContext(call.context);
  CheckFileName(call.id);
  CheckEdit(call.edit, {}, [](const engine::NamespaceSpec& spec) {
    CheckSysctls(spec.sysctls);
    CheckDns(spec.dns);
  });
}
void CheckCall(const engine::UpdateDeviceCall& call) {
  CheckContext(call.context);
  CheckId(IdOfDevice(call.name), 63);
  engine::VxlanOptions vxlan;
  vxlan.info.vni = 7;
  std::vector<engine::DeviceOptions> kinds = {netlink::MacvlanInfo(), vxlan};
  if (call.name.rfind("bridges/", 0) == 0) kinds = {netlink::BridgeInfo()};
  for (const engine::DeviceOptions& options : kinds) {
    const engine::LowerSpec lower{.interface_name = engine::HasLower(options) ? "eth0" : ""};
    const engine::Asked<engine::DeviceSpec> present{
        .spec = {.link = {.namespace_id = "blue", .interface_name = "d0"}, .options = options, .lower = lower},
        .metadata = {}};
    CheckEdit(call.edit, present, [&](const engine::DeviceSpec& spec) {
      CheckDevice(spec);
      // What never changes.
      Require(spec.lower == present.spec.lower && spec.options.index() == options.index() &&
              spec.link.namespace_id == "blue" && spec.link.interface_name == "d0");
    });
  }
}
void CheckCall(const engine::UpdateVethCall& call) {
  CheckContext(call.context);
  CheckId(call.id, 63);
  const engine::Asked<engine::VethSpec> present{
      .spec = {.a = {.interface_name = "h0"}, .b = {.namespace_id = "blue", .interface_name = "veth%d"}},
      .metadata = {}};
  CheckEdit(call.edit, present, [&](const engine::VethSpec& spec) {
    CheckEndpoint(spec.a);
    CheckEndpoint(spec.b);
    // What never changes.
    Require(spec.a.is_at_host() && spec.b.namespace_id == "blue" && spec.a.interface_name == "h0" &&
            spec.b.interface_name == "veth%d");
  });
}

template <typename Request>
void Serve(absl::string_view bytes) {
  Request request;
  if (absl::Status status = Decode(bytes, request); !status.ok()) return CheckError(status);
  const std::string resource = Summarize(request).resource;
  // Who may make it is asked before it is checked.
  Require(!NeedsOf("M", request).all.empty());
  const auto call = ToCall(request);
  if (!call.ok()) return CheckError(call.status());
  CheckCall(*call);
  // Two equal requests must have one fingerprint.
  Request again;
  Require(Decode(request.SerializeAsString(), again).ok());
  Require(Fingerprint("M", resource, request) == Fingerprint("M", resource, again));
}

}  // namespace
}  // namespace netprov::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace netprov;       // NOLINT(google-build-using-namespace): the function must be global.
  using namespace netprov::api;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 26) {
    case 0:
      Serve<v1::CreateNamespaceRequest>(bytes);
      break;
    case 1:
      Serve<v1::GetNamespaceRequest>(bytes);
      break;
    case 2:
      Serve<v1::ListNamespacesRequest>(bytes);
      break;
    case 3:
      Serve<v1::DeleteNamespaceRequest>(bytes);
      break;
    case 4:
      Serve<v1::CreateVethRequest>(bytes);
      break;
    case 5:
      Serve<v1::GetVethRequest>(bytes);
      break;
    case 6:
      Serve<v1::ListVethsRequest>(bytes);
      break;
    case 7:
      Serve<v1::DeleteVethRequest>(bytes);
      break;
    case 8:
      Serve<v1::RenewLeaseRequest>(bytes);
      break;
    case 9:
      Serve<v1::CollectGarbageRequest>(bytes);
      break;
    case 10:
      Serve<v1::ListLinksRequest>(bytes);
      break;
    case 11:
      Serve<v1::ListAddressesRequest>(bytes);
      break;
    case 12:
      Serve<v1::ListRoutesRequest>(bytes);
      break;
    case 13:
      Serve<v1::UpdateNamespaceRequest>(bytes);
      break;
    case 14:
      Serve<v1::UpdateVethRequest>(bytes);
      break;
    case 15:
      Serve<v1::ListNeighborsRequest>(bytes);
      break;
    case 16:
      Serve<v1::AdoptNamespaceRequest>(bytes);
      break;
    case 17:
      Serve<v1::ReleaseNamespaceRequest>(bytes);
      break;
    case 18:
      Serve<v1::UpdateDeviceRequest>(bytes);
      break;
    case 20:
      Serve<v1::CreateBridgeRequest>(bytes);
      break;
    case 21:
      Serve<v1::UpdateBridgeRequest>(bytes);
      break;
    case 22:
      Serve<v1::DeleteBridgeRequest>(bytes);
      break;
    case 23:
      Serve<v1::ListBridgesRequest>(bytes);
      break;
    case 24:
      Serve<v1::DeleteDeviceRequest>(bytes);
      break;
    case 25:
      Serve<v1::ListDevicesRequest>(bytes);
      break;
    default:
      Serve<v1::CreateDeviceRequest>(bytes);
      break;
  }
  return 0;
}
