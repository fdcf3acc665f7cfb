// A host on which things go wrong: the daemon, a client of all its services, and the eyes of iproute2.
#ifndef NETPROV_TESTS_E2E_HOST_FIXTURE_H_
#define NETPROV_TESTS_E2E_HOST_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "netprov/v1/metadata.pb.h"
#include "tests/component/test_client.h"
#include "tests/e2e/daemon_fixture.h"

namespace netprov::testing {

// Where the state is by default.
inline constexpr char kState[] = "/var/lib/netprov";

class HostTest : public DaemonTest {
 protected:
  // Makes a namespace and pairs that are foreign, and does not start the daemon.
  void SetUp() override;
  // Expects what is foreign as it was, and leaves an empty host.
  void TearDown() override;

  // Starts the daemon, waits until it has recovered, and connects a client.
  void StartDaemon(std::vector<std::string> flags = {});
  void KillDaemon();

  // Starts a daemon that must not begin. Expects the exit code 1 and, on standard error, one sentence; returns it.
  std::string Refusal(const std::vector<std::string>& command = {kNetprovd});

  // Runs statements on the registry of a daemon that does not run.
  static void Sql(const std::string& statements);
  // What the registry knows was made before the host was started.
  static void BelongToAnotherBoot();

  // `blue` with the pair `v`, which is h0 on the host and eth0 inside.
  void MakeBlueWithPair(const v1::Metadata& metadata = {});

  // What the last check found.
  std::vector<std::string> Findings();
  // The names that are /run/netns, but for the foreign one.
  std::string Names();

  std::unique_ptr<TestClient> client_;

 private:
  std::string foreign_;
};

#define EXPECT_OK(ending)                                                                           \
  do {                                                                                              \
    const Ending netprov_ending = (ending);                                                         \
    EXPECT_TRUE(netprov_ending.ok()) << netprov_ending.Summary() << ": " << netprov_ending.message; \
  } while (false)

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_HOST_FIXTURE_H_
