// `contain`, but for what only a whole process can do.
#ifndef NETPROV_CLIENT_CLI_CLI_H_
#define NETPROV_CLIENT_CLI_CLI_H_

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/exec.h"
#include "client/connection.h"
#include "client/tls.h"

namespace netprov::cli {

// What `contain` needs of the world around it. main.cc has the real one. All members are set.
struct Environment {
  // Data, and everything else.
  std::ostream* out;
  std::ostream* err;

  // A variable of the environment; nullopt when it is not set.
  std::function<std::optional<std::string>(const std::string& name)> getenv;

  // The time, by the host's clock.
  std::function<absl::Time()> now;

  // Whether a daemon listens at a unix socket: IsListening().
  std::function<absl::StatusOr<bool>(const std::string& socket_path)> is_listening;

  // A connection to a server elsewhere: client::MakeConnection().
  std::function<absl::StatusOr<std::shared_ptr<client::Connection>>(const std::string& endpoint,
                                                                    const client::TlsOptions& tls)>
      connect;

  // A connection to a server in this process, with its state in `state_dir`. The server lives as long as the
  // connection, and has given the state back when the last reference is gone. Waits up to `wait` for another `contain`
  // to give it back.
  std::function<absl::StatusOr<std::shared_ptr<client::Connection>>(const std::string& state_dir, absl::Duration wait)>
      serve;

  // Turns the process into a command: ExecInNamespace(). Called after every connection is gone.
  std::function<ExecFailure(const ExecRequest& request)> exec;
};

// Where the state of the server in this process is by default.
inline constexpr char kDefaultStateDir[] = "/var/lib/netprov";

// Does what `arguments` (without the program's name) say, and returns the exit code: 0; 1 when `out` can't be written,
// when `net gc` could not delete something, or when `net doctor` found what needs attention; 2 after a usage error; 64
// plus the gRPC code after a call that failed; for `net exec` that of ExecFailure.
//
// Who calls: --owner; else NETPROV_OWNER, unless it is empty; else nobody in particular.
//
// With TLS: where the server is HOST:PORT and --tls-ca, --tls-cert, --tls-key or --tls-server-name, or NETPROV_TLS_CA,
// NETPROV_TLS_CERT, NETPROV_TLS_KEY or NETPROV_TLS_SERVER_NAME, says so.
//
// Which server: --endpoint; else with --state-dir one in this process; else NETPROV_ENDPOINT, unless it is empty; else
// the daemon at its default socket if somebody listens there; else one in this process, and if that fails and a daemon
// has come up meanwhile, that daemon. The one in this process ends with the command: who gives an object a lease there,
// or wants it healed, is told on `err` that this takes a daemon, unless --output says that a program reads.
int Run(const std::vector<std::string>& arguments, const Environment& environment);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_CLI_H_
