#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/engine/engine.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/run.h"
#include "tests/simulation/specs.h"
#include "tests/simulation/turns.h"

namespace netprov::simulation {

using engine::Reason;

namespace {

// What an update asks for.
template <typename Spec>
netprov::Result<engine::Asked<Spec>, std::vector<engine::InvalidField>> Edit(const Change& change,
                                                                             const engine::Asked<Spec>& present) {
  engine::Asked<Spec> asked = present;
  change.Apply(asked.spec);
  if (!change.Apply(asked.metadata)) {
    return std::vector<engine::InvalidField>{{.field = "metadata.ttl", .description = "a lease needs an owner"}};
  }
  if constexpr (std::is_same_v<Spec, engine::VethSpec>) {
    if (!MayPersist(asked.spec, asked.metadata)) {
      return std::vector<engine::InvalidField>{{.field = "metadata.persistent", .description = "a process ends"}};
    }
  }
  return asked;
}

engine::UpdateNamespaceCall NamespaceUpdate(const Call& call, const engine::CallContext& context) {
  return {.context = context, .id = call.id, .edit = [change = call.change](const auto& present) {
            return Edit(change, present);
          }};
}

engine::UpdateVethCall VethUpdate(const Call& call, const engine::CallContext& context) {
  const auto asks = [](const Change::End& end) { return end.config.has_value() && end.config->ip_forwarding; };
  const bool asks_for_forwarding = asks(call.change.a) || asks(call.change.b);
  std::vector<std::string> bridges;
  for (const Change::End* end : {&call.change.a, &call.change.b}) {
    if (!end->bridge.value_or("").empty()) bridges.push_back(*end->bridge);
  }
  return {.context = context,
          .id = call.id,
          .edit = [change = call.change](const auto& present) { return Edit(change, present); },
          .bridges = bridges,
          .ip_forwarding = asks_for_forwarding};
}

engine::UpdateDeviceCall DeviceUpdate(const Call& call, const engine::CallContext& context) {
  return {.context = context, .name = call.id, .edit = [change = call.change](const auto& present) {
            return Edit(change, present);
          }};
}

// Page by page, as clients do.
template <typename T, typename List>
engine::EngineResult<std::vector<T>> ListAll(std::string T::*name, List list) {
  constexpr size_t kPage = 2;
  std::vector<T> all;
  for (std::string after;; after = all.back().*name) {
    engine::EngineResult<engine::Page<T>> page = list(after, kPage);
    if (!page.ok()) return std::move(page).error();
    all.insert(all.end(), page->items.begin(), page->items.end());
    if (!page->more) return all;
  }
}

}  // namespace

void Simulation::Submit(const Call& asked) {
  Flight& flight = flights_[next_number_];
  flight.number = next_number_++;
  flight.call = asked;
  flight.call.spec = WithNumbers(asked.spec, pids_);
  const Call& call = flight.call;
  engine::CallContext context{.request_id = call.request_id,
                              .fingerprint = call.Fingerprint(),
                              .validate_only = call.validate,
                              .stopped = nullptr};
  switch (call.method) {
    case Call::Method::kCreateNamespace:
      flight.keys = engine_->Keys(engine::CreateNamespaceCall{.context = context, .id = call.id});
      break;
    case Call::Method::kDeleteNamespace:
      flight.keys = engine_->Keys(engine::DeleteNamespaceCall{.context = context, .id = call.id});
      break;
    case Call::Method::kAdoptNamespace:
      flight.keys = engine_->Keys(engine::AdoptNamespaceCall{.context = context, .id = call.id});
      break;
    case Call::Method::kReleaseNamespace:
      flight.keys = engine_->Keys(engine::ReleaseNamespaceCall{.context = context, .id = call.id});
      break;
    case Call::Method::kCreateVeth:
      flight.keys = engine_->Keys(engine::CreateVethCall{
          .context = context, .id = call.id, .spec = call.spec, .create_namespaces = call.births});
      break;
    case Call::Method::kDeleteVeth:
      flight.keys = engine_->Keys(engine::DeleteVethCall{.context = context, .id = call.id});
      break;
    case Call::Method::kCreateDevice:
      flight.keys = engine_->Keys(engine::CreateDeviceCall{.context = context, .name = call.id, .spec = call.device});
      break;
    case Call::Method::kDeleteDevice:
      flight.keys = engine_->Keys(engine::DeleteDeviceCall{.context = context, .name = call.id});
      break;
    case Call::Method::kUpdateDevice:
      flight.keys = engine_->Keys(DeviceUpdate(call, context));
      break;
    case Call::Method::kUpdateNamespace:
      flight.keys = engine_->Keys(NamespaceUpdate(call, context));
      break;
    case Call::Method::kUpdateVeth:
      flight.keys = engine_->Keys(VethUpdate(call, context));
      break;
    case Call::Method::kCollectGarbage:
      Plan(flight);
      break;
    case Call::Method::kExpire:
    case Call::Method::kTend:
      flight.keys = engine_->Keys(call.object);
      break;
    default:
      break;
  }
  for (const std::string& key : flight.keys) lines_[key].push_back(flight.number);
  Log(absl::StrCat("call ", flight.number, ": ", call.ToString()));
}

void Simulation::Plan(Flight& flight) {
  Call& call = flight.call;
  flight.garbage = engine_->PlanGarbage(call.owner, call.keep);
  flight.garbage.validate_only = call.validate;
  flight.keys = engine_->Keys(flight.garbage);
  Garbage planned;
  for (const engine::ObjectRef& object : flight.garbage.doomed) planned.doomed.push_back(object.name);
  for (const auto& [name, why] : flight.garbage.kept) planned.kept.push_back(name);
  call.doomed = flight.garbage.doomed;
  call.kept = planned.kept;
  if (flights_.size() > 1) return;
  std::erase_if(configs_, [&](const Config& config) {
    const Garbage expected = PlanGarbage(config.state, call.owner, call.keep);
    return planned.doomed != expected.doomed || planned.kept != expected.kept;
  });
  if (configs_.empty()) {
    Break(absl::StrCat("of ", call.owner, "'s must not be planned to go: ", absl::StrJoin(planned.doomed, " "),
                       "; to stay: ", absl::StrJoin(planned.kept, " ")));
  }
}

void Simulation::Execute(Flight& flight) {
  const Call& call = flight.call;
  engine::CallContext context{.request_id = call.request_id,
                              .fingerprint = call.Fingerprint(),
                              .caller = absl::StrCat("uid:", call.metadata.owner),
                              .validate_only = call.validate,
                              .stopped =
                                  [this, &flight] {
                                    Turn::Yield();
                                    if (dead_) throw netprov::simulation::Crash();
                                    if (armed_ && fate_.OneIn(trouble_.given_up)) flight.given_up = true;
                                    return flight.given_up;
                                  },
                              .keys = flight.keys};
  auto take = [&](auto result, auto keep) {
    flight.answer.ok = result.ok();
    if (result.ok()) {
      keep(result);
    } else {
      flight.answer.error = result.error();
    }
  };
  auto nothing = [](const auto&) {};
  auto netns = [&](const auto& result) { flight.answer.netns = *result; };
  auto veth = [&](const auto& result) { flight.answer.veth = *result; };
  auto device = [&](const auto& result) { flight.answer.device = *result; };
  switch (call.method) {
    case Call::Method::kCreateNamespace:
      return take(engine_->CreateNamespace({.context = context,
                                            .id = call.id,
                                            .spec = call.netns,
                                            .metadata = call.metadata,
                                            .allow_existing = call.allow}),
                  netns);
    case Call::Method::kDeleteNamespace:
      return take(engine_->DeleteNamespace({.context = context, .id = call.id, .allow_missing = call.allow}), nothing);
    case Call::Method::kAdoptNamespace:
      return take(engine_->AdoptNamespace({.context = context,
                                           .id = call.id,
                                           .spec = call.netns,
                                           .metadata = call.metadata,
                                           .allow_existing = call.allow}),
                  netns);
    case Call::Method::kReleaseNamespace:
      return take(engine_->ReleaseNamespace({.context = context, .id = call.id, .allow_missing = call.allow}), nothing);
    case Call::Method::kCreateVeth:
      return take(engine_->CreateVeth({.context = context,
                                       .id = call.id,
                                       .spec = call.spec,
                                       .metadata = call.metadata,
                                       .allow_existing = call.allow,
                                       .create_namespaces = call.births}),
                  veth);
    case Call::Method::kDeleteVeth:
      return take(engine_->DeleteVeth({.context = context, .id = call.id, .allow_missing = call.allow}), nothing);
    case Call::Method::kCreateDevice:
      return take(engine_->CreateDevice({.context = context,
                                         .name = call.id,
                                         .spec = call.device,
                                         .metadata = call.metadata,
                                         .allow_existing = call.allow}),
                  device);
    case Call::Method::kDeleteDevice:
      return take(engine_->DeleteDevice({.context = context, .name = call.id, .allow_missing = call.allow}), nothing);
    case Call::Method::kUpdateDevice:
      return take(engine_->UpdateDevice(DeviceUpdate(call, context)), device);
    case Call::Method::kUpdateNamespace:
      return take(engine_->UpdateNamespace(NamespaceUpdate(call, context)), netns);
    case Call::Method::kUpdateVeth:
      return take(engine_->UpdateVeth(VethUpdate(call, context)), veth);
    case Call::Method::kCollectGarbage:
      flight.garbage.stopped = context.stopped;
      return take(engine_->CollectGarbage(flight.garbage), [&](const auto& garbage) {
        flight.answer.deleted = garbage->deleted;
        for (const auto& [name, why] : garbage->failures) flight.answer.kept.push_back(name);
      });
    case Call::Method::kExpire:
      return take(engine_->DeleteExpired(call.object), [&](const auto& expiry) {
        if (expiry->deleted) flight.answer.deleted = {call.object.name};
        if (!expiry->kept_because.empty()) flight.answer.kept = {call.object.name};
      });
    case Call::Method::kTend:
      // As the caretaker does.
      return take(engine_->Inspect(call.object), [&](const auto& found) {
        if (!found->has_value()) return;
        flight.answer.presence = PresenceOf((*found)->state);
        if ((*found)->state == engine::State::kReady || !(*found)->is_to_be_healed) return;
        take(engine_->Heal(call.object), [&](const auto&) { flight.answer.healed = true; });
      });
    case Call::Method::kGetNamespace:
      return take(engine_->GetNamespace(call.id), netns);
    case Call::Method::kGetVeth:
      return take(engine_->GetVeth(call.id), veth);
    case Call::Method::kGetDevice:
      return take(engine_->GetDevice(call.id), device);
    case Call::Method::kListNamespaces:
      return take(ListAll(&engine::Namespace::id,
                          [&](const auto& after, size_t limit) { return engine_->ListNamespaces(after, limit); }),
                  [&](const auto& all) { flight.answer.namespaces = *all; });
    case Call::Method::kListVeths:
      return take(
          ListAll(&engine::Veth::id, [&](const auto& after, size_t limit) { return engine_->ListVeths(after, limit); }),
          [&](const auto& all) { flight.answer.veths = *all; });
    case Call::Method::kListDevices:
      return take(ListAll(&engine::Device::name,
                          [&](const auto& after, size_t limit) { return engine_->ListDevices(call.id, after, limit); }),
                  [&](const auto& all) { flight.answer.devices = *all; });
  }
}

std::vector<Simulation::Flight*> Simulation::Ready() {
  std::vector<Flight*> ready;
  for (auto& [number, flight] : flights_) {
    if (std::all_of(flight.keys.begin(), flight.keys.end(),
                    [&, mine = number](const std::string& key) { return lines_.at(key).front() == mine; })) {
      ready.push_back(&flight);
    }
  }
  return ready;
}

void Simulation::Step() {
  Flight& flight = *schedule_.Pick(Ready());
  if (flight.turn == nullptr) {
    flight.turn = std::make_unique<Turn>([this, &flight] { Execute(flight); });
    for (auto& [number, other] : flights_) {
      if (number == flight.number || other.turn == nullptr) continue;
      other.overlapped = flight.overlapped = true;
      Count("overlap");
    }
  }
  running_ = &flight;
  flight.turn->Step();
  running_ = nullptr;
  if (dead_) return Crash(/*reboot=*/false);
  if (flight.turn->ended()) Answered(flight.number);
}

void Simulation::CountAnswer(const Flight& flight) {
  const Answer& answer = flight.answer;
  Count(answer.ok ? "answer: ok" : absl::StrCat("answer: reason ", static_cast<int>(answer.error->reason)));
  if (!answer.ok && answer.error->reason == Reason::kPlaceNotFound) Count("answer: nothing leads there");
  if (!answer.ok && answer.error->reason == Reason::kPlaceUnusable) Count("answer: that place can't be used");
  if (answer.ok && flight.call.method == Call::Method::kCreateVeth && !flight.call.validate) {
    for (const engine::EndpointSpec* end : {&flight.call.spec.a, &flight.call.spec.b}) {
      if (end->place.has_value()) Count(end->place->path.empty() ? "end: at a process" : "end: at a path");
    }
  }
  if (flight.call.method == Call::Method::kCreateDevice && !flight.call.validate) {
    const std::string kind = engine::KindOf(flight.call.device.options);
    if (answer.ok) Count("device: made " + kind);
    if (!answer.ok && answer.error->reason == Reason::kDeviceRefused) Count("device: refused " + kind);
    const bool is_missing = !answer.ok && answer.error->kernel.has_value() && answer.error->kernel->code == EOPNOTSUPP;
    if (is_missing) Count("device: the kernel has no " + kind);
  }
  if (flight.call.method == Call::Method::kUpdateDevice && answer.ok) {
    Count("device: updated " + engine::KindOf(answer.device->options));
  }
  if (answer.healed) {
    const auto healed = registry_->FindDevice(flight.call.object.name);
    if (healed.has_value()) Count("device: healed " + engine::KindOf(healed->spec.options));
  }
  if (!answer.ok && answer.error->specs_match.has_value()) {
    Count(*answer.error->specs_match ? "answer: exists, and matches" : "answer: exists, and differs");
  }
  if (flight.call.method == Call::Method::kTend && answer.presence.has_value()) {
    const char* was = *answer.presence == Presence::kDegraded  ? "degraded "
                      : *answer.presence == Presence::kMissing ? "missing "
                                                               : "well ";
    Count(absl::StrCat("tended: ", was, Collection(flight.call.object.name),
                       answer.healed ? ", healed"
                       : answer.ok   ? ""
                                     : ", not healed"));
  }
  if (flight.call.updates()) {
    const std::string kind = flight.call.method == Call::Method::kUpdateVeth     ? "veths"
                             : flight.call.method == Call::Method::kUpdateDevice ? Collection(flight.call.id)
                                                                                 : "namespaces";
    auto how = [&]() -> std::string {
      if (answer.ok) return flight.call.validate ? "would be done" : "done";
      switch (answer.error->reason) {
        case Reason::kObjectMissing:
          return "missing";
        case Reason::kRollbackFailed:
          return "not undone";
        case Reason::kInvalidChange:
          return "invalid";
        case Reason::kKernel:
        case Reason::kRegistryFailed:
          return "failed";
        default:
          return "refused";
      }
    };
    Count(absl::StrCat("update: ", how(), " ", kind));
  }
  const std::string what = flight.call.method == Call::Method::kExpire ? "expiry: " : "garbage: ";
  for (const std::string& name : answer.deleted) {
    Count(absl::StrCat(what, flight.call.validate ? "would delete " : "deleted ", Collection(name)));
  }
  for (const std::string& name : answer.kept) Count(absl::StrCat(what, "kept ", Collection(name)));
}

void Simulation::Answered(int number) {
  Flight& flight = flights_.at(number);
  const Answer& answer = flight.answer;
  Log(absl::StrCat("answer ", number, ": ", answer.ToString()));
  CountAnswer(flight);
  // A read that looks piece by piece while others change things may see some of each.
  if (!flight.call.reads() || !flight.overlapped) {
    std::vector<Config> explained;
    for (const Config& config : configs_) Explain(config, flight, explained);
    if (flight.call.method == Call::Method::kListNamespaces && answer.ok) {
      std::erase_if(explained,
                    [&](Config& config) { return !MatchesList(answer.namespaces, flight.disturbed, config.state); });
    } else if (flight.call.method == Call::Method::kListVeths && answer.ok) {
      std::erase_if(explained, [&](Config& config) { return !MatchesList(answer.veths, config.state); });
    } else if (flight.call.method == Call::Method::kListDevices && answer.ok) {
      std::erase_if(explained,
                    [&](Config& config) { return !MatchesList(flight.call.id, answer.devices, config.state); });
    }
    if (explained.empty()) {
      Break(absl::StrCat("call ", number, " (", flight.call.ToString(), ") must not answer ", answer.ToString(), "\n",
                         Describe(configs_)));
    }
    configs_ = std::move(explained);
    constexpr size_t kMostConfigs = 20000;
    if (configs_.size() > kMostConfigs) Break("the simulation has lost track: too many states are possible");
  } else if (!answer.ok && answer.error->reason != Reason::kNamespaceNotFound &&
             answer.error->reason != Reason::kVethNotFound && answer.error->reason != Reason::kDeviceNotFound &&
             !flight.disturbed) {
    Break(absl::StrCat("call ", number, " (", flight.call.ToString(), ") must not answer ", answer.ToString()));
  }
  for (const std::string& key : flight.keys) {
    lines_.at(key).pop_front();
    if (lines_.at(key).empty()) lines_.erase(key);
  }
  flights_.erase(number);
  if (options_.looks_often) Look();
}

}  // namespace netprov::simulation
