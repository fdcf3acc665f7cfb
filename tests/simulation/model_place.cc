// Namespaces that netprov does not manage, and the ways that lead into them.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/strip.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::NetnsPlace;
using engine::Reason;

namespace {

// Of a path at /run/netns, the file there.
const State::File* FileAt(const State& state, const std::string& path) {
  absl::string_view name = path;
  if (!absl::ConsumePrefix(&name, "/run/netns/")) return nullptr;
  const auto file = state.files.find(std::string(name));
  return file == state.files.end() ? nullptr : &file->second;
}

bool IsManaged(const State& state, int netns) {
  return std::any_of(state.namespaces.begin(), state.namespaces.end(),
                     [&](const auto& item) { return item.second.boot == state.boot && item.second.netns == netns; });
}

}  // namespace

std::optional<int> LeadsTo(const State& state, const NetnsPlace& place) {
  if (place.path.empty()) {
    const auto process = state.processes.find(place.pid);
    return process == state.processes.end() ? std::nullopt : std::optional(process->second);
  }
  const auto path = state.paths.find(place.path);
  if (path != state.paths.end()) return path->second;
  const State::File* file = FileAt(state, place.path);
  const bool is_netns = file != nullptr && file->kind == State::File::Kind::kNetns;
  return is_netns ? std::optional(file->netns) : std::nullopt;
}

std::optional<int> PlaceOf(const State& state, const EndpointSpec& end) {
  if (!end.place.has_value()) return PlaceOf(state, end.namespace_id);
  const std::optional<int> netns = LeadsTo(state, *end.place);
  return netns.has_value() && IsManaged(state, *netns) ? std::nullopt : netns;
}

Reason PlaceRefusal(const State& state, const EndpointSpec& end) {
  if (!end.place.has_value()) return NamespaceRefusal(state, end.namespace_id);
  const bool is_something = LeadsTo(state, *end.place).has_value() || FileAt(state, end.place->path) != nullptr;
  return is_something ? Reason::kPlaceUnusable : Reason::kPlaceNotFound;
}

bool IsAnotherProcess(const State& state, const State::VethRecord& record, const EndpointSpec& end) {
  if (!end.place.has_value() || !end.place->path.empty()) return false;
  const int made = end.place == record.spec.a.place ? record.netns_a : record.netns_b;
  return record.boot != state.boot || LeadsTo(state, *end.place) != made;
}

bool IsEntered(const State& state, int netns) {
  return std::any_of(state.veths.begin(), state.veths.end(), [&](const auto& item) {
    const State::VethRecord& veth = item.second;
    return veth.boot == state.boot && ((veth.spec.a.place.has_value() && veth.netns_a == netns) ||
                                       (veth.spec.b.place.has_value() && veth.netns_b == netns));
  });
}

void DestroyIfUnused(State& state, int netns) {
  auto is_it = [netns](const auto& way) { return way.second == netns; };
  const bool is_used = std::any_of(state.paths.begin(), state.paths.end(), is_it) ||
                       std::any_of(state.processes.begin(), state.processes.end(), is_it) ||
                       std::any_of(state.files.begin(), state.files.end(),
                                   [netns](const auto& file) { return file.second.netns == netns; });
  if (!is_used) state.RemoveLinksIn(netns);
}

void ApplyToPlaces(const Act& act, State& state) {
  auto bear = [&state] {
    state.Bear(state.next_other);
    return state.next_other++;
  };
  int left = 0;
  switch (act.kind) {
    case Act::Kind::kBindPath:
      left = state.paths[act.path];
      state.paths[act.path] = act.pid == 0 ? bear() : state.processes.at(act.pid);
      break;
    case Act::Kind::kUnbindPath:
      left = state.paths.at(act.path);
      state.paths.erase(act.path);
      break;
    case Act::Kind::kStartProcess:
      state.processes[act.pid] = bear();
      break;
    case Act::Kind::kEndProcess:
      left = state.processes.at(act.pid);
      state.processes.erase(act.pid);
      break;
    case Act::Kind::kUnshare:
      left = std::exchange(state.processes.at(act.pid), bear());
      break;
    default:
      break;
  }
  if (left != 0) DestroyIfUnused(state, left);
}

}  // namespace netprov::simulation
