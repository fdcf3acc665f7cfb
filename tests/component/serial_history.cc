#include "tests/component/serial_history.h"

#include <algorithm>
#include <set>
#include <utility>

namespace netprov::testing {

bool IsSerial(std::vector<Event> events) {
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.begin < b.begin; });
  std::vector<bool> done(events.size());
  std::set<std::pair<std::vector<bool>, std::string>> tried;
  auto search = [&](auto& self, size_t left, const std::string& uid) -> bool {
    if (left == 0) return true;
    if (!tried.insert({done, uid}).second) return false;
    int64_t first_end = INT64_MAX;
    for (size_t i = 0; i < events.size(); ++i) {
      if (!done[i]) first_end = std::min(first_end, events[i].end);
    }
    for (size_t i = 0; i < events.size(); ++i) {
      const Event& event = events[i];
      if (event.begin > first_end) break;
      if (done[i]) continue;
      std::string next = uid;
      switch (event.kind) {
        case Event::Kind::kCreated:
          if (!uid.empty()) continue;
          next = event.uid;
          break;
        case Event::Kind::kFoundExisting:
          if (uid.empty() || (!event.uid.empty() && event.uid != uid)) continue;
          break;
        case Event::Kind::kDeleted:
          if (uid.empty()) continue;
          next.clear();
          break;
        case Event::Kind::kFoundNothing:
          if (!uid.empty()) continue;
          break;
      }
      done[i] = true;
      if (self(self, left - 1, next)) return true;
      done[i] = false;
    }
    return false;
  };
  return search(search, events.size(), "");
}

}  // namespace netprov::testing
