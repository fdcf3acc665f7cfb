// What happens in a simulation: calls of clients, acts of other programs, ends of the daemon.
#ifndef NETPROV_TESTS_SIMULATION_HISTORY_H_
#define NETPROV_TESTS_SIMULATION_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "tests/simulation/random.h"

namespace netprov::simulation {

// What an update makes of an object: the fields that it changes.
struct Change {
  struct End {
    std::optional<uint32_t> mtu;
    bool any_mtu = false;  // it is left to the kernel again
    std::optional<bool> up;
    std::optional<engine::EndpointConfig> config;  // addresses, routes, rates and so on
    std::optional<std::string> bridge;             // of which it becomes a port; empty: of none
    engine::PortOptions port;                      // as which
  };
  End a, b;                                      // of a pair; of a device `a` is the link
  std::optional<engine::DeviceOptions> options;  // of a device
  std::optional<engine::Sysctls> sysctls;        // of a namespace
  std::optional<engine::DnsSpec> dns;            // the same
  std::optional<std::string> owner;
  std::optional<absl::Duration> ttl;
  std::optional<std::string> label;
  std::optional<bool> persistent;
  std::optional<bool> self_heal;

  void Apply(engine::VethSpec& spec) const;
  void Apply(engine::DeviceSpec& spec) const;
  void Apply(engine::NamespaceSpec& spec) const;
  // False: a lease needs an owner, as server/api says.
  bool Apply(engine::Metadata& metadata) const;
  std::string ToString() const;
};

// One call of the engine, by a client or by the caretaker.
struct Call {
  enum class Method {
    kCreateNamespace,
    kDeleteNamespace,
    kAdoptNamespace,
    kReleaseNamespace,
    kCreateVeth,
    kDeleteVeth,
    kCreateDevice,
    kDeleteDevice,
    kUpdateNamespace,
    kUpdateVeth,
    kUpdateDevice,
    kCollectGarbage,
    kExpire,
    kTend,
    kGetNamespace,
    kGetVeth,
    kGetDevice,
    kListNamespaces,
    kListVeths,
    kListDevices,
  };
  Method method = Method::kCreateNamespace;
  std::string id;               // of a device its resource name, of a list of devices their collection; else empty
  engine::VethSpec spec;        // with kCreateVeth
  engine::DeviceSpec device;    // with kCreateDevice
  engine::NamespaceSpec netns;  // with kCreateNamespace and kAdoptNamespace
  bool births = false;          // create_namespaces
  bool allow = false;           // allow_existing, allow_missing
  bool validate = false;        // validate_only
  std::string request_id;       // empty: none

  engine::Metadata metadata;      // with the creates
  Change change;                  // with the updates
  std::string owner;              // with kCollectGarbage
  std::vector<std::string> keep;  // the same
  engine::ObjectRef object;       // with kExpire and kTend

  // With kCollectGarbage, what was planned when it was made.
  std::vector<engine::ObjectRef> doomed;
  std::vector<std::string> kept;

  bool reads() const { return method >= Method::kGetNamespace; }
  // It is not one act, but one for each object.
  bool is_piecemeal() const { return method == Method::kCollectGarbage && !validate; }
  bool creates() const {
    return method == Method::kCreateNamespace || method == Method::kAdoptNamespace || method == Method::kCreateVeth ||
           method == Method::kCreateDevice;
  }
  bool deletes() const {
    return method == Method::kDeleteNamespace || method == Method::kReleaseNamespace || method == Method::kDeleteVeth ||
           method == Method::kDeleteDevice;
  }
  bool updates() const {
    return method == Method::kUpdateNamespace || method == Method::kUpdateVeth || method == Method::kUpdateDevice;
  }
  // Nobody waits for its answer.
  bool is_chore() const { return method == Method::kExpire || method == Method::kTend; }
  // All but the request id.
  std::string Fingerprint() const;
  std::string ToString() const;
};

// As in ` owner=ci ttl=10`; empty where all is unset.
std::string ToText(const engine::Metadata& metadata);

// One act of another program.
struct Act {
  // With kTakeAway.
  enum class Loss {
    kIp,          // an address, a neighbour or a route of the link
    kRoute,       // a route that belongs to no link
    kLimits,      // all to which the link is held
    kShaper,      // the ifb for it
    kNat,         // what is translated where the link is
    kForwarding,  // the same namespace's
    kMembership,  // in its bridge
    kFdb,         // of a VXLAN device: all of its forwarding database but what the remote endpoint is
  };
  enum class Kind {
    kAddNetns,
    kRemoveName,
    kAddFile,
    kAddLink,
    kRenameLink,
    kDeleteLink,
    kBindPath,  // a namespace at a path: a process's, or a new one
    kUnbindPath,
    kStartProcess,  // in a new namespace
    kEndProcess,
    kUnshare,  // it enters a new one
    kSetLink,
    kMoveLink,
    kTakeAway,
    kSetSysctl,
    kRemoveDns,
    kAddDns
  };
  Kind kind = Kind::kAddNetns;
  std::string name;      // at /run/netns; with links the namespace that they are in, empty: the host's; or PlaceName()
  std::string link;      // with links
  std::string new_link;  // with kRenameLink and kMoveLink
  std::string to;        // with kMoveLink: the place
  engine::LinkSettings settings;  // with kSetLink
  size_t end = 0;         // with both, but for `lo`: which of all ends of pairs and devices, the rest follows from it
  bool empty = true;      // with kAddFile
  Loss loss = Loss::kIp;  // with kTakeAway: of what that the end has
  engine::IpConfig ip;    // the same; the rest follows from `end` too
  std::string path;       // with kBindPath and kUnbindPath
  size_t process = 0;     // with those of processes and kBindPath: which; 0: none
  uint32_t pid = 0;       // its number, known when it happens
  std::string sysctl;     // with kSetSysctl
  std::string value;      // the same

  std::string ToString() const;
};

// `the limits`, for a person.
const char* LossName(Act::Loss loss);

struct Event {
  enum class Kind {
    kCall,
    kAct,      // while calls run
    kStop,     // the daemon ends in good order, and starts
    kCrash,    // it is killed, and starts
    kReboot,   // the host goes down with it
    kQuiet,    // nothing happens until every call has answered
    kCheck,    // the same, and then the host is checked
    kAdvance,  // the same, and then time passes
    kRenew,    // a sign of an owner's, while calls run
    kTend,     // the caretaker looks at what it shall heal, while calls run
    kExpire,   // the caretaker ends what has expired, while calls run
  };
  Kind kind = Kind::kCall;
  Call call;
  Act act;
  bool look_only = false;  // with kCheck
  absl::Duration time;     // with kAdvance
  std::string owner;       // with kRenew
};

// 8 to 16 calls on few names, so that they collide, and what happens between them. Without `reboots` the host stays up,
// and without `vlans` no port is asked to have any.
std::vector<Event> MakeHistory(Random& random, bool reboots, bool vlans);

// The names that a history uses.
extern const std::vector<std::string> kNamespaceIds;
extern const std::vector<std::string> kVethIds;
extern const std::vector<std::string> kDeviceNames;
extern const std::vector<std::string> kOwners;
// Outside /run/netns, of namespaces.
extern const std::vector<std::string> kPaths;
// Of processes, until it is known which number they have.
inline constexpr size_t kProcesses = 2;
inline constexpr uint32_t kFirstStandIn = 4294960000;  // of process 1
// Whether a pair ends where a process is.
bool HasProcess(const engine::VethSpec& spec);
// That can't be made again after a reboot, as server/api says.
bool MayPersist(const engine::VethSpec& spec, const engine::Metadata& metadata);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_HISTORY_H_
