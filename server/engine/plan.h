// A change as steps that can be undone.
#ifndef NETPROV_SERVER_ENGINE_PLAN_H_
#define NETPROV_SERVER_ENGINE_PLAN_H_

#include <functional>
#include <string>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/base/result.h"

namespace netprov::engine {

// One operation on the kernel. It either happens whole or changes nothing.
struct Step {
  // For errors, as in `create veth h0 <-> veth0`.
  std::string name;
  std::function<KernelResult<void>()> run;
  // Takes back what `run` did. Null: it cannot be taken back, as with a deletion, and a later failure leaves it as
  // residue.
  std::function<KernelResult<void>()> undo;
  // Called after `run` failed and may have had an effect (KernelError), to make sure that nothing of it is left. Null:
  // it never has.
  std::function<KernelResult<void>()> sweep;
};

// For a step that changes nothing, or whose change goes with what an earlier step made.
inline KernelResult<void> NothingToUndo() { return {}; }

// What stopped a plan.
struct PlanFailure {
  std::string step;
  KernelError error;
  // What earlier steps did and could not be undone, one sentence each. Empty: nothing was changed.
  std::vector<std::string> residue;
};

// Runs steps in order, and undoes them in reverse. Not thread-safe.
class Plan {
 public:
  void Add(Step step) { steps_.push_back(std::move(step)); }

  // Runs the steps. The first that fails ends it, after those before it are undone.
  netprov::Result<void, PlanFailure> Run();

  // Undoes every step that was done, also where one cannot be undone. Returns the residue.
  std::vector<std::string> Undo();

 private:
  std::vector<Step> steps_;
  size_t done_ = 0;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_PLAN_H_
