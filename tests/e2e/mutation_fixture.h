// A daemon, and the states before and after a mutation.
#ifndef NETPROV_TESTS_E2E_MUTATION_FIXTURE_H_
#define NETPROV_TESTS_E2E_MUTATION_FIXTURE_H_

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/component/test_client.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/e2e/mutation.h"
#include "tests/e2e/picture.h"
#include "tests/e2e/requests.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/process.h"

namespace netprov::testing {

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

  // Whether the worker, of which these are the calls, found what Arm() had made ready.
  static bool WasReady(const std::vector<SystemCall>& calls);

  std::string Picture() { return PictureOf(*client_, {kPlace}); }

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
  size_t audited_ = 0;             // lines of the audit log before the call

 private:
  // Waits for a line of the log after the first `logged_` bytes.
  Answer AwaitDone();

  size_t logged_ = 0;
  std::unique_ptr<Process> inside_place_;  // holds the namespace at kPlace
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_MUTATION_FIXTURE_H_
