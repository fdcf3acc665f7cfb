// A real server on a unix socket, over the fake kernel.
#ifndef NETPROV_TESTS_COMPONENT_FIXTURE_H_
#define NETPROV_TESTS_COMPONENT_FIXTURE_H_

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/registry.h"
#include "server/rpc/auditor.h"
#include "server/rpc/server.h"
#include "tests/component/test_client.h"

namespace netprov::testing {

// Request ids of tests.
inline constexpr char kUuid1[] = "8f14e45f-ceea-467f-a0e6-90ab5d3c1f51";
inline constexpr char kUuid2[] = "8f14e45f-ceea-467f-a0e6-90ab5d3c1f52";

// Something to wait at until another thread opens it. Waiting longer than kDeadline fails the test.
class Gate {
 public:
  void Open();
  void Wait();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// What the server logged.
class LogLines {
 public:
  void Add(std::string line);
  // Waits until there is a line that holds all of these.
  bool WaitFor(const std::vector<std::string>& parts);
  std::vector<std::string> All() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable added_;
  std::vector<std::string> lines_;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest();
  ~ServerTest() override;

  // Where the server that is started next writes its audit log; none without.
  void Audit(const std::string& path) { audit_path_ = path; }

  // Starts the server over the kernel and the registry as they are. Options that the fixture needs are set.
  void StartServer(rpc::ServerOptions options = {}, bool serve = true);
  // As a restart of the daemon: everything but kernel and state directory is new.
  void StopServer();
  void Restart() {
    StopServer();
    StartServer();
  }

  // Makes `operation` of the kernel wait: opens the first gate when it is reached, and goes on when the second one is
  // open. Once.
  void BlockNext(const std::string& operation, Gate& reached, Gate& go_on);

  // A logger into log_.
  std::shared_ptr<spdlog::logger> MakeLog();

  std::string target() const { return "unix:" + socket_path_; }
  rpc::Server& server() { return *server_; }
  engine::Engine& engine() { return *engine_; }
  engine::Registry& registry() { return *registry_; }

  const std::string directory_;
  const std::string socket_path_;
  engine::FakeKernel kernel_;
  LogLines log_;
  std::unique_ptr<TestClient> client_;

 private:
  std::string audit_path_;
  std::unique_ptr<engine::Registry> registry_;
  std::unique_ptr<rpc::Auditor> auditor_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_COMPONENT_FIXTURE_H_
