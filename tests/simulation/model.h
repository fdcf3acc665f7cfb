// What netprov promises, as plain maps: which answers and which states of the machine a history allows.
#ifndef NETPROV_TESTS_SIMULATION_MODEL_H_
#define NETPROV_TESTS_SIMULATION_MODEL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "server/engine/lease_book.h"
#include "tests/simulation/history.h"
#include "tests/simulation/traits.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

// Where an object is, compared with where its record says that it is.
enum class Presence { kThere, kDegraded, kMissing, kStale };
Presence PresenceOf(engine::State state);

// What a call of the engine answered.
struct Answer {
  bool ok = false;
  std::optional<engine::Namespace> netns;
  std::optional<engine::Veth> veth;
  std::optional<engine::Device> device;
  std::vector<engine::Namespace> namespaces;
  std::vector<engine::Veth> veths;
  std::vector<engine::Device> devices;
  std::vector<std::string> deleted;  // names, as CollectGarbage() says, or of what has expired
  std::vector<std::string> kept;     // the same, of what could not go
  std::optional<Presence> presence;  // what the caretaker saw
  bool healed = false;
  std::optional<engine::Error> error;

  std::string ToString() const;
};

// A namespace, a pair or a device of a history has a number of its own, its instance, as its uid is known only after an
// answer.

// What a client is told of a namespace.
struct NamespaceView {
  std::string id;
  int instance = 0;  // 0: not managed, or not made
  bool managed = false;
  bool adopted = false;
  Presence presence = Presence::kThere;
  engine::NamespaceSpec spec;  // its sysctls as they are, where it is there
  bool vague = false;          // what it has beside its name is not known
  engine::Metadata metadata;
  std::optional<bool> expires;  // whether it has a lease now, where the metadata is not what it has
  friend bool operator==(const NamespaceView&, const NamespaceView&) = default;
};

// What a client is told of a pair.
struct VethView {
  std::string id;
  int instance = 0;  // 0: not made
  Presence presence = Presence::kThere;
  engine::VethSpec spec;  // with the names that were chosen; of an end that is in its place, as it is; without `port`
  bool a_there = false;
  bool b_there = false;
  std::optional<Words> a_port = Words();  // how an end is a port; nullopt: it may be any
  std::optional<Words> b_port = Words();
  bool vague = false;  // what it has beside its links is not known
  engine::Metadata metadata;
  std::optional<bool> expires;  // as in NamespaceView
  friend bool operator==(const VethView&, const VethView&) = default;
};

// What a client is told of a device.
struct DeviceView {
  std::string name;
  int instance = 0;  // 0: not made
  Presence presence = Presence::kThere;
  engine::DeviceSpec spec;  // with the name that was chosen; where it is there, as it is
  bool there = false;
  std::optional<Words> words;  // its options; nullopt: they may be any
  Traits fdb;                  // those of the entries that it was given
  std::vector<std::string> ports;
  bool vague = false;  // what it has beside names and state is not known
  engine::Metadata metadata;
  std::optional<bool> expires;  // as in NamespaceView
  friend bool operator==(const DeviceView&, const DeviceView&) = default;
};

// What a call may answer.
struct Expected {
  bool ok = true;
  engine::Reason reason = engine::Reason::kStopped;  // where it is not ok
  std::optional<bool> specs_match;                   // the same
  std::optional<NamespaceView> netns;
  std::optional<VethView> veth;
  std::optional<DeviceView> device;
  std::vector<std::string> deleted;
  std::vector<std::string> kept;
  std::optional<Presence> presence;  // with kTend, where it looked
  bool healed = false;               // the same
  size_t steps = 0;                  // of a piecemeal call: how many it has made
  friend bool operator==(const Expected&, const Expected&) = default;
};

// The machine and the registry.
struct State {
  struct File {
    enum class Kind { kNetns, kEmpty, kFull };
    Kind kind = Kind::kNetns;
    int netns = 0;                     // a number of its own; an object that is made again gets another one
    int instance = 0;                  // the object's; 0: somebody else's
    bool up = true;                    // its loopback link
    std::optional<std::string> alias;  // the same, where somebody changed it
    engine::Sysctls sysctls;           // those that are not as in a new one
    friend bool operator==(const File&, const File&) = default;
  };
  struct Link {
    int pair = 0;               // a number of its own, as of a namespace; both ends of a pair have one
    int instance = 0;           // the object's
    std::string kind = "veth";  // empty: somebody else's, without a peer
    bool is_a = false;          // of a pair, and the link of a device
    bool tagged = true;
    bool renamed = false;
    bool moved = false;  // to where nobody changes it any more
    // What somebody changed.
    std::optional<std::string> alias;
    std::optional<netlink::MacAddress> mac;
    std::optional<uint32_t> mtu;
    std::optional<bool> up;
    Traits ip;       // IpTraits()
    Traits limits;   // LimitTraits()
    int master = 0;  // the number of the bridge that it is a port of; 0: of none
    Words port;      // PortWords()
    Words device;    // DeviceWords()
    Traits fdb;      // FdbTraits()
    int lower = 0;   // the number of the link that it stands on; 0: on none
    bool is_foreign() const { return kind.empty(); }
    friend bool operator==(const Link&, const Link&) = default;
  };
  struct NamespaceRecord {
    int instance = 0;
    int netns = 0;
    int boot = 0;
    engine::NamespaceSpec spec;
    engine::Metadata metadata;
    std::optional<std::string> former_alias = {};  // of one that was adopted, the loopback link's
    bool vague = false;                            // what it has of its spec is not known, until somebody looks
    friend bool operator==(const NamespaceRecord&, const NamespaceRecord&) = default;
  };
  struct VethRecord {
    int instance = 0;
    int pair = 0;
    int boot = 0;
    engine::VethSpec spec;  // as asked for
    engine::VethSpec made;  // with the names that were chosen
    engine::Metadata metadata;
    bool vague = false;  // what it has beside its links is not known, until somebody looks
    // The numbers of the namespaces that its ends were made in.
    int netns_a = 0;
    int netns_b = 0;
    friend bool operator==(const VethRecord&, const VethRecord&) = default;
  };
  struct DeviceRecord {
    int instance = 0;
    int pair = 0;  // the link's
    int boot = 0;
    engine::DeviceSpec spec;  // as asked for
    engine::DeviceSpec made;  // with the name that was chosen
    engine::Metadata metadata;
    bool vague = false;  // what it has beside names and state is not known, until somebody looks
    friend bool operator==(const DeviceRecord&, const DeviceRecord&) = default;
  };
  struct Request {
    std::string fingerprint;
    Expected answer;
    friend bool operator==(const Request&, const Request&) = default;
  };
  // What an update sets of an end or of a device.
  struct Settings {
    std::optional<uint32_t> mtu;
    std::optional<bool> up;
    Traits ip_gained;
    Traits ip_lost;
    Traits routes_gained;  // those that belong to no link
    Traits routes_lost;
    std::optional<std::string> bridge;  // of which it becomes a port; empty: of none
    Words port;
    Words device;
    Traits fdb_gained;
    Traits fdb_lost;
    friend bool operator==(const Settings&, const Settings&) = default;
  };
  // What a call began, could not undo, and said so (kRollbackFailed).
  struct Unfinished {
    engine::Intent::Kind kind;
    std::string id;
    int instance = 0;
    int made = 0;  // of a creation: the number of the namespace or the link; of an update: of the link
    int boot = 0;
    std::map<std::string, int> births = {};  // of the creation of a pair: namespaces that came with it, by their names
    // Of a deletion, which is answered once it is completed.
    std::string request_id;
    std::string fingerprint;
    // Of an update: what the ends, or as `a` the device, go back to, and whether a pair's rates or what is translated
    // for it do.
    Settings a, b;
    bool changes_more = false;
    // Of an update of a namespace: the same.
    engine::Sysctls sysctls;
    bool changes_dns = false;
    // Of an adoption: the same, and the former alias of the loopback link.
    std::string former_alias = {};
    friend bool operator==(const Unfinished&, const Unfinished&) = default;
  };

  int boot = 1;
  int next_instance = 1;
  // Of what others make, which is the same whatever became of a call.
  int next_other = 1000000;
  std::map<std::string, File> files;
  std::map<std::string, int> paths;                   // elsewhere than at /run/netns, to the namespaces' numbers
  std::map<uint32_t, int> processes;                  // by their numbers, the same
  std::map<std::pair<int, std::string>, Link> links;  // by the namespace's number, 0: the host's, and name
  // What stands in a namespace for a pair, by the namespace's number and the pair's instance.
  struct Beside {
    Traits nat;
    Traits shapers;
    friend bool operator==(const Beside&, const Beside&) = default;
  };
  std::map<std::pair<int, int>, Beside> beside;
  std::map<int, Traits> routes;  // by the namespace's number: those that belong to no link
  std::set<int> forwarding;      // the namespaces that forward IPv4
  bool forwards_at_birth = false;
  Traits missing_kinds = {};  // of devices, which the kernel has not
  Words new_port = {};        // how a link is a port at first
  std::set<int> vague;        // those of which that, and the routes, are not known until somebody looks
  // Files at /etc/netns: what they say and for which instance; 0: somebody else's.
  using Etc = std::map<std::string, std::pair<std::string, int>>;
  std::map<std::string, Etc> etc;
  std::map<std::string, NamespaceRecord> namespaces;
  std::map<std::string, VethRecord> veths;
  std::map<std::string, DeviceRecord> devices;  // by their resource names
  std::map<std::string, Request> requests;
  std::vector<Unfinished> unfinished;
  std::map<int, std::string> uids;  // as far as they are known
  std::map<std::pair<int, bool>, netlink::MacAddress>
      macs;  // of pairs as they were made, by instance and `is_a`; the same
  absl::Duration now;
  std::map<std::string, absl::Duration> heard = {{"ci", {}}, {"lab", {}}};  // by owner: the last sign

  friend bool operator==(const State&, const State&) = default;

  NamespaceView Describe(const std::string& id) const;  // the name must stand for something
  Presence PresenceOf(const std::string& id, const NamespaceRecord& record) const;
  // What was asked of it, with the sysctls as they are.
  engine::NamespaceSpec SpecNow(const std::string& id, const NamespaceRecord& record) const;
  bool HasDns(const std::string& id, const NamespaceRecord& record) const;
  VethView DescribeVeth(const std::string& id) const;        // the record must exist
  DeviceView DescribeDevice(const std::string& name) const;  // the same
  // The place and the name of an end that is where it was put.
  std::optional<std::pair<int, std::string>> Find(const VethRecord& veth, bool is_a) const;
  std::optional<std::pair<int, std::string>> Find(const DeviceRecord& device) const;
  // Both ends are where they were put.
  bool IsThere(const VethRecord& veth) const;
  bool IsThere(const DeviceRecord& device) const { return Find(device).has_value(); }
  bool IsThere(const std::string& id, const NamespaceRecord& record) const;
  // Whether an update that could not be undone, or a failure, has left what nobody knows.
  bool IsVague(const VethRecord& veth) const;
  bool IsVague(const DeviceRecord& device) const;
  bool IsVague(const NamespaceRecord& record) const;
  // Something of a creation, an update or a deletion may be left that nobody knows.
  bool IsAnythingVague() const;
  // A new namespace's number.
  void Bear(int netns);
  // All that was asked for is there beside the links, which are in these places.
  void Equip(const VethRecord& veth, int place_a, int place_b);
  // Takes what is beside the links away; the routes that a later pair has asked for too stay.
  void Strip(const VethRecord& veth);
  // Takes a link away, its peer, and what stands on them; ports of it are none any more.
  void RemovePair(int pair);
  void RemoveLink(int place, const std::string& name);
  void RemoveLinksIn(int netns);
  void ForgetNamespace(const std::string& id);
  // Calls `visit` with the resource name and the record of every object.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [id, record] : namespaces) visit(engine::NamespaceName(id), record);
    for (const auto& [name, record] : devices) visit(name, record);
    for (const auto& [id, record] : veths) visit(engine::VethName(id), record);
  }
  // From now to the end of a lease, not less than zero; nullopt: there is none.
  std::optional<absl::Duration> Remaining(const engine::Metadata& metadata) const;
  bool HasLease(const std::string& owner) const;
};

// One way in which a call may end.
struct Outcome {
  enum class Kind {
    kDone,            // with the answer that the state demands
    kFailed,          // the kernel or the registry refused; allowed only where something was disturbed
    kRollbackFailed,  // the same, and it could not be undone
    kIntentStays,     // the same, and the registry could not take the intent back
    kOvertaken,       // refused for what others did meanwhile, and maybe took back; what was missing may have made room
    kLost,            // the process died within it, and recovery has seen to it
  };
  Kind kind = Kind::kDone;
  State after;
  Expected expected;    // with kDone
  bool is_over = true;  // false: `expected` is what a piecemeal call has done so far
};

// What happened to a call besides.
struct Circumstances {
  bool overlapped =
      false;               // something else happened meanwhile, so that a number for a `%d` may have been free or taken
  bool disturbed = false;  // something was made to fail in it, or somebody meddled, or its caller gave up
  bool registry_failed = false;
  bool dies = false;                   // its process may have died
  std::vector<std::string> keys = {};  // what it holds (Engine::Keys())
};

// Every way in which `call` may end that begins with `before`. A piecemeal call makes one step at a time; `so_far` is
// what came of those before, null: it has not begun.
std::vector<Outcome> OutcomesOf(const State& before, const Call& call, const Circumstances& circumstances,
                                const Expected* so_far);
// Somebody renamed a link while it was made, and the answer and the record have the new name. Without an answer: its
// name now.
void AdoptNames(const Call& call, const engine::Veth* made, Expected& expected, State& state);

// What an act of another program does. False: it cannot have happened in this state.
bool Apply(const Act& act, State& state);
// The states in which persistent objects of an earlier boot are made again. `said` is what a report says of each:
// whether it was. One of which it says nothing was made by an earlier start that died, if there was one.
std::vector<State> Restore(const State& state, const std::map<std::string, bool>& said, bool disturbed, bool is_first);
// Whether a look at every object must find this, by name; without those that are well.
bool MatchesUnwell(const std::map<std::string, Presence>& unwell, const State& state);
// A restart whose recovery succeeds, or a check of the host that acts.
void Recover(State& state);
// A sign of the owner's; of every owner's.
void Hear(const std::string& owner, State& state);
void HearAll(State& state);
// What PlanGarbage() must say, as names.
struct Garbage {
  std::vector<std::string> doomed;
  std::vector<std::string> kept;
};
Garbage PlanGarbage(const State& state, const std::string& owner, const std::vector<std::string>& keep);
void Reboot(State& state);
// Nothing that netprov made is left, but for what cannot be told from somebody else's.
bool HoldsNothingOfOurs(const State& state);

// Whether the answer is what is expected; learns the uids.
bool Matches(const Expected& expected, const Answer& answer, State& state);
// Whether the machine is as the state says; learns the uids.
bool Matches(const Sighting& sighting, State& state);
// Whether the engine lists what the state says. `disturbed`: it could not look at everything.
bool MatchesList(const std::vector<engine::Namespace>& namespaces, bool disturbed, State& state);
bool MatchesList(const std::vector<engine::Veth>& veths, State& state);
// Those of a collection.
bool MatchesList(const std::string& collection, const std::vector<engine::Device>& devices, State& state);
// Whether each lease, of objects whose uids are known, ends when the state says, and no other exists.
bool MatchesLeases(const engine::LeaseBook& leases, const State& state);
bool MatchesRenewal(const engine::LeaseBook::Renewal& renewal, const std::string& owner, const State& state);

std::string ToString(const State& state);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_MODEL_H_
