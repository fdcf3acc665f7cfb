#include <optional>
#include <string>
#include <utility>

#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Intent;
using engine::Metadata;
using engine::Reason;

namespace {

void RemovePairsOf(State& state, const std::string& id) {
  for (const auto& [veth_id, veth] : state.veths) {
    if (!EndsIn(veth, id)) continue;
    state.RemovePair(veth.pair);
    state.Strip(veth);
  }
}

// A deletion was begun.
void BlurPairsOf(State& state, const std::string& id) {
  for (auto& [veth_id, veth] : state.veths) {
    if (!EndsIn(veth, id)) continue;
    veth.vague = true;
    for (const EndpointSpec* end : {&veth.spec.a, &veth.spec.b}) {
      if (const auto place = PlaceOf(state, *end); place.has_value()) state.vague.insert(*place);
    }
  }
}

// What is left of a namespace that is missing.
void RemoveRemainsOf(State& state, const std::string& id) {
  RemovePairsOf(state, id);
  RemoveDnsOf(state, id);
  // It cannot be told from what a deletion leaves that was killed.
  auto file = state.files.find(id);
  if (file != state.files.end() && file->second.kind == State::File::Kind::kEmpty &&
      state.namespaces.at(id).boot == state.boot) {
    state.files.erase(file);
  }
}

}  // namespace

void RemoveDnsOf(State& state, const std::string& id) {
  const auto record = state.namespaces.find(id);
  const auto files = state.etc.find(id);
  if (record == state.namespaces.end() || files == state.etc.end()) return;
  std::erase_if(files->second, [&](const auto& file) { return file.second.second == record->second.instance; });
  if (files->second.empty()) state.etc.erase(files);
}

bool IsDnsTaken(const State& state, const std::string& id, const engine::DnsSpec& dns, int instance) {
  const auto files = state.etc.find(id);
  if (files == state.etc.end()) return false;
  for (const auto& [file, text] : DnsTraits(dns)) {
    const auto found = files->second.find(file);
    if (found != files->second.end() && (found->second.second != instance || instance == 0)) return true;
  }
  return false;
}

void WriteDns(State& state, const std::string& id, int instance, const engine::DnsSpec& dns) {
  State::Etc& files = state.etc[id];
  std::erase_if(files, [&](const auto& file) { return file.second.second == instance; });
  for (const auto& [file, text] : DnsTraits(dns)) files[file] = {text, instance};
  if (files.empty()) state.etc.erase(id);
}

engine::Sysctls Unusual(engine::Sysctls sysctls) {
  std::erase_if(sysctls, [](const auto& item) { return item.second == UsualSysctl(item.first); });
  return sysctls;
}

void SetSysctls(const engine::Sysctls& sysctls, State::File& file) {
  for (const auto& [name, value] : sysctls) file.sysctls[name] = value;
  file.sysctls = Unusual(file.sysctls);
}

void UndoNamespaceUpdate(const State::Unfinished& item, State& state) {
  const auto record = state.namespaces.find(item.id);
  if (record == state.namespaces.end() || record->second.instance != item.instance) return;
  if (item.changes_dns) WriteDns(state, item.id, item.instance, record->second.spec.dns);
  if (item.made == record->second.netns && state.IsThere(item.id, record->second)) {
    SetSysctls(item.sysctls, state.files.at(item.id));
  }
}

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

bool IsAsMade(const State::File& file) { return file.up && !file.alias.has_value(); }

void DeleteNamespaceIn(State& state, const std::string& id) {
  const State::NamespaceRecord record = state.namespaces.at(id);
  if (state.IsThere(id, record)) {
    state.RemoveLinksIn(record.netns);
    RemovePairsOf(state, id);
    state.files.erase(id);
    RemoveDnsOf(state, id);
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
    const bool matches = existing->second.metadata == call.metadata && existing->second.spec == call.netns;
    if (!call.allow || !matches) return outcomes.RefuseExisting(Reason::kNamespaceAlreadyExists, matches);
    return outcomes.Succeed(s, {.netns = s.Describe(call.id), .veth = {}});
  }
  auto file = s.files.find(call.id);
  if (file != s.files.end()) {
    if (file->second.kind == State::File::Kind::kNetns) return outcomes.Refuse(Reason::kNamespaceNotManaged);
    if (!exists) return outcomes.Refuse(Reason::kNamespaceFileStale);
  }
  const bool may_be_taken = !call.netns.dns.empty() && !s.unfinished.empty();
  if (IsDnsTaken(s, call.id, call.netns.dns, exists ? existing->second.instance : 0)) {
    return outcomes.Refuse(Reason::kDnsFileNotManaged);
  }
  if (may_be_taken) outcomes.Refuse(Reason::kDnsFileNotManaged);
  if (call.validate) {
    return outcomes.Succeed(s, {.netns = NamespaceView{.id = call.id,
                                                       .instance = 0,
                                                       .managed = true,
                                                       .presence = Presence::kThere,
                                                       .spec = call.netns,
                                                       .metadata = call.metadata,
                                                       .expires = {}},
                                .veth = {}});
  }
  // What is left of a missing one makes room first, and is not brought back; it is missing until the new one is there.
  State room = s;
  const int instance = room.next_instance++;
  if (exists) {
    outcomes.LeaveIntent(room, Intent::Kind::kCreateNamespace, instance, instance);
    State begun = room;
    BlurPairsOf(begun, call.id);
    outcomes.Fail(begun);
    outcomes.LeaveIntent(begun, Intent::Kind::kCreateNamespace, instance, instance);
    for (auto* remove : {RemovePairsOf, RemoveDnsOf, RemoveRemainsOf}) {
      remove(room, call.id);
      outcomes.Fail(room);
      outcomes.Overtake(room);
      outcomes.Die(room);
      outcomes.LeaveIntent(room, Intent::Kind::kCreateNamespace, instance, instance);
    }
  }
  outcomes.LeaveIntent(room, Intent::Kind::kCreateNamespace, instance, instance);
  // Only its DNS files.
  if (!call.netns.dns.empty()) outcomes.Leave(room, Intent::Kind::kCreateNamespace, instance, instance);
  if (room.files.contains(call.id)) return outcomes.RefuseAfter(room, Reason::kNamespaceFileStale);
  State made = room;
  made.Bear(instance);
  made.files[call.id] = {.kind = State::File::Kind::kNetns,
                         .netns = instance,
                         .instance = instance,
                         .alias = {},
                         .sysctls = Unusual(call.netns.sysctls)};
  outcomes.Leave(made, Intent::Kind::kCreateNamespace, instance, instance);
  if (exists) made.ForgetNamespace(call.id);
  made.namespaces[call.id] = {
      .instance = instance, .netns = instance, .boot = s.boot, .spec = call.netns, .metadata = call.metadata};
  if (!call.netns.dns.empty()) WriteDns(made, call.id, instance, call.netns.dns);
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
    BlurPairsOf(partly, call.id);
    outcomes.Fail(partly);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    partly.RemoveLinksIn(record->second.netns);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    RemovePairsOf(partly, call.id);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    partly.files.erase(call.id);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    RemoveDnsOf(partly, call.id);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
  } else {
    BlurPairsOf(partly, call.id);
    outcomes.Fail(partly);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    for (const auto& [veth_id, veth] : s.veths) {
      if (EndsIn(veth, call.id)) partly.RemovePair(veth.pair);
    }
    outcomes.Fail(partly);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    RemovePairsOf(partly, call.id);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteNamespace, instance);
    RemoveDnsOf(partly, call.id);
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
  // What others made in it can't be made again.
  if (updated.former_alias.has_value() && updated.metadata.persistent) {
    return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  }
  call.change.Apply(updated.spec);
  const State::NamespaceRecord& old = found->second;
  engine::Sysctls changed = updated.spec.sysctls;
  std::erase_if(changed, [&](const auto& item) {
    const auto before = old.spec.sysctls.find(item.first);
    return before != old.spec.sysctls.end() && before->second == item.second;
  });
  const bool changes_dns = updated.spec.dns != old.spec.dns;
  if (!changed.empty() || changes_dns) {
    outcomes.Fail(now);
    if (!now.IsThere(call.id, old)) return outcomes.RefuseAfter(now, Reason::kNamespaceMissing);
    if (changes_dns && IsDnsTaken(now, call.id, updated.spec.dns, old.instance)) {
      return outcomes.RefuseAfter(now, Reason::kDnsFileNotManaged);
    }
  }
  // As the record says, without a look at the kernel.
  NamespaceView recorded{.id = call.id,
                         .instance = updated.instance,
                         .managed = true,
                         .adopted = updated.former_alias.has_value(),
                         .spec = updated.spec,
                         .metadata = updated.metadata,
                         .expires = {}};
  if (call.validate) {
    outcomes.Fail(s);
    recorded.expires = old.metadata.ttl != absl::ZeroDuration();
    return outcomes.Succeed(s, {.netns = recorded, .veth = {}});
  }
  State undone = now;
  // The files are written back as they were asked for.
  if (changes_dns && !now.HasDns(call.id, old)) {
    undone.namespaces.at(call.id).vague = true;
    outcomes.Die(undone);
  }
  FailUpdate(Outcome::Kind::kFailed, old.metadata, updated.metadata, undone, outcomes);
  State stays = undone;
  State::Unfinished item{.kind = Intent::Kind::kUpdateNamespace,
                         .id = call.id,
                         .instance = updated.instance,
                         .made = old.netns,
                         .boot = now.boot,
                         .a = {},
                         .b = {},
                         .changes_dns = changes_dns};
  for (const auto& [name, value] : changed) {
    const engine::Sysctls& present = now.files.at(call.id).sysctls;
    const auto before = present.find(name);
    item.sysctls[name] = before == present.end() ? UsualSysctl(name) : before->second;
  }
  stays.unfinished.push_back(std::move(item));
  if (outcomes.circumstances().registry_failed) {
    FailUpdate(Outcome::Kind::kIntentStays, old.metadata, updated.metadata, stays, outcomes);
  }
  if (outcomes.circumstances().disturbed && updated.spec != old.spec) {
    FailUpdate(Outcome::Kind::kRollbackFailed, old.metadata, updated.metadata, stays, outcomes);
  }
  State after = now;
  after.namespaces[call.id] = updated;
  if (!changed.empty()) SetSysctls(changed, after.files.at(call.id));
  if (changes_dns) WriteDns(after, call.id, updated.instance, updated.spec.dns);
  ChangeLease(old.metadata, updated.metadata, after);
  // A failure to look is no failure of what was done.
  if (outcomes.circumstances().disturbed) outcomes.Succeed(after, {.netns = recorded, .veth = {}});
  const Expected expected{.netns = after.Describe(call.id), .veth = {}};
  outcomes.Succeed(std::move(after), expected);
}

}  // namespace netprov::simulation
