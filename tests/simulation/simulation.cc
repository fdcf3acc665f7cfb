#include "tests/simulation/simulation.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/registry.h"
#include "tests/simulation/faulty_kernel.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/random.h"
#include "tests/simulation/registry_faults.h"
#include "tests/simulation/run.h"
#include "tests/simulation/turns.h"

namespace netprov::simulation {

using engine::Registry;

namespace {

Trouble MakeTrouble(Random& random) {
  Trouble trouble{.most_at_once = 1 + random.Below(3)};
  if (random.OneIn(2)) trouble.kernel_error = random.Pick<size_t>({8, 20});
  if (random.OneIn(2)) trouble.kernel_crash = random.Pick<size_t>({20, 60});
  if (random.OneIn(3)) trouble.registry_error = random.Pick<size_t>({5, 15});
  if (random.OneIn(3)) trouble.registry_crash = random.Pick<size_t>({10, 30});
  if (random.OneIn(4)) trouble.given_up = 10;
  return trouble;
}

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

}  // namespace

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
    const bool makes_link = std::strcmp(operation, "CreateVeth") == 0 || std::strcmp(operation, "CreateDevice") == 0;
    if (makes_link && fate_.OneIn(3)) fate.kind = Fate::Kind::kFailLeaving;
    // Not those that mean something: ENOENT, ESTALE and ENODEV say that an object is gone. EEXIST can be true for a
    // moment.
    fate.error = fate_.Pick({ENOMEM, EBUSY, EPERM, ENOBUFS, creates ? EEXIST : ENOMEM});
    if (fate.kind == Fate::Kind::kFailLeaving) fate.error = ENOBUFS;
    (running_ == nullptr ? disturbed_ : running_->disturbed) = true;
    Log(absl::StrCat("    ", who, ": ", operation, " fails: ", strerrorname_np(fate.error),
                     fate.kind == Fate::Kind::kFailLeaving ? ", and leaves its link" : ""));
    Count(absl::StrCat("error: ", operation, fate.kind == Fate::Kind::kFailLeaving ? ", leaving its link" : ""));
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
  for (const std::string& name : kDeviceNames) {
    if (registry_->FindDevice(name).has_value()) remove({.method = Call::Method::kDeleteDevice, .id = name});
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
    const std::vector<Event> events = MakeHistory(history_, world_.CanReboot(), world_.HasVlans());
    events_.assign(events.begin(), events.end());
    for (Config& config : configs_) {
      config.state.forwards_at_birth = world_.ForwardsAtBirth();
      config.state.missing_kinds = world_.MissingKinds();
      config.state.new_port = NewPortWords(world_.HasVlans());
      config.state.Bear(0);
    }
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
