// Running a command inside a network namespace, as ip-netns(8) does.
#ifndef NETPROV_CLIENT_CLI_EXEC_H_
#define NETPROV_CLIENT_CLI_EXEC_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace netprov::cli {

struct ExecRequest {
  // The namespace's file, as in `/run/netns/blue`. The last part is the name by which /etc/netns is looked up.
  std::string path;

  // Its SO_NETNS_COOKIE, to be sure that the file stands for the namespace that the server means; 0 if not known.
  uint64_t cookie = 0;

  // Program and arguments; not empty.
  std::vector<std::string> command;
};

struct ExecFailure {
  // 127: no such program. 126: it can't be executed. Otherwise 64 plus a gRPC code: 71 (PERMISSION_DENIED), 73
  // (FAILED_PRECONDITION: the file is gone, is no network namespace, or is another one), 77 (INTERNAL).
  int exit_code;
  std::string message;
};

// Turns the process into the command: enters the namespace, in a mount namespace of its own (a slave of the old one),
// where /sys is that of the network namespace, and each file in /etc/netns/NAME/ stands in its place in /etc. A file
// there that can't be mounted is reported by `warn` and left out. The command keeps the environment, the working
// directory and the descriptors that have no FD_CLOEXEC.
//
// Returns only after a failure; the process has then changed its namespaces, or not, and should end. Other threads may
// run; exec ends them. Needs CAP_SYS_ADMIN. setns(2), unshare(2), mount_namespaces(7), ip-netns(8).
ExecFailure ExecInNamespace(const ExecRequest& request, const std::function<void(const std::string&)>& warn);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_EXEC_H_
