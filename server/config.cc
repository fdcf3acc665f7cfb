#include "server/config.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/rpc/listening_socket.h"
#include "server/version.h"

namespace netprov {
namespace {

constexpr int kUsageError = 2;

ExitRequest UsageError(absl::string_view message) {
  return {.code = kUsageError,
          .text = absl::StrCat("netprovd: ", message, "\nRun with --help for more information.\n")};
}

void AddOptions(CLI::App& app, Config& config) {
  app.add_option("--socket", config.socket_path, "The unix socket to serve on; empty for none")->capture_default_str();
  app.add_option("--socket-group", config.socket_group,
                 "The group, by name or number, whose members may use the socket; left out, that of the daemon");
  app.add_option("--state-dir", config.state_dir, "Where the registry is kept")
      ->check([](const std::string& text) -> std::string { return text.empty() ? "must not be empty" : ""; })
      ->capture_default_str();
  app.add_option("--durability", config.durability,
                 "What a change survives once it is answered: any end of the process, or a loss of power too")
      ->check(CLI::IsMember({"process", "power"}))
      ->capture_default_str();
  app.add_option("--audit-log", config.audit_log,
                 "The file with a line for each change; left out, audit.log in the state directory; none for none");
  app.add_option("--listen", config.listen, "A TCP address to serve on as well, as 192.0.2.1:7001; may be repeated")
      ->check([](const std::string& text) { return std::string(rpc::CheckListenAddress(text).message()); })
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
  app.add_option("--max-short-connections-per-address", config.connections.short_per_second,
                 "How many a second of one such address may end within 10 seconds before the next has to wait; 0 for "
                 "any number")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--metrics",
         [&config](const std::string& text) {
           const absl::Status valid = rpc::CheckListenAddress(text);
           config.metrics = text == "off" ? "" : text;
           if (config.metrics->empty() || valid.ok()) return;
           throw CLI::ValidationError("--metrics", absl::StrCat(valid.message(), ", or off"));
         },
         "Where to serve metrics by HTTP, without TLS: HOST:PORT, or off")
      ->default_str(kDefaultMetricsAddress);
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
  app.add_option_function<std::string>(
         "--shutdown-grace",
         [&grace = config.shutdown_grace](const std::string& text) {
           if (absl::ParseDuration(text, &grace) && grace >= absl::ZeroDuration() && grace <= absl::Hours(24)) return;
           throw CLI::ValidationError(
               "--shutdown-grace", absl::StrCat("must be a time such as 10s or 500ms, 0s to 24h, but is '", text, "'"));
         },
         "How long calls may take to finish after SIGTERM, as 10s or 500ms")
      ->default_str(absl::FormatDuration(config.shutdown_grace));
  app.add_flag(
      "--take-over", config.take_over,
      "Take sockets and state over from the daemon that serves, without refusing a connection, if there is one");
  app.add_flag("--no-sandbox", config.no_sandbox,
               "For debugging: keep all capabilities, system calls and core dumps, as debuggers need them");
  app.add_option("--log-level", config.log_level, "What to log")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
}

// What CLI11 says of the command line. It knows help, version and errors.
ExitRequest ExitOf(const CLI::ParseError& error, const CLI::App& app) {
  std::ostringstream out;
  std::ostringstream err;
  if (app.exit(error, out, err) == 0) return {.code = 0, .text = out.str()};
  // CLI11 turns them round.
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    return UsageError("unexpected: " + absl::StrJoin(app.remaining(), " "));
  }
  return UsageError(error.what());
}

// Takes from the file what the command line, which `app` has parsed, leaves open. What CLI11 finds wrong now is the
// file's, as what was typed has been found good.
std::optional<ExitRequest> ReadFile(const std::string& path, CLI::App& app) {
  std::ifstream file(path);
  // A directory opens, and can't be read.
  file.peek();
  if (!file.is_open() || file.bad()) {
    return UsageError(absl::StrCat(path, " cannot be read: ", strerrordesc_np(errno)));
  }
  try {
    app.parse_from_stream(file);
  } catch (const CLI::ParseError& error) {
    const std::string what = error.what();
    absl::string_view item = what;
    // A line that is no TOML is one as well.
    if (!absl::ConsumePrefix(&item, "INI was not able to parse ")) return UsageError(absl::StrCat(path, ": ", what));
    return UsageError(absl::StrCat(path, ": `", item, "` is no option; a line is OPTION = VALUE, as in workers = 2"));
  }
  return std::nullopt;
}

// What is wrong with options that are good each by itself.
struct Conflict {
  std::vector<std::string> options;  // that are to blame
  std::string text;
};

std::optional<Conflict> ConflictIn(const Config& config, const std::vector<rpc::ListeningSocket>& inherited) {
  const rpc::TlsFiles& tls = config.tls;
  const bool has_tls = !tls.certificate.empty() || !tls.key.empty() || !tls.client_ca.empty() || !tls.crl.empty();
  if (has_tls && (tls.certificate.empty() || tls.key.empty() || tls.client_ca.empty())) {
    return Conflict{{"--tls-cert", "--tls-key", "--tls-client-ca", "--tls-crl"},
                    "--tls-cert, --tls-key and --tls-client-ca: each needs the two others, and --tls-crl all three"};
  }
  if (has_tls && config.insecure) {
    return Conflict{{"--insecure"}, "--insecure: TCP is served with TLS or without, not both"};
  }
  const auto inherited_tcp = absl::c_find_if(
      inherited, [](const rpc::ListeningSocket& socket) { return socket.kind == rpc::ListeningSocket::Kind::kTcp; });
  const bool has_tcp = !config.listen.empty() || inherited_tcp != inherited.end();
  if (has_tls && !has_tcp) {
    return Conflict{{"--tls-cert"},
                    absl::StrCat("--tls-cert: is for TCP, and --listen names no address",
                                 inherited.empty() ? "" : ", nor is a socket that was handed over one of TCP")};
  }
  if (has_tcp && !has_tls && !config.insecure) {
    const std::string which = config.listen.empty()
                                  ? absl::StrCat("the socket ", inherited_tcp->Name(), " that was handed over")
                                  : absl::StrCat("--listen ", config.listen.front());
    return Conflict{{"--listen"},
                    absl::StrCat(which, " needs --tls-cert, --tls-key and --tls-client-ca ",
                                 "(`contain pki init` makes a first set), or --insecure for an address that only this ",
                                 "host can reach")};
  }
  if (config.socket_path.empty() && config.listen.empty() && inherited.empty()) {
    return Conflict{{"--socket"}, "--socket: without a socket, --listen must say where to serve"};
  }
  return std::nullopt;
}

}  // namespace

std::variant<Config, ExitRequest> ParseConfig(int argc, const char* const* argv,
                                              const std::vector<rpc::ListeningSocket>& inherited) {
  Config config;
  std::string path;
  CLI::App app("netprovd hands out network namespaces and veth pairs over gRPC.", "netprovd");
  app.set_version_flag("--version", absl::StrCat("netprovd ", kVersion));
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--config", path,
                 "A TOML file with any of these options, as in: socket = \"/run/netprov/netprovd.sock\"")
      ->configurable(false);
  AddOptions(app, config);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ExitOf(error, app);
  }
  const std::vector<CLI::Option*> typed = app.get_options([](CLI::Option* option) { return option->count() > 0; });
  if (!path.empty()) {
    if (std::optional<ExitRequest> wrong = ReadFile(path, app)) return *std::move(wrong);
  }
  if (const std::optional<Conflict> conflict = ConflictIn(config, inherited)) {
    const bool is_of_file = absl::c_any_of(conflict->options, [&](const std::string& name) {
      CLI::Option* const option = app.get_option(name);
      return option->count() > 0 && !absl::c_linear_search(typed, option);
    });
    return UsageError(is_of_file ? absl::StrCat(path, ": ", conflict->text) : conflict->text);
  }
  return config;
}

}  // namespace netprov
