// The mutations of the API with the states before and after, and a picture of a state that owes nothing to our decoder.
#ifndef NETPROV_TESTS_E2E_MUTATION_H_
#define NETPROV_TESTS_E2E_MUTATION_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "tests/component/test_client.h"
#include "tests/e2e/daemon_fixture.h"

namespace netprov::testing {

// What there is: the objects of the API, then the kernel's links, addresses and namespaces as `ip -j` and the files at
// /run/netns show them. Equal for equal states; uids, indexes and times are left out, and in the kernel's part each uid
// that the API knows stands as its object's name, so that two pictures with the same objects differ where a tag in the
// kernel is not that of the object. So are link-local addresses and whatever else the kernel adds on its own time.
std::string PictureOf(TestClient& client);

// An answer: how the call ended, the object's bytes, and its uid. The latter two are empty for a delete.
struct Answer : Ending {
  std::string object;
  std::string uid;
};

// One kind of call, which leads from a state to another.
struct Mutation {
  std::string name;
  // Makes the call. A request id names one call and its repeats.
  std::function<Answer(TestClient& client, const std::string& request_id)> call;
  // From nothing to the state before; there are already a namespace `kept` with a pair and a foreign one.
  std::function<void(TestClient& client)> prepare;
  // From the state after to the one before.
  std::function<void(TestClient& client)> revert;
  // The uid of what a create has made, as the API tells it now; null for a delete.
  std::function<std::string(TestClient& client)> uid;
};

// All of them: CreateNamespace, CreateVeth, DeleteNamespace, DeleteVeth.
const std::vector<Mutation>& Mutations();

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
  Answer Call(const std::string& request_id) { return GetParam().call(*client_, request_id); }

  std::unique_ptr<TestClient> client_;
  std::string before_;  // pictures
  std::string after_;
};

// For gtest: how a mutation is shown, and what a test of it is called.
void PrintTo(const Mutation& mutation, std::ostream* out);
std::string NameOf(const ::testing::TestParamInfo<Mutation>& info);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_MUTATION_H_
