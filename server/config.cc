#include "server/config.h"

#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <set>
#include <sstream>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/rpc/listening_socket.h"
#include "server/version.h"

namespace netprov {
namespace {

constexpr int kUsageError = 2;

// The file of --config, which remembers what it says.
class ConfigFile : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items = CLI::ConfigTOML::from_config(input);
    for (const CLI::ConfigItem& item : items) names_.insert(item.fullname());
    return items;
  }

  // The options that it has, without `--`.
  const std::set<std::string>& names() const { return names_; }

 private:
  mutable std::set<std::string> names_;
};

// Says what is wrong, and where it stands.
class Complaints {
 public:
  Complaints(int argc, const char* const* argv, const CLI::App& app, const ConfigFile& file)
      : typed_(argv + 1, argv + argc), app_(app), file_(file) {}

  // An error that begins with the option, or that names several.
  ExitRequest UsageError(const std::string& message) const {
    const bool is_of_file = absl::c_any_of(file_.names(), [&](const std::string& name) {
      return Mentions(message, "--" + name) && !IsTyped("--" + name);
    });
    return Exit(is_of_file ? absl::StrCat(Path(), ": ", message) : message);
  }

  // What CLI11 says. It knows help, version and errors.
  ExitRequest ExitOf(const CLI::ParseError& error) const {
    std::ostringstream out;
    std::ostringstream err;
    if (app_.exit(error, out, err) == 0) return {.code = 0, .text = out.str()};
    if (dynamic_cast<const CLI::ConfigError*>(&error) != nullptr) {
      return Exit(absl::StrCat(Path(), ": ", Explain(error.what())));
    }
    // CLI11 turns them round.
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
      return Exit("unexpected: " + absl::StrJoin(app_.remaining(), " "));
    }
    return UsageError(error.what());
  }

 private:
  static ExitRequest Exit(const std::string& message) {
    return {.code = kUsageError,
            .text = absl::StrCat("netprovd: ", message, "\nRun with --help for more information.\n")};
  }

  // Whether `option` is in `message`, and not as the beginning of another.
  static bool Mentions(const std::string& message, const std::string& option) {
    for (size_t at = message.find(option); at != std::string::npos; at = message.find(option, at + 1)) {
      const size_t end = at + option.size();
      if (end == message.size() || (message[end] != '-' && !absl::ascii_isalnum(message[end]))) return true;
    }
    return false;
  }

  // CLI11 reads a line that is no TOML as the name of an option.
  static std::string Explain(const std::string& what) {
    absl::string_view item = what;
    if (!absl::ConsumePrefix(&item, "INI was not able to parse ")) return what;
    return absl::StrCat("`", item, "` is no option; a line is OPTION = VALUE, as in workers = 2");
  }

  bool IsTyped(const std::string& option) const {
    return absl::c_any_of(typed_, [&](const std::string& argument) {
      return argument == option || absl::StartsWith(argument, option + "=");
    });
  }

  std::string Path() const { return absl::StrJoin(app_.get_config_ptr()->results(), ", "); }

  const std::vector<std::string> typed_;
  const CLI::App& app_;
  const ConfigFile& file_;
};

// Whether whoever started this process listens for it (sd_listen_fds(3)), perhaps on TCP. What sockets these are is
// seen when they are taken: rpc::InheritedSockets().
bool HasInheritedSockets() {
  const char* const pid_text = ::getenv("LISTEN_PID");
  const char* const count_text = ::getenv("LISTEN_FDS");
  pid_t pid = 0;
  int count = 0;
  return pid_text != nullptr && count_text != nullptr && absl::SimpleAtoi(pid_text, &pid) && pid == ::getpid() &&
         absl::SimpleAtoi(count_text, &count) && count > 0;
}

}  // namespace

std::variant<Config, ExitRequest> ParseConfig(int argc, const char* const* argv) {
  Config config;
  std::string grace = absl::FormatDuration(config.shutdown_grace);
  CLI::App app("netprovd hands out network namespaces and veth pairs over gRPC.", "netprovd");
  app.set_version_flag("--version", absl::StrCat("netprovd ", kVersion));
  app.set_config("--config", "",
                 "A TOML file with any of these options, as in: socket = \"/run/netprov/netprovd.sock\"");
  const auto file = std::make_shared<ConfigFile>();
  app.config_formatter(file);
  const Complaints complaints(argc, argv, app, *file);
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--socket", config.socket_path, "The unix socket to serve on; empty for none")->capture_default_str();
  app.add_option("--socket-group", config.socket_group,
                 "The group, by name or number, whose members may use the socket; left out, that of the daemon");
  app.add_option("--state-dir", config.state_dir, "Where the registry is kept")->capture_default_str();
  app.add_option("--durability", config.durability,
                 "What a change survives once it is answered: any end of the process, or a loss of power too")
      ->check(CLI::IsMember({"process", "power"}))
      ->capture_default_str();
  app.add_option("--audit-log", config.audit_log,
                 "The file with a line for each change; left out, audit.log in the state directory; none for none");
  app.add_option("--listen", config.listen, "A TCP address to serve on as well, as 192.0.2.1:7001; may be repeated")
      ->take_all();
  app.add_flag("--insecure", config.insecure, "Serve TCP without TLS, on addresses that only this host can reach");
  app.add_option("--tls-cert", config.tls.certificate,
                 "The server's certificate in PEM, with those between it and its CA; read again when it changes");
  app.add_option("--tls-key", config.tls.key, "Its private key in PEM, for its owner's eyes only");
  app.add_option("--tls-client-ca", config.tls.client_ca, "The CAs in PEM that sign the certificates of callers");
  app.add_option("--tls-crl", config.tls.crl, "What these have revoked, a list in PEM of each");
  app.add_option("--policy", config.policy,
                 "A YAML file that says who may do what; without it, root and the socket's group may do everything");
  const CLI::Range kConnections(1, 65536);
  app.add_option("--max-unix-connections", config.connections.unix_total, "How many connections the socket may have")
      ->check(kConnections)
      ->capture_default_str();
  app.add_option("--max-connections-per-user", config.connections.per_uid,
                 "How many of them one user other than root may have")
      ->check(kConnections)
      ->capture_default_str();
  app.add_option("--max-tcp-connections", config.connections.tcp_total,
                 "How many connections all TCP addresses may have")
      ->check(kConnections)
      ->capture_default_str();
  app.add_option("--max-connections-per-address", config.connections.per_address,
                 "How many of them may come from one IPv4 address or one /64 of IPv6")
      ->check(kConnections)
      ->capture_default_str();
  std::string metrics = kDefaultMetricsAddress;
  const CLI::Option* const metrics_option =
      app.add_option("--metrics", metrics, "Where to serve metrics by HTTP, without TLS: HOST:PORT, or off")
          ->capture_default_str();
  app.add_option("--workers", config.workers, "How many changes are worked on at once")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--queue-limit", config.queue_limit, "How many calls may wait; more are refused")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option(
         "--prepared-namespaces", config.prepared_namespaces,
         "How many namespaces are made ahead, at most, while they are asked for in quick succession; 0 for none")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  app.add_option("--shutdown-grace", grace, "How long calls may take to finish after SIGTERM, as 10s or 500ms")
      ->capture_default_str();
  app.add_flag(
      "--take-over", config.take_over,
      "Take sockets and state over from the daemon that serves, without refusing a connection, if there is one");
  app.add_flag("--no-sandbox", config.no_sandbox,
               "For debugging: keep all capabilities, system calls and core dumps, as debuggers need them");
  app.add_option("--log-level", config.log_level, "What to log")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return complaints.ExitOf(error);
  }
  if (!absl::ParseDuration(grace, &config.shutdown_grace) || config.shutdown_grace < absl::ZeroDuration() ||
      config.shutdown_grace > absl::Hours(24)) {
    return complaints.UsageError(
        absl::StrCat("--shutdown-grace: must be a time such as 10s or 500ms, 0s to 24h, but is '", grace, "'"));
  }
  for (const std::string& address : config.listen) {
    if (absl::Status valid = rpc::CheckListenAddress(address); !valid.ok()) {
      return complaints.UsageError(absl::StrCat("--listen: ", std::string(valid.message())));
    }
  }
  if (metrics_option->count() > 0) {
    config.metrics = metrics == "off" ? "" : metrics;
    if (absl::Status valid = rpc::CheckListenAddress(*config.metrics); !config.metrics->empty() && !valid.ok()) {
      return complaints.UsageError(absl::StrCat("--metrics: ", std::string(valid.message()), ", or off"));
    }
  }
  const rpc::TlsFiles& tls = config.tls;
  const bool has_tls = !tls.certificate.empty() || !tls.key.empty() || !tls.client_ca.empty() || !tls.crl.empty();
  if (has_tls && (tls.certificate.empty() || tls.key.empty() || tls.client_ca.empty())) {
    return complaints.UsageError(
        "--tls-cert, --tls-key and --tls-client-ca: each needs the two others, and --tls-crl all three");
  }
  if (has_tls && config.insecure)
    return complaints.UsageError("--insecure: TCP is served with TLS or without, not both");
  if (has_tls && config.listen.empty() && !HasInheritedSockets()) {
    return complaints.UsageError("--tls-cert: is for TCP, and --listen names no address");
  }
  if (!config.listen.empty() && !has_tls && !config.insecure) {
    return complaints.UsageError(absl::StrCat(
        "--listen ", config.listen.front(), " needs --tls-cert, --tls-key and --tls-client-ca ",
        "(`contain pki init` makes a first set), or --insecure for an address that only this ", "host can reach"));
  }
  if (config.socket_path.empty() && config.listen.empty()) {
    return complaints.UsageError("--socket: without a socket, --listen must say where to serve");
  }
  if (config.state_dir.empty()) return complaints.UsageError("--state-dir: must not be empty");
  return config;
}

}  // namespace netprov
