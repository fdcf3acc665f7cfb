// TLS: who is let in, who is known by which name, and certificates that change under load.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/pki.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/access/policy.h"
#include "server/base/unique_fd.h"
#include "server/rpc/tls.h"
#include "tests/component/tls_fixture.h"

namespace netprov::testing {
namespace {

using cli::PkiCommand;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(TlsTest, ACertificateNamesItsCaller) {
  Start();
  const auto ci = Ask(As("ci"));
  ASSERT_TRUE(ci.ok()) << ci.status();
  EXPECT_EQ(ci->identity().kind(), v1::Identity::KIND_TLS);
  EXPECT_EQ(ci->identity().name(), "cn:ci");
  EXPECT_EQ(ci->identity().common_name(), "ci");
  EXPECT_THAT(ci->identity().peer(), HasSubstr("127.0.0.1:"));
  const auto lab = Ask(As("lab"));
  ASSERT_TRUE(lab.ok()) << lab.status();
  EXPECT_EQ(lab->identity().name(), "spiffe://example.org/lab");
  EXPECT_THAT(lab->identity().uris(), ElementsAre("spiffe://example.org/lab"));
  const absl::Duration left = absl::FromUnixSeconds(tls_->expires_at()) - absl::Now();
  EXPECT_GT(left, kDay - absl::Hours(1));
  EXPECT_LE(left, kDay);
}

TEST_F(TlsTest, WithoutAGoodCertificateThereIsNoConnection) {
  Make(directory_ + "/stranger", {.servers = {"127.0.0.1"}, .clients = {"ci"}});
  Make(pki_, {.action = PkiCommand::Action::kIssue, .clients = {"expired"}}, absl::Hours(1), absl::Now() - kDay);
  Make(pki_, {.action = PkiCommand::Action::kRevoke, .revoked = {pki_ + "/other.pem"}});
  Start();
  EXPECT_EQ(NameOf(As("ci")), "cn:ci");
  EXPECT_EQ(NameOf(As(directory_ + "/stranger", "ci")), "UNAVAILABLE") << "of another CA";
  EXPECT_EQ(NameOf(As("expired")), "UNAVAILABLE");
  EXPECT_EQ(tls_->refused_clients().value(), 0u) << "OpenSSL is asked first";
  EXPECT_EQ(NameOf(As("other")), "UNAVAILABLE") << "revoked";
  EXPECT_EQ(tls_->refused_clients().value(), 1u);
  EXPECT_EQ(NameOf(As("server")), "UNAVAILABLE") << "a server's certificate";
  EXPECT_EQ(NameOf({}), "UNAVAILABLE") << "without TLS";
  // Without a certificate at all.
  const auto bare = grpc::CreateChannel(address_, grpc::SslCredentials({.pem_root_certs = Read(pki_ + "/ca.pem")}));
  EXPECT_EQ(client::Client(client::MakeConnection(bare), {.timeout = absl::Seconds(5), .retry = false})
                .WhoAmI()
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
  // And a client does not talk to a server that its CA does not know.
  client::TlsOptions elsewhere = As("ci");
  elsewhere.ca = directory_ + "/stranger/ca.pem";
  EXPECT_EQ(NameOf(elsewhere), "UNAVAILABLE");
  client::TlsOptions misnamed = As("ci");
  misnamed.server_name = "node1.example.org";
  EXPECT_EQ(NameOf(misnamed), "UNAVAILABLE");
}

std::string Handshake(const std::string& address, int newest) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in server = {};
  server.sin_family = AF_INET;
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server.sin_port = htons(std::stoi(address.substr(address.rfind(':') + 1)));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&server), sizeof(server)) != 0) return "no connection";
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  // Else OpenSSL itself would not speak it.
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
  SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context, newest);
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, fd.get());
  const std::string result = SSL_connect(ssl) == 1 ? SSL_get_version(ssl) : "refused";
  SSL_free(ssl);
  SSL_CTX_free(context);
  return result;
}

TEST_F(TlsTest, OlderThanTls12IsRefused) {
  Start();
  EXPECT_EQ(Handshake(address_, TLS1_1_VERSION), "refused");
  EXPECT_EQ(Handshake(address_, TLS1_VERSION), "refused");
  // It is the version: a newer one gets as far as the certificate, which TLS 1.3 asks for after the client is done.
  EXPECT_EQ(Handshake(address_, TLS1_3_VERSION), "TLSv1.3");
}

TEST_F(TlsTest, WhatIsRevokedLaterIsRefusedFromThen) {
  Start();
  EXPECT_EQ(NameOf(As("ci")), "cn:ci");
  Make(pki_, {.action = PkiCommand::Action::kRevoke, .revoked = {pki_ + "/ci.pem"}});
  ASSERT_TRUE(tls_->Reload().ok());
  EXPECT_EQ(NameOf(As("ci")), "UNAVAILABLE");
  EXPECT_EQ(NameOf(As("lab")), "spiffe://example.org/lab");
}

TEST_F(TlsTest, WhatDoesNotFitIsLeftAside) {
  Start();
  const std::string good = Read(files_.key);
  struct Broken {
    std::string path;
    std::string text;
    std::string error;
  };
  for (const Broken& broken : std::vector<Broken>{
           {files_.key, Read(pki_ + "/ci-key.pem"), "is not the key of"},
           {files_.key, "nonsense", "holds no private key"},
           {files_.certificate, "", "holds no certificate"},
           {files_.client_ca, "x", "holds no certificate"},
           {files_.client_ca, Read(pki_ + "/ca.pem") + "-----BEGIN CERTIFICATE-----\nMIIB\n", "or a damaged one"},
           {files_.crl, Read(pki_ + "/ca.pem"), "holds no list"}}) {
    const std::string before = Read(broken.path);
    std::ofstream(broken.path) << broken.text;
    const absl::Status status = tls_->Reload();
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.error));
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.path));
    EXPECT_EQ(NameOf(As("ci")), "cn:ci") << broken.error;
    std::ofstream(broken.path) << before;
    EXPECT_TRUE(tls_->Reload().ok());
  }
  // A key that others may read is none.
  std::filesystem::permissions(files_.key, std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  EXPECT_EQ(tls_->Reload().code(), absl::StatusCode::kFailedPrecondition);
  std::filesystem::remove(files_.certificate);
  EXPECT_EQ(rpc::Tls::Open(files_, directory_ + "/tls2", Log()).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(TlsTest, AnExpiredCertificateIsNotServedFrom) {
  const std::string expired = directory_ + "/expired";
  Make(expired, {.servers = {"127.0.0.1"}}, absl::Hours(1), absl::Now() - kDay);
  files_.certificate = expired + "/server.pem";
  files_.key = expired + "/server-key.pem";
  const auto tls = rpc::Tls::Open(files_, directory_ + "/tls", Log());
  EXPECT_THAT(std::string(tls.status().message()), HasSubstr("has expired"));
}

// Each rotation is of key and certificate, one after the other, at once with the calls.
TEST_F(TlsTest, ManyRotationsUnderLoadFailNoCall) {
  constexpr int kRotations = 100;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < kRotations; ++i) {
    const std::string next = absl::StrCat(directory_, "/next", i);
    std::filesystem::create_directories(next);
    for (const char* name : {"/ca.pem", "/ca-key.pem"}) std::filesystem::copy_file(pki_ + name, next + name);
    Make(next, {.action = PkiCommand::Action::kIssue, .servers = {"127.0.0.1"}});
    pairs.emplace_back(next + "/server.pem", next + "/server-key.pem");
  }
  Start();
  std::atomic<bool> stop = false;
  std::atomic<int> calls = 0;
  std::atomic<int> failures = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([&, is_new = i == 0] {
      // One calls by a new connection each time, the other by the same.
      const auto connection = client::MakeConnection(address_, As("lab"));
      const client::Client kept(*connection, {.timeout = absl::Seconds(10), .retry = false});
      while (!stop) {
        const absl::Status status = is_new ? Ask(As("ci")).status() : kept.WhoAmI().status();
        ++calls;
        if (status.ok()) continue;
        ++failures;
        ADD_FAILURE() << status;
        return;
      }
    });
  }
  for (const auto& [certificate, key] : pairs) {
    const int before = calls;
    // A look between the two finds what does not fit, and keeps what did.
    std::filesystem::rename(key, files_.key);
    tls_->Reload().IgnoreError();
    std::filesystem::rename(certificate, files_.certificate);
    EXPECT_TRUE(tls_->Reload().ok());
    while (calls < before + 2 && failures == 0) std::this_thread::yield();
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failures, 0);
  EXPECT_GE(calls, 2 * kRotations);
}

TEST_F(TlsTest, ItsDirectoryIsItsOwnAndGoesWithIt) {
  Start();
  const auto mode = std::filesystem::status(directory_ + "/tls").permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_all);
  StopServer();
  tls_.reset();
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/tls"));
  std::ofstream(directory_ + "/tls") << "a file";
  EXPECT_FALSE(rpc::Tls::Open(files_, directory_ + "/tls", Log()).ok());
}

}  // namespace
}  // namespace netprov::testing
