#include "tests/simulation/simulation.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "server/engine/registry.h"
#include "server/engine/tag.h"
#include "tests/simulation/faulty_kernel.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/random.h"
#include "tests/simulation/registry_faults.h"
#include "tests/simulation/turns.h"

namespace netprov::simulation {
namespace {

using engine::Engine;
using engine::Finding;
using engine::NetnsEntry;
using engine::NetnsRef;
using engine::Reason;
using engine::Registry;

// A promise was broken. Thrown and caught on the thread of Simulate() alone.
struct Violation {
  std::string text;
};

// How much goes wrong in a history, each as once in so many; 0: never.
struct Trouble {
  size_t kernel_error = 0;    // per operation
  size_t kernel_crash = 0;    // per operation
  size_t registry_error = 0;  // per transaction
  size_t registry_crash = 0;  // per transaction
  size_t given_up = 0;        // per call
  size_t most_at_once = 1;    // calls
};

Trouble MakeTrouble(Random& random) {
  Trouble trouble{.most_at_once = 1 + random.Below(3)};
  if (random.OneIn(2)) trouble.kernel_error = random.Pick<size_t>({8, 20});
  if (random.OneIn(2)) trouble.kernel_crash = random.Pick<size_t>({20, 60});
  if (random.OneIn(3)) trouble.registry_error = random.Pick<size_t>({5, 15});
  if (random.OneIn(3)) trouble.registry_crash = random.Pick<size_t>({10, 30});
  if (random.OneIn(4)) trouble.given_up = 10;
  return trouble;
}

class Simulation final : public Plot {
 public:
  Simulation(uint64_t seed, const Options& options, World& world);
  ~Simulation() override;

  Report Run();

  // Plot
  Fate Before(const char* operation) override;
  void After(const char* operation) override;

 private:
  // A call that was made and has not answered.
  struct Flight {
    int number = 0;
    Call call;
    std::vector<std::string> keys;
    engine::CollectGarbageCall garbage;
    std::unique_ptr<Turn> turn;  // null until it is first in each of its lines
    Answer answer;
    bool disturbed = false;   // something was made to fail in it, or somebody meddled
    bool overlapped = false;  // something else happened meanwhile
    bool registry_failed = false;
    bool given_up = false;
  };
  // A state that explains all answers so far, and the calls in flight that have had their effect in it.
  struct Config {
    State state;
    std::map<int, std::pair<Outcome::Kind, Expected>> effective;
    std::map<int, Expected> progress;  // of piecemeal calls: what they have done so far
    friend bool operator==(const Config&, const Config&) = default;
  };

  void Log(const std::string& line) {
    if (options_.verbose) absl::StrAppend(&log_, line, "\n");
  }
  void Count(const std::string& what) { ++statistics_.counts[what]; }
  [[noreturn]] void Break(const std::string& what);

  void Play(const Event& event);
  // Lets some call run to its next boundary.
  void Step();
  void Drain() {
    while (!flights_.empty()) Step();
  }
  void Submit(const Call& call);
  std::vector<Flight*> Ready();
  // What of an owner's is garbage now.
  void Plan(Flight& flight);
  void Execute(Flight& flight);
  void Answered(int number);
  void CountAnswer(const Flight& flight);
  void Meddle(const Act& meant);
  // With the place and the name of the link that is meant.
  Act Aim(Act act);
  // The loopback link of a namespace of ours, or an end of a pair of ours of which both are in their places and, if
  // `tagged`, have their tags. To change others is to leave what cannot be told from somebody else's.
  bool IsOurs(const NetnsRef& place, uint32_t ifindex, bool tagged);
  // Time passes while nothing else happens.
  void Advance(absl::Duration time);
  void Renew(const std::string& owner);
  // Makes the caretaker's calls for what has expired.
  void Expire();
  // Makes its calls for what it shall look at.
  void Tend();
  // Whether a report tells what is not well.
  void Compare(const engine::HostReport& report);
  void Stop();
  void Crash(bool reboot);
  // Opens the registry and recovers, again and again if that goes wrong.
  void Start(bool troubled);
  // A start or a check that acts has succeeded, and reported this.
  void Recovered(const engine::HostReport& report, bool disturbed, bool is_first);
  void Open();
  void Close();
  // Checks the host while nothing else happens: it finds what is unfinished, and finishes it unless it only looks.
  void Check(bool look_only);
  // Compares everything that can be seen, if no call runs.
  void Look();
  void Finish();

  Sighting See();
  NetnsRef RefOf(const std::string& place);

  // The configurations that follow from `configs_` if the call in flight answered.
  void Explain(const Config& config, const Flight& answered, std::vector<Config>& explained);
  // Those in which any of the calls in flight have had their effect.
  void Close(const Config& config, bool dies, std::vector<Config>& closed);
  // What `call` may do next in that state; `next` is called with each.
  template <typename Next>
  static void Continue(const Config& config, const Flight& flight, bool dies, Next next);
  static void AddNew(Config config, std::vector<Config>& configs) {
    if (std::find(configs.begin(), configs.end(), config) == configs.end()) configs.push_back(std::move(config));
  }
  static bool Accepts(const Flight& flight, Outcome::Kind kind, const Expected& expected, State& state);
  std::string Describe(const std::vector<Config>& configs) const;

  bool MayCommit();

  const Options& options_;
  World& world_;
  Random history_;   // what is asked for
  Random schedule_;  // who runs
  Random fate_;      // what fails
  Trouble trouble_;
  std::unique_ptr<engine::Kernel> wrapped_;
  FaultyKernel kernel_;

  std::string path_;
  int generation_ = 0;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Engine> engine_;

  std::deque<Event> events_;  // to come
  int next_number_ = 1;
  std::map<int, Flight> flights_;                 // by number
  std::map<std::string, std::deque<int>> lines_;  // by key
  Flight* running_ = nullptr;

  absl::Duration now_;
  bool disturbed_ = false;  // something was made to fail in the recovery
  bool armed_ = false;      // things may go wrong
  bool dead_ = false;       // the process has died, but some thread of it does not know yet

  std::vector<Config> configs_ = {Config{}};
  std::string log_;
  Statistics statistics_;
};

// What an update asks for.
template <typename Spec>
netprov::Result<engine::Asked<Spec>, std::vector<engine::InvalidField>> Edit(const Change& change,
                                                                             const engine::Asked<Spec>& present) {
  engine::Asked<Spec> asked = present;
  if constexpr (std::is_same_v<Spec, engine::VethSpec>) change.Apply(asked.spec);
  if (!change.Apply(asked.metadata)) {
    return std::vector<engine::InvalidField>{{.field = "metadata.ttl", .description = "a lease needs an owner"}};
  }
  return asked;
}

engine::UpdateNamespaceCall NamespaceUpdate(const Call& call, const engine::CallContext& context) {
  return {.context = context, .id = call.id, .edit = [change = call.change](const auto& present) {
            return Edit(change, present);
          }};
}

engine::UpdateVethCall VethUpdate(const Call& call, const engine::CallContext& context) {
  return {.context = context,
          .id = call.id,
          .edit = [change = call.change](const auto& present) { return Edit(change, present); },
          .bridges = {}};
}

// `namespaces` of `namespaces/blue`.
std::string Collection(const std::string& name) { return name.substr(0, name.find('/')); }

// A database that has its tables, so that not every history needs to make them.
const std::string& EmptyDatabase(const std::string& directory) {
  static const std::string* path = [&] {
    auto* made = new std::string(absl::StrCat(directory, "/netprov-simulation-", ::getpid(), "-empty"));
    if (!Registry::Open(*made).ok()) std::abort();
    std::atexit([] { ::unlink(EmptyDatabase("").c_str()); });
    return made;
  }();
  return *path;
}

Simulation::Simulation(uint64_t seed, const Options& options, World& world)
    : options_(options),
      world_(world),
      history_(seed * 3),
      schedule_(seed * 3 + 1),
      fate_(seed * 3 + 2),
      wrapped_(options.wrap == nullptr ? nullptr : options.wrap(world.kernel())),
      kernel_(wrapped_ == nullptr ? world.kernel() : *wrapped_, *this,
              [this](const std::string& name) { world_.AddFile(name, /*empty=*/true); }) {
  trouble_ = MakeTrouble(history_);
  path_ = absl::StrCat(options.directory, "/netprov-simulation-", ::getpid(), "-0");
  CopyDatabase(EmptyDatabase(options.directory), path_);
  InterceptCommits([this] { return MayCommit(); });
}

Simulation::~Simulation() {
  flights_.clear();
  Close();
  InterceptCommits(nullptr);
  for (const char* suffix : {"", "-wal"}) ::unlink(absl::StrCat(path_, suffix).c_str());
}

void Simulation::Break(const std::string& what) { throw Violation{what}; }

// ---- What goes wrong

Fate Simulation::Before(const char* operation) {
  Turn::Yield();
  if (dead_) throw netprov::simulation::Crash();
  if (!armed_) return {};
  const std::string who = running_ == nullptr ? "recovery" : absl::StrCat(running_->number);
  Fate fate;
  if (fate_.OneIn(trouble_.kernel_crash)) {
    fate.kind = fate_.Pick({Fate::Kind::kCrashBefore, Fate::Kind::kCrashInside, Fate::Kind::kCrashAfter});
    dead_ = true;
    Log(absl::StrCat("    ", who, ": dies ",
                     fate.kind == Fate::Kind::kCrashBefore   ? "before "
                     : fate.kind == Fate::Kind::kCrashInside ? "inside "
                                                             : "after ",
                     operation));
    Count(absl::StrCat("death: ",
                       fate.kind == Fate::Kind::kCrashBefore   ? "before "
                       : fate.kind == Fate::Kind::kCrashInside ? "inside "
                                                               : "after ",
                       operation));
    return fate;
  }
  if (fate_.OneIn(trouble_.kernel_error)) {
    const bool creates = std::strncmp(operation, "Create", 6) == 0;
    fate.kind = Fate::Kind::kFail;
    if (std::strcmp(operation, "CreateVeth") == 0 && fate_.OneIn(3)) fate.kind = Fate::Kind::kFailLeaving;
    // Not those that mean something: ENOENT, ESTALE and ENODEV say that an object is gone. EEXIST can be true for a
    // moment.
    fate.error = fate_.Pick({ENOMEM, EBUSY, EPERM, ENOBUFS, creates ? EEXIST : ENOMEM});
    if (fate.kind == Fate::Kind::kFailLeaving) fate.error = ENOBUFS;
    (running_ == nullptr ? disturbed_ : running_->disturbed) = true;
    Log(absl::StrCat("    ", who, ": ", operation, " fails: ", strerrorname_np(fate.error),
                     fate.kind == Fate::Kind::kFailLeaving ? ", and leaves its pair" : ""));
    Count(absl::StrCat("error: ", operation, fate.kind == Fate::Kind::kFailLeaving ? ", leaving its pair" : ""));
    return fate;
  }
  Log(absl::StrCat("    ", who, ": ", operation));
  return fate;
}

void Simulation::After(const char*) {
  Turn::Yield();
  if (dead_) throw netprov::simulation::Crash();
}

bool Simulation::MayCommit() {
  if (dead_) return false;
  if (!armed_) return true;
  const std::string who = running_ == nullptr ? "recovery" : absl::StrCat(running_->number);
  if (fate_.OneIn(trouble_.registry_crash)) {
    dead_ = true;
    const bool before = fate_.OneIn(2);
    Log(absl::StrCat("    ", who, ": dies ", before ? "before" : "after", " a write of the registry"));
    Count(absl::StrCat("death: ", before ? "before" : "after", " a write of the registry"));
    return !before;
  }
  if (fate_.OneIn(trouble_.registry_error)) {
    (running_ == nullptr ? disturbed_ : running_->disturbed) = true;
    if (running_ != nullptr) running_->registry_failed = true;
    Log(absl::StrCat("    ", who, ": a write of the registry fails"));
    Count("error: registry");
    return false;
  }
  Log(absl::StrCat("    ", who, ": a write of the registry"));
  return true;
}

// ---- Explanations

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
              ((flight.call.method == Call::Method::kCreateNamespace || flight.call.method == Call::Method::kTend) &&
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
          return true;
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
                                    .dies = dies};
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

// ---- Calls

void Simulation::Submit(const Call& call) {
  Flight& flight = flights_[next_number_];
  flight.number = next_number_++;
  flight.call = call;
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
    case Call::Method::kCreateVeth:
      flight.keys = engine_->Keys(engine::CreateVethCall{.context = context, .id = call.id, .spec = call.spec});
      break;
    case Call::Method::kDeleteVeth:
      flight.keys = engine_->Keys(engine::DeleteVethCall{.context = context, .id = call.id});
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
                              .validate_only = call.validate,
                              .stopped = [this, &flight] {
                                Turn::Yield();
                                if (dead_) throw netprov::simulation::Crash();
                                if (armed_ && fate_.OneIn(trouble_.given_up)) flight.given_up = true;
                                return flight.given_up;
                              }};
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
  switch (call.method) {
    case Call::Method::kCreateNamespace:
      return take(engine_->CreateNamespace(
                      {.context = context, .id = call.id, .metadata = call.metadata, .allow_existing = call.allow}),
                  netns);
    case Call::Method::kDeleteNamespace:
      return take(engine_->DeleteNamespace({.context = context, .id = call.id, .allow_missing = call.allow}), nothing);
    case Call::Method::kCreateVeth:
      return take(engine_->CreateVeth({.context = context,
                                       .id = call.id,
                                       .spec = call.spec,
                                       .metadata = call.metadata,
                                       .allow_existing = call.allow}),
                  veth);
    case Call::Method::kDeleteVeth:
      return take(engine_->DeleteVeth({.context = context, .id = call.id, .allow_missing = call.allow}), nothing);
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
    case Call::Method::kListNamespaces:
    case Call::Method::kListVeths: {
      // Page by page, as clients do.
      constexpr size_t kPage = 2;
      bool more = true;
      flight.answer.ok = true;
      for (std::string after; more && flight.answer.ok;) {
        more = false;
        if (call.method == Call::Method::kListNamespaces) {
          take(engine_->ListNamespaces(after, kPage), [&](const auto& page) {
            flight.answer.namespaces.insert(flight.answer.namespaces.end(), page->items.begin(), page->items.end());
            more = page->more;
            if (more) after = page->items.back().id;
          });
        } else {
          take(engine_->ListVeths(after, kPage), [&](const auto& page) {
            flight.answer.veths.insert(flight.answer.veths.end(), page->items.begin(), page->items.end());
            more = page->more;
            if (more) after = page->items.back().id;
          });
        }
      }
      return;
    }
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
    const char* kind = flight.call.method == Call::Method::kUpdateVeth ? "veths" : "namespaces";
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
    }
    if (explained.empty()) {
      Break(absl::StrCat("call ", number, " (", flight.call.ToString(), ") must not answer ", answer.ToString(), "\n",
                         Describe(configs_)));
    }
    configs_ = std::move(explained);
    constexpr size_t kMostConfigs = 20000;
    if (configs_.size() > kMostConfigs) Break("the simulation has lost track: too many states are possible");
  } else if (!answer.ok && answer.error->reason != Reason::kNamespaceNotFound &&
             answer.error->reason != Reason::kVethNotFound && !flight.disturbed) {
    Break(absl::StrCat("call ", number, " (", flight.call.ToString(), ") must not answer ", answer.ToString()));
  }
  for (const std::string& key : flight.keys) {
    lines_.at(key).pop_front();
    if (lines_.at(key).empty()) lines_.erase(key);
  }
  flights_.erase(number);
  if (options_.looks_often) Look();
}

// ---- The machine

NetnsRef Simulation::RefOf(const std::string& place) {
  if (place.empty()) return {};
  auto entry = world_.kernel().FindNetns(place);
  const bool is_netns = entry.ok() && entry->has_value() && (*entry)->is_netns;
  return {.name = place, .cookie = is_netns ? (*entry)->cookie : 0};
}

Sighting Simulation::See() {
  Sighting sighting;
  auto check = [this](const auto& result) {
    if (!result.ok()) Break(absl::StrCat("the machine cannot be looked at: ", result.error().ToString()));
  };
  auto see_links = [&](const NetnsRef& place) {
    auto links = world_.kernel().ListLinks(place);
    check(links);
    for (const engine::Link& link : *links) {
      // The loopback link, and what the kernel puts into each namespace by itself.
      if (link.name == "lo") {
        if (!place.is_host()) {
          sighting.files[place.name].alias = link.alias;
          sighting.files[place.name].up = link.up;
        }
      } else if (link.group != 0 || link.kind == "veth" || link.kind == "bridge" || link.kind == "dummy") {
        sighting.links[{place.name, link.name}] = link;
      }
    }
  };
  see_links({});
  auto names = world_.kernel().ListNetns();
  check(names);
  for (const std::string& name : *names) {
    const NetnsRef ref = RefOf(name);
    sighting.files[name].is_netns = ref.cookie != 0;
    if (ref.cookie != 0) see_links(ref);
  }
  return sighting;
}

bool Simulation::IsOurs(const NetnsRef& place, uint32_t ifindex, bool tagged) {
  const std::string boot = world_.kernel().BootId();
  if (ifindex == engine::kLoopbackIndex) {
    const auto record = registry_->FindNamespace(place.name);
    return record.has_value() && record->boot_id == boot && record->cookie == place.cookie;
  }
  for (const engine::VethRecord& record : registry_->ListVeths("", SIZE_MAX)) {
    auto is_it = [&](const engine::Endpoint& end) { return end.namespace_id == place.name && end.ifindex == ifindex; };
    if (record.boot_id != boot || (!is_it(record.a) && !is_it(record.b))) continue;
    auto is_there = [&](const engine::Endpoint& end, const engine::Endpoint& other) {
      auto link = world_.kernel().FindLink(RefOf(end.namespace_id), end.ifindex);
      if (!link.ok() || !link->has_value() || (*link)->peer_ifindex != other.ifindex) return false;
      const std::optional<engine::Tag> tag = engine::ParseTag((*link)->alias);
      return tag.has_value() ? tag->uid == record.uid : !tagged && (*link)->group == engine::kOwnedGroup;
    };
    return is_there(record.a, record.b) && is_there(record.b, record.a);
  }
  return false;
}

Act Simulation::Aim(Act act) {
  if ((act.kind != Act::Kind::kSetLink && act.kind != Act::Kind::kMoveLink) || !act.link.empty()) return act;
  const std::vector<engine::VethRecord> veths = registry_->ListVeths("", SIZE_MAX);
  if (veths.empty()) return act;
  const engine::VethRecord& veth = veths[act.end / 2 % veths.size()];
  const engine::Endpoint& end = act.end % 2 == 0 ? veth.a : veth.b;
  auto link = world_.kernel().FindLink(RefOf(end.namespace_id), end.ifindex);
  if (!link.ok() || !link->has_value()) return act;
  act.name = end.namespace_id;
  act.link = (*link)->name;
  return act;
}

void Simulation::Meddle(const Act& meant) {
  // What is read back as it was made, or has just been looked at, is not changed: the model is too plain for that.
  const bool drifts = meant.kind == Act::Kind::kSetLink || meant.kind == Act::Kind::kMoveLink;
  const bool waits = std::any_of(flights_.begin(), flights_.end(), [&](const auto& flight) {
    return flight.second.turn != nullptr &&
           (flight.second.call.method == Call::Method::kTend || flight.second.call.updates() ||
            (drifts && flight.second.call.method == Call::Method::kCreateVeth));
  });
  if (waits) Drain();
  const Act act = Aim(meant);
  const NetnsRef place = RefOf(act.name);
  const bool is_place = act.name.empty() || place.cookie != 0;
  auto there = [&](const std::string& link) {
    if (!is_place) return false;
    auto found = world_.kernel().FindLink(place, link);
    return found.ok() && found->has_value();
  };
  const bool name_taken = !act.name.empty() && *world_.kernel().FindNetns(act.name) != std::nullopt;
  // What fails for another program changes nothing.
  bool done = false;
  switch (act.kind) {
    case Act::Kind::kAddNetns:
      if ((done = !name_taken)) world_.AddNetns(act.name);
      break;
    case Act::Kind::kRemoveName:
      if ((done = name_taken)) {
        if (is_place) {
          world_.RemoveNetns(act.name);
        } else {
          world_.RemoveFile(act.name);
        }
      }
      break;
    case Act::Kind::kAddFile:
      if ((done = !name_taken)) world_.AddFile(act.name, act.empty);
      break;
    case Act::Kind::kAddLink:
      if ((done = is_place && !there(act.link))) world_.AddLink(place, act.link);
      break;
    case Act::Kind::kRenameLink:
      if ((done = there(act.link) && !there(act.new_link))) world_.RenameLink(place, act.link, act.new_link);
      break;
    case Act::Kind::kDeleteLink:
      if ((done = there(act.link))) {
        const auto link = *world_.kernel().FindLink(place, act.link);
        (void)world_.kernel().DeleteLink(place, link->ifindex);
      }
      break;
    case Act::Kind::kSetLink:
      if (there(act.link)) {
        const auto link = *world_.kernel().FindLink(place, act.link);
        if ((done = IsOurs(place, link->ifindex, /*tagged=*/false)))
          (void)world_.kernel().SetLink(place, link->ifindex, act.settings);
      }
      break;
    case Act::Kind::kMoveLink: {
      const NetnsRef to = RefOf(act.to);
      const bool fits = (act.to.empty() || to.cookie != 0) && act.to != act.name && !there(act.new_link) &&
                        !*world_.kernel().FindLink(to, act.new_link);
      if (!fits || !there(act.link)) break;
      const auto link = *world_.kernel().FindLink(place, act.link);
      if ((done = IsOurs(place, link->ifindex, /*tagged=*/true))) {
        world_.RenameLink(place, act.link, act.new_link);
        world_.MoveLink(place, act.new_link, to);
      }
      break;
    }
  }
  if (!done) return;
  Log(absl::StrCat("somebody: ", act.ToString()));
  Count("act");
  if (act.kind == Act::Kind::kMoveLink) Count("drift: moved");
  if (act.kind == Act::Kind::kSetLink) {
    Count(absl::StrCat("drift: ", act.link == "lo" ? "lo " : "",
                       act.settings.mtu.has_value()     ? "mtu"
                       : act.settings.mac.has_value()   ? "mac"
                       : act.settings.alias.has_value() ? "alias"
                                                        : "admin state"));
  }
  for (auto& [number, flight] : flights_) flight.overlapped = flight.disturbed = true;
  std::vector<Config> closed;
  for (const Config& config : configs_) Close(config, /*dies=*/false, closed);
  std::vector<Config> applied;
  for (Config& config : closed) {
    if (Apply(act, config.state)) AddNew(std::move(config), applied);
  }
  if (applied.empty()) {
    Break(absl::StrCat("somebody could do what must not be possible: ", act.ToString(), "\n", Describe(configs_)));
  }
  configs_ = std::move(applied);
  if (options_.looks_often) Look();
}

void Simulation::Look() {
  if (!flights_.empty()) return;
  const bool was_armed = std::exchange(armed_, false);
  const Sighting sighting = See();
  std::vector<Config> seen = configs_;
  std::erase_if(seen, [&](Config& config) { return !Matches(sighting, config.state); });
  if (seen.empty()) {
    Break(absl::StrCat("the machine must not be in this state:\n", sighting.ToString(), Describe(configs_)));
  }
  size_t named = 0;
  for (const auto& [name, file] : sighting.files) named += file.is_netns ? 1 : 0;
  if (std::string unnamed = world_.Unnamed(named); !unnamed.empty()) Break(unnamed);
  constexpr size_t kAll = 100;
  auto namespaces = engine_->ListNamespaces("", kAll);
  auto veths = engine_->ListVeths("", kAll);
  if (!namespaces.ok()) Break(absl::StrCat("namespaces cannot be listed: ", namespaces.error().message));
  if (!veths.ok()) Break(absl::StrCat("pairs cannot be listed: ", veths.error().message));
  std::erase_if(seen, [&](Config& config) {
    return !MatchesList(namespaces->items, /*disturbed=*/false, config.state) ||
           !MatchesList(veths->items, config.state) || !MatchesLeases(engine_->leases(), config.state);
  });
  if (seen.empty()) {
    Break(absl::StrCat("these must not be listed: ",
                       Answer{.ok = true, .namespaces = namespaces->items, .veths = veths->items}.ToString(), "\n",
                       sighting.ToString(), Describe(configs_)));
  }
  configs_.clear();
  for (Config& config : seen) AddNew(std::move(config), configs_);
  armed_ = was_armed;
}

// ---- The daemon

void Simulation::Open() {
  auto registry = Registry::Open(path_);
  if (!registry.ok()) Break(absl::StrCat("the registry cannot be opened: ", registry.error().message));
  registry_ = *std::move(registry);
  engine_ = std::make_unique<Engine>(kernel_, *registry_, options_.clock(now_));
}

void Simulation::Close() {
  engine_.reset();
  registry_.reset();
}

void Simulation::Start(bool troubled) {
  constexpr int kMostAttempts = 4;
  int attempts = 0;
  disturbed_ = false;
  engine::HostReport last;
  for (int attempt = 1;; ++attempt) {
    armed_ = false;
    Open();
    armed_ = troubled && attempt < kMostAttempts;
    attempts = attempt;
    bool recovered = false;
    std::string why = "killed";
    try {
      auto report = engine_->Recover();
      if (report.ok()) {
        // What it could not do, it says.
        recovered = report->Count(Finding::Kind::kUnfinished) == 0 && report->Count(Finding::Kind::kOrphan) == 0 &&
                    registry_->ListPending().empty();
        last = *report;
        Log(absl::StrCat("start: ", report->Count(Finding::Kind::kRolledBack), " rolled back, ",
                         report->Count(Finding::Kind::kCompleted), " completed, ",
                         report->Count(Finding::Kind::kOrphanRemoved), " orphans removed"));
        why = "something is unfinished";
      } else {
        why = report.error().message;
      }
    } catch (const netprov::simulation::Crash&) {
    }
    armed_ = false;
    recovered = recovered && !dead_;
    if (recovered) break;
    Log(absl::StrCat("start: failed, ", why));
    Count("recovery failed");
    if (attempt == kMostAttempts) Break(absl::StrCat("recovery fails by itself: ", why));
    if (dead_) {
      const std::string copy = absl::StrCat(options_.directory, "/netprov-simulation-", ::getpid(), "-", ++generation_);
      CopyDatabase(path_, copy);
      Close();
      for (const char* suffix : {"", "-wal"}) ::unlink(absl::StrCat(path_, suffix).c_str());
      path_ = copy;
      dead_ = false;
    } else {
      Close();
    }
  }
  Recovered(last, disturbed_, attempts == 1);
  for (Config& config : configs_) HearAll(config.state);
  if (!disturbed_) Compare(last);
  if (!registry_->ListPending().empty()) Break("something is pending after a recovery that succeeded");
  Look();
  armed_ = true;
}

void Simulation::Recovered(const engine::HostReport& report, bool disturbed, bool is_first) {
  std::map<std::string, bool> restored;
  for (const Finding& finding : report.findings) {
    if (finding.kind == Finding::Kind::kRestored || finding.kind == Finding::Kind::kNotRestored) {
      restored[finding.resource] = finding.kind == Finding::Kind::kRestored;
      Count(absl::StrCat(report.at_start ? "" : "check: ", restored[finding.resource] ? "restored: " : "not restored: ",
                         Collection(finding.resource)));
    }
  }
  std::vector<Config> recovered;
  for (Config& config : configs_) {
    Recover(config.state);
    for (State& state : Restore(config.state, restored, disturbed, is_first)) {
      AddNew({.state = std::move(state), .effective = {}, .progress = {}}, recovered);
    }
  }
  if (recovered.empty()) {
    std::string text;
    for (const auto& [name, was] : restored) absl::StrAppend(&text, " ", name, was ? " restored" : " not restored");
    Break(absl::StrCat("a report must not say", text, "\n", Describe(configs_)));
  }
  configs_ = std::move(recovered);
}

void Simulation::Check(bool look_only) {
  Drain();
  const bool was_armed = std::exchange(armed_, false);
  const int pending = static_cast<int>(registry_->ListPending().size());
  auto report = engine_->CheckHost(engine_->PlanCheck(look_only));
  if (!report.ok()) Break(absl::StrCat("the host cannot be checked: ", report.error().message));
  const int unfinished = report->Count(Finding::Kind::kUnfinished);
  const int finished = report->Count(Finding::Kind::kRolledBack) + report->Count(Finding::Kind::kCompleted);
  const int left = static_cast<int>(registry_->ListPending().size());
  Log(absl::StrCat("check", look_only ? ", look only" : "", ": ", unfinished, " unfinished, ", finished, " finished"));
  Count(look_only ? "check, look only" : "check");
  if (unfinished > 0) Count("check: found something unfinished");
  if (finished > 0) Count("check: finished something");
  // Of what is in the registry, nothing is passed over.
  if (unfinished != (look_only ? pending : 0) || finished != (look_only ? 0 : pending) ||
      left != (look_only ? pending : 0)) {
    Break(absl::StrCat("a check must not find ", unfinished, " unfinished and finish ", finished, " of ", pending));
  }
  if (!look_only) {
    if (report->Count(Finding::Kind::kOrphan) > 0) Break("a check leaves an orphan, though nothing fails");
    Recovered(*report, /*disturbed=*/false, /*is_first=*/true);
  }
  if (left == 0) Compare(*report);
  Look();
  armed_ = was_armed;
}

void Simulation::Advance(absl::Duration time) {
  Drain();
  Log(absl::StrCat("time: ", absl::FormatDuration(time)));
  Count("time passes");
  now_ += time;
  for (Config& config : configs_) config.state.now = now_;
  // Each uid is known from here on, so that what has expired is known too.
  Look();
}

void Simulation::Renew(const std::string& owner) {
  std::vector<Config> closed;
  for (const Config& config : configs_) Close(config, /*dies=*/false, closed);
  const engine::LeaseBook::Renewal renewal = engine_->RenewLease(owner);
  Log(absl::StrCat("renew: ", owner, ", ", renewal.leases, " leases"));
  Count(renewal.leases > 0 ? "renewed" : "renewed nothing");
  configs_.clear();
  for (Config& config : closed) {
    // A call that is under way may have begun or claimed a lease, and fail.
    if (flights_.empty() && !MatchesRenewal(renewal, owner, config.state)) continue;
    Hear(owner, config.state);
    AddNew(std::move(config), configs_);
  }
  if (configs_.empty()) Break(absl::StrCat(owner, " must not have ", renewal.leases, " leases"));
}

void Simulation::Expire() {
  std::vector<engine::LeaseBook::Lease> expired = engine_->leases().Expired();
  // They come by uid, which is another one each time.
  std::sort(expired.begin(), expired.end(), [](const auto& a, const auto& b) { return a.object < b.object; });
  for (const engine::LeaseBook::Lease& lease : expired) {
    // One object is in one chore at a time.
    const bool is_busy = std::any_of(flights_.begin(), flights_.end(), [&](const auto& flight) {
      return flight.second.call.method == Call::Method::kExpire && flight.second.call.object.uid == lease.uid;
    });
    if (is_busy) continue;
    // As if each came in its turn.
    events_.push_front({.kind = Event::Kind::kCall,
                        .call = {.method = Call::Method::kExpire, .object = {.name = lease.object, .uid = lease.uid}},
                        .act = {}});
  }
}

void Simulation::Tend() {
  auto tend = [&](const std::string& name, const std::string& uid, const engine::Metadata& metadata) {
    if (!metadata.self_heal && !history_.OneIn(4)) return;
    events_.push_front({.kind = Event::Kind::kCall,
                        .call = {.method = Call::Method::kTend, .object = {.name = name, .uid = uid}},
                        .act = {}});
  };
  for (const auto& record : registry_->ListVeths("", SIZE_MAX)) {
    tend(engine::VethName(record.id), record.uid, record.metadata);
  }
  for (const auto& record : registry_->ListNamespaces()) {
    tend(engine::NamespaceName(record.id), record.uid, record.metadata);
  }
}

void Simulation::Compare(const engine::HostReport& report) {
  std::map<std::string, Presence> found;
  for (const Finding& finding : report.findings) {
    if (finding.kind == Finding::Kind::kMissing) found[finding.resource] = Presence::kMissing;
    if (finding.kind == Finding::Kind::kDegraded) found[finding.resource] = Presence::kDegraded;
  }
  std::erase_if(configs_, [&](const Config& config) {
    return Unwell(config.state) != found ||
           config.state.namespaces.size() + config.state.veths.size() != static_cast<size_t>(report.objects);
  });
  if (!configs_.empty()) return;
  std::string text;
  for (const auto& [name, presence] : found) {
    absl::StrAppend(&text, " ", name, presence == Presence::kMissing ? " missing" : " degraded");
  }
  Break(absl::StrCat("of ", report.objects, " objects a look must not find", text));
}

void Simulation::Stop() {
  Drain();
  Log("the daemon stops");
  Count("stop");
  Close();
  Start(/*troubled=*/true);
}

void Simulation::Crash(bool reboot) {
  Log(reboot ? "the host reboots" : "the daemon is killed");
  Count(reboot ? "reboot" : "crash");
  dead_ = true;
  armed_ = false;
  // The other threads die where they are.
  for (auto& [number, flight] : flights_) {
    if (flight.turn != nullptr && !flight.turn->ended()) flight.turn->Kill();
  }
  dead_ = false;
  const std::string copy = absl::StrCat(options_.directory, "/netprov-simulation-", ::getpid(), "-", ++generation_);
  CopyDatabase(path_, copy);
  Close();
  for (const char* suffix : {"", "-wal"}) ::unlink(absl::StrCat(path_, suffix).c_str());
  path_ = copy;

  std::vector<Config> closed;
  for (const Config& config : configs_) Close(config, /*dies=*/true, closed);
  // A deletion that nothing disturbed is not begun or finished, together with the answer to its request id; but where
  // something older is unfinished, recovery finishes that first.
  std::erase_if(closed, [this](const Config& config) {
    return std::any_of(config.effective.begin(), config.effective.end(), [&](const auto& effective) {
      const Flight& flight = flights_.at(effective.first);
      const Outcome::Kind kind = effective.second.first;
      if (flight.call.method != Call::Method::kDeleteNamespace && flight.call.method != Call::Method::kDeleteVeth &&
          flight.call.method != Call::Method::kExpire) {
        return false;
      }
      const bool is_first = config.state.unfinished.size() == 1;
      return (kind == Outcome::Kind::kIntentStays && !flight.registry_failed && is_first) ||
             (kind == Outcome::Kind::kRollbackFailed && !flight.disturbed);
    });
  });
  // A pair that somebody renamed while it was made may have been recorded under either name.
  for (size_t i = 0, known = closed.size(); i < known; ++i) {
    for (auto& [number, effective] : std::map(closed[i].effective)) {
      Config adopted = closed[i];
      AdoptNames(flights_.at(number).call, nullptr, effective.second, adopted.state);
      AddNew(std::move(adopted), closed);
    }
  }
  // A client whose answer was lost asks again.
  for (const auto& [number, flight] : flights_) {
    if (flight.call.reads() || flight.call.is_chore() || !history_.OneIn(2)) continue;
    events_.push_front({.kind = Event::Kind::kCall, .call = flight.call, .act = {}});
  }
  configs_.clear();
  flights_.clear();
  lines_.clear();
  for (Config& config : closed) {
    config.effective.clear();
    config.progress.clear();
    if (reboot) Reboot(config.state);
    AddNew(std::move(config), configs_);
  }
  if (reboot) world_.Reboot();
  Start(/*troubled=*/true);
}

// ---- The whole

void Simulation::Play(const Event& event) {
  switch (event.kind) {
    case Event::Kind::kCall:
      while (flights_.size() >= trouble_.most_at_once) Step();
      return Submit(event.call);
    case Event::Kind::kAct:
      return Meddle(event.act);
    case Event::Kind::kStop:
      return Stop();
    case Event::Kind::kCrash:
      return Crash(/*reboot=*/false);
    case Event::Kind::kReboot:
      return Crash(/*reboot=*/true);
    case Event::Kind::kQuiet:
      return Drain();
    case Event::Kind::kCheck:
      return Check(event.look_only);
    case Event::Kind::kAdvance:
      return Advance(event.time);
    case Event::Kind::kRenew:
      return Renew(event.owner);
    case Event::Kind::kExpire:
      return Expire();
    case Event::Kind::kTend:
      return Tend();
  }
}

// Nothing goes wrong any more: all that was begun is finished, and all of ours can be deleted.
void Simulation::Finish() {
  Drain();
  armed_ = false;
  Log("the end");
  Close();
  Start(/*troubled=*/false);
  armed_ = false;
  if (std::string difference = world_.Witness(See()); !difference.empty()) Break(difference);
  auto remove = [&](Call call) {
    Submit(call);
    Drain();
  };
  for (const std::string& id : kVethIds) {
    if (registry_->FindVeth(id).has_value()) remove({.method = Call::Method::kDeleteVeth, .id = id});
  }
  for (const std::string& id : kNamespaceIds) {
    if (registry_->FindNamespace(id).has_value()) remove({.method = Call::Method::kDeleteNamespace, .id = id});
  }
  Look();
  for (const Config& config : configs_) {
    if (!HoldsNothingOfOurs(config.state)) Break(absl::StrCat("something is left behind\n", ToString(config.state)));
  }
}

Report Simulation::Run() {
  Report report;
  try {
    const std::vector<Event> events = MakeHistory(history_, world_.CanReboot());
    events_.assign(events.begin(), events.end());
    Start(/*troubled=*/false);
    while (!events_.empty()) {
      // A new event, or a step of what goes on.
      if (flights_.empty() || schedule_.OneIn(4)) {
        const Event event = std::move(events_.front());
        events_.pop_front();
        Play(event);
      } else {
        Step();
      }
    }
    Finish();
  } catch (const Violation& violation) {
    report.failure = violation.text;
    Log(absl::StrCat("BROKEN: ", violation.text));
  }
  report.log = std::move(log_);
  report.statistics = std::move(statistics_);
  report.statistics.histories = 1;
  return report;
}

}  // namespace

Report Simulate(uint64_t seed, const Options& options, World& world) { return Simulation(seed, options, world).Run(); }

void Statistics::Add(const Statistics& other) {
  histories += other.histories;
  for (const auto& [what, count] : other.counts) counts[what] += count;
}

std::string Statistics::ToString() const {
  std::string text = absl::StrCat(histories, " histories\n");
  for (const auto& [what, count] : counts) absl::StrAppend(&text, "  ", what, ": ", count, "\n");
  return text;
}

}  // namespace netprov::simulation
