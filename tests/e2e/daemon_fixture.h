// The real daemon, started by a test, and a client of it.
#ifndef NETPROV_TESTS_E2E_DAEMON_FIXTURE_H_
#define NETPROV_TESTS_E2E_DAEMON_FIXTURE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "netprov/v1/veth.grpc.pb.h"
#include "tests/testing/process.h"

namespace netprov::testing {

// Where the daemon listens by default.
inline constexpr char kSocket[] = "/run/netprov/netprovd.sock";

// A call's context with the deadline that every call of a test has.
class Context : public grpc::ClientContext {
 public:
  Context();
};

class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }

  // Starts the daemon and waits until it serves. One that still ran is killed.
  void Start(std::vector<std::string> flags = {});

  grpc::Status CreateNamespace(const std::string& id, const std::string& request_id = "");
  grpc::Status DeleteNamespace(const std::string& id, bool force = false);
  // A pair between the host and a namespace, whose end there has the name of the default.
  grpc::Status CreateVeth(const std::string& id, const std::string& host_interface, const std::string& netns);
  grpc::Status DeleteVeth(const std::string& id);

  std::unique_ptr<Process> daemon_;
  std::unique_ptr<v1::NamespaceService::Stub> namespaces_;
  std::unique_ptr<v1::VethService::Stub> veths_;
  v1::Namespace netns_;  // the answer to the last create
  v1::Veth veth_;
};

#define ASSERT_CALL_OK(call)                                            \
  do {                                                                  \
    const grpc::Status netprov_status = (call);                         \
    ASSERT_TRUE(netprov_status.ok()) << netprov_status.error_message(); \
  } while (false)

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_DAEMON_FIXTURE_H_
