// What the registry keeps.
#ifndef NETPROV_SERVER_ENGINE_RECORDS_H_
#define NETPROV_SERVER_ENGINE_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/objects.h"
#include "server/engine/quota.h"

namespace netprov::engine {

// What a namespace was like before netprov adopted it, as far as that changed it.
struct Adoption {
  bool loopback_up = false;
  std::string loopback_alias;
  Sysctls sysctls;  // those that the caller gave, without those that the kernel does not have

  friend bool operator==(const Adoption&, const Adoption&) = default;
};

// A namespace that netprov made or adopted.
struct NamespaceRecord {
  std::string id;
  std::string uid;
  absl::Time create_time;
  std::string boot_id;  // /proc/sys/kernel/random/boot_id at creation: cookies and links are of that boot only
  uint64_t cookie = 0;  // 0 in an intent to create
  NamespaceSpec spec;   // as asked for
  Metadata metadata;
  std::string creator;               // CallContext::caller of the call that made or adopted it; empty: unknown
  std::optional<Adoption> adoption;  // nullopt: netprov made it
  bool owns_etc_directory = false;   // with `spec.dns`: netprov made /etc/netns/ID too

  // As it was made.
  Namespace ToNamespace() const;
};

// A veth pair that netprov made.
struct VethRecord {
  std::string id;
  std::string uid;
  absl::Time create_time;
  std::string boot_id;
  VethSpec spec;  // as asked for
  // As made, but for what never differs from `spec`, which is all of the configs but the settings of a port. In an
  // intent to create, with the names that will be used.
  Endpoint a;
  Endpoint b;
  Metadata metadata;
  std::string creator;  // as NamespaceRecord::creator

  // As it was made.
  Veth ToVeth() const;

  // Whether an end lives in the namespace with that key (NetnsKey()), such as the id of a managed one.
  bool EndsIn(const std::string& netns_key) const { return a.netns_key() == netns_key || b.netns_key() == netns_key; }
};

// A device that netprov made.
struct DeviceRecord {
  std::string name;  // the resource name, as in `bridges/br0`
  std::string uid;
  absl::Time create_time;
  std::string boot_id;
  DeviceSpec spec;        // as asked for
  Endpoint link;          // as VethRecord::a
  DeviceOptions options;  // as made
  // Of its namespace when it was made, or is about to be; 0 for the host's: in one that was made again under the same
  // name, indexes begin anew.
  uint64_t netns_cookie = 0;
  uint32_t lower_ifindex = 0;  // what the kernel said that it stands on when it was made; 0: on nothing
  Metadata metadata;
  std::string creator;  // as NamespaceRecord::creator

  // As it was made.
  Device ToDevice() const;
};

// The answer to a request id.
struct RequestRecord {
  std::string request_id;
  std::string fingerprint;
  // What was created, as it was answered; all empty for a delete.
  std::optional<Namespace> netns;
  std::optional<Veth> veth;
  std::optional<Device> device;
};

// What a change is about to do, written before it does it.
struct Intent {
  enum class Kind {
    kCreateNamespace,
    kDeleteNamespace,
    kCreateVeth,
    kDeleteVeth,
    kCreateDevice,
    kDeleteDevice,
    kUpdateNamespace,
    kUpdateVeth,
    kUpdateDevice,
    kAdoptNamespace,
    kReleaseNamespace,
  };
  Kind kind;
  // The one that the kind is about; of an update as it shall be.
  NamespaceRecord netns;
  VethRecord veth;
  DeviceRecord device;
  // Of the creation of a pair: namespaces that are made with it.
  std::vector<NamespaceRecord> new_namespaces;
  // Of a delete or a release: what its caller will be told, also when recovery has to complete it.
  std::optional<RequestRecord> request;
  // Of an update: what to go back to, with what the kernel had of all that is changed.
  struct Former {
    NamespaceSpec netns;
    VethSpec veth;
    DeviceSpec device;
    // And of a creation: the settings of forwarding that the pair's ends change, each where the other end is, as they
    // were; none where nothing is changed.
    Sysctls forwarding_a;
    Sysctls forwarding_b;
  };
  Former former;
  // Of an update: what the object counts for then. What the record here asks for may be less, where somebody took a
  // part of the rest away.
  std::optional<Usage> usage_after;
};

// Calls `visit` with the record of what an intent is about.
template <typename Visit>
decltype(auto) VisitRecord(const Intent& intent, Visit&& visit) {
  switch (intent.kind) {
    case Intent::Kind::kCreateNamespace:
    case Intent::Kind::kDeleteNamespace:
    case Intent::Kind::kUpdateNamespace:
    case Intent::Kind::kAdoptNamespace:
    case Intent::Kind::kReleaseNamespace:
      return visit(intent.netns);
    case Intent::Kind::kCreateVeth:
    case Intent::Kind::kDeleteVeth:
    case Intent::Kind::kUpdateVeth:
      return visit(intent.veth);
    case Intent::Kind::kCreateDevice:
    case Intent::Kind::kDeleteDevice:
    case Intent::Kind::kUpdateDevice:
      break;
  }
  return visit(intent.device);
}

// Of what an intent is about: the resource name, the uid, and who made it (as in its record).
std::string ObjectOf(const Intent& intent);
const std::string& UidOf(const Intent& intent);
const std::string& CreatorOf(const Intent& intent);
// Whether it is about the object with that uid, or makes it.
bool IsOf(const Intent& intent, const std::string& uid);
// Whether recovery completes it: of the object, or of a namespace that is released of its record alone.
bool IsDeletion(const Intent& intent);
bool IsUpdate(const Intent& intent);

// What became of an intent.
enum class Fate {
  kUnfinished = 0,  // it has no outcome
  kDone = 1,
  kUndone = 2,      // its maker failed, and undid it
  kRolledBack = 3,  // recovery undid it
  kCompleted = 4,   // recovery completed it
};

// A change that a call made or tried, until the call's line is known to be in the audit log.
struct TracedChange {
  std::string call_id;  // Origin
  std::string origin;   // its text
  // The resource names of what is changed: what the intent is about, and what comes and goes with it.
  std::vector<std::string> objects;
  Fate fate = Fate::kUnfinished;
};

// An intent that has no outcome: its maker died in between, or could not undo it.
struct PendingIntent {
  int64_t sequence;
  Intent intent;
};

// What a change did: these records are written and removed together, and the intent with them.
struct Outcome {
  std::vector<NamespaceRecord> put_namespaces;
  std::optional<VethRecord> put_veth;
  std::optional<DeviceRecord> put_device;
  std::optional<NamespaceRecord> remove_namespace;  // by id, where the uid is the same
  std::vector<VethRecord> remove_veths;             // by id, where the uid is the same
  std::vector<DeviceRecord> remove_devices;         // by name, where the uid is the same
  std::optional<RequestRecord> request;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_RECORDS_H_
