// The mutations of the API, and what the daemon does by itself, with the states before and after.
#ifndef NETPROV_TESTS_E2E_MUTATION_H_
#define NETPROV_TESTS_E2E_MUTATION_H_

#include <functional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/component/test_client.h"

namespace netprov::testing {

// An answer: how the call ended, the object as text, and its uid. The latter two are empty where no object is made.
// UNKNOWN, which the daemon never answers: the answer, or the log, tells of something that could not be done.
struct Answer : Ending {
  std::string object;
  std::string uid;
};

// One kind of call, or something that the daemon does by itself, which leads from a state to another.
struct Mutation {
  std::string name;
  // Makes the call, which a request id names with its repeats; or does to the host what the daemon acts upon.
  std::function<Answer(TestClient& client, const std::string& request_id)> call;
  // From nothing to the state before; there are already a namespace `kept` with a pair and a foreign one.
  std::function<void(TestClient& client)> prepare;
  // From the state after to the one before.
  std::function<void(TestClient& client)> revert;
  // The uid of what a create has made or an update has changed, as the API tells it now; null where the call answers
  // with none.
  std::function<std::string(TestClient& client)> uid = nullptr;
  // Done in the state before, ahead of each call and not a part of it. Null: nothing.
  std::function<void(TestClient& client)> arm = nullptr;
  // Where the call is several transactions: calls that do the same one by one.
  std::vector<std::function<void(TestClient& client)>> steps = {};
  // Whether it puts right what was done to the host by `arm` or `call`: the state before is then the one after.
  bool puts_right = false;
  // How many namespaces the daemon may make ahead.
  int prepared = 0;
  // A system call that the worker makes only where nothing of what `arm` has made ready is left; empty: there is none.
  std::string unready = {};
  // What the log says when the daemon has done it by itself; empty: the answer says so.
  std::string done = {};
  // Waits until the daemon has done by itself what a start has left to it; null where that is nothing.
  std::function<void(TestClient& client)> await = nullptr;
};

// Those of the API, one call each.
std::vector<Mutation> CallMutations();
// What is several transactions, or done by the daemon without a call: the collection of garbage, the check of the host,
// the end of a lease, and healing.
std::vector<Mutation> UpkeepMutations();

// All of them, those of these names, and the others.
const std::vector<Mutation>& Mutations();
std::vector<Mutation> MutationsOf(const std::set<std::string>& names);
std::vector<Mutation> MutationsBut(const std::set<std::string>& names);

void ExpectOk(const Ending& ending);

// What `reply` says, of a call that makes or changes an object.
template <typename T>
Answer AnswerOf(const Reply<T>& reply) {
  Answer answer{reply, {}, {}};
  if constexpr (requires { reply.value.uid(); }) {
    // In which maps have an order.
    answer.object = reply.value.ShortDebugString();
    answer.uid = reply.value.uid();
  }
  return answer;
}

// For gtest: how a mutation is shown, and what a test of it is called.
void PrintTo(const Mutation& mutation, std::ostream* out);
std::string NameOf(const ::testing::TestParamInfo<Mutation>& info);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_MUTATION_H_
