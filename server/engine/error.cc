#include "server/engine/error.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/engine/objects.h"

namespace netprov::engine {
namespace {

std::string FieldOf(const NetnsPlace& place, const std::string& end) {
  return end + (place.path.empty() ? ".pid" : ".netns_path");
}

}  // namespace

Error KernelFailure(const std::string& object, const std::string& step, const KernelError& error) {
  return {.reason = Reason::kKernel,
          .message = absl::StrCat(step, " failed: ", error.ToString()),
          .object = object,
          .step = step,
          .kernel = error};
}

Error RegistryFailure(const std::string& object, const std::string& message) {
  return {.reason = Reason::kRegistryFailed, .message = message, .object = object};
}

Error RollbackFailure(const std::string& object, const std::string& why, const std::vector<std::string>& residue) {
  return {.reason = Reason::kRollbackFailed,
          .message = absl::StrCat(why, "; and it could not be undone: ", absl::StrJoin(residue, "; ")),
          .object = object,
          .residue = absl::StrJoin(residue, "; ")};
}

Error QuotaExceeded(const std::string& object, const QuotaExcess& excess) {
  // The name comes last, as it may be long.
  return {.reason = Reason::kQuotaExceeded,
          .message = absl::StrCat("there may be at most ", excess.limit, " ", excess.quota,
                                  " at a time: ", excess.usage, " are there, and the call would add ", excess.added,
                                  excess.whose.empty() ? ", counted for all callers together" : ", counted for ",
                                  excess.whose),
          .object = object,
          .excess = excess};
}

Error Stopped(const std::string& object) {
  return {.reason = Reason::kStopped, .message = "the caller gave up before anything was changed", .object = object};
}

Error NamespaceNotFound(const std::string& id) {
  return {.reason = Reason::kNamespaceNotFound,
          .message = absl::StrCat("there is no network namespace '", id, "'"),
          .object = NamespaceName(id)};
}

Error NamespaceAlreadyExists(const std::string& id, bool specs_match) {
  return {.reason = Reason::kNamespaceAlreadyExists,
          .message = absl::StrCat("the network namespace '", id, "' exists already",
                                  specs_match ? "" : ", and is not the one asked for"),
          .object = NamespaceName(id),
          .specs_match = specs_match};
}

Error NamespaceNotManaged(const std::string& id) {
  return {.reason = Reason::kNamespaceNotManaged,
          .message = absl::StrCat("the network namespace '", id, "' was not made by netprov"),
          .object = NamespaceName(id)};
}

Error NamespaceFileStale(const std::string& id) {
  return {.reason = Reason::kNamespaceFileStale,
          .message = absl::StrCat("the file of the name '", id, "' at /run/netns is no network namespace"),
          .object = NamespaceName(id)};
}

Error NamespaceMissing(const std::string& id) {
  return {.reason = Reason::kNamespaceMissing,
          .message = absl::StrCat("the network namespace '", id, "' was removed or replaced by somebody else"),
          .object = NamespaceName(id)};
}

Error NamespaceBusy(const std::string& id, const Inhabitants& inhabitants) {
  const std::string more = inhabitants.count > inhabitants.first.size() ? " and more" : "";
  return {.reason = Reason::kNamespaceBusy,
          .message = absl::StrCat("the network namespace '", id, "' has ", inhabitants.count,
                                  inhabitants.count == 1 ? " process" : " processes",
                                  " inside: ", ToText(inhabitants.first), more, "; end them, or delete it by force"),
          .object = NamespaceName(id),
          .inhabitants = inhabitants};
}

Error ObjectMissing(const std::string& object) {
  return {.reason = Reason::kObjectMissing,
          .message = absl::StrCat(object, " is not in the kernel any more, so that it can't be changed"),
          .object = object};
}

Error InvalidChange(const std::string& object, std::vector<InvalidField> invalid) {
  return {.reason = Reason::kInvalidChange,
          .message = absl::StrCat(object, " can't be what is asked for"),
          .object = object,
          .invalid = std::move(invalid)};
}

Error VethNotFound(const std::string& id) {
  return {.reason = Reason::kVethNotFound,
          .message = absl::StrCat("there is no veth pair '", id, "'"),
          .object = VethName(id)};
}

Error InterfaceNameTaken(const std::string& object, const std::string& field, const std::string& interface_name,
                         const std::string& namespace_id, const std::optional<NetnsPlace>& place) {
  std::string where = absl::StrCat("in the namespace '", namespace_id, "'");
  if (place.has_value()) {
    where = absl::StrCat("in the namespace of ", ToText(*place));
  } else if (namespace_id.empty()) {
    where = "in the host's namespace";
  }
  return {.reason = Reason::kInterfaceNameTaken,
          .message = absl::StrCat("there is a link '", interface_name, "' ", where),
          .object = object,
          .field = FieldIn(field, "interface_name"),
          .interface_name = interface_name};
}

Error PortForwardTaken(const std::string& object, const std::string& field, const std::string& port,
                       const std::string& holder) {
  return {.reason = Reason::kPortForwardTaken,
          .message = absl::StrCat(port, " is forwarded already, by ", holder.empty() ? "somebody else" : holder),
          .object = object,
          .field = field,
          .holder = holder};
}

Error PlaceFailure(const NetnsPlace& place, const std::string& field, const KernelError& error) {
  Error failure = KernelFailure(PlaceName(place), "open the namespace of " + ToText(place), error);
  switch (error.code) {
    case ENOENT:
    case ENOTDIR:
      failure.reason = Reason::kPlaceNotFound;
      failure.message = absl::StrCat("there is nothing at ", ToText(place));
      break;
    case ESRCH:
      failure.reason = Reason::kPlaceNotFound;
      failure.message = absl::StrCat("there is no ", ToText(place));
      break;
    case EMEDIUMTYPE:
    case ELOOP:
      return PlaceUnusable(place, field,
                           error.extack.empty() ? "is no network namespace" : "can't be used: " + error.extack);
    default:
      return failure;
  }
  failure.field = FieldOf(place, field);
  return failure;
}

Error PlaceReplaced(const NetnsPlace& place, const std::string& field) {
  return {.reason = Reason::kPlaceNotFound,
          .message = absl::StrCat(ToText(place), " leads to another network namespace than before"),
          .object = PlaceName(place),
          .field = FieldOf(place, field)};
}

Error PlaceUnusable(const NetnsPlace& place, const std::string& field, const std::string& why) {
  return {.reason = Reason::kPlaceUnusable,
          .message = absl::StrCat(ToText(place), " ", why),
          .object = PlaceName(place),
          .field = FieldOf(place, field)};
}

Error NamespaceNotAdoptable(const std::string& id, const std::string& why) {
  return {.reason = Reason::kNamespaceNotAdoptable,
          .message = absl::StrCat("the network namespace '", id, "' ", why),
          .object = NamespaceName(id)};
}

Error NamespaceInUse(const std::string& id, const std::vector<std::string>& users) {
  constexpr size_t kMostNamed = 5;
  const size_t named = std::min(users.size(), kMostNamed);
  return {.reason = Reason::kNamespaceInUse,
          .message = absl::StrCat("the network namespace '", id, "' is used by ",
                                  absl::StrJoin(users.begin(), users.begin() + static_cast<ptrdiff_t>(named), ", "),
                                  named < users.size() ? " and more" : "", "; delete them first"),
          .object = NamespaceName(id)};
}

Error DnsFileNotManaged(const std::string& id, const std::string& file) {
  return {.reason = Reason::kDnsFileNotManaged,
          .message = absl::StrCat("the file /etc/netns/", id, "/", file,
                                  " is not netprov's; remove it, or leave out of `dns` what would be in it"),
          .object = NamespaceName(id)};
}

Error RequestIdReused(const std::string& object) {
  return {.reason = Reason::kRequestIdReused,
          .message = "this request_id belongs to another request, which succeeded",
          .object = object};
}

Error VethAlreadyExists(const std::string& id, bool specs_match) {
  return {.reason = Reason::kVethAlreadyExists,
          .message = absl::StrCat("the veth pair '", id, "' exists already",
                                  specs_match ? "" : ", and is not the one asked for"),
          .object = VethName(id),
          .specs_match = specs_match};
}

Error DeviceNotFound(const std::string& name) {
  return {.reason = Reason::kDeviceNotFound, .message = absl::StrCat("there is no ", name), .object = name};
}

Error DeviceAlreadyExists(const std::string& name, bool specs_match) {
  return {.reason = Reason::kDeviceAlreadyExists,
          .message = absl::StrCat(name, " exists already", specs_match ? "" : ", and is not the one asked for"),
          .object = name,
          .specs_match = specs_match};
}

Error DeviceInUse(const std::string& name, const std::vector<std::string>& users) {
  constexpr size_t kMostNamed = 5;
  const size_t named = std::min(users.size(), kMostNamed);
  return {.reason = Reason::kDeviceInUse,
          .message = absl::StrCat(name, " has ", users.size(), users.size() == 1 ? " port: " : " ports: ",
                                  absl::StrJoin(users.begin(), users.begin() + static_cast<ptrdiff_t>(named), ", "),
                                  named < users.size() ? " and more" : "", "; delete them first"),
          .object = name};
}

Error BridgeUnusable(const std::string& name, const std::string& why) {
  return {.reason = Reason::kBridgeUnusable, .message = absl::StrCat("the bridge ", name, " ", why), .object = name};
}

Error LowerNotFound(const std::string& device, const std::string& interface_name, const std::string& namespace_id) {
  return {.reason = Reason::kLowerNotFound,
          .message = absl::StrCat(
              "there is no link '", interface_name, "' ",
              namespace_id.empty() ? "in the host's namespace" : absl::StrCat("in the namespace '", namespace_id, "'")),
          .object = device,
          .field = "lower_interface",
          .interface_name = interface_name};
}

bool IsDeviceRefusal(const DeviceOptions& options, const KernelError& error) {
  if (std::holds_alternative<netlink::BridgeInfo>(options)) return false;
  // Not of a socket that the request needs.
  if (!absl::StartsWith(error.operation, "RTM_")) return false;
  switch (error.code) {
    case EEXIST:
      return !error.extack.empty();
    case EBUSY:
    case EINVAL:
    case ENETDOWN:
    case EADDRINUSE:
    case EADDRNOTAVAIL:
    case ERANGE:
      return true;
    default:
      return false;
  }
}

Error DeviceRefused(Error failure) {
  failure.reason = Reason::kDeviceRefused;
  return failure;
}

Error AtField(Error error, const std::string& field) {
  error.field = field;
  return error;
}

KernelResult<void> ToKernelResult(EngineResult<void> result) {
  if (result.ok()) return {};
  return *std::move(result.error().kernel);
}

}  // namespace netprov::engine
