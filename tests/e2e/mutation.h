// The mutations of the API with the states before and after, and a picture of a state that owes nothing to our decoder.
#ifndef NETPROV_TESTS_E2E_MUTATION_H_
#define NETPROV_TESTS_E2E_MUTATION_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "tests/component/test_client.h"
#include "tests/e2e/daemon_fixture.h"

namespace netprov::testing {

// What there is: the objects of the API, then the kernel's links, addresses and namespaces, queueing disciplines and
// filters as `ip`, `tc` and the files at /run/netns show them. Equal for equal states; uids, indexes, times and ttls
// are left out, and in the kernel's part each uid that the API knows stands as its object's name, so that two pictures
// with the same objects differ where a tag in the kernel is not that of the object. So are link-local addresses and
// whatever else the kernel adds on its own time.
std::string PictureOf(TestClient& client);

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
  // What the log says when the daemon has done it by itself; empty: the answer says so.
  std::string done = {};
  // Waits until the daemon has done by itself what a start has left to it; null where that is nothing.
  std::function<void(TestClient& client)> await = nullptr;
};

// All of them: the mutations of the API (CreateNamespace, CreateVeth, DeleteNamespace, DeleteVeth, AdoptNamespace,
// CollectGarbage, CheckHost), and what the daemon does by itself (Expiry, and Heal... for each way to disturb what
// heals itself).
const std::vector<Mutation>& Mutations();
// The same but for these.
std::vector<Mutation> MutationsBut(const std::set<std::string>& names);

// A UUID that no call has had.
std::string NewRequestId();

// A daemon with one worker, and the states before and after each mutation. One test per mutation.
class MutationTest : public DaemonTest, public ::testing::WithParamInterface<Mutation> {
 protected:
  void SetUp() override;
  // Expects the state before, also after another start, and that it can be cleaned up.
  void TearDown() override;

  // Starts the daemon, again if need be, on the same state. Its recovery must succeed.
  void StartDaemon();

  // Whether the daemon lives. False: it was killed, and has ended.
  bool Survived();

  std::string Picture() { return PictureOf(*client_); }

  // What comes ahead of a call. To be followed by Call().
  void Arm();
  // Makes the call, and waits until it is done. UNAVAILABLE: the daemon ended before.
  Answer Call(const std::string& request_id);
  // Makes the call again; where there is none, waits until the daemon has done it by itself.
  Answer Repeat(const std::string& request_id);
  void Revert() { GetParam().revert(*client_); }

  // The picture that a call which was killed or failed has left.
  std::string Found();

  std::unique_ptr<TestClient> client_;
  std::string before_;  // pictures
  std::string after_;
  std::set<std::string> allowed_;  // before, after, and between the steps

 private:
  // Waits for a line of the log after the first `logged_` bytes.
  Answer AwaitDone();

  size_t logged_ = 0;
};

// For gtest: how a mutation is shown, and what a test of it is called.
void PrintTo(const Mutation& mutation, std::ostream* out);
std::string NameOf(const ::testing::TestParamInfo<Mutation>& info);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_MUTATION_H_
