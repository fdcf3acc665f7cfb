// What happens in a simulation: calls of clients, acts of other programs, ends of the daemon.
#ifndef NETPROV_TESTS_SIMULATION_HISTORY_H_
#define NETPROV_TESTS_SIMULATION_HISTORY_H_

#include <string>
#include <vector>

#include "server/engine/objects.h"
#include "tests/simulation/random.h"

namespace netprov::simulation {

// One call of the engine.
struct Call {
  enum class Method {
    kCreateNamespace,
    kDeleteNamespace,
    kCreateVeth,
    kDeleteVeth,
    kGetNamespace,
    kGetVeth,
    kListNamespaces,
    kListVeths,
  };
  Method method = Method::kCreateNamespace;
  std::string id;          // empty with the lists
  engine::VethSpec spec;   // with kCreateVeth
  bool allow = false;      // allow_existing, allow_missing
  bool validate = false;   // validate_only
  std::string request_id;  // empty: none

  bool reads() const { return method >= Method::kGetNamespace; }
  // All but the request id.
  std::string Fingerprint() const;
  std::string ToString() const;
};

// One act of another program.
struct Act {
  enum class Kind { kAddNetns, kRemoveName, kAddFile, kAddLink, kRenameLink, kDeleteLink };
  Kind kind = Kind::kAddNetns;
  std::string name;      // at /run/netns; with links the namespace that they are in, empty: the host's
  std::string link;      // with links
  std::string new_link;  // with kRenameLink
  bool empty = true;     // with kAddFile

  std::string ToString() const;
};

struct Event {
  enum class Kind {
    kCall,
    kAct,     // while calls run
    kStop,    // the daemon ends in good order, and starts
    kCrash,   // it is killed, and starts
    kReboot,  // the host goes down with it
    kQuiet,   // nothing happens until every call has answered
    kCheck,   // the same, and then the host is checked
  };
  Kind kind = Kind::kCall;
  Call call;
  Act act;
  bool look_only = false;  // with kCheck
};

// 8 to 16 calls on few names, so that they collide, and what happens between them.
std::vector<Event> MakeHistory(Random& random, bool reboots);

// The names that a history uses.
extern const std::vector<std::string> kNamespaceIds;
extern const std::vector<std::string> kVethIds;

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_HISTORY_H_
