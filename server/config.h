// What the daemon is told by its command line and its configuration file.
#ifndef NETPROV_SERVER_CONFIG_H_
#define NETPROV_SERVER_CONFIG_H_

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "server/rpc/connections.h"
#include "server/rpc/listening_socket.h"
#include "server/rpc/tls.h"

namespace netprov {

// Where metrics are served where nothing is said. The port is the one number that netprov has (IFLA_GROUP of its
// links).
inline constexpr char kDefaultMetricsAddress[] = "127.0.0.1:28272";

struct Config {
  std::string socket_path = "/run/netprov/netprovd.sock";  // empty: none
  std::string state_dir = "/var/lib/netprov";
  std::string durability = "process";  // or power
  std::string audit_log;               // its path; empty: the usual one in the state directory; `none`: there is none
  std::string socket_group;            // its name or number; empty: the daemon's own
  std::vector<std::string> listen;     // TCP addresses
  bool insecure = false;
  rpc::TlsFiles tls;  // all empty: without TLS
  rpc::ConnectionLimits connections;
  std::string policy;  // the path of the policy file; empty: none
  // `HOST:PORT` where metrics are served; empty: nowhere. nullopt: nothing was said, and it is kDefaultMetricsAddress,
  // without which the daemon does its work all the same.
  std::optional<std::string> metrics;
  int workers = 4;
  size_t queue_limit = 1024;
  size_t prepared_namespaces = 8;
  absl::Duration shutdown_grace = absl::Seconds(10);
  bool take_over = false;          // from the daemon that serves
  bool no_sandbox = false;         // keep all privileges
  std::string log_level = "info";  // debug, info, warn, error or off
};

// What to do in place of serving: print `text`, to standard output when the exit code is 0, and exit.
struct ExitRequest {
  int code;  // 0 after --help and --version, 2 for a usage error
  std::string text;
};

// Reads the command line, and the file that --config names: TOML, whose keys are the long options, as in `listen =
// ["[::1]:7001"]`. The command line wins over the file. A key that is no option is an error. An error's text begins
// with `netprovd:`, and with the file's path after that where it is about what stands there.
//
// `inherited`: the sockets that whoever started this process listens on for it (rpc::InheritedSockets()), which are
// served besides. There must be something to serve; TLS is for TCP alone, and TCP needs TLS or `insecure`.
std::variant<Config, ExitRequest> ParseConfig(int argc, const char* const* argv,
                                              const std::vector<rpc::ListeningSocket>& inherited = {});

}  // namespace netprov

#endif  // NETPROV_SERVER_CONFIG_H_
