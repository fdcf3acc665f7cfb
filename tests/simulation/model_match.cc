#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Metadata;

namespace {

// An answer that was kept says it too.
template <typename View>
bool MatchesLease(const View& view, const std::optional<absl::Time>& expire_time) {
  const bool has_lease = view.instance != 0 && view.metadata.ttl != absl::ZeroDuration();
  return expire_time.has_value() == view.expires.value_or(has_lease);
}

bool MatchesPresence(bool vague, Presence expected, engine::State state) {
  auto is_whole = [](Presence presence) { return presence == Presence::kThere || presence == Presence::kDegraded; };
  const Presence seen = PresenceOf(state);
  return seen == expected || (vague && is_whole(seen) && is_whole(expected));
}

bool MatchesView(const NamespaceView& view, const engine::Namespace& netns, State& state) {
  return netns.metadata == view.metadata && MatchesLease(view, netns.expire_time) && netns.id == view.id &&
         netns.managed == view.managed && netns.adopted == view.adopted &&
         (MatchesPresence(view.vague, view.presence, netns.state) && (view.vague || netns.spec == view.spec)) &&
         Learn(state, view.instance, netns.uid);
}

// As an end of a pair, whose options as a port are compared as words.
bool MatchesEnd(const VethView& view, bool is_a, const engine::Endpoint& end, State& state) {
  const EndpointSpec& spec = is_a ? view.spec.a : view.spec.b;
  const std::optional<Words>& port = is_a ? view.a_port : view.b_port;
  engine::EndpointConfig config = end.config;
  const Words port_now = PortWords(std::exchange(config.port, {}));
  if (end.namespace_id != spec.namespace_id || end.place != spec.place || end.interface_name != spec.interface_name ||
      end.up != spec.up || (!view.vague && (config != spec.config || (port.has_value() && port != port_now)))) {
    return false;
  }
  if (view.instance == 0) return end.ifindex == 0 && end.mtu == spec.mtu.value_or(0);
  if (end.mtu != spec.mtu.value_or(kUsualMtu) || (end.ifindex != 0) != (is_a ? view.a_there : view.b_there))
    return false;
  return spec.mac.has_value() ? end.mac == spec.mac : Learn(state, view.instance, is_a, *end.mac);
}

bool MatchesView(const VethView& view, const engine::Veth& veth, State& state) {
  if (veth.metadata != view.metadata || !MatchesLease(view, veth.expire_time)) return false;
  if (veth.id != view.id || !MatchesPresence(view.vague, view.presence, veth.state) ||
      !Learn(state, view.instance, veth.uid)) {
    return false;
  }
  return MatchesEnd(view, /*is_a=*/true, veth.a, state) && MatchesEnd(view, /*is_a=*/false, veth.b, state);
}

bool MatchesView(const DeviceView& view, const engine::Device& device, State& state) {
  if (device.metadata != view.metadata || !MatchesLease(view, device.expire_time)) return false;
  if (device.name != view.name || !MatchesPresence(view.vague, view.presence, device.state) ||
      !Learn(state, view.instance, device.uid) || device.ports != view.ports || device.lower != view.spec.lower) {
    return false;
  }
  const EndpointSpec& spec = view.spec.link;
  const engine::Endpoint& link = device.link;
  if (link.namespace_id != spec.namespace_id || link.interface_name != spec.interface_name || link.up != spec.up ||
      (!view.vague && link.config != spec.config)) {
    return false;
  }
  const bool options_match = DeviceWords(device.options) == view.words && FdbTraits(device.options) == view.fdb;
  if (view.words.has_value() && !view.vague && !options_match) return false;
  if (view.instance == 0) return link.ifindex == 0 && link.mtu == spec.mtu.value_or(0);
  if ((spec.mtu.has_value() && link.mtu != spec.mtu) || (link.ifindex != 0) != view.there) return false;
  if (FollowsLowerMac(view.spec.options)) return true;
  return spec.mac.has_value() ? link.mac == spec.mac : Learn(state, view.instance, /*is_a=*/true, *link.mac);
}

}  // namespace

bool Learn(State& state, int instance, const std::string& uid) {
  if (instance == 0) return uid.empty();
  if (uid.empty()) return false;
  auto [known, is_new] = state.uids.try_emplace(instance, uid);
  if (!is_new) return known->second == uid;
  // Nobody else's.
  return std::count_if(state.uids.begin(), state.uids.end(), [&](const auto& other) { return other.second == uid; }) ==
         1;
}

// A pair keeps its addresses, unless somebody changes them for a time.
bool Learn(State& state, int instance, bool is_a, const netlink::MacAddress& mac) {
  return state.macs.try_emplace({instance, is_a}, mac).first->second == mac;
}

bool Matches(const Expected& expected, const Answer& answer, State& state) {
  if (answer.ok != expected.ok) return false;
  if (!answer.ok) return answer.error->reason == expected.reason && answer.error->specs_match == expected.specs_match;
  if (answer.presence != expected.presence || answer.healed != expected.healed) return false;
  if (answer.deleted != expected.deleted || answer.kept != expected.kept) return false;
  if (answer.netns.has_value() != expected.netns.has_value() || answer.veth.has_value() != expected.veth.has_value() ||
      answer.device.has_value() != expected.device.has_value()) {
    return false;
  }
  if (answer.device.has_value() && !MatchesView(*expected.device, *answer.device, state)) return false;
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

bool MatchesList(const std::string& collection, const std::vector<engine::Device>& devices, State& state) {
  std::vector<std::string> names;
  for (const auto& [name, record] : state.devices) {
    if (absl::StartsWith(name, collection)) names.push_back(name);
  }
  return std::equal(names.begin(), names.end(), devices.begin(), devices.end(),
                    [&](const std::string& name, const engine::Device& device) {
                      return MatchesView(state.DescribeDevice(name), device, state);
                    });
}

bool MatchesLeases(const engine::LeaseBook& leases, const State& state) {
  std::optional<absl::Duration> next;
  size_t expired = 0;
  bool matches = true;
  state.ForEach([&](const std::string&, const auto& record) {
    const std::optional<absl::Duration> remaining = state.Remaining(record.metadata);
    if (remaining.has_value()) next = std::min(next.value_or(*remaining), *remaining);
    if (remaining == absl::ZeroDuration()) ++expired;
    const auto uid = state.uids.find(record.instance);
    matches = matches && (uid == state.uids.end() || leases.Remaining(uid->second) == remaining);
  });
  return matches && leases.UntilNextEnd() == next && leases.Expired().size() == expired;
}

bool MatchesRenewal(const engine::LeaseBook::Renewal& renewal, const std::string& owner, const State& state) {
  engine::LeaseBook::Renewal expected;
  state.ForEach([&](const std::string&, const auto& record) {
    const Metadata& metadata = record.metadata;
    if (metadata.owner != owner || metadata.ttl == absl::ZeroDuration()) return;
    ++expected.leases;
    expected.shortest = std::min(expected.shortest.value_or(metadata.ttl), metadata.ttl);
  });
  return renewal.leases == expected.leases && renewal.shortest == expected.shortest;
}

}  // namespace netprov::simulation
