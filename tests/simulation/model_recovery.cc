#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::Intent;
using engine::VethName;

// What is left of the creation of a namespace goes.
static void Unmake(const std::string& id, int number, State& state) {
  const auto file = state.files.find(id);
  if (file == state.files.end()) return;
  if (file->second.kind == State::File::Kind::kNetns && file->second.netns == number) {
    state.RemoveLinksIn(number);
    state.files.erase(file);
  } else if (file->second.kind == State::File::Kind::kEmpty) {
    state.files.erase(file);
  }
}

void Recover(State& state) {
  const std::vector<State::Unfinished> unfinished = std::exchange(state.unfinished, {});
  auto answer = [&](const State::Unfinished& item) {
    if (!item.request_id.empty()) state.requests[item.request_id] = {.fingerprint = item.fingerprint, .answer = {}};
  };
  for (const State::Unfinished& item : unfinished) {
    switch (item.kind) {
      case Intent::Kind::kCreateNamespace:
        if (item.boot == state.boot) Unmake(item.id, item.made, state);
        break;
      case Intent::Kind::kDeleteNamespace: {
        auto record = state.namespaces.find(item.id);
        if (record != state.namespaces.end() && record->second.instance == item.instance) {
          DeleteNamespaceIn(state, item.id);
          answer(item);
        }
        break;
      }
      case Intent::Kind::kDeleteDevice: {
        const auto record = state.devices.find(item.id);
        // Where it was given a port since, it is wanted again.
        if (record != state.devices.end() && record->second.instance == item.instance &&
            PortsOf(state, item.id).empty()) {
          state.RemovePair(record->second.pair);
          state.devices.erase(record);
          answer(item);
        }
        break;
      }
      case Intent::Kind::kAdoptNamespace:
        UndoAdoption(item, state);
        break;
      case Intent::Kind::kReleaseNamespace:
        if (FinishRelease(item, state)) answer(item);
        break;
      case Intent::Kind::kUpdateNamespace:
      case Intent::Kind::kUpdateVeth:
      case Intent::Kind::kUpdateDevice:
        UndoUpdate(item, /*a=*/true, /*b=*/true, state);
        break;
      case Intent::Kind::kCreateVeth:
      case Intent::Kind::kCreateDevice:
        // By its tag; one that died without it, by its name alone.
        if (!IsRecorded(state, item.made) && !IsBeyondKnowing(state, item.made)) state.RemovePair(item.made);
        for (const auto& [id, number] : item.births) {
          if (item.boot == state.boot) Unmake(id, number, state);
        }
        break;
      case Intent::Kind::kDeleteVeth: {
        auto record = state.veths.find(item.id);
        if (record != state.veths.end() && record->second.instance == item.instance) {
          state.RemovePair(record->second.pair);
          state.Strip(record->second);
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
  auto restore = [&](const std::string& name, const std::string& id, const auto& record) {
    if (!record.metadata.persistent || record.boot == state.boot) return;
    auto now = said.find(name);
    told += now == said.end() ? 0 : 1;
    const bool restored = now == said.end() || now->second;
    std::vector<State> next;
    for (const State& before : states) {
      if (now == said.end() && is_first) continue;
      const Call healing{.method = Call::Method::kTend, .id = id};
      Outcomes outcomes(before, healing, {});
      Heal(before, name, id, outcomes);
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
  // Pairs after bridges, of which ends are ports, and what stands on a link after all that it may stand on.
  auto stands = [](const auto& item) { return engine::HasLower(item.second.spec.options); };
  for (const auto& [id, record] : state.namespaces) restore(engine::NamespaceName(id), id, record);
  for (const auto& item : state.devices) {
    if (!stands(item)) restore(item.first, item.first, item.second);
  }
  for (const auto& [id, record] : state.veths) restore(VethName(id), id, record);
  for (const auto& item : state.devices) {
    if (stands(item)) restore(item.first, item.first, item.second);
  }
  if (told != said.size()) states.clear();
  return states;
}

bool MatchesUnwell(const std::map<std::string, Presence>& unwell, const State& state) {
  size_t matched = 0;
  auto matches = [&](const std::string& name, bool vague, Presence expected) {
    const auto found = unwell.find(name);
    const Presence seen = found == unwell.end() ? Presence::kThere : found->second;
    matched += found == unwell.end() ? 0 : 1;
    return seen == expected || (vague && seen != Presence::kMissing && expected != Presence::kMissing);
  };
  for (const auto& [id, record] : state.namespaces) {
    const NamespaceView view = state.Describe(id);
    if (!matches(engine::NamespaceName(id), view.vague, view.presence)) return false;
  }
  for (const auto& [name, record] : state.devices) {
    const DeviceView view = state.DescribeDevice(name);
    if (!matches(name, view.vague, view.presence)) return false;
  }
  for (const auto& [id, record] : state.veths) {
    const VethView view = state.DescribeVeth(id);
    if (!matches(VethName(id), view.vague, view.presence)) return false;
  }
  return matched == unwell.size();
}

}  // namespace netprov::simulation
