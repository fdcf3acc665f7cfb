#include "tests/e2e/mutation.h"

#include <utility>

namespace netprov::testing {

const std::vector<Mutation>& Mutations() {
  static const auto* const mutations = [] {
    auto* all = new std::vector<Mutation>(CallMutations());
    for (Mutation& mutation : UpkeepMutations()) all->push_back(std::move(mutation));
    return all;
  }();
  return *mutations;
}

std::vector<Mutation> MutationsOf(const std::set<std::string>& names) {
  std::vector<Mutation> mutations = Mutations();
  std::erase_if(mutations, [&names](const Mutation& mutation) { return !names.contains(mutation.name); });
  return mutations;
}

std::vector<Mutation> MutationsBut(const std::set<std::string>& names) {
  std::vector<Mutation> mutations = Mutations();
  std::erase_if(mutations, [&names](const Mutation& mutation) { return names.contains(mutation.name); });
  return mutations;
}

void ExpectOk(const Ending& ending) { EXPECT_TRUE(ending.ok()) << ending.Summary() << ": " << ending.message; }

void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

std::string NameOf(const ::testing::TestParamInfo<Mutation>& info) { return info.param.name; }

}  // namespace netprov::testing
