#include "server/config.h"

#include <fstream>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/listening_socket.h"

namespace netprov {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::variant<Config, ExitRequest> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "netprovd");
  return ParseConfig(static_cast<int>(arguments.size()), arguments.data());
}

Config Parsed(const std::vector<const char*>& arguments) {
  auto result = Parse(arguments);
  if (const ExitRequest* exit = std::get_if<ExitRequest>(&result)) ADD_FAILURE() << exit->text;
  return std::holds_alternative<Config>(result) ? std::get<Config>(result) : Config{};
}

ExitRequest Refused(const std::vector<const char*>& arguments) {
  auto result = Parse(arguments);
  EXPECT_TRUE(std::holds_alternative<ExitRequest>(result));
  return std::holds_alternative<ExitRequest>(result) ? std::get<ExitRequest>(result) : ExitRequest{};
}

std::string WriteFile(const std::string& content) {
  static int number = 0;
  std::string path = absl::StrCat(::testing::TempDir(), "/config_test_", ++number, ".toml");
  std::ofstream(path) << content;
  return path;
}

TEST(ConfigTest, HasTheDocumentedDefaults) {
  const Config config = Parsed({});
  EXPECT_EQ(config.socket_path, "/run/netprov/netprovd.sock");
  EXPECT_EQ(config.state_dir, "/var/lib/netprov");
  EXPECT_EQ(config.durability, "process");
  EXPECT_EQ(config.audit_log, "");
  EXPECT_THAT(config.listen, ElementsAre());
  EXPECT_FALSE(config.insecure);
  EXPECT_EQ(config.socket_group, "");
  EXPECT_EQ(config.connections.unix_total, 256u);
  EXPECT_EQ(config.connections.per_uid, 128u);
  EXPECT_EQ(config.connections.tcp_total, 512u);
  EXPECT_EQ(config.connections.per_address, 128u);
  EXPECT_EQ(config.connections.short_per_second, 8u);
  EXPECT_EQ(config.metrics, std::nullopt);
  EXPECT_EQ(config.workers, 4);
  EXPECT_EQ(config.queue_limit, 1024u);
  EXPECT_EQ(config.prepared_namespaces, 8u);
  EXPECT_EQ(config.shutdown_grace, absl::Seconds(10));
  EXPECT_EQ(config.log_level, "info");
  EXPECT_FALSE(config.take_over);
}

TEST(ConfigTest, ReadsEveryFlag) {
  const Config config = Parsed({"--socket",
                                "/s",
                                "--state-dir=/d",
                                "--listen",
                                "127.0.0.1:0",
                                "--listen",
                                "[::1]:7001",
                                "--insecure",
                                "--audit-log",
                                "/var/log/netprov/audit.log",
                                "--durability",
                                "power",
                                "--workers",
                                "2",
                                "--queue-limit",
                                "9",
                                "--prepared-namespaces",
                                "0",
                                "--shutdown-grace",
                                "500ms",
                                "--log-level",
                                "debug",
                                "--policy",
                                "/p.yaml",
                                "--socket-group",
                                "net",
                                "--max-unix-connections",
                                "1",
                                "--max-connections-per-user",
                                "2",
                                "--max-tcp-connections",
                                "3",
                                "--max-connections-per-address",
                                "4",
                                "--max-short-connections-per-address",
                                "0"});
  EXPECT_EQ(config.socket_group, "net");
  EXPECT_EQ(config.policy, "/p.yaml");
  EXPECT_EQ(config.connections.unix_total, 1u);
  EXPECT_EQ(config.connections.per_uid, 2u);
  EXPECT_EQ(config.connections.tcp_total, 3u);
  EXPECT_EQ(config.connections.per_address, 4u);
  EXPECT_EQ(config.connections.short_per_second, 0u);
  EXPECT_EQ(config.socket_path, "/s");
  EXPECT_EQ(config.state_dir, "/d");
  EXPECT_EQ(config.audit_log, "/var/log/netprov/audit.log");
  EXPECT_EQ(config.durability, "power");
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:0", "[::1]:7001"));
  EXPECT_TRUE(config.insecure);
  EXPECT_EQ(config.workers, 2);
  EXPECT_EQ(config.queue_limit, 9u);
  EXPECT_EQ(config.prepared_namespaces, 0u);
  EXPECT_EQ(config.shutdown_grace, absl::Milliseconds(500));
  EXPECT_EQ(config.log_level, "debug");
}

TEST(ConfigTest, TcpNeedsCertificatesOrAWordThatItShallDoWithout) {
  const Config config = Parsed(
      {"--listen", "192.0.2.1:7001", "--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a", "--tls-crl", "r"});
  EXPECT_EQ(config.tls.certificate, "c");
  EXPECT_EQ(config.tls.key, "k");
  EXPECT_EQ(config.tls.client_ca, "a");
  EXPECT_EQ(config.tls.crl, "r");
  EXPECT_THAT(Refused({"--listen", "[::1]:1"}).text, HasSubstr("--tls-cert"));
  EXPECT_THAT(Refused({"--listen", "[::1]:1", "--tls-cert", "c", "--tls-key", "k"}).text, HasSubstr("--tls-client-ca"));
  EXPECT_THAT(Refused({"--listen", "[::1]:1", "--tls-crl", "r"}).text, HasSubstr("--tls-client-ca"));
  EXPECT_THAT(
      Refused({"--listen", "[::1]:1", "--insecure", "--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"}).text,
      HasSubstr("--insecure"));
  EXPECT_THAT(Refused({"--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"}).text, HasSubstr("--listen"));
}

// Sockets of whoever started the process, of these kinds.
std::vector<rpc::ListeningSocket> Inherited(const std::vector<rpc::ListeningSocket::Kind>& kinds) {
  std::vector<rpc::ListeningSocket> sockets;
  for (const rpc::ListeningSocket::Kind kind : kinds) {
    const bool is_unix = kind == rpc::ListeningSocket::Kind::kUnix;
    sockets.push_back({.kind = kind, .address = is_unix ? "/run/given" : "192.0.2.1:7001", .is_own = false});
  }
  return sockets;
}

TEST(ConfigTest, SomethingIsServedAndTcpNotByChance) {
  using enum rpc::ListeningSocket::Kind;
  const std::vector<const char*> tls = {"--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"};
  const std::vector<const char*> listen = {"--listen", "127.0.0.1:0"};
  const std::vector<const char*> no_socket = {"--socket", ""};
  const std::vector<const char*> insecure = {"--insecure"};
  constexpr char kNothing[] = "netprovd: --socket: without a socket, --listen must say where to serve\n";
  constexpr char kNoTcp[] = "netprovd: --tls-cert: is for TCP, and --listen names no address\n";
  constexpr char kGivenIsNoTcp[] =
      "netprovd: --tls-cert: is for TCP, and --listen names no address, nor is a socket that was handed over one of "
      "TCP\n";
  constexpr char kPlain[] = "netprovd: --listen 127.0.0.1:0 needs --tls-cert, --tls-key and --tls-client-ca (";
  constexpr char kGivenIsPlain[] =
      "netprovd: the socket 192.0.2.1:7001 that was handed over needs --tls-cert, --tls-key and --tls-client-ca (";
  struct Case {
    std::vector<std::vector<const char*>> arguments;
    std::vector<rpc::ListeningSocket::Kind> inherited;
    const char* refusal;  // its beginning; null: none
  };
  for (const Case& c : std::vector<Case>{
           {{}, {}, nullptr},
           {{tls}, {}, kNoTcp},
           {{listen}, {}, kPlain},
           {{listen, tls}, {}, nullptr},
           {{listen, insecure}, {}, nullptr},
           {{no_socket}, {}, kNothing},
           {{no_socket, insecure}, {}, kNothing},
           {{no_socket, tls}, {}, kNoTcp},
           {{no_socket, listen, tls}, {}, nullptr},
           {{}, {kUnix}, nullptr},
           {{tls}, {kUnix}, kGivenIsNoTcp},
           {{listen}, {kUnix}, kPlain},
           {{listen, tls}, {kUnix}, nullptr},
           {{no_socket}, {kUnix}, nullptr},
           {{no_socket, tls}, {kUnix}, kGivenIsNoTcp},
           {{}, {kTcp}, kGivenIsPlain},
           {{tls}, {kTcp}, nullptr},
           {{insecure}, {kTcp}, nullptr},
           {{listen}, {kTcp}, kPlain},
           {{no_socket}, {kTcp}, kGivenIsPlain},
           {{no_socket, tls}, {kTcp}, nullptr},
           {{no_socket, insecure}, {kTcp}, nullptr},
           {{no_socket}, {kUnix, kTcp}, kGivenIsPlain},
           {{no_socket, tls}, {kUnix, kTcp}, nullptr},
       }) {
    std::vector<const char*> arguments = {"netprovd"};
    for (const auto& part : c.arguments) arguments.insert(arguments.end(), part.begin(), part.end());
    const auto result = ParseConfig(static_cast<int>(arguments.size()), arguments.data(), Inherited(c.inherited));
    const ExitRequest* exit = std::get_if<ExitRequest>(&result);
    const std::string what = absl::StrCat(absl::StrJoin(arguments, " "), " with ", c.inherited.size(), " given");
    ASSERT_EQ(exit != nullptr, c.refusal != nullptr) << what << ": " << (exit == nullptr ? "" : exit->text);
    if (exit == nullptr) continue;
    EXPECT_EQ(exit->code, 2) << what;
    EXPECT_THAT(exit->text, StartsWith(c.refusal)) << what;
  }
}

TEST(ConfigTest, SaysWhichFileIsWrong) {
  const auto said = [](const std::string& content, std::vector<const char*> arguments) {
    const std::string path = WriteFile(content);
    arguments.insert(arguments.begin(), {"--config", path.c_str()});
    std::string text = Refused(arguments).text;
    if (const size_t at = text.find(path); at != std::string::npos) text.replace(at, path.size(), "FILE");
    return text;
  };
  for (const char* line : {"sokket = \"/x\"", "workers 3", "[workers"}) {
    EXPECT_THAT(said(line, {}), StartsWith("netprovd: FILE: `")) << line;
  }
  EXPECT_THAT(said("workers = \"many\"", {}), StartsWith("netprovd: FILE: --workers: "));
  EXPECT_THAT(said("shutdown-grace = \"soon\"", {}), StartsWith("netprovd: FILE: --shutdown-grace: "));
  EXPECT_THAT(said("metrics = \"9100\"", {}), StartsWith("netprovd: FILE: --metrics: "));
  EXPECT_THAT(said("listen = [\"nowhere\"]", {}), StartsWith("netprovd: FILE: --listen: "));
  EXPECT_THAT(said("state-dir = \"\"", {}), StartsWith("netprovd: FILE: --state-dir: "));
  EXPECT_THAT(said("insecure = \"maybe\"", {}), StartsWith("netprovd: FILE: "));
  EXPECT_THAT(said("insecure = [true, false]", {}), StartsWith("netprovd: FILE: "));
  EXPECT_THAT(said("config = \"x\"", {}), StartsWith("netprovd: FILE: config: "));
  EXPECT_THAT(said("tls-key = \"k\"", {}), StartsWith("netprovd: FILE: --tls-cert, --tls-key"));
  // The command line's own mistakes are not the file's.
  EXPECT_THAT(said("workers = 2", {"--workers", "many"}), StartsWith("netprovd: --workers: "));
  EXPECT_THAT(said("workers = 2", {"--log-level=loud"}), StartsWith("netprovd: --log-level: "));
  EXPECT_THAT(said("workers = \"many\"", {"--log-level=loud"}), StartsWith("netprovd: --log-level: "));
  EXPECT_THAT(said("workers = \"many\"", {"stray"}), StartsWith("netprovd: unexpected: stray\n"));
  // Of several options, one that stands there is enough.
  const std::vector<const char*> key = {"--tls-key", "k"};
  EXPECT_THAT(said("tls-cert = \"c\"", key), StartsWith("netprovd: FILE: --tls-cert, --tls-key"));
  EXPECT_THAT(said("workers = 2", key), StartsWith("netprovd: --tls-cert, --tls-key"));
  EXPECT_THAT(said("listen = \"[::1]:1\"", {}), StartsWith("netprovd: FILE: --listen [::1]:1 needs "));
  EXPECT_THAT(said("insecure = false", {"--listen", "[::1]:1"}), StartsWith("netprovd: --listen [::1]:1 needs "));
  EXPECT_THAT(Refused({"--config", "/no/such/file"}).text,
              StartsWith("netprovd: /no/such/file cannot be read: No such file or directory\n"));
  EXPECT_THAT(Refused({"--config", "/proc"}).text, StartsWith("netprovd: /proc cannot be read: Is a directory\n"));
  EXPECT_THAT(Refused({"stray", "other"}).text, StartsWith("netprovd: unexpected: stray other\n"));
}

TEST(ConfigTest, ReadsAFileThatTheCommandLineOverrides) {
  const std::string path = WriteFile(
      "socket = \"/from/file\"\nstate-dir = \"/state\"\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\ninsecure = true\n"
      "durability = \"power\"\nworkers = 3\nqueue-limit = 7\nprepared-namespaces = 5\nshutdown-grace = "
      "\"1s\"\nlog-level = \"warn\"\n");
  const Config config = Parsed({"--config", path.c_str(), "--workers", "8"});
  EXPECT_EQ(config.socket_path, "/from/file");
  EXPECT_EQ(config.durability, "power");
  EXPECT_EQ(config.state_dir, "/state");
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:1", "[::1]:2"));
  EXPECT_TRUE(config.insecure);
  EXPECT_EQ(config.workers, 8);
  EXPECT_EQ(config.queue_limit, 7u);
  EXPECT_EQ(config.prepared_namespaces, 5u);
  EXPECT_EQ(config.shutdown_grace, absl::Seconds(1));
  EXPECT_EQ(config.log_level, "warn");
}

TEST(ConfigTest, RefusesAFileWithWhatItDoesNotKnow) {
  const std::string path = WriteFile("sokket = \"/x\"\n");
  const ExitRequest exit = Refused({"--config", path.c_str()});
  EXPECT_EQ(exit.code, 2);
  EXPECT_THAT(exit.text, HasSubstr("sokket"));
  EXPECT_EQ(Refused({"--config", "/no/such/file"}).code, 2);
}

TEST(ConfigTest, RefusesTcpWithoutInsecure) {
  const ExitRequest exit = Refused({"--listen", "127.0.0.1:0"});
  EXPECT_EQ(exit.code, 2);
  EXPECT_THAT(exit.text, HasSubstr("--listen 127.0.0.1:0 needs --tls-cert, --tls-key and --tls-client-ca"));
}

TEST(ConfigTest, NamesTheFlagThatIsWrong) {
  for (const auto& [arguments, flag] : std::vector<std::pair<std::vector<const char*>, const char*>>{
           {{"--workers", "0"}, "--workers"},
           {{"--workers", "many"}, "--workers"},
           {{"--queue-limit", "-1"}, "--queue-limit"},
           {{"--prepared-namespaces", "65"}, "--prepared-namespaces"},
           {{"--shutdown-grace", "soon"}, "--shutdown-grace"},
           {{"--shutdown-grace", "-1s"}, "--shutdown-grace"},
           {{"--log-level", "loud"}, "--log-level"},
           {{"--durability", "none"}, "--durability"},
           {{"--insecure", "--listen", "nowhere"}, "--listen"},
           {{"--insecure", "--listen", "host:99999"}, "--listen"},
           {{"--insecure", "--listen", ":7001"}, "--listen"},
           {{"--insecure", "--listen", "::1:7001"}, "--listen"},
           {{"--insecure", "--listen", "unix:/x:1"}, "--listen"},
           {{"--metrics", "9100"}, "--metrics"},
           {{"--metrics", "localhost:http"}, "--metrics"},
           {{"--metrics", "::1:9100"}, "--metrics"},
           {{"--socket="}, "--socket"},
           {{"--state-dir="}, "--state-dir"},
           {{"--no-such-flag"}, "--no-such-flag"},
           {{"stray"}, "stray"},
       }) {
    const ExitRequest exit = Refused(arguments);
    EXPECT_EQ(exit.code, 2) << exit.text;
    EXPECT_THAT(exit.text, HasSubstr(flag));
  }
}

TEST(ConfigTest, MetricsAreServedWhereItIsSaidOrNowhere) {
  EXPECT_EQ(Parsed({"--metrics", "[::1]:9100"}).metrics, "[::1]:9100");
  EXPECT_EQ(Parsed({"--metrics", kDefaultMetricsAddress}).metrics, kDefaultMetricsAddress) << "said, not left out";
  EXPECT_EQ(Parsed({"--metrics", "off"}).metrics, "");
  EXPECT_EQ(Parsed({"--metrics", ""}).metrics, "");
  for (const char* off : {"metrics = \"off\"", "metrics = \"\""}) {
    const std::string path = WriteFile(off);
    EXPECT_EQ(Parsed({"--config", path.c_str()}).metrics, "") << off;
    EXPECT_EQ(Parsed({"--config", path.c_str(), "--metrics", "127.0.0.1:0"}).metrics, "127.0.0.1:0") << off;
  }
}

TEST(ConfigTest, HelpAndVersionAreNoErrors) {
  const ExitRequest help = Refused({"--help"});
  EXPECT_EQ(help.code, 0);
  const std::string broken = WriteFile("workers = \"many\"\n");
  EXPECT_EQ(Refused({"--config", broken.c_str(), "--help"}).code, 0);
  for (const char* flag :
       {"--socket", "--state-dir", "--listen", "--insecure", "--workers", "--queue-limit", "--metrics",
        "--prepared-namespaces", "--shutdown-grace", "--log-level", "--version", "--config"}) {
    EXPECT_THAT(help.text, HasSubstr(flag));
  }
  const ExitRequest version = Refused({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.text, HasSubstr("netprovd 0.1.0"));
}

}  // namespace
}  // namespace netprov
