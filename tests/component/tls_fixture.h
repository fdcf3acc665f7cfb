// A real server on a TCP port with TLS, over the fake kernel.
#ifndef NETPROV_TESTS_COMPONENT_TLS_FIXTURE_H_
#define NETPROV_TESTS_COMPONENT_TLS_FIXTURE_H_

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/pki.h"
#include "client/client.h"
#include "gtest/gtest.h"
#include "server/access/policy.h"
#include "server/rpc/tls.h"
#include "tests/component/fixture.h"

namespace netprov::testing {

inline constexpr absl::Duration kDay = absl::Hours(24);

class TlsTest : public ServerTest {
 protected:
  TlsTest() : pki_(directory_ + "/pki") {}

  void SetUp() override {
    Make(pki_, {.servers = {"127.0.0.1"}, .clients = {"ci", "spiffe://example.org/lab", "other"}});
    // Apart from what clients trust.
    std::filesystem::copy_file(pki_ + "/ca.pem", pki_ + "/client-ca.pem");
    files_ = {.certificate = pki_ + "/server.pem",
              .key = pki_ + "/server-key.pem",
              .client_ca = pki_ + "/client-ca.pem",
              .crl = pki_ + "/crl.pem"};
  }
  void TearDown() override { StopServer(); }

  static void Make(const std::string& directory, cli::PkiCommand command, absl::Duration lifetime = kDay,
                   absl::Time now = absl::Now()) {
    command.directory = directory;
    command.lifetime = lifetime;
    const auto written = cli::RunPki(command, now);
    ASSERT_TRUE(written.ok()) << written.status();
  }

  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::shared_ptr<spdlog::logger> Log() { return MakeLog(); }

  // Serves whoever has a certificate, with all that there is. Certificates are there for `cn:ci`, `cn:other` and, under
  // `lab`, `spiffe://example.org/lab`.
  void Start(const rpc::TransportLimits& transport = {}) {
    // Ahead of the next, which has the same directory.
    tls_ = nullptr;
    auto tls = rpc::Tls::Open(files_, directory_ + "/tls", Log());
    ASSERT_TRUE(tls.ok()) << tls.status();
    tls_ = *std::move(tls);
    const access::Rule anybody{.name = "anybody",
                               .who = {{.kind = access::Principal::Kind::kCommonName, .pattern = "*"}},
                               .role = access::BuiltInRoles().back()};
    StartServer({.listen = {"127.0.0.1:0"},
                 .tls = tls_.get(),
                 .connections = {.short_per_second = 0},  // tests make them as fast as they can
                 .policy = access::Policy(std::vector{anybody}),
                 .transport = transport});
    address_ = server().addresses().back();
    ASSERT_TRUE(absl::StartsWith(address_, "127.0.0.1:")) << address_;
  }

  client::TlsOptions As(const std::string& name) const { return As(pki_, name); }
  client::TlsOptions As(const std::string& pki, const std::string& name) const {
    return {.ca = pki_ + "/ca.pem",
            .certificate = absl::StrCat(pki, "/", name, ".pem"),
            .key = absl::StrCat(pki, "/", name, "-key.pem")};
  }

  // What becomes of a call by a new connection.
  absl::StatusOr<v1::WhoAmIResponse> Ask(const client::TlsOptions& tls) const {
    const auto connection = client::MakeConnection(address_, tls);
    if (!connection.ok()) return connection.status();
    return client::Client(*connection, {.timeout = absl::Seconds(5), .retry = false}).WhoAmI();
  }
  std::string NameOf(const client::TlsOptions& tls) const {
    const auto answer = Ask(tls);
    return answer.ok() ? answer->identity().name() : std::string(absl::StatusCodeToString(answer.status().code()));
  }

  const std::string pki_;
  rpc::TlsFiles files_;
  std::unique_ptr<rpc::Tls> tls_;
  std::string address_;
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_COMPONENT_TLS_FIXTURE_H_
