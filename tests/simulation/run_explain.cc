#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/run.h"

namespace netprov::simulation {

using engine::Reason;

bool Simulation::Accepts(const Flight& flight, Outcome::Kind kind, const Expected& expected, State& state) {
  const Answer& answer = flight.answer;
  switch (kind) {
    case Outcome::Kind::kDone: {
      if (flight.call.method == Call::Method::kTend) {
        // It looks twice, and others may have been about between.
        Expected looked = expected;
        if (flight.overlapped || !expected.ok) looked.presence = answer.presence;
        if (flight.overlapped) looked.healed = answer.healed;
        return Matches(looked, answer, state);
      }
      if (!flight.overlapped || !answer.ok || flight.call.method != Call::Method::kCreateVeth) {
        return Matches(expected, answer, state);
      }
      Expected adopted = expected;
      AdoptNames(flight.call, &*answer.veth, adopted, state);
      return Matches(adopted, answer, state);
    }
    case Outcome::Kind::kFailed:
      if (answer.ok) return false;
      if (answer.error->reason == Reason::kStopped) return flight.given_up;
      // An EEXIST out of nowhere is a name that somebody had for a moment.
      return flight.disturbed &&
             (answer.error->reason == Reason::kKernel || answer.error->reason == Reason::kRegistryFailed ||
              ((flight.call.method == Call::Method::kCreateNamespace || flight.call.method == Call::Method::kTend ||
                flight.call.births) &&
               answer.error->reason == Reason::kNamespaceNotManaged));
    case Outcome::Kind::kRollbackFailed:
      return flight.disturbed && !answer.ok && answer.error->reason == Reason::kRollbackFailed;
    case Outcome::Kind::kIntentStays:
      return flight.registry_failed && !answer.ok && answer.error->reason == Reason::kRollbackFailed;
    case Outcome::Kind::kOvertaken:
      if (!flight.overlapped || answer.ok) return false;
      switch (answer.error->reason) {
        case Reason::kNamespaceNotFound:
        case Reason::kNamespaceNotManaged:
        case Reason::kNamespaceFileStale:
        case Reason::kNamespaceMissing:
        case Reason::kInterfaceNameTaken:
        case Reason::kPortForwardTaken:
        case Reason::kLowerNotFound:
        case Reason::kPlaceNotFound:
        case Reason::kPlaceUnusable:
        case Reason::kDeviceRefused:
          return true;
        case Reason::kKernel:
          return answer.error->kernel->code == EEXIST;
        default:
          return false;
      }
    case Outcome::Kind::kLost:
      return false;
  }
  return false;
}

void Simulation::Explain(const Config& config, const Flight& answered, std::vector<Config>& explained) {
  if (auto effective = config.effective.find(answered.number); effective != config.effective.end()) {
    Config next = config;
    if (Accepts(answered, effective->second.first, effective->second.second, next.state)) {
      next.effective.erase(answered.number);
      AddNew(std::move(next), explained);
    }
    return;
  }
  for (const auto& item : flights_) {
    const Flight& flight = item.second;
    if (flight.turn == nullptr || flight.call.reads() != answered.call.reads() ||
        config.effective.contains(flight.number)) {
      continue;
    }
    Continue(config, flight, /*dies=*/false, [&](Config next, const Outcome& outcome) {
      if (!outcome.is_over) return Explain(next, answered, explained);
      if (flight.number == answered.number) {
        if (Accepts(answered, outcome.kind, outcome.expected, next.state)) AddNew(std::move(next), explained);
      } else {
        // A refusal changes nothing, so it can as well be explained when it comes.
        next.effective.emplace(flight.number, std::pair(outcome.kind, outcome.expected));
        Explain(next, answered, explained);
      }
    });
  }
}

template <typename Next>
void Simulation::Continue(const Config& config, const Flight& flight, bool dies, Next next) {
  auto progress = config.progress.find(flight.number);
  const Circumstances circumstances{.overlapped = flight.overlapped,
                                    .disturbed = flight.disturbed || flight.given_up,
                                    .registry_failed = flight.registry_failed,
                                    .dies = dies,
                                    .keys = flight.keys};
  for (Outcome& outcome : OutcomesOf(config.state, flight.call, circumstances,
                                     progress == config.progress.end() ? nullptr : &progress->second)) {
    Config then{.state = std::move(outcome.after), .effective = config.effective, .progress = config.progress};
    then.progress.erase(flight.number);
    if (!outcome.is_over) then.progress.emplace(flight.number, outcome.expected);
    next(std::move(then), outcome);
  }
}

void Simulation::Close(const Config& config, bool dies, std::vector<Config>& closed) {
  const size_t known = closed.size();
  AddNew(config, closed);
  if (closed.size() == known) return;
  for (const auto& [number, flight] : flights_) {
    if (flight.turn == nullptr || flight.call.reads() || config.effective.contains(number)) continue;
    Continue(config, flight, dies, [&, mine = number](Config next, const Outcome& outcome) {
      if (outcome.is_over) next.effective.emplace(mine, std::pair(outcome.kind, outcome.expected));
      Close(next, dies, closed);
    });
  }
}

std::string Simulation::Describe(const std::vector<Config>& configs) const {
  std::string text;
  constexpr size_t kMost = 4;
  for (size_t i = 0; i < std::min(configs.size(), kMost); ++i) {
    absl::StrAppend(&text, "possible so far, ", i + 1, " of ", configs.size(), ":\n", ToString(configs[i].state));
  }
  return text;
}

}  // namespace netprov::simulation
