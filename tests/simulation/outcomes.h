// The parts of the model: what each kind of call, and what happens without one, makes of a state.
#ifndef NETPROV_TESTS_SIMULATION_OUTCOMES_H_
#define NETPROV_TESTS_SIMULATION_OUTCOMES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/engine.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"

namespace netprov::simulation {

// Collects the ways in which one call may end.
class Outcomes {
 public:
  Outcomes(const State& before, const Call& call, const Circumstances& circumstances)
      : before_(before), call_(call), circumstances_(circumstances) {}

  const Circumstances& circumstances() const { return circumstances_; }

  std::vector<Outcome> Take() && { return std::move(outcomes_); }

  // True if the request id has settled it.
  bool Replay() {
    if (call_.request_id.empty() || call_.validate) return false;
    auto request = before_.requests.find(call_.request_id);
    if (request == before_.requests.end()) return false;
    if (request->second.fingerprint != call_.Fingerprint()) {
      Refuse(engine::Reason::kRequestIdReused);
    } else {
      Add(Outcome::Kind::kDone, before_, request->second.answer);
    }
    return true;
  }

  void Add(Outcome::Kind kind, State after, Expected expected = {}) {
    const bool failed =
        kind == Outcome::Kind::kFailed || kind == Outcome::Kind::kRollbackFailed || kind == Outcome::Kind::kIntentStays;
    if (failed && circumstances_.registry_failed && IsSign() && after.HasLease(call_.metadata.owner)) {
      // Its owner was heard before it failed.
      State heard = after;
      Hear(call_.metadata.owner, heard);
      outcomes_.push_back({.kind = kind, .after = std::move(heard), .expected = expected});
    }
    outcomes_.push_back({.kind = kind, .after = std::move(after), .expected = std::move(expected)});
  }
  void Refuse(engine::Reason reason) { RefuseAfter(before_, reason); }
  void RefuseExisting(engine::Reason reason, bool specs_match) {
    Add(Outcome::Kind::kDone, before_, {.ok = false, .reason = reason, .specs_match = specs_match});
  }
  void RefuseAfter(const State& after, engine::Reason reason) {
    Add(Outcome::Kind::kDone, after, {.ok = false, .reason = reason});
  }
  // Success that is remembered.
  void Succeed(State after, const Expected& expected) {
    if (!call_.request_id.empty() && !call_.validate) {
      after.requests[call_.request_id] = {.fingerprint = call_.Fingerprint(), .answer = expected};
    }
    if (IsSign()) Hear(call_.metadata.owner, after);
    Add(Outcome::Kind::kDone, std::move(after), expected);
  }
  void Fail(const State& after) { Add(Outcome::Kind::kFailed, after); }
  void Overtake(const State& after) { Add(Outcome::Kind::kOvertaken, after); }
  void Die(const State& after) {
    if (circumstances_.dies) Add(Outcome::Kind::kLost, after);
  }
  // What a creation left in the kernel; recovery sees to it.
  void Leave(const State& after, engine::Intent::Kind kind, int instance, int made,
             std::map<std::string, int> births = {}) {
    State left = WithIntent(after, kind, instance, made);
    left.unfinished.back().births = std::move(births);
    Add(Outcome::Kind::kRollbackFailed, std::move(left));
  }
  // A deletion was done in part, which its caller is told; the rest is not done behind his back later.
  void LeaveHalfDeleted(const State& after, engine::Intent::Kind kind, int instance) {
    Add(Outcome::Kind::kRollbackFailed, after);
    LeaveIntent(after, kind, instance);
  }
  // The registry could not take the intent back.
  void LeaveIntent(const State& after, engine::Intent::Kind kind, int instance, int made = 0) {
    Add(Outcome::Kind::kIntentStays, WithIntent(after, kind, instance, made));
  }

 private:
  bool IsSign() const { return call_.creates() && !call_.validate && !call_.metadata.owner.empty(); }
  State WithIntent(State state, engine::Intent::Kind kind, int instance, int made) {
    State::Unfinished item{.kind = kind, .id = call_.id, .instance = instance, .made = made, .boot = state.boot};
    if (call_.deletes()) {
      item.request_id = call_.request_id;
      item.fingerprint = call_.Fingerprint();
    }
    state.unfinished.push_back(std::move(item));
    return state;
  }

  const State& before_;
  const Call& call_;
  const Circumstances circumstances_;
  std::vector<Outcome> outcomes_;
};

// ---- Namespaces (model_namespace.cc, model_adopt.cc)

void CreateNamespace(const State& s, const Call& call, Outcomes& outcomes);
void DeleteNamespace(const State& s, const Call& call, Outcomes& outcomes);
void UpdateNamespace(const State& s, const Call& call, Outcomes& outcomes);
void AdoptNamespace(const State& s, const Call& call, Outcomes& outcomes);
void ReleaseNamespace(const State& s, const Call& call, Outcomes& outcomes);
// What is left of an adoption is undone.
void UndoAdoption(const State::Unfinished& item, State& state);
// A release that was not finished is, unless something of ours has come into the namespace since. Whether it was.
bool FinishRelease(const State::Unfinished& item, State& state);
// The files at /etc/netns that are the namespace's.
void RemoveDnsOf(State& state, const std::string& id);
// What a deletion of a recorded namespace does in the end; the record included.
void DeleteNamespaceIn(State& state, const std::string& id);
// What an update could not undo then.
void UndoNamespaceUpdate(const State::Unfinished& item, State& state);
// Whether a file at /etc/netns that is not the instance's is where one is to be.
bool IsDnsTaken(const State& state, const std::string& id, const engine::DnsSpec& dns, int instance);
// Its files at /etc/netns become these.
void WriteDns(State& state, const std::string& id, int instance, const engine::DnsSpec& dns);
// Without those that are as in a new namespace.
engine::Sysctls Unusual(engine::Sysctls sysctls);
void SetSysctls(const engine::Sysctls& sysctls, State::File& file);
// Another's pair ends in the namespace or is a port of the bridge, or one that the owner keeps; or such a device is in
// the namespace.
bool IsNeeded(const State& state, const std::string& name, const std::string& owner,
              const std::vector<std::string>& keep);
// Nobody changed its loopback link.
bool IsAsMade(const State::File& file);
// The instance of the namespace that an end shall live in; nullopt: see NamespaceRefusal().
std::optional<int> PlaceOf(const State& state, const std::string& namespace_id);
engine::Reason NamespaceRefusal(const State& state, const std::string& namespace_id);

// ---- Places (model_place.cc)

// The number of the namespace that a place leads to; nullopt: of none.
std::optional<int> LeadsTo(const State& state, const engine::NetnsPlace& place);
// As above, of an end of a pair, which a place may not lead into a namespace of ours; nullopt: see PlaceRefusal().
std::optional<int> PlaceOf(const State& state, const engine::EndpointSpec& end);
engine::Reason PlaceRefusal(const State& state, const engine::EndpointSpec& end);
// Whether a process of the number is inside, but in another namespace than when the pair was made.
bool IsAnotherProcess(const State& state, const State::VethRecord& record, const engine::EndpointSpec& end);
// Whether a pair ends in a namespace to which a place led.
bool IsEntered(const State& state, int netns);
// What an act makes of the ways into namespaces.
void ApplyToPlaces(const Act& act, State& state);
// A namespace to which nothing leads any more goes with all that is in it.
void DestroyIfUnused(State& state, int netns);

// ---- Pairs (model_veth.cc, model_update.cc)

// Whether the kernel is to choose the number.
bool IsPattern(const std::string& name);
// What it may choose; `taken` is another's of the same call.
std::vector<std::string> ChooseNames(const State& state, int place, const std::string& name, const std::string& taken,
                                     bool overlapped);

// The kernel's choice for a pair.
inline constexpr uint32_t kUsualMtu = 1500;

void CreateVeth(const State& s, const Call& call, Outcomes& outcomes);
void DeleteVeth(const State& s, const Call& call, Outcomes& outcomes);
void UpdateVeth(const State& s, const Call& call, Outcomes& outcomes);
// Whether it is a link of ours that was made in this boot.
bool IsRecorded(const State& state, int pair);
bool EndsIn(const State::VethRecord& veth, const std::string& id);
// Whether a port that is to be forwarded, or a route that belongs to no link, is another's.
bool IsNatTaken(const State& state, const engine::VethSpec& spec, int place_a, int place_b, int instance);
bool IsRouteTaken(const State& state, const Traits& routes, int place);
// A failure may have left, or not put back, what is in the namespaces beside the links.
void BlurPlaces(const engine::VethSpec& spec, State& state);
// Forwarding that a failed call has switched on stays, where another pair relies on it.
void BlurForwarding(const engine::VethSpec& spec, const State& state, Outcomes& outcomes);
// As views have it.
engine::VethSpec WithoutPorts(engine::VethSpec spec);
// Both ends of a pair, of which `link` says the rest.
void PutLinks(const engine::VethSpec& names, int place_a, int place_b, State::Link link, State& state);
// Whether a link has neither its tag nor its name.
bool IsBeyondKnowing(const State& state, int pair);

// ---- Devices (model_device.cc, model_device_update.cc)

void CreateDevice(const State& s, const Call& call, Outcomes& outcomes);
void DeleteDevice(const State& s, const Call& call, Outcomes& outcomes);
void UpdateDevice(const State& s, const Call& call, Outcomes& outcomes);
// The pairs that are to be ports of a bridge, by their resource names.
std::vector<std::string> PortsOf(const State& state, const std::string& bridge);
// The number of the bridge of which an end is to be a port; 0: of none, or it is not there.
int BridgeNumber(const State& state, const engine::EndpointSpec& end);
// Why an end can't be a port.
std::optional<engine::Reason> BridgeRefusal(const State& state, const engine::EndpointSpec& end);
// A link of the end becomes the port that it is asked to be, where its bridge is there.
void Join(const State& state, const engine::EndpointSpec& end, State::Link& link);
// What a device is to stand on, or why it can't.
struct Footing {
  int lower = 0;  // the number of the link; 0: none
  std::optional<engine::Reason> refusal;
};
Footing FootingOf(const State& state, const engine::DeviceSpec& spec);
// Whether what the kernel has does not let it make the device, other than its name.
bool IsDeviceTaken(const State& state, const engine::DeviceSpec& spec, int lower);
void PutDevice(const State::DeviceRecord& record, int place, int lower, bool tagged, State& state);

// ---- Updates (model_turn.cc)

// What an update makes of a link that is there, and what it goes back to.
struct LinkTurn {
  State::Settings former;
  State::Settings wanted;
};
// The same of settings.
void TurnWords(const Words& old, const Words& asked, const Words& now, Words& wanted, Words& former);
// Of an end or of a device, which is `made` then. `routes` are those of its namespace that belong to no link.
LinkTurn TurnOf(const State& state, const engine::EndpointSpec& old, const engine::EndpointSpec& wanted,
                const State::Link& link, const Traits& routes, engine::EndpointSpec& made);
// One that is down or has no address of the gateway's network gets no route, and one that is no port no port's options.
bool IsPossible(const LinkTurn& turn, const State::Link& link, const engine::EndpointSpec& made);
// Of a link that was made as `made` says.
void Set(const State::Settings& settings, const engine::EndpointSpec& made, const std::pair<int, std::string>& where,
         State& state);
// Both ends, or one of them, of a pair as far as it is there.
void SetEnds(const State::VethRecord& record, const State::Settings& a, const State::Settings& b, State& state);
// What is held to rates and translated for a pair that is there becomes what it asks for.
void SetRest(const State::VethRecord& record, State& state);
// Whether a call holds the keys of namespaces; empty ones are the host's.
bool Holds(const Circumstances& circumstances, const std::vector<std::string>& namespace_ids);
// The same of all places of a pair.
bool HoldsPlaces(const Circumstances& circumstances, const engine::VethSpec& spec);
// What an update did to the object, and not to one that was made in its stead since. With `a` alone only that end.
void UndoUpdate(const State::Unfinished& item, bool a, bool b, State& state);
// What an earlier update of the object could not undo is undone first, or the next one fails.
void FinishEarlierUpdate(const Call& call, int instance, Outcomes& outcomes, State& state);
// Another lease begins now, and the same one is renewed.
void ChangeLease(const engine::Metadata& from, const engine::Metadata& to, State& state);
// An update that failed has left this. On its way back it may have begun the lease anew.
void FailUpdate(Outcome::Kind kind, const engine::Metadata& from, const engine::Metadata& to, const State& after,
                Outcomes& outcomes);

// ---- What nobody calls for (model_lease.cc, model_heal.cc)

// A record of any kind, and how its object is.
struct Found {
  std::string id;  // with which it is called
  engine::Metadata metadata;
  Presence presence = Presence::kThere;
  bool vague = false;
  int boot = 0;
};

// The record of an object, if it is still that one; learns its uid.
std::optional<Found> Find(const engine::ObjectRef& object, State& state);
void Expire(const State& before, const Call& call, Outcomes& outcomes);
void Tend(const State& before, const Call& call, Outcomes& outcomes);
// As the record says, under the same number.
void HealNamespace(const State& s, const std::string& id, Outcomes& outcomes);
void HealVeth(const State& s, const std::string& id, Outcomes& outcomes);
void HealDevice(const State& s, const std::string& name, Outcomes& outcomes);
// By the resource name.
void Heal(const State& s, const std::string& name, const std::string& id, Outcomes& outcomes);
// One object after the other, each as if by a call of its own.
std::vector<Outcome> StepsOf(const State& before, const Call& call, const Circumstances& circumstances,
                             const Expected* so_far);

// ---- What is learnt by looking (model_match.cc)

// The uid of an instance; false: it is another's, or the instance has another.
bool Learn(State& state, int instance, const std::string& uid);
// A pair keeps its addresses, unless somebody changes them for a time.
bool Learn(State& state, int instance, bool is_a, const netlink::MacAddress& mac);
// For a person.
std::string PresenceName(Presence presence);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_OUTCOMES_H_
