// Paths and processes, as ways into namespaces that have no name.
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/engine/objects.h"
#include "tests/simulation/history.h"
#include "tests/simulation/run.h"
#include "tests/simulation/specs.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

uint32_t Simulation::PidOf(size_t process) const {
  const auto pid = pids_.find(process);
  const bool is_there = pid != pids_.end() && world_.kernel().FindPlace({.path = "", .pid = pid->second}).ok();
  return is_there ? pid->second : 0;
}

std::string Simulation::WithNumber(const std::string& place) const {
  for (const auto& [process, pid] : pids_) {
    if (place == engine::PlaceName({.path = "", .pid = StandInOf(process)}))
      return engine::PlaceName({.path = "", .pid = pid});
  }
  return place;
}

bool Simulation::ChangeWays(Act& act) {
  act.pid = PidOf(act.process);
  switch (act.kind) {
    case Act::Kind::kBindPath:
      if (act.process != 0 && act.pid == 0) return false;
      world_.Bind(act.path, act.pid);
      Count(act.pid == 0 ? "way: a path" : "way: a path of a process's");
      return true;
    case Act::Kind::kUnbindPath:
      if (!world_.kernel().FindPlace({.path = act.path, .pid = 0}).ok()) return false;
      world_.Unbind(act.path);
      Count("way: a path is gone");
      return true;
    case Act::Kind::kStartProcess:
      if (act.pid != 0) return false;
      act.pid = pids_[act.process] = world_.StartProcess();
      Count("way: a process");
      return true;
    case Act::Kind::kEndProcess:
      if (act.pid == 0) return false;
      world_.EndProcess(act.pid);
      Count("way: a process ends");
      return true;
    default:
      if (act.pid == 0) return false;
      world_.Unshare(act.pid);
      Count("way: a process goes elsewhere");
      return true;
  }
}

}  // namespace netprov::simulation
