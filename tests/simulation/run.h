// One history on its way: the engine, the machine, the calls in flight, and the states that explain what was seen.
#ifndef NETPROV_TESTS_SIMULATION_RUN_H_
#define NETPROV_TESTS_SIMULATION_RUN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "server/engine/registry.h"
#include "tests/simulation/faulty_kernel.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/random.h"
#include "tests/simulation/simulation.h"
#include "tests/simulation/turns.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

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
  // What somebody takes away from an end of ours; false: there is nothing of it.
  bool TakeAway(const Act& act, const engine::NetnsRef& place, const engine::Link& link);
  // With the place and the name of the link that is meant.
  Act Aim(Act act);
  // The loopback link of a namespace of ours, or an end of a pair of ours of which both are in their places and, if
  // `tagged`, have their tags. To change others is to leave what cannot be told from somebody else's.
  bool IsOurs(const engine::NetnsRef& place, uint32_t ifindex, bool tagged);
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
  // Whether what the registry counts is what is in it.
  void Recount();
  void Finish();

  // The number of a process of a history; 0: it is not there.
  uint32_t PidOf(size_t process) const;
  // Puts it in the place of what stands for it.
  std::string WithNumber(const std::string& place) const;
  // What somebody does to the ways into namespaces; false: it can't be.
  bool ChangeWays(Act& act);
  Sighting See();
  engine::NetnsRef RefOf(const std::string& place);

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
  std::unique_ptr<engine::Registry> registry_;
  std::unique_ptr<engine::Engine> engine_;

  std::deque<Event> events_;  // to come
  int next_number_ = 1;
  std::map<int, Flight> flights_;                 // by number
  std::map<std::string, std::deque<int>> lines_;  // by key
  Flight* running_ = nullptr;

  absl::Duration now_;
  bool disturbed_ = false;  // something was made to fail in the recovery
  bool armed_ = false;      // things may go wrong
  bool dead_ = false;       // the process has died, but some thread of it does not know yet

  std::map<size_t, uint32_t> pids_;  // the numbers of processes that have been started since the host was

  std::vector<Config> configs_ = {Config{}};
  std::string log_;
  Statistics statistics_;
};

// `namespaces` of `namespaces/blue`.
inline std::string Collection(const std::string& name) { return name.substr(0, name.find('/')); }

// The place of an end or of a link: as Sighting has it where nothing else leads there.
template <typename End>
std::string WhereIs(const End& end) {
  return end.place.has_value() ? PlaceName(*end.place) : end.namespace_id;
}

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_RUN_H_
