// The server without a daemon: inside of the process that wants it.
#ifndef NETPROV_SERVER_EMBEDDED_EMBEDDED_SERVER_H_
#define NETPROV_SERVER_EMBEDDED_EMBEDDED_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace netprov {

// The very services of netprovd, over the same kernel, registry and lock, reached by a channel within the process. For
// a command on a machine where no daemon runs.
//
// Threading: thread-safe after Start(), but for the destructor. It starts threads, so whoever must change the
// namespaces of the whole process (unshare(CLONE_NEWUSER)) must do so before.
class EmbeddedServer {
 public:
  struct Options {
    std::string state_dir = "/var/lib/netprov";
    // How long to wait while other embedded servers hold the state.
    absl::Duration wait = absl::Seconds(10);
  };

  // Takes the state, recovers what a crash left, and serves. Errors, each one sentence: FAILED_PRECONDITION when a
  // daemon holds the state (says how to reach it) or others held it for all of `wait`; PERMISSION_DENIED without the
  // privileges; UNAVAILABLE when registry or kernel can't be used; INTERNAL when what a crash left could not be read.
  static absl::StatusOr<std::unique_ptr<EmbeddedServer>> Start(const Options& options);

  // Finishes the calls under way and gives the state back.
  ~EmbeddedServer();
  EmbeddedServer(const EmbeddedServer&) = delete;
  EmbeddedServer& operator=(const EmbeddedServer&) = delete;

  // For stubs of all services. Must not be used after the server is destroyed.
  std::shared_ptr<grpc::Channel> channel();

 private:
  struct Parts;
  explicit EmbeddedServer(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_EMBEDDED_EMBEDDED_SERVER_H_
