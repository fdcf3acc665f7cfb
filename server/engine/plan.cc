#include "server/engine/plan.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace netprov::engine {

netprov::Result<void, PlanFailure> Plan::Run() {
  for (; done_ < steps_.size(); ++done_) {
    KernelResult<void> result = steps_[done_].run();
    if (result.ok()) continue;
    const Step& failed = steps_[done_];
    const bool to_sweep = failed.sweep != nullptr && result.error().may_have_effect;
    const KernelResult<void> swept = to_sweep ? failed.sweep() : KernelResult<void>();
    PlanFailure failure{.step = failed.name, .error = std::move(result).error(), .residue = Undo()};
    if (!swept.ok()) {
      failure.residue.push_back(
          absl::StrCat("'", failed.name, "' may have left something: ", swept.error().ToString()));
    }
    return failure;
  }
  return {};
}

std::vector<std::string> Plan::Undo() {
  std::vector<std::string> residue;
  while (done_ > 0) {
    const Step& step = steps_[--done_];
    if (step.undo == nullptr) {
      residue.push_back(absl::StrCat("'", step.name, "' is done for good"));
      continue;
    }
    if (KernelResult<void> undone = step.undo(); !undone.ok()) {
      residue.push_back(absl::StrCat("'", step.name, "' could not be undone: ", undone.error().ToString()));
    }
  }
  return residue;
}

}  // namespace netprov::engine
