// Whether what many clients at once were told of one object is what some serial order would have told them.
#ifndef NETPROV_TESTS_COMPONENT_SERIAL_HISTORY_H_
#define NETPROV_TESTS_COMPONENT_SERIAL_HISTORY_H_

#include <cstdint>
#include <string>
#include <vector>

namespace netprov::testing {

// One call on one object, and what it saw. The object is there, with a uid, or not: that is all the state.
struct Event {
  enum class Kind { kCreated, kFoundExisting, kDeleted, kFoundNothing };
  Kind kind;
  std::string uid;  // of what was created, or read
  int64_t begin;    // of a clock that all share: an event that ended before another began came first
  int64_t end;
};

// Whether the events can be put in an order that respects their times and in which each saw what it must
// (linearizability, by the search of Wing and Gong: at each point, any event may be next that began before the first
// unfinished one ended).
bool IsSerial(std::vector<Event> events);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_COMPONENT_SERIAL_HISTORY_H_
