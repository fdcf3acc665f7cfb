#include "tests/simulation/model.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/engine/tag.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Intent;
using engine::Metadata;
using engine::ObjectRef;
using engine::Reason;
using engine::VethName;
using engine::VethSpec;

Presence PresenceOf(engine::State state) {
  switch (state) {
    case engine::State::kReady:
      return Presence::kThere;
    case engine::State::kDegraded:
      return Presence::kDegraded;
    case engine::State::kMissing:
      return Presence::kMissing;
    case engine::State::kStale:
      return Presence::kStale;
  }
  return Presence::kStale;
}

namespace {

bool IsPattern(const std::string& name) { return absl::StrContains(name, '%'); }

std::string PresenceName(Presence presence) {
  switch (presence) {
    case Presence::kThere:
      return "there";
    case Presence::kDegraded:
      return "degraded";
    case Presence::kMissing:
      return "missing";
    case Presence::kStale:
      return "stale";
  }
  return "";
}

// The instance of the namespace that an end shall live in; nullopt: see NamespaceRefusal().
std::optional<int> PlaceOf(const State& state, const std::string& namespace_id) {
  if (namespace_id.empty()) return 0;
  auto record = state.namespaces.find(namespace_id);
  if (record == state.namespaces.end() || !state.IsThere(namespace_id, record->second)) return std::nullopt;
  return record->second.netns;
}

Reason NamespaceRefusal(const State& state, const std::string& namespace_id) {
  if (state.namespaces.contains(namespace_id)) return Reason::kNamespaceMissing;
  auto file = state.files.find(namespace_id);
  if (file == state.files.end()) return Reason::kNamespaceNotFound;
  return file->second.kind == State::File::Kind::kNetns ? Reason::kNamespaceNotManaged : Reason::kNamespaceFileStale;
}

// The kernel's choice for a pair.
constexpr uint32_t kUsualMtu = 1500;

// Nobody changed its loopback link.
bool IsAsMade(const State::File& file) { return file.up && !file.alias.has_value(); }

// The names that an end may get: the lowest number, and the next ones where others may have interfered, of whom one can
// have both ends of a pair there.
std::vector<std::string> Choose(const State& state, int place, const std::string& name, const std::string& taken,
                                bool overlapped) {
  if (!IsPattern(name)) return {name};
  std::vector<std::string> names;
  for (int number = 0; names.size() < (overlapped ? 3 : 1); ++number) {
    std::string chosen = absl::StrReplaceAll(name, {{"%d", absl::StrCat(number)}});
    if (chosen != taken && !state.links.contains({place, chosen})) names.push_back(std::move(chosen));
  }
  return names;
}

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
      Refuse(Reason::kRequestIdReused);
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
  void Refuse(Reason reason) { RefuseAfter(before_, reason); }
  void RefuseExisting(Reason reason, bool specs_match) {
    Add(Outcome::Kind::kDone, before_, {.ok = false, .reason = reason, .specs_match = specs_match});
  }
  void RefuseAfter(const State& after, Reason reason) {
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
  void Leave(const State& after, Intent::Kind kind, int instance, int made) {
    Add(Outcome::Kind::kRollbackFailed, WithIntent(after, kind, instance, made));
  }
  // A deletion was done in part, which its caller is told; the rest is not done behind his back later.
  void LeaveHalfDeleted(const State& after, Intent::Kind kind, int instance) {
    Add(Outcome::Kind::kRollbackFailed, after);
    LeaveIntent(after, kind, instance);
  }
  // The registry could not take the intent back.
  void LeaveIntent(const State& after, Intent::Kind kind, int instance, int made = 0) {
    Add(Outcome::Kind::kIntentStays, WithIntent(after, kind, instance, made));
  }

 private:
  bool IsSign() const {
    return (call_.method == Call::Method::kCreateNamespace || call_.method == Call::Method::kCreateVeth) &&
           !call_.validate && !call_.metadata.owner.empty();
  }
  State WithIntent(State state, Intent::Kind kind, int instance, int made) {
    State::Unfinished item{.kind = kind, .id = call_.id, .instance = instance, .made = made, .boot = state.boot};
    if (call_.method == Call::Method::kDeleteNamespace || call_.method == Call::Method::kDeleteVeth) {
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

bool EndsIn(const State::VethRecord& veth, const std::string& id) {
  return veth.spec.a.namespace_id == id || veth.spec.b.namespace_id == id;
}

void RemovePairsOf(State& state, const std::string& id) {
  for (const auto& [veth_id, veth] : state.veths) {
    if (EndsIn(veth, id)) state.RemovePair(veth.pair);
  }
}

// What is left of a namespace that is missing.
void RemoveRemainsOf(State& state, const std::string& id) {
  RemovePairsOf(state, id);
  // It cannot be told from what a deletion leaves that was killed.
  auto file = state.files.find(id);
  if (file != state.files.end() && file->second.kind == State::File::Kind::kEmpty &&
      state.namespaces.at(id).boot == state.boot) {
    state.files.erase(file);
  }
}

// What a deletion of a recorded namespace does in the end; the record included.
void DeleteNamespaceIn(State& state, const std::string& id) {
  const State::NamespaceRecord record = state.namespaces.at(id);
  if (state.IsThere(id, record)) {
    state.RemoveLinksIn(record.netns);
    RemovePairsOf(state, id);
    state.files.erase(id);
  } else {
    RemoveRemainsOf(state, id);
  }
  state.ForgetNamespace(id);
}

void CreateNamespace(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  auto existing = s.namespaces.find(call.id);
  const bool exists = existing != s.namespaces.end();
  if (exists && s.IsThere(call.id, existing->second)) {
    const bool matches = existing->second.metadata == call.metadata;
    if (!call.allow || !matches) return outcomes.RefuseExisting(Reason::kNamespaceAlreadyExists, matches);
    return outcomes.Succeed(s, {.netns = s.Describe(call.id), .veth = {}});
  }
  auto file = s.files.find(call.id);
  if (file != s.files.end()) {
    if (file->second.kind == State::File::Kind::kNetns) return outcomes.Refuse(Reason::kNamespaceNotManaged);
    if (!exists) return outcomes.Refuse(Reason::kNamespaceFileStale);
  }
  if (call.validate) {
    return outcomes.Succeed(s, {.netns = NamespaceView{.id = call.id,
                                                       .instance = 0,
                                                       .managed = true,
                                                       .presence = Presence::kThere,
                                                       .metadata = call.metadata,
                                                       .expires = {}},
                                .veth = {}});
  }
  // What is left of a missing one makes room first, and is not brought back; it is missing until the new one is there.
  State room = s;
  const int instance = room.next_instance++;
  if (exists) {
    outcomes.LeaveIntent(room, Intent::Kind::kCreateNamespace, instance, instance);
    for (auto* remove : {RemovePairsOf, RemoveRemainsOf}) {
      remove(room, call.id);
      outcomes.Fail(room);
      outcomes.Overtake(room);
      outcomes.Die(room);
      outcomes.LeaveIntent(room, Intent::Kind::kCreateNamespace, instance, instance);
    }
  }
  outcomes.LeaveIntent(room, Intent::Kind::kCreateNamespace, instance, instance);
  if (room.files.contains(call.id)) return outcomes.RefuseAfter(room, Reason::kNamespaceFileStale);
  State made = room;
  made.files[call.id] = {.kind = State::File::Kind::kNetns, .netns = instance, .instance = instance, .alias = {}};
  outcomes.Leave(made, Intent::Kind::kCreateNamespace, instance, instance);
  if (exists) made.ForgetNamespace(call.id);
  made.namespaces[call.id] = {.instance = instance, .netns = instance, .boot = s.boot, .metadata = call.metadata};
  const Expected expected{.netns = made.Describe(call.id), .veth = {}};
  outcomes.Succeed(std::move(made), expected);
}

void DeleteNamespace(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  auto record = s.namespaces.find(call.id);
  if (record == s.namespaces.end()) {
    if (auto file = s.files.find(call.id); file != s.files.end()) {
      return outcomes.Refuse(file->second.kind == State::File::Kind::kNetns ? Reason::kNamespaceNotManaged
                                                                            : Reason::kNamespaceFileStale);
    }
    if (!call.allow) return outcomes.Refuse(Reason::kNamespaceNotFound);
    return outcomes.Succeed(s, {});
  }
  if (call.validate) return outcomes.Succeed(s, {});
  const int instance = record->second.instance;
  State partly = s;
  outcomes.LeaveIntent(partly, Intent::Kind::kDeleteNamespace, instance);
  if (s.IsThere(call.id, record->second)) {
    partly.RemoveLinksIn(record->second.netns);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    RemovePairsOf(partly, call.id);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    partly.files.erase(call.id);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
  }
  State after = s;
  DeleteNamespaceIn(after, call.id);
  if (!s.IsThere(call.id, record->second)) {
    State undeleted = after;
    undeleted.namespaces = s.namespaces;
    undeleted.veths = s.veths;
    outcomes.LeaveHalfDeleted(undeleted, Intent::Kind::kDeleteNamespace, instance);
  }
  outcomes.Succeed(std::move(after), {});
}

bool IsRecorded(const State& state, int pair) {
  return std::any_of(state.veths.begin(), state.veths.end(),
                     [&](const auto& veth) { return veth.second.pair == pair && veth.second.boot == state.boot; });
}

// Both ends of a pair, of which `link` says the rest.
void PutLinks(const VethSpec& names, int place_a, int place_b, State::Link link, State& state) {
  link.is_a = true;
  state.links[{place_a, names.a.interface_name}] = link;
  link.is_a = false;
  state.links[{place_b, names.b.interface_name}] = link;
}

void CreateVeth(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  auto existing = s.veths.find(call.id);
  const bool exists = existing != s.veths.end();
  if (exists && s.IsThere(existing->second)) {
    const bool matches = existing->second.spec == call.spec && existing->second.metadata == call.metadata;
    if (!call.allow || !matches) return outcomes.RefuseExisting(Reason::kVethAlreadyExists, matches);
    return outcomes.Succeed(s, {.netns = {}, .veth = s.DescribeVeth(call.id)});
  }
  // First what the registry knows of both, then what the kernel does.
  for (const EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
    if (end->namespace_id.empty()) continue;
    auto record = s.namespaces.find(end->namespace_id);
    if (record == s.namespaces.end() || record->second.boot != s.boot) {
      return outcomes.Refuse(NamespaceRefusal(s, end->namespace_id));
    }
  }
  // Other calls see a pair that is made and then undone.
  outcomes.Overtake(s);
  State room = s;
  const int instance = room.next_instance++;
  if (exists) {
    // Its remains make room; it is missing until the new one is there.
    outcomes.Leave(room, Intent::Kind::kCreateVeth, instance, instance);
    room.RemovePair(existing->second.pair);
    outcomes.Fail(room);
    outcomes.Overtake(room);
    outcomes.Die(room);
  }
  // Only the intent, or the kernel refused and nobody could make sure that nothing was left.
  outcomes.Leave(room, Intent::Kind::kCreateVeth, instance, instance);
  auto has_taken_name = [&](const EndpointSpec& end) {
    const std::optional<int> place = PlaceOf(s, end.namespace_id);
    return place.has_value() && !IsPattern(end.interface_name) && room.links.contains({*place, end.interface_name});
  };
  for (const EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
    if (PlaceOf(s, end->namespace_id).has_value()) continue;
    // Of two reasons, a failure may point at the other.
    const bool name_is_taken = has_taken_name(call.spec.a) || has_taken_name(call.spec.b);
    if (outcomes.circumstances().disturbed && name_is_taken) outcomes.Refuse(Reason::kInterfaceNameTaken);
    return outcomes.Refuse(NamespaceRefusal(s, end->namespace_id));
  }
  const int place_a = *PlaceOf(s, call.spec.a.namespace_id);
  const int place_b = *PlaceOf(s, call.spec.b.namespace_id);
  // What an earlier call has left without a tag, under the same names, cannot be told from what this one may have left.
  const auto left_a = s.links.find({place_a, call.spec.a.interface_name});
  const auto left_b = s.links.find({place_b, call.spec.b.interface_name});
  if (left_a != s.links.end() && left_b != s.links.end() && left_a->second.pair != 0 && !left_a->second.tagged &&
      left_a->second.pair == left_b->second.pair && !IsRecorded(s, left_a->second.pair)) {
    State swept = room;
    swept.RemovePair(left_a->second.pair);
    outcomes.Fail(swept);
    outcomes.Leave(swept, Intent::Kind::kCreateVeth, instance, instance);
  }
  if (has_taken_name(call.spec.a) || has_taken_name(call.spec.b)) return outcomes.Refuse(Reason::kInterfaceNameTaken);
  auto make = [&](const VethSpec& spec) {
    if (call.validate) {
      return outcomes.Succeed(s, {.netns = {},
                                  .veth = VethView{.id = call.id,
                                                   .instance = 0,
                                                   .presence = Presence::kThere,
                                                   .spec = spec,
                                                   .metadata = call.metadata,
                                                   .expires = {}}});
    }
    State made = room;
    for (bool tagged : {false, true}) {
      PutLinks(spec, place_a, place_b, {.pair = instance, .instance = instance, .tagged = tagged}, made);
      outcomes.Leave(made, Intent::Kind::kCreateVeth, instance, instance);
    }
    made.veths[call.id] = {.instance = instance,
                           .pair = instance,
                           .boot = s.boot,
                           .spec = call.spec,
                           .made = spec,
                           .metadata = call.metadata};
    const Expected expected{.netns = {}, .veth = made.DescribeVeth(call.id)};
    outcomes.Succeed(std::move(made), expected);
  };
  VethSpec spec = call.spec;
  const bool overlapped = outcomes.circumstances().overlapped;
  const std::string fixed_b = place_a == place_b && !IsPattern(spec.b.interface_name) ? spec.b.interface_name : "";
  for (const std::string& name_a : Choose(s, place_a, call.spec.a.interface_name, fixed_b, overlapped)) {
    spec.a.interface_name = name_a;
    for (const std::string& name_b :
         Choose(s, place_b, call.spec.b.interface_name, place_a == place_b ? name_a : "", overlapped)) {
      spec.b.interface_name = name_b;
      make(spec);
    }
  }
}

void DeleteVeth(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  auto record = s.veths.find(call.id);
  if (record == s.veths.end()) {
    if (!call.allow) return outcomes.Refuse(Reason::kVethNotFound);
    return outcomes.Succeed(s, {});
  }
  if (call.validate) return outcomes.Succeed(s, {});
  State after = s;
  const int instance = record->second.instance;
  outcomes.LeaveIntent(after, Intent::Kind::kDeleteVeth, instance);
  after.RemovePair(record->second.pair);
  outcomes.LeaveHalfDeleted(after, Intent::Kind::kDeleteVeth, instance);
  after.veths.erase(call.id);
  outcomes.Succeed(std::move(after), {});
}

// ---- Updates

uint32_t MtuOf(const State::Link& link, const EndpointSpec& made) {
  return link.mtu.value_or(made.mtu.value_or(kUsualMtu));
}

void Set(const State::Settings& settings, const EndpointSpec& made, State::Link& link) {
  if (settings.mtu.has_value()) {
    link.mtu = settings.mtu == made.mtu.value_or(kUsualMtu) ? std::nullopt : settings.mtu;
  }
  if (settings.up.has_value()) link.up = settings.up == made.up ? std::nullopt : settings.up;
}

// Both ends, or one of them, of a pair as far as it is there.
void SetEnds(const State::VethRecord& record, const State::Settings& a, const State::Settings& b, State& state) {
  for (const bool is_a : {true, false}) {
    const auto where = state.Find(record, is_a);
    if (where.has_value()) Set(is_a ? a : b, is_a ? record.made.a : record.made.b, state.links.at(*where));
  }
}

// What an update did to the pair, and not to one that was made in its stead since. With `a` alone only that end.
void UndoUpdate(const State::Unfinished& item, bool a, bool b, State& state) {
  const auto record = state.veths.find(item.id);
  if (item.kind != Intent::Kind::kUpdateVeth || record == state.veths.end()) return;
  if (record->second.instance != item.instance || record->second.pair != item.made) return;
  SetEnds(record->second, a ? item.a : State::Settings(), b ? item.b : State::Settings(), state);
}

// What an earlier update of the object could not undo is undone first, or the next one fails.
void FinishEarlierUpdate(const Call& call, int instance, Outcomes& outcomes, State& state) {
  if (call.validate) return;
  const auto item = std::find_if(state.unfinished.begin(), state.unfinished.end(), [&](const auto& unfinished) {
    return (unfinished.kind == Intent::Kind::kUpdateNamespace || unfinished.kind == Intent::Kind::kUpdateVeth) &&
           unfinished.instance == instance;
  });
  if (item == state.unfinished.end()) return;
  for (const int ends : {0, 1, 2, 3}) {
    State partly = state;
    UndoUpdate(*item, (ends & 1) != 0, (ends & 2) != 0, partly);
    if (outcomes.circumstances().disturbed) outcomes.Add(Outcome::Kind::kRollbackFailed, std::move(partly));
  }
  UndoUpdate(*item, /*a=*/true, /*b=*/true, state);
  state.unfinished.erase(item);
}

// Another lease begins now, and the same one is renewed.
void ChangeLease(const Metadata& from, const Metadata& to, State& state) {
  const bool is_same = from.owner == to.owner && from.ttl == to.ttl;
  if (is_same || to.ttl != absl::ZeroDuration()) Hear(to.owner, state);
}

// An update that failed has left this. On its way back it may have begun the lease anew.
void FailUpdate(Outcome::Kind kind, const Metadata& from, const Metadata& to, const State& after, Outcomes& outcomes) {
  outcomes.Add(kind, after);
  State heard = after;
  ChangeLease(to, from, heard);
  if (heard.heard != after.heard) outcomes.Add(kind, heard);
  State heard_of_both = after;
  ChangeLease(from, to, heard_of_both);
  ChangeLease(to, from, heard_of_both);
  if (heard_of_both.heard != heard.heard) outcomes.Add(kind, std::move(heard_of_both));
}

void UpdateNamespace(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Die(s);
  const auto found = s.namespaces.find(call.id);
  if (found == s.namespaces.end()) {
    outcomes.Fail(s);
    return outcomes.Refuse(NamespaceRefusal(s, call.id));
  }
  State now = s;
  FinishEarlierUpdate(call, found->second.instance, outcomes, now);
  State::NamespaceRecord updated = found->second;
  if (!call.change.Apply(updated.metadata)) return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  const Metadata& old = found->second.metadata;
  // As the record says, without a look at the kernel.
  NamespaceView recorded{
      .id = call.id, .instance = updated.instance, .managed = true, .metadata = updated.metadata, .expires = {}};
  if (call.validate) {
    outcomes.Fail(s);
    recorded.expires = old.ttl != absl::ZeroDuration();
    return outcomes.Succeed(s, {.netns = recorded, .veth = {}});
  }
  FailUpdate(Outcome::Kind::kFailed, old, updated.metadata, now, outcomes);
  if (outcomes.circumstances().registry_failed) {
    State stays = now;
    stays.unfinished.push_back({.kind = Intent::Kind::kUpdateNamespace,
                                .id = call.id,
                                .instance = updated.instance,
                                .boot = now.boot,
                                .a = {},
                                .b = {}});
    FailUpdate(Outcome::Kind::kIntentStays, old, updated.metadata, stays, outcomes);
  }
  State after = now;
  after.namespaces[call.id] = updated;
  ChangeLease(old, updated.metadata, after);
  // A failure to look is no failure of what was done.
  if (outcomes.circumstances().disturbed) outcomes.Succeed(after, {.netns = recorded, .veth = {}});
  const Expected expected{.netns = after.Describe(call.id), .veth = {}};
  outcomes.Succeed(std::move(after), expected);
}

// What an update makes of an end that is there, and what it goes back to.
struct EndTurn {
  State::Settings former;
  State::Settings wanted;
};

EndTurn TurnOf(const EndpointSpec& old, const EndpointSpec& wanted, const State::Link& link, EndpointSpec& made) {
  EndTurn turn;
  if (wanted.mtu != old.mtu) {
    const uint32_t present = MtuOf(link, made);
    if (wanted.mtu != present) turn.former.mtu = present;
    turn.wanted.mtu = wanted.mtu.value_or(present);
    made.mtu = turn.wanted.mtu;
  }
  if (wanted.up != old.up) {
    const bool present = link.up.value_or(made.up);
    if (wanted.up != present) turn.former.up = present;
    turn.wanted.up = wanted.up;
    made.up = wanted.up;
  }
  return turn;
}

void UpdateVeth(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Die(s);
  const auto found = s.veths.find(call.id);
  if (found == s.veths.end()) return outcomes.Refuse(Reason::kVethNotFound);
  State now = s;
  FinishEarlierUpdate(call, found->second.instance, outcomes, now);
  const State::VethRecord& record = found->second;
  State::VethRecord updated = record;
  if (!call.change.Apply(updated.metadata)) return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  call.change.Apply(updated.spec);
  EndTurn a;
  EndTurn b;
  for (const bool is_a : {true, false}) {
    const EndpointSpec& old = is_a ? record.spec.a : record.spec.b;
    const EndpointSpec& wanted = is_a ? updated.spec.a : updated.spec.b;
    if (wanted == old) continue;
    const auto where = now.Find(record, is_a);
    if (!where.has_value()) {
      outcomes.Fail(now);
      return outcomes.RefuseAfter(now, Reason::kObjectMissing);
    }
    (is_a ? a : b) = TurnOf(old, wanted, now.links.at(*where), is_a ? updated.made.a : updated.made.b);
  }
  // As the record says, without a look at the kernel.
  VethView recorded{.id = call.id,
                    .instance = record.instance,
                    .spec = updated.made,
                    .a_there = true,
                    .b_there = true,
                    .metadata = updated.metadata,
                    .expires = {}};
  if (call.validate) {
    outcomes.Fail(s);
    recorded.spec.a.mtu = updated.spec.a.mtu.has_value() ? updated.spec.a.mtu : record.made.a.mtu;
    recorded.spec.b.mtu = updated.spec.b.mtu.has_value() ? updated.spec.b.mtu : record.made.b.mtu;
    recorded.expires = record.metadata.ttl != absl::ZeroDuration();
    return outcomes.Succeed(s, {.netns = {}, .veth = recorded});
  }
  FailUpdate(Outcome::Kind::kFailed, record.metadata, updated.metadata, now, outcomes);
  // What one end or both could not go back from.
  for (const int ends : {0, 1, 2, 3}) {
    const bool stays_a = (ends & 1) != 0;
    const bool stays_b = (ends & 2) != 0;
    if ((stays_a && a.former == State::Settings()) || (stays_b && b.former == State::Settings())) continue;
    State stays = now;
    stays.unfinished.push_back({.kind = Intent::Kind::kUpdateVeth,
                                .id = call.id,
                                .instance = record.instance,
                                .made = record.pair,
                                .boot = now.boot,
                                .a = a.former,
                                .b = b.former});
    SetEnds(record, stays_a ? a.wanted : State::Settings(), stays_b ? b.wanted : State::Settings(), stays);
    if (outcomes.circumstances().disturbed && updated.spec != record.spec) {
      FailUpdate(Outcome::Kind::kRollbackFailed, record.metadata, updated.metadata, stays, outcomes);
    }
    if (outcomes.circumstances().registry_failed && ends == 0) {
      FailUpdate(Outcome::Kind::kIntentStays, record.metadata, updated.metadata, stays, outcomes);
    }
  }
  State after = now;
  after.veths[call.id] = updated;
  SetEnds(updated, a.wanted, b.wanted, after);
  ChangeLease(record.metadata, updated.metadata, after);
  // A failure to look is no failure of what was done.
  if (outcomes.circumstances().disturbed) outcomes.Succeed(after, {.netns = {}, .veth = recorded});
  const Expected expected{.netns = {}, .veth = after.DescribeVeth(call.id)};
  outcomes.Succeed(std::move(after), expected);
}

bool Learn(State& state, int instance, const std::string& uid) {
  if (instance == 0) return uid.empty();
  if (uid.empty()) return false;
  auto [known, is_new] = state.uids.try_emplace(instance, uid);
  if (!is_new) return known->second == uid;
  // Nobody else's.
  return std::count_if(state.uids.begin(), state.uids.end(), [&](const auto& other) { return other.second == uid; }) ==
         1;
}

// ---- What the caretaker and owners do away with

// A record, of either kind.
struct Found {
  bool is_namespace = false;
  std::string id;
  Metadata metadata;
};

// The record of an object, if it is still that one; learns its uid.
std::optional<Found> Find(const ObjectRef& object, State& state) {
  absl::string_view id = object.name;
  Found found{.is_namespace = absl::ConsumePrefix(&id, "namespaces/")};
  if (!found.is_namespace) absl::ConsumePrefix(&id, "veths/");
  found.id = std::string(id);
  int instance = 0;
  if (found.is_namespace) {
    auto record = state.namespaces.find(found.id);
    if (record == state.namespaces.end()) return std::nullopt;
    instance = record->second.instance;
    found.metadata = record->second.metadata;
  } else {
    auto record = state.veths.find(found.id);
    if (record == state.veths.end()) return std::nullopt;
    instance = record->second.instance;
    found.metadata = record->second.metadata;
  }
  if (!Learn(state, instance, object.uid)) return std::nullopt;
  return found;
}

// Another's pair ends in the namespace, or one that the owner keeps.
bool IsNeeded(const State& state, const std::string& id, const std::string& owner,
              const std::vector<std::string>& keep) {
  return std::any_of(state.veths.begin(), state.veths.end(), [&](const auto& veth) {
    return EndsIn(veth.second, id) && (veth.second.metadata.owner != owner ||
                                       std::find(keep.begin(), keep.end(), VethName(veth.first)) != keep.end());
  });
}

std::vector<Outcome> DeletionsOf(const State& s, const Found& found, const Circumstances& circumstances) {
  const Call deletion{.method = found.is_namespace ? Call::Method::kDeleteNamespace : Call::Method::kDeleteVeth,
                      .id = found.id};
  Outcomes outcomes(s, deletion, circumstances);
  if (found.is_namespace) {
    DeleteNamespace(s, deletion, outcomes);
  } else {
    DeleteVeth(s, deletion, outcomes);
  }
  return std::move(outcomes).Take();
}

void Expire(const State& before, const Call& call, Outcomes& outcomes) {
  State s = before;
  const std::optional<Found> found = Find(call.object, s);
  if (!found.has_value()) return outcomes.Succeed(before, {});
  if (s.Remaining(found->metadata).value_or(absl::InfiniteDuration()) > absl::ZeroDuration()) {
    outcomes.Succeed(before, {});
    // Its lease had ended when the call began: a sign of the owner's that came later, and met nothing to renew, changes
    // nothing any more, though others saw the object until its end.
    if (!outcomes.circumstances().overlapped) return;
  }
  if (found->is_namespace) {
    for (const auto& [id, veth] : s.veths) {
      if (!EndsIn(veth, found->id) || veth.metadata.owner.empty() || veth.metadata.owner == found->metadata.owner) {
        continue;
      }
      return outcomes.Succeed(s, {.kept = {call.object.name}});
    }
  }
  for (Outcome& outcome : DeletionsOf(s, *found, outcomes.circumstances())) {
    if (outcome.kind == Outcome::Kind::kDone) outcome.expected.deleted = {call.object.name};
    outcomes.Add(outcome.kind, std::move(outcome.after), std::move(outcome.expected));
  }
}

// ---- What is put right

// As the record says, under the same number.
void HealNamespace(const State& s, const std::string& id, Outcomes& outcomes) {
  const State::NamespaceRecord& record = s.namespaces.at(id);
  State after = s;
  auto file = after.files.find(id);
  if (s.IsThere(id, record)) {
    file->second.up = true;
    file->second.alias.reset();
    outcomes.Die(after);
    return outcomes.Succeed(std::move(after), {.healed = true});
  }
  if (file != after.files.end()) {
    if (file->second.kind == State::File::Kind::kNetns) return outcomes.Refuse(Reason::kNamespaceNotManaged);
    if (file->second.kind == State::File::Kind::kFull) return outcomes.Refuse(Reason::kNamespaceFileStale);
    after.files.erase(file);
    outcomes.Fail(after);
    outcomes.Die(after);
  }
  const int netns = after.next_instance++;
  outcomes.LeaveIntent(after, Intent::Kind::kCreateNamespace, record.instance, netns);
  after.files[id] = {
      .kind = State::File::Kind::kNetns, .netns = netns, .instance = record.instance, .up = true, .alias = {}};
  outcomes.Leave(after, Intent::Kind::kCreateNamespace, record.instance, netns);
  after.namespaces.at(id).netns = netns;
  after.namespaces.at(id).boot = s.boot;
  outcomes.Succeed(std::move(after), {.healed = true});
}

// An end that is in its place; false: its name is taken.
bool HealEnd(const State::VethRecord& record, bool is_a, State& state) {
  const std::pair<int, std::string> where = *state.Find(record, is_a);
  const std::string& name = (is_a ? record.made.a : record.made.b).interface_name;
  State::Link& link = state.links.at(where);
  link = {.pair = link.pair, .instance = link.instance, .is_a = is_a, .renamed = where.second != name};
  if (!link.renamed) return true;
  if (state.links.contains({where.first, name})) return false;
  State::Link moved = link;
  moved.renamed = false;
  state.links.erase(where);
  state.links[{where.first, name}] = moved;
  return true;
}

void HealEnds(const State& s, const State::VethRecord& record, Outcomes& outcomes) {
  // One after the other, also where the first can't be.
  struct Way {
    State state;
    bool refused = false;
    bool failed = false;
  };
  std::vector<Way> ways = {{.state = s}};
  for (bool is_a : {true, false}) {
    std::vector<Way> next;
    for (const Way& way : ways) {
      Way healed = way;
      healed.refused = !HealEnd(record, is_a, healed.state) || way.refused;
      // The kernel may set the rest before it refuses the name, or nothing.
      next.push_back({.state = way.state, .refused = healed.refused, .failed = way.failed || !healed.refused});
      next.push_back(std::move(healed));
    }
    ways = std::move(next);
  }
  for (Way& way : ways) {
    outcomes.Die(way.state);
    outcomes.Fail(way.state);
    if (way.failed) continue;
    if (way.refused) {
      outcomes.RefuseAfter(way.state, Reason::kKernel);
    } else {
      outcomes.Succeed(std::move(way.state), {.healed = true});
    }
  }
}

void HealVeth(const State& s, const std::string& id, Outcomes& outcomes) {
  const State::VethRecord& record = s.veths.at(id);
  if (s.IsThere(record)) return HealEnds(s, record, outcomes);
  const VethSpec& made = record.made;
  for (const EndpointSpec* end : {&made.a, &made.b}) {
    if (!PlaceOf(s, end->namespace_id).has_value()) return outcomes.Refuse(NamespaceRefusal(s, end->namespace_id));
  }
  const int place_a = *PlaceOf(s, made.a.namespace_id);
  const int place_b = *PlaceOf(s, made.b.namespace_id);
  State after = s;
  const int pair = after.next_instance++;
  after.RemovePair(record.pair);
  for (const auto& [end, place] : {std::pair(&made.a, place_a), std::pair(&made.b, place_b)}) {
    if (after.links.contains({place, end->interface_name})) return outcomes.Refuse(Reason::kInterfaceNameTaken);
  }
  outcomes.Fail(after);
  outcomes.Die(after);
  outcomes.Overtake(s);
  outcomes.Overtake(after);
  outcomes.LeaveIntent(after, Intent::Kind::kCreateVeth, record.instance, pair);
  outcomes.Leave(after, Intent::Kind::kCreateVeth, record.instance, pair);
  for (bool tagged : {false, true}) {
    PutLinks(made, place_a, place_b, {.pair = pair, .instance = record.instance, .tagged = tagged}, after);
    outcomes.Leave(after, Intent::Kind::kCreateVeth, record.instance, pair);
  }
  after.veths.at(id).pair = pair;
  after.veths.at(id).boot = s.boot;
  outcomes.Succeed(std::move(after), {.healed = true});
}

void Tend(const State& before, const Call& call, Outcomes& outcomes) {
  State s = before;
  outcomes.Fail(before);
  outcomes.Die(before);
  const std::optional<Found> found = Find(call.object, s);
  if (!found.has_value()) return outcomes.Succeed(before, {});
  const Presence presence = found->is_namespace ? s.Describe(found->id).presence : s.DescribeVeth(found->id).presence;
  const auto boot = found->is_namespace ? s.namespaces.at(found->id).boot : s.veths.at(found->id).boot;
  const bool is_unrestored = found->metadata.persistent && boot != s.boot;
  const bool heals = presence != Presence::kThere && (found->metadata.self_heal || is_unrestored);
  // It saw something else, if others were about.
  if (!heals || outcomes.circumstances().overlapped) outcomes.Succeed(s, {.presence = presence});
  if (!heals) return;
  Call healing = call;
  healing.id = found->id;
  Outcomes healed(s, healing, outcomes.circumstances());
  if (found->is_namespace) {
    HealNamespace(s, found->id, healed);
  } else {
    HealVeth(s, found->id, healed);
  }
  for (Outcome& outcome : std::move(healed).Take()) {
    if (outcome.expected.ok) outcome.expected.presence = presence;
    outcomes.Add(outcome.kind, std::move(outcome.after), std::move(outcome.expected));
  }
}

// One object after the other, each as if by a call of its own.
std::vector<Outcome> StepsOf(const State& before, const Call& call, const Circumstances& circumstances,
                             const Expected* so_far) {
  std::vector<Outcome> outcomes;
  if (so_far == nullptr) {
    Outcome begun{.after = before, .expected = {.kept = call.kept}, .is_over = call.doomed.empty()};
    Hear(call.owner, begun.after);
    outcomes.push_back(std::move(begun));
    return outcomes;
  }
  const ObjectRef& object = call.doomed[so_far->steps];
  auto add = [&](State after, std::vector<std::string> Expected::*list) {
    Outcome outcome{.after = std::move(after), .expected = *so_far};
    ++outcome.expected.steps;
    if (list != nullptr) (outcome.expected.*list).push_back(object.name);
    outcome.is_over = outcome.expected.steps == call.doomed.size();
    outcomes.push_back(std::move(outcome));
  };
  // Its caller gave up.
  if (so_far->deleted.empty()) outcomes.push_back({.kind = Outcome::Kind::kFailed, .after = before, .expected = {}});
  if (circumstances.disturbed) add(before, &Expected::kept);
  State s = before;
  const std::optional<Found> found = Find(object, s);
  if (!found.has_value()) {
    add(std::move(s), nullptr);
    return outcomes;
  }
  // An update has given it to another owner since.
  if (found->metadata.owner != call.owner) {
    add(std::move(s), nullptr);
    return outcomes;
  }
  // Nothing else may be planned.
  if (std::find(call.keep.begin(), call.keep.end(), object.name) != call.keep.end()) return outcomes;
  if (found->is_namespace && IsNeeded(s, found->id, call.owner, call.keep)) {
    add(std::move(s), &Expected::kept);
    return outcomes;
  }
  for (Outcome& outcome : DeletionsOf(s, *found, circumstances)) {
    switch (outcome.kind) {
      case Outcome::Kind::kDone:
        add(std::move(outcome.after), &Expected::deleted);
        break;
      case Outcome::Kind::kRollbackFailed:
        if (circumstances.disturbed) add(std::move(outcome.after), &Expected::kept);
        break;
      case Outcome::Kind::kIntentStays:
        if (circumstances.registry_failed) add(std::move(outcome.after), &Expected::kept);
        break;
      case Outcome::Kind::kFailed:
      case Outcome::Kind::kOvertaken:
      case Outcome::Kind::kLost:
        break;
    }
  }
  return outcomes;
}

// ---- Comparison with an answer

// An answer that was kept says it too.
template <typename View>
bool MatchesLease(const View& view, const std::optional<absl::Time>& expire_time) {
  const bool has_lease = view.instance != 0 && view.metadata.ttl != absl::ZeroDuration();
  return expire_time.has_value() == view.expires.value_or(has_lease);
}

bool MatchesView(const NamespaceView& view, const engine::Namespace& netns, State& state) {
  return netns.metadata == view.metadata && MatchesLease(view, netns.expire_time) && netns.id == view.id &&
         netns.managed == view.managed && PresenceOf(netns.state) == view.presence &&
         Learn(state, view.instance, netns.uid);
}

// A pair keeps its addresses, unless somebody changes them for a time.
bool Learn(State& state, int instance, bool is_a, const netlink::MacAddress& mac) {
  return state.macs.try_emplace({instance, is_a}, mac).first->second == mac;
}

bool MatchesEnd(const VethView& view, bool is_a, const engine::Endpoint& end, State& state) {
  const EndpointSpec& spec = is_a ? view.spec.a : view.spec.b;
  if (end.namespace_id != spec.namespace_id || end.interface_name != spec.interface_name || end.up != spec.up ||
      end.config != spec.config) {
    return false;
  }
  if (view.instance == 0) return end.ifindex == 0 && end.mtu == spec.mtu.value_or(0);
  if (end.mtu != spec.mtu.value_or(kUsualMtu) || (end.ifindex != 0) != (is_a ? view.a_there : view.b_there))
    return false;
  return spec.mac.has_value() ? end.mac == spec.mac : Learn(state, view.instance, is_a, *end.mac);
}

bool MatchesView(const VethView& view, const engine::Veth& veth, State& state) {
  if (veth.metadata != view.metadata || !MatchesLease(view, veth.expire_time)) return false;
  if (veth.id != view.id || PresenceOf(veth.state) != view.presence || !Learn(state, view.instance, veth.uid)) {
    return false;
  }
  return MatchesEnd(view, /*is_a=*/true, veth.a, state) && MatchesEnd(view, /*is_a=*/false, veth.b, state);
}

}  // namespace

// ---- State

NamespaceView State::Describe(const std::string& id) const {
  if (auto record = namespaces.find(id); record != namespaces.end()) {
    return {.id = id,
            .instance = record->second.instance,
            .managed = true,
            .presence = !IsThere(id, record->second) ? Presence::kMissing
                        : IsAsMade(files.at(id))     ? Presence::kThere
                                                     : Presence::kDegraded,
            .metadata = record->second.metadata,
            .expires = {}};
  }
  const bool is_netns = files.at(id).kind == File::Kind::kNetns;
  return {.id = id,
          .instance = 0,
          .managed = false,
          .presence = is_netns ? Presence::kThere : Presence::kStale,
          .metadata = {},
          .expires = {}};
}

VethView State::DescribeVeth(const std::string& id) const {
  const VethRecord& record = veths.at(id);
  VethView view{.id = id,
                .instance = record.instance,
                .presence = Presence::kThere,
                .spec = record.made,
                .metadata = record.metadata,
                .expires = {}};
  for (bool is_a : {true, false}) {
    const auto where = Find(record, is_a);
    if (!where.has_value()) continue;
    const Link& link = links.at(*where);
    EndpointSpec& end = is_a ? view.spec.a : view.spec.b;
    end.interface_name = where->second;
    if (link.mac.has_value()) end.mac = link.mac;
    if (link.mtu.has_value()) end.mtu = link.mtu == end.mtu.value_or(kUsualMtu) ? end.mtu : link.mtu;
    end.up = link.up.value_or(end.up);
    (is_a ? view.a_there : view.b_there) = true;
    if (!link.tagged) view.presence = Presence::kDegraded;
  }
  if (view.spec != record.made) view.presence = Presence::kDegraded;
  if (!view.a_there || !view.b_there) view.presence = Presence::kMissing;
  return view;
}

std::optional<std::pair<int, std::string>> State::Find(const VethRecord& veth, bool is_a) const {
  if (veth.boot != boot) return std::nullopt;
  auto found = std::find_if(links.begin(), links.end(), [&](const auto& link) {
    return link.second.pair == veth.pair && link.second.is_a == is_a && !link.second.moved;
  });
  if (found == links.end()) return std::nullopt;
  return found->first;
}

bool State::IsThere(const VethRecord& veth) const {
  return Find(veth, /*is_a=*/true).has_value() && Find(veth, /*is_a=*/false).has_value();
}

bool State::IsThere(const std::string& id, const NamespaceRecord& record) const {
  auto file = files.find(id);
  return record.boot == boot && file != files.end() && file->second.kind == File::Kind::kNetns &&
         file->second.netns == record.netns;
}

void State::RemovePair(int pair) {
  std::erase_if(links, [&](const auto& link) { return link.second.pair == pair; });
}

void State::RemoveLink(int place, const std::string& name) {
  auto link = links.find({place, name});
  if (link == links.end()) return;
  if (const int pair = link->second.pair; pair != 0) {
    RemovePair(pair);
  } else {
    links.erase(link);
  }
}

void State::RemoveLinksIn(int netns) {
  for (auto link = links.lower_bound({netns, ""}); link != links.end() && link->first.first == netns;
       link = links.lower_bound({netns, ""})) {
    RemoveLink(netns, std::string(link->first.second));
  }
}

void State::ForgetNamespace(const std::string& id) {
  namespaces.erase(id);
  std::erase_if(veths, [&](const auto& veth) { return EndsIn(veth.second, id); });
}

std::optional<absl::Duration> State::Remaining(const Metadata& metadata) const {
  if (metadata.ttl == absl::ZeroDuration()) return std::nullopt;
  return std::max(absl::ZeroDuration(), heard.at(metadata.owner) + metadata.ttl - now);
}

bool State::HasLease(const std::string& owner) const {
  auto has = [&](const auto& record) {
    return record.second.metadata.owner == owner && record.second.metadata.ttl != absl::ZeroDuration();
  };
  return std::any_of(namespaces.begin(), namespaces.end(), has) || std::any_of(veths.begin(), veths.end(), has);
}

// ---- Transitions

std::vector<Outcome> OutcomesOf(const State& before, const Call& call, const Circumstances& circumstances,
                                const Expected* so_far) {
  if (call.is_piecemeal()) return StepsOf(before, call, circumstances, so_far);
  Outcomes outcomes(before, call, circumstances);
  switch (call.method) {
    case Call::Method::kCreateNamespace:
      CreateNamespace(before, call, outcomes);
      break;
    case Call::Method::kDeleteNamespace:
      DeleteNamespace(before, call, outcomes);
      break;
    case Call::Method::kCreateVeth:
      CreateVeth(before, call, outcomes);
      break;
    case Call::Method::kDeleteVeth:
      DeleteVeth(before, call, outcomes);
      break;
    case Call::Method::kUpdateNamespace:
      UpdateNamespace(before, call, outcomes);
      break;
    case Call::Method::kUpdateVeth:
      UpdateVeth(before, call, outcomes);
      break;
    case Call::Method::kCollectGarbage: {
      Expected expected{.kept = call.kept};
      for (const ObjectRef& object : call.doomed) expected.deleted.push_back(object.name);
      outcomes.Add(Outcome::Kind::kDone, before, std::move(expected));
      break;
    }
    case Call::Method::kExpire:
      Expire(before, call, outcomes);
      break;
    case Call::Method::kTend:
      Tend(before, call, outcomes);
      break;
    case Call::Method::kGetNamespace:
      outcomes.Fail(before);
      if (!before.namespaces.contains(call.id) && !before.files.contains(call.id)) {
        outcomes.Refuse(Reason::kNamespaceNotFound);
      } else {
        outcomes.Add(Outcome::Kind::kDone, before, {.netns = before.Describe(call.id), .veth = {}});
      }
      break;
    case Call::Method::kGetVeth:
      outcomes.Fail(before);
      if (!before.veths.contains(call.id)) {
        outcomes.Refuse(Reason::kVethNotFound);
      } else {
        outcomes.Add(Outcome::Kind::kDone, before, {.netns = {}, .veth = before.DescribeVeth(call.id)});
      }
      break;
    case Call::Method::kListNamespaces:
    case Call::Method::kListVeths:
      outcomes.Fail(before);
      outcomes.Add(Outcome::Kind::kDone, before);
      break;
  }
  return std::move(outcomes).Take();
}

void AdoptNames(const Call& call, const engine::Veth* made, Expected& expected, State& state) {
  auto record = state.veths.find(call.id);
  // One that was renamed later is degraded.
  if (!expected.veth.has_value() || expected.veth->presence != Presence::kThere || record == state.veths.end() ||
      record->second.instance != expected.veth->instance) {
    return;
  }
  for (const auto& [where, link] : state.links) {
    if (link.pair != record->second.pair || !link.renamed) continue;
    if (made != nullptr && where.second != (link.is_a ? made->a : made->b).interface_name) continue;
    for (VethSpec* spec : {&record->second.made, &expected.veth->spec}) {
      (link.is_a ? spec->a : spec->b).interface_name = where.second;
    }
  }
  if (auto request = state.requests.find(call.request_id); request != state.requests.end()) {
    if (request->second.answer.veth.has_value() && request->second.answer.veth->instance == expected.veth->instance) {
      request->second.answer = expected;
    }
  }
}

bool Apply(const Act& act, State& state) {
  int place = 0;
  auto file = state.files.find(act.name);
  if (!act.name.empty() && file != state.files.end()) place = file->second.netns;
  const bool no_place = !act.name.empty() && place == 0;
  switch (act.kind) {
    case Act::Kind::kAddNetns:
      if (file != state.files.end()) return false;
      state.files[act.name] = {.kind = State::File::Kind::kNetns, .netns = state.next_instance++};
      return true;
    case Act::Kind::kRemoveName:
      if (file == state.files.end()) return true;
      if (place != 0) state.RemoveLinksIn(place);
      state.files.erase(act.name);
      return true;
    case Act::Kind::kAddFile:
      if (file != state.files.end()) return false;
      state.files[act.name] = {.kind = act.empty ? State::File::Kind::kEmpty : State::File::Kind::kFull, .netns = 0};
      return true;
    case Act::Kind::kAddLink:
      if (no_place) return true;  // Into a namespace that its creator gives up.
      return state.links.try_emplace({place, act.link}).second;
    case Act::Kind::kRenameLink: {
      auto link = state.links.find({place, act.link});
      if (no_place || link == state.links.end()) return true;
      if (state.links.contains({place, act.new_link})) return false;
      state.links[{place, act.new_link}] = link->second;
      state.links[{place, act.new_link}].renamed = true;
      state.links.erase({place, act.link});
      return true;
    }
    case Act::Kind::kSetLink: {
      if (act.link == "lo") {
        if (file == state.files.end()) return false;
        file->second.up = act.settings.up.value_or(file->second.up);
        if (act.settings.alias.has_value()) file->second.alias = act.settings.alias;
        return true;
      }
      auto found = state.links.find({place, act.link});
      if (found == state.links.end()) return false;
      State::Link& link = found->second;
      if (act.settings.mac.has_value()) link.mac = act.settings.mac;
      if (act.settings.mtu.has_value()) link.mtu = act.settings.mtu;
      if (act.settings.up.has_value()) link.up = act.settings.up;
      if (act.settings.alias.has_value()) {
        link.tagged = false;
        link.alias = act.settings.alias;
      }
      return true;
    }
    case Act::Kind::kMoveLink: {
      auto found = state.links.find({place, act.link});
      int to = 0;
      if (auto target = state.files.find(act.to); target != state.files.end()) to = target->second.netns;
      if (found == state.links.end() || (!act.to.empty() && to == 0)) return false;
      State::Link link = found->second;
      state.links.erase(found);
      link.moved = true;
      return state.links.try_emplace({to, act.new_link}, link).second;
    }
    case Act::Kind::kDeleteLink:
      if (!no_place) state.RemoveLink(place, act.link);
      return true;
  }
  return false;
}

// Whether a pair has neither its tag nor its names.
static bool IsBeyondKnowing(const State& state, int pair) {
  return std::any_of(state.links.begin(), state.links.end(), [&](const auto& link) {
    return link.second.pair == pair && !link.second.tagged && link.second.renamed;
  });
}

bool HoldsNothingOfOurs(const State& state) {
  return state.namespaces.empty() && state.veths.empty() && state.unfinished.empty() &&
         std::all_of(state.links.begin(), state.links.end(), [&](const auto& link) {
           return link.second.pair == 0 || IsBeyondKnowing(state, link.second.pair);
         });
}

void Recover(State& state) {
  const std::vector<State::Unfinished> unfinished = std::exchange(state.unfinished, {});
  auto answer = [&](const State::Unfinished& item) {
    if (!item.request_id.empty()) state.requests[item.request_id] = {.fingerprint = item.fingerprint, .answer = {}};
  };
  for (const State::Unfinished& item : unfinished) {
    switch (item.kind) {
      case Intent::Kind::kCreateNamespace: {
        auto file = state.files.find(item.id);
        if (item.boot != state.boot || file == state.files.end()) break;
        if (file->second.kind == State::File::Kind::kNetns && file->second.netns == item.made) {
          state.RemoveLinksIn(item.made);
          state.files.erase(file);
        } else if (file->second.kind == State::File::Kind::kEmpty) {
          state.files.erase(file);
        }
        break;
      }
      case Intent::Kind::kDeleteNamespace: {
        auto record = state.namespaces.find(item.id);
        if (record != state.namespaces.end() && record->second.instance == item.instance) {
          DeleteNamespaceIn(state, item.id);
          answer(item);
        }
        break;
      }
      case Intent::Kind::kCreateDevice:
      case Intent::Kind::kDeleteDevice:
      case Intent::Kind::kUpdateDevice:
      case Intent::Kind::kAdoptNamespace:
      case Intent::Kind::kReleaseNamespace:
        // No history has one.
        break;
      case Intent::Kind::kUpdateNamespace:
      case Intent::Kind::kUpdateVeth:
        UndoUpdate(item, /*a=*/true, /*b=*/true, state);
        break;
      case Intent::Kind::kCreateVeth:
        // By its tag; one that died without it, by its names alone.
        if (!IsBeyondKnowing(state, item.made)) state.RemovePair(item.made);
        break;
      case Intent::Kind::kDeleteVeth: {
        auto record = state.veths.find(item.id);
        if (record != state.veths.end() && record->second.instance == item.instance) {
          state.RemovePair(record->second.pair);
          state.veths.erase(record);
          answer(item);
        }
        break;
      }
    }
  }
}

std::vector<State> Restore(const State& state, const std::map<std::string, bool>& said, bool disturbed, bool is_first) {
  std::vector<State> states = {state};
  size_t told = 0;
  auto restore = [&](const std::string& name, const std::string& id, const auto& record, auto heal) {
    if (!record.metadata.persistent || record.boot == state.boot) return;
    auto now = said.find(name);
    told += now == said.end() ? 0 : 1;
    const bool restored = now == said.end() || now->second;
    std::vector<State> next;
    for (const State& before : states) {
      if (now == said.end() && is_first) continue;
      const Call healing{.method = Call::Method::kTend, .id = id};
      Outcomes outcomes(before, healing, {});
      heal(before, id, outcomes);
      if (!restored && disturbed) next.push_back(before);
      for (Outcome& outcome : std::move(outcomes).Take()) {
        const bool fits = outcome.kind == Outcome::Kind::kDone     ? outcome.expected.ok == restored
                          : outcome.kind == Outcome::Kind::kFailed ? !restored && disturbed
                                                                   : false;
        if (fits) next.push_back(std::move(outcome.after));
      }
    }
    states = std::move(next);
  };
  for (const auto& [id, record] : state.namespaces) {
    restore(engine::NamespaceName(id), id, record, HealNamespace);
  }
  for (const auto& [id, record] : state.veths) restore(VethName(id), id, record, HealVeth);
  if (told != said.size()) states.clear();
  return states;
}

std::map<std::string, Presence> Unwell(const State& state) {
  std::map<std::string, Presence> unwell;
  for (const auto& [id, record] : state.namespaces) unwell[engine::NamespaceName(id)] = state.Describe(id).presence;
  for (const auto& [id, record] : state.veths) unwell[VethName(id)] = state.DescribeVeth(id).presence;
  std::erase_if(unwell, [](const auto& object) { return object.second == Presence::kThere; });
  return unwell;
}

void Hear(const std::string& owner, State& state) {
  if (!owner.empty()) state.heard[owner] = state.now;
}

void HearAll(State& state) {
  for (auto& [owner, heard] : state.heard) heard = state.now;
}

Garbage PlanGarbage(const State& state, const std::string& owner, const std::vector<std::string>& keep) {
  Garbage garbage;
  auto is_garbage = [&](const std::string& name, const Metadata& metadata) {
    return metadata.owner == owner && std::find(keep.begin(), keep.end(), name) == keep.end();
  };
  for (const auto& [id, record] : state.veths) {
    if (is_garbage(VethName(id), record.metadata)) garbage.doomed.push_back(VethName(id));
  }
  for (const auto& [id, record] : state.namespaces) {
    const std::string name = engine::NamespaceName(id);
    if (!is_garbage(name, record.metadata)) continue;
    (IsNeeded(state, id, owner, keep) ? garbage.kept : garbage.doomed).push_back(name);
  }
  return garbage;
}

void Reboot(State& state) {
  ++state.boot;
  state.files.clear();
  state.links.clear();
}

// ---- Comparison

bool Matches(const Expected& expected, const Answer& answer, State& state) {
  if (answer.ok != expected.ok) return false;
  if (!answer.ok) return answer.error->reason == expected.reason && answer.error->specs_match == expected.specs_match;
  if (answer.presence != expected.presence || answer.healed != expected.healed) return false;
  if (answer.deleted != expected.deleted || answer.kept != expected.kept) return false;
  if (answer.netns.has_value() != expected.netns.has_value() || answer.veth.has_value() != expected.veth.has_value()) {
    return false;
  }
  if (answer.netns.has_value() && !MatchesView(*expected.netns, *answer.netns, state)) return false;
  return !answer.veth.has_value() || MatchesView(*expected.veth, *answer.veth, state);
}

bool MatchesList(const std::vector<engine::Namespace>& namespaces, bool disturbed, State& state) {
  std::set<std::string> ids;
  for (const auto& [id, file] : state.files) ids.insert(id);
  for (const auto& [id, record] : state.namespaces) ids.insert(id);
  if (ids.size() != namespaces.size()) return false;
  auto id = ids.begin();
  return std::all_of(namespaces.begin(), namespaces.end(), [&](const engine::Namespace& netns) {
    NamespaceView view = state.Describe(*id++);
    // What is not ours and cannot be entered is listed all the same.
    if (disturbed && !view.managed && netns.state == engine::State::kStale) view.presence = Presence::kStale;
    return MatchesView(view, netns, state);
  });
}

bool MatchesList(const std::vector<engine::Veth>& veths, State& state) {
  if (state.veths.size() != veths.size()) return false;
  auto record = state.veths.begin();
  return std::all_of(veths.begin(), veths.end(), [&](const engine::Veth& veth) {
    return MatchesView(state.DescribeVeth((record++)->first), veth, state);
  });
}

bool MatchesLeases(const engine::LeaseBook& leases, const State& state) {
  std::optional<absl::Duration> next;
  size_t expired = 0;
  auto matches = [&](int instance, const Metadata& metadata) {
    const std::optional<absl::Duration> remaining = state.Remaining(metadata);
    if (remaining.has_value()) next = std::min(next.value_or(*remaining), *remaining);
    if (remaining == absl::ZeroDuration()) ++expired;
    auto uid = state.uids.find(instance);
    return uid == state.uids.end() || leases.Remaining(uid->second) == remaining;
  };
  for (const auto& [id, record] : state.namespaces) {
    if (!matches(record.instance, record.metadata)) return false;
  }
  for (const auto& [id, record] : state.veths) {
    if (!matches(record.instance, record.metadata)) return false;
  }
  return leases.UntilNextEnd() == next && leases.Expired().size() == expired;
}

bool MatchesRenewal(const engine::LeaseBook::Renewal& renewal, const std::string& owner, const State& state) {
  engine::LeaseBook::Renewal expected;
  auto count = [&](const Metadata& metadata) {
    if (metadata.owner != owner || metadata.ttl == absl::ZeroDuration()) return;
    ++expected.leases;
    expected.shortest = std::min(expected.shortest.value_or(metadata.ttl), metadata.ttl);
  };
  for (const auto& [id, record] : state.namespaces) count(record.metadata);
  for (const auto& [id, record] : state.veths) count(record.metadata);
  return renewal.leases == expected.leases && renewal.shortest == expected.shortest;
}

namespace {

// The uid in a tag; empty if it is none.
std::string UidOf(const std::string& alias) {
  const std::optional<engine::Tag> tag = engine::ParseTag(alias);
  return tag.has_value() ? tag->uid : "";
}

}  // namespace

bool Matches(const Sighting& sighting, State& state) {
  if (sighting.files.size() != state.files.size() || sighting.links.size() != state.links.size()) return false;
  std::map<int, std::string> places = {{0, ""}};
  for (const auto& [name, file] : state.files) {
    auto seen = sighting.files.find(name);
    if (seen == sighting.files.end() || seen->second.is_netns != (file.kind == State::File::Kind::kNetns)) return false;
    if (file.kind != State::File::Kind::kNetns) continue;
    places[file.netns] = name;
    // Somebody else's has no alias; ours has one with a uid, also when its creation has not been undone yet.
    if (file.alias.has_value() || file.instance == 0) {
      if (seen->second.alias != file.alias.value_or("")) return false;
    } else if (!Learn(state, file.instance, UidOf(seen->second.alias))) {
      return false;
    }
    // Whoever makes a namespace may leave it down.
    if (file.instance != 0 && seen->second.up != file.up) return false;
  }
  std::map<int, const engine::Link*> first_ends;
  for (const auto& [where, link] : state.links) {
    auto place = places.find(where.first);
    if (place == places.end()) return false;
    auto found = sighting.links.find({place->second, where.second});
    if (found == sighting.links.end()) return false;
    const engine::Link& seen = found->second;
    if (link.pair == 0) {
      if (!seen.alias.empty() || seen.kind == "veth") return false;
      continue;
    }
    if (seen.kind != "veth" || seen.group != engine::kOwnedGroup) return false;
    if (link.tagged ? !Learn(state, link.instance, UidOf(seen.alias)) : seen.alias != link.alias.value_or(""))
      return false;
    auto [first, is_first] = first_ends.try_emplace(link.pair, &seen);
    if (!is_first && (first->second->peer_ifindex != seen.ifindex || seen.peer_ifindex != first->second->ifindex)) {
      return false;
    }
  }
  return true;
}

// ---- Text

std::string Answer::ToString() const {
  if (error.has_value()) {
    return absl::StrCat("refused: ", error->message, error->kernel.has_value() ? " (kernel)" : "");
  }
  auto describe_veth = [](const engine::Veth& pair) {
    auto end = [](const engine::Endpoint& of) {
      return absl::StrCat(of.namespace_id.empty() ? "host" : of.namespace_id, ":", of.interface_name);
    };
    return absl::StrCat(pair.id, " ", PresenceName(PresenceOf(pair.state)), " ", end(pair.a), " <-> ", end(pair.b));
  };
  auto describe_netns = [](const engine::Namespace& named) {
    return absl::StrCat(named.id, named.managed ? " ours " : " foreign ", PresenceName(PresenceOf(named.state)));
  };
  std::string text = "ok";
  if (netns.has_value()) absl::StrAppend(&text, " ", describe_netns(*netns));
  if (veth.has_value()) absl::StrAppend(&text, " ", describe_veth(*veth));
  for (const engine::Namespace& listed : namespaces) absl::StrAppend(&text, " [", describe_netns(listed), "]");
  if (!deleted.empty()) absl::StrAppend(&text, ", deleted ", absl::StrJoin(deleted, " "));
  if (presence.has_value()) absl::StrAppend(&text, ", was ", PresenceName(*presence));
  if (healed) absl::StrAppend(&text, ", healed");
  if (!kept.empty()) absl::StrAppend(&text, ", kept ", absl::StrJoin(kept, " "));
  for (const engine::Veth& listed : veths) absl::StrAppend(&text, " [", describe_veth(listed), "]");
  return text;
}

std::string Sighting::ToString() const {
  std::string text;
  for (const auto& [name, file] : files) {
    absl::StrAppend(&text, "  ", file.is_netns ? "netns " : "file ", name, file.alias.empty() ? "" : " ours", "\n");
  }
  for (const auto& [where, link] : links) {
    // Without the uid, so that a history reads the same each time.
    const std::optional<engine::Tag> tag = engine::ParseTag(link.alias);
    absl::StrAppend(&text, "  link ", where.first.empty() ? "host" : where.first, ":", where.second, " ", link.kind,
                    " group ", link.group, " ", tag.has_value() ? tag->object : link.alias, "\n");
  }
  return text;
}

std::string ToString(const State& state) {
  std::string text;
  for (const auto& [name, file] : state.files) {
    absl::StrAppend(&text, "  ", file.kind == State::File::Kind::kNetns ? "netns " : "file ", name, " #", file.netns,
                    IsAsMade(file) ? "" : " (changed)", "\n");
  }
  for (const auto& [where, link] : state.links) {
    absl::StrAppend(&text, "  link in #", where.first, " ", where.second, " of ",
                    link.pair == 0 ? "somebody else" : absl::StrCat("pair #", link.pair),
                    link.tagged ? "" : " (no tag)", link.moved ? " (moved)" : "",
                    link.mtu.has_value() ? absl::StrCat(" (mtu ", *link.mtu, ")") : "",
                    link.up.has_value() ? (*link.up ? " (up)" : " (down)") : "", "\n");
  }
  absl::StrAppend(&text, "  at ", absl::FormatDuration(state.now));
  for (const auto& [owner, heard] : state.heard) {
    absl::StrAppend(&text, ", ", owner, " heard at ", absl::FormatDuration(heard));
  }
  absl::StrAppend(&text, "\n");
  for (const auto& [id, record] : state.namespaces) {
    absl::StrAppend(&text, "  record of namespace ", id, " #", record.instance,
                    state.IsThere(id, record) ? "" : " missing", ToText(record.metadata), "\n");
  }
  for (const auto& [id, record] : state.veths) {
    absl::StrAppend(&text, "  record of pair ", id, " #", record.instance, state.IsThere(record) ? "" : " missing",
                    ToText(record.metadata), "\n");
  }
  for (const auto& [id, request] : state.requests) {
    absl::StrAppend(&text, "  answered ", id, ": ", request.fingerprint, "\n");
  }
  for (const State::Unfinished& item : state.unfinished) {
    absl::StrAppend(&text, "  unfinished ", static_cast<int>(item.kind), " ", item.id, " #", item.instance, "\n");
  }
  return text;
}

}  // namespace netprov::simulation
