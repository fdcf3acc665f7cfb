// `contain`: gives the command line the process that it runs in, and the server that it may need.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/cli.h"
#include "client/cli/probe.h"
#include "client/client.h"
#include "server/embedded/embedded_server.h"

namespace netprov::cli {
namespace {

// A server and the only connection to it, which goes first.
struct Embedded {
  std::unique_ptr<EmbeddedServer> server;
  std::shared_ptr<client::Connection> connection;
};

absl::StatusOr<std::shared_ptr<client::Connection>> Serve(const std::string& state_dir, absl::Duration wait) {
  absl::StatusOr<std::unique_ptr<EmbeddedServer>> server =
      EmbeddedServer::Start({.state_dir = state_dir, .wait = wait});
  if (!server.ok()) return server.status();
  auto embedded = std::make_shared<Embedded>();
  embedded->connection = client::MakeConnection((*server)->channel());
  embedded->server = *std::move(server);
  return std::shared_ptr<client::Connection>(embedded, embedded->connection.get());
}

// Keeps the files that are opened later away from standard input, output and error that are closed: what is printed
// must not end up in one of them. What stands in for a closed one fails when it is used.
void OccupyStandardStreams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest number that is free is `fd`.
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) std::abort();
  }
}

int Main(const std::vector<std::string>& arguments) {
  OccupyStandardStreams();
  // A reader of our output that goes away is an error to report, after the server in this process has ended in good
  // order.
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before = {};
  sigaction(SIGPIPE, &ignore, &before);

  Environment environment;
  environment.out = &std::cout;
  environment.err = &std::cerr;
  environment.getenv = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
  environment.now = absl::Now;
  environment.is_listening = IsListening;
  environment.connect = [](const std::string& endpoint, const client::TlsOptions& tls) {
    return client::MakeConnection(endpoint, tls);
  };
  environment.serve = Serve;
  environment.exec = [&before](const ExecRequest& request) {
    sigaction(SIGPIPE, &before, nullptr);
    return ExecInNamespace(request, [](const std::string& text) { std::cerr << "contain: " << text << "\n"; });
  };
  return Run(arguments, environment);
}

}  // namespace
}  // namespace netprov::cli

int main(int argc, char** argv) { return netprov::cli::Main(std::vector<std::string>(argv + 1, argv + argc)); }
