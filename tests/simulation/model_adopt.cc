#include <algorithm>
#include <string>
#include <utility>

#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::Intent;
using engine::Reason;

namespace {

// A namespace of somebody's gets our tag, and is up.
void Tag(State::File& file, int instance) {
  file.instance = instance;
  file.alias.reset();
  file.up = true;
}

// And loses it.
void Untag(State::File& file, const std::string& former_alias) {
  file.instance = 0;
  if (!file.alias.has_value() && !former_alias.empty()) file.alias = former_alias;
}

// Something of ours is in it, or stands on what is.
bool IsUsed(const State& state, const std::string& id) {
  return std::any_of(state.veths.begin(), state.veths.end(),
                     [&](const auto& veth) { return EndsIn(veth.second, id); }) ||
         std::any_of(state.devices.begin(), state.devices.end(), [&](const auto& device) {
           const engine::DeviceSpec& spec = device.second.spec;
           return spec.link.namespace_id == id || spec.lower.namespace_id == id;
         });
}

void Release(State& state, const std::string& id) {
  const State::NamespaceRecord record = state.namespaces.at(id);
  RemoveDnsOf(state, id);
  if (state.IsThere(id, record)) Untag(state.files.at(id), record.former_alias.value_or(""));
  state.namespaces.erase(id);
}

}  // namespace

void AdoptNamespace(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  if (const auto existing = s.namespaces.find(call.id); existing != s.namespaces.end()) {
    const State::NamespaceRecord& record = existing->second;
    if (!s.IsThere(call.id, record)) return outcomes.Refuse(Reason::kNamespaceMissing);
    const bool matches =
        record.former_alias.has_value() && record.metadata == call.metadata && record.spec == call.netns;
    if (!call.allow || !matches) return outcomes.RefuseExisting(Reason::kNamespaceAlreadyExists, matches);
    return outcomes.Succeed(s, {.netns = s.Describe(call.id), .veth = {}});
  }
  const auto file = s.files.find(call.id);
  if (file == s.files.end()) return outcomes.Refuse(Reason::kNamespaceNotFound);
  if (file->second.kind != State::File::Kind::kNetns) return outcomes.Refuse(Reason::kNamespaceFileStale);
  // What an earlier call has left.
  if (file->second.instance != 0) return outcomes.Refuse(Reason::kNamespaceNotAdoptable);
  if (IsEntered(s, file->second.netns)) return outcomes.Refuse(Reason::kNamespaceInUse);
  if (IsDnsTaken(s, call.id, call.netns.dns, /*instance=*/0)) return outcomes.Refuse(Reason::kDnsFileNotManaged);
  if (!call.netns.dns.empty() && !s.unfinished.empty()) outcomes.Refuse(Reason::kDnsFileNotManaged);
  if (call.validate) {
    return outcomes.Succeed(s, {.netns = NamespaceView{.id = call.id,
                                                       .managed = true,
                                                       .adopted = true,
                                                       .spec = call.netns,
                                                       .metadata = call.metadata,
                                                       .expires = {}},
                                .veth = {}});
  }
  State after = s;
  const int instance = after.next_instance++;
  State::Unfinished item{.kind = Intent::Kind::kAdoptNamespace,
                         .id = call.id,
                         .instance = instance,
                         .made = file->second.netns,
                         .boot = s.boot,
                         .a = {},
                         .b = {},
                         .former_alias = file->second.alias.value_or("")};
  for (const auto& [name, value] : call.netns.sysctls) {
    const auto before = file->second.sysctls.find(name);
    item.sysctls[name] = before == file->second.sysctls.end() ? UsualSysctl(name) : before->second;
  }
  auto leave = [&](State left) {
    left.unfinished.push_back(item);
    outcomes.Add(Outcome::Kind::kRollbackFailed, std::move(left));
  };
  leave(after);
  State::File& adopted = after.files.at(call.id);
  Tag(adopted, instance);
  leave(after);
  SetSysctls(call.netns.sysctls, adopted);
  leave(after);
  after.namespaces[call.id] = {.instance = instance,
                               .netns = adopted.netns,
                               .boot = s.boot,
                               .spec = call.netns,
                               .metadata = call.metadata,
                               .former_alias = item.former_alias};
  if (!call.netns.dns.empty()) WriteDns(after, call.id, instance, call.netns.dns);
  const Expected expected{.netns = after.Describe(call.id), .veth = {}};
  outcomes.Succeed(std::move(after), expected);
}

void ReleaseNamespace(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  const auto record = s.namespaces.find(call.id);
  if (record == s.namespaces.end()) {
    if (!call.allow) return outcomes.Refuse(NamespaceRefusal(s, call.id));
    return outcomes.Succeed(s, {});
  }
  if (IsUsed(s, call.id)) return outcomes.Refuse(Reason::kNamespaceInUse);
  if (call.validate) return outcomes.Succeed(s, {});
  const int instance = record->second.instance;
  outcomes.LeaveIntent(s, Intent::Kind::kReleaseNamespace, instance);
  // The files are written back as they were asked for, if they are, and so is the tag.
  State partly = s;
  partly.namespaces.at(call.id).vague = true;
  State released = s;
  Release(released, call.id);
  for (const bool is_untagged : {false, true}) {
    if (is_untagged && released.files.contains(call.id)) {
      // It is still known by the namespace alone.
      State::File& file = partly.files.at(call.id);
      const int number = file.instance;
      file = released.files.at(call.id);
      file.instance = number;
      if (!file.alias.has_value()) file.alias = "";
    }
    if (!is_untagged) outcomes.Fail(partly);
    outcomes.LeaveHalfDeleted(partly, Intent::Kind::kReleaseNamespace, instance);
  }
  outcomes.Succeed(std::move(released), {});
}

void UndoAdoption(const State::Unfinished& item, State& state) {
  const auto file = state.files.find(item.id);
  if (item.boot != state.boot || file == state.files.end() || file->second.netns != item.made) return;
  if (file->second.instance != item.instance || state.namespaces.contains(item.id)) return;
  SetSysctls(item.sysctls, file->second);
  Untag(file->second, item.former_alias);
}

bool FinishRelease(const State::Unfinished& item, State& state) {
  const auto record = state.namespaces.find(item.id);
  const bool is_it = record != state.namespaces.end() && record->second.instance == item.instance;
  if (!is_it || IsUsed(state, item.id)) return false;
  Release(state, item.id);
  return true;
}

}  // namespace netprov::simulation
