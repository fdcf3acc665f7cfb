// Why the engine refused or failed.
#ifndef NETPROV_SERVER_ENGINE_ERROR_H_
#define NETPROV_SERVER_ENGINE_ERROR_H_

#include <optional>
#include <string>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/base/result.h"
#include "server/engine/objects.h"
#include "server/engine/quota.h"

namespace netprov::engine {

// What went wrong, in the domain's terms. server/api maps each to a gRPC code and an ErrorReason; kKernel by the errno
// too.
enum class Reason {
  kRequestIdReused,         // the request id belongs to another request that succeeded
  kNamespaceNotFound,       // nothing of that name
  kNamespaceAlreadyExists,  // ours already; specs_match says whether it is identical
  kNamespaceNotManaged,     // there, but not ours
  kNamespaceFileStale,      // the file of that name is no network namespace
  kNamespaceMissing,        // ours, but gone from the kernel or replaced
  kNamespaceBusy,           // `inhabitants` are inside
  kObjectMissing,           // a pair or a device of ours that is gone from the kernel, so that it can't be changed
  kInvalidChange,           // `invalid` says which fields
  kNamespaceNotAdoptable,   // it is the host's, or may be another netprov's
  kNamespaceInUse,          // pairs or devices of ours are in it
  kDnsFileNotManaged,       // somebody else has a file at /etc/netns where one of its own is wanted
  kVethNotFound,
  kVethAlreadyExists,  // specs_match says whether it is identical
  kDeviceNotFound,
  kDeviceAlreadyExists,  // specs_match says whether it is identical
  kDeviceInUse,          // others of ours stand on it
  kBridgeUnusable,       // gone from the kernel, or in another place, or not what was asked for; `field` says which end
                         // wants it
  kLowerNotFound,        // there is no link of the name that a device is to stand on
  kDeviceRefused,        // the kernel does not make such a device there; `kernel` says why
  kInterfaceNameTaken,   // `field` says which end
  kPortForwardTaken,     // `field` says which one; it is `holder`'s
  kPlaceNotFound,        // nothing leads to a namespace there, or not to the same any more
  kPlaceUnusable,        // what is there is no network namespace, or one that is named otherwise
  kKernel,               // a system call or a netlink request failed; `kernel` holds it; everything was undone
  kRollbackFailed,       // as kKernel, but undoing failed too; `residue` says what is left
  kQuotaExceeded,        // `excess` says which
  kRegistryFailed,       // the registry could not be read or written; everything was undone
  kStopped,              // the caller's deadline passed or it cancelled, before the first change
};

// A field of a request that is wrong for the object that it shall change.
struct InvalidField {
  std::string field;        // its path in the request
  std::string description;  // goes on after the field's name
};

// A refusal. Unless the reason is kRollbackFailed, nothing was changed.
struct Error {
  Reason reason;

  // One sentence without a full stop, for a person.
  std::string message;

  // What it is about: `namespaces/blue`, `veths/v1`, or a place (PlaceName()).
  std::string object;

  // The request's field that named it, where that is not the call's own resource: `endpoint_a.namespace`.
  std::string field;

  // The step of the plan that failed, as in `create veth`; empty when none had begun.
  std::string step;

  // The kernel's words, with kKernel, kRollbackFailed and kDeviceRefused.
  std::optional<KernelError> kernel;

  // With k...AlreadyExists: whether the object that exists is what was asked for.
  std::optional<bool> specs_match;

  // With kInterfaceNameTaken and kLowerNotFound: the name.
  std::string interface_name;

  // With kPortForwardTaken: the resource name of the pair that has it; empty: somebody else's.
  std::string holder;

  // With kRollbackFailed: what could not be undone.
  std::string residue;

  // With kNamespaceBusy: how many, and the first of them.
  Inhabitants inhabitants;

  // With kQuotaExceeded.
  std::optional<QuotaExcess> excess;

  // With kInvalidChange: at least one.
  std::vector<InvalidField> invalid;
};

template <typename T>
using EngineResult = netprov::Result<T, Error>;

// Why a namespace that netprov adopted can't be persistent.
inline constexpr char kAdoptedIsNotPersistent[] =
    "must not be set of an adopted namespace: what others made in it can't be made again after a reboot";

// The engine's refusals, each made here. `object` is a resource name.

// A step failed; all before it was undone.
Error KernelFailure(const std::string& object, const std::string& step, const KernelError& error);
// The same, but `residue` could not be undone. `why` is what failed first.
Error RollbackFailure(const std::string& object, const std::string& why, const std::vector<std::string>& residue);
// `message` is the registry's.
Error RegistryFailure(const std::string& object, const std::string& message);
Error QuotaExceeded(const std::string& object, const QuotaExcess& excess);
Error Stopped(const std::string& object);
Error RequestIdReused(const std::string& object);
Error NamespaceNotFound(const std::string& id);
Error NamespaceAlreadyExists(const std::string& id, bool specs_match);
Error NamespaceNotManaged(const std::string& id);
Error NamespaceFileStale(const std::string& id);
Error NamespaceMissing(const std::string& id);
Error NamespaceBusy(const std::string& id, const Inhabitants& inhabitants);
Error ObjectMissing(const std::string& object);
Error InvalidChange(const std::string& object, std::vector<InvalidField> invalid);
// `why` goes on after the name, as in `is the host's own`.
Error NamespaceNotAdoptable(const std::string& id, const std::string& why);
// `users` are resource names.
Error NamespaceInUse(const std::string& id, const std::vector<std::string>& users);
// `file` is resolv.conf or hosts.
Error DnsFileNotManaged(const std::string& id, const std::string& file);
Error VethNotFound(const std::string& id);
Error VethAlreadyExists(const std::string& id, bool specs_match);
// These take the resource name.
Error DeviceNotFound(const std::string& name);
Error DeviceAlreadyExists(const std::string& name, bool specs_match);
Error DeviceInUse(const std::string& name, const std::vector<std::string>& users);
// `why` completes the sentence `The bridge ...`.
Error BridgeUnusable(const std::string& name, const std::string& why);
// A device that is to stand on the link of that name, in the managed namespace or, with an empty id, the host's.
Error LowerNotFound(const std::string& device, const std::string& interface_name, const std::string& namespace_id);
// Whether the kernel refuses the device itself, as things are there. EEXIST: of a name that is taken it does not say
// why.
bool IsDeviceRefusal(const DeviceOptions& options, const KernelError& error);
// `failure` is the kernel's.
Error DeviceRefused(Error failure);
// The path of a field of `of`, which is empty where that is the object itself.
inline std::string FieldIn(const std::string& of, const std::string& name) {
  return of.empty() ? name : of + "." + name;
}
// An error with its field.
Error AtField(Error error, const std::string& field);

// For a step of a plan: what the kernel said. Where `result` failed, it was the kernel that refused.
KernelResult<void> ToKernelResult(EngineResult<void> result);
// `field` is the end's, as in `endpoint_a`, empty where the object is the link. It lives at `place`, or where
// `namespace_id` says, empty for the host's namespace.
Error InterfaceNameTaken(const std::string& object, const std::string& field, const std::string& interface_name,
                         const std::string& namespace_id, const std::optional<NetnsPlace>& place = std::nullopt);
// `field` is the forward's. `port` says which, as in `tcp 80`.
Error PortForwardTaken(const std::string& object, const std::string& field, const std::string& port,
                       const std::string& holder);
// `field` is the end's. What Kernel::FindPlace() says where it finds no network namespace.
Error PlaceFailure(const NetnsPlace& place, const std::string& field, const KernelError& error);
// It led to another namespace before.
Error PlaceReplaced(const NetnsPlace& place, const std::string& field);
// `why` goes on after the place, as in `is namespaces/blue`.
Error PlaceUnusable(const NetnsPlace& place, const std::string& field, const std::string& why);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ERROR_H_
