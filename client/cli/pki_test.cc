#include "client/cli/pki.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kDay = absl::Hours(24);

struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, FreeCertificate>;

class PkiTest : public ::testing::Test {
 protected:
  PkiTest() : directory_(::testing::TempDir() + "/pki") { std::filesystem::remove_all(directory_); }

  absl::StatusOr<std::vector<std::string>> Run(PkiCommand command) {
    command.directory = directory_;
    command.lifetime = kDay;
    return RunPki(command, now_);
  }

  Certificate Read(const std::string& name) const {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen((directory_ + "/" + name).c_str(), "r"), std::fclose);
    EXPECT_NE(file, nullptr) << name;
    return Certificate(file == nullptr ? nullptr : PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
  }

  // How OpenSSL judges a certificate by the CA and its list, at a time; `ok`.
  std::string Verify(const std::string& name, int purpose, absl::Time at) const {
    const Certificate authority = Read("ca.pem");
    const Certificate certificate = Read(name);
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen((directory_ + "/crl.pem").c_str(), "r"), std::fclose);
    X509_CRL* list = PEM_read_X509_CRL(file.get(), nullptr, nullptr, nullptr);
    X509_STORE* store = X509_STORE_new();
    X509_STORE_add_cert(store, authority.get());
    X509_STORE_add_crl(store, list);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL | X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX* context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, certificate.get(), nullptr);
    X509_STORE_CTX_set_purpose(context, purpose);
    X509_STORE_CTX_set_time(context, 0, absl::ToTimeT(at));
    X509_verify_cert(context);
    std::string verdict = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_CRL_free(list);
    return verdict;
  }

  std::string Text(const std::string& name) const {
    std::ifstream file(directory_ + "/" + name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  mode_t ModeOf(const std::string& name) const {
    struct stat file = {};
    EXPECT_EQ(::stat((directory_ + "/" + name).c_str(), &file), 0) << name;
    return file.st_mode & 07777;
  }

  const std::string directory_;
  const absl::Time now_ = absl::Now();
};

TEST_F(PkiTest, ACaIssuesWhatServersAndClientsNeed) {
  const auto written = Run({.servers = {"node1.example.org", "192.0.2.1", "::1"}, .clients = {"ci"}});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_THAT(*written, ElementsAre(directory_ + "/ca-key.pem", directory_ + "/ca.pem", directory_ + "/crl.pem",
                                    directory_ + "/server-key.pem", directory_ + "/server.pem",
                                    directory_ + "/ci-key.pem", directory_ + "/ci.pem"));
  EXPECT_EQ(Verify("server.pem", X509_PURPOSE_SSL_SERVER, now_), "ok");
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
  // Neither stands for the other.
  EXPECT_NE(Verify("server.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
  EXPECT_NE(Verify("ci.pem", X509_PURPOSE_SSL_SERVER, now_), "ok");
  const Certificate server = Read("server.pem");
  EXPECT_EQ(X509_check_host(server.get(), "node1.example.org", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(server.get(), "node2.example.org", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(server.get(), "192.0.2.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(server.get(), "::1", 0), 1);
  char name[65] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(Read("ci.pem").get()), NID_commonName, name, sizeof(name));
  EXPECT_STREQ(name, "ci");
}

TEST_F(PkiTest, KeysAreForTheirOwnersEyes) {
  ASSERT_TRUE(Run({.servers = {"a"}, .clients = {"ci"}}).ok());
  struct stat directory = {};
  ASSERT_EQ(::stat(directory_.c_str(), &directory), 0);
  EXPECT_EQ(directory.st_mode & 07777, 0700u);
  for (const char* key : {"ca-key.pem", "server-key.pem", "ci-key.pem"}) EXPECT_EQ(ModeOf(key), 0600u) << key;
}

TEST_F(PkiTest, CertificatesEndAndTheCaHoldsLonger) {
  ASSERT_TRUE(Run({.clients = {"ci"}}).ok());
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_ + kDay - absl::Minutes(1)), "ok");
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_ + kDay + absl::Minutes(1)), "certificate has expired");
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_ - absl::Minutes(1)), "ok");
  ASSERT_TRUE(Run({.action = PkiCommand::Action::kIssue, .clients = {"later"}}).ok());
}

TEST_F(PkiTest, WhatIsRevokedIsNoGoodAnyMore) {
  ASSERT_TRUE(Run({.clients = {"ci", "lab", "x"}}).ok());
  ASSERT_TRUE(Run({.action = PkiCommand::Action::kRevoke, .revoked = {directory_ + "/ci.pem"}}).ok());
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_), "certificate revoked");
  EXPECT_EQ(Verify("lab.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
  // One more, and one again.
  const auto again =
      Run({.action = PkiCommand::Action::kRevoke, .revoked = {directory_ + "/lab.pem", directory_ + "/ci.pem"}});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(*again, ElementsAre(directory_ + "/crl.pem"));
  for (const char* name : {"ci.pem", "lab.pem"}) {
    EXPECT_EQ(Verify(name, X509_PURPOSE_SSL_CLIENT, now_), "certificate revoked") << name;
  }
  EXPECT_EQ(Verify("x.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
}

TEST_F(PkiTest, AUriBecomesASubjectAlternativeName) {
  ASSERT_TRUE(Run({.clients = {"spiffe://example.org/ci"}}).ok());
  const Certificate certificate = Read("ci.pem");
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  ASSERT_NE(names, nullptr);
  ASSERT_EQ(sk_GENERAL_NAME_num(names), 1);
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, 0);
  ASSERT_EQ(name->type, GEN_URI);
  EXPECT_STREQ(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.ia5)), "spiffe://example.org/ci");
  GENERAL_NAMES_free(names);
}

TEST_F(PkiTest, NothingIsOverwrittenAndAFailureLeavesNothing) {
  ASSERT_TRUE(Run({.clients = {"ci"}}).ok());
  EXPECT_EQ(Run({.clients = {"lab"}}).status().code(), absl::StatusCode::kAlreadyExists);
  const auto twice = Run({.action = PkiCommand::Action::kIssue, .clients = {"new", "ci"}});
  EXPECT_EQ(twice.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(twice.status().message()), HasSubstr("ci-key.pem is there already"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/new.pem"));
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
}

TEST_F(PkiTest, TheDirectoryMayBeAnywhere) {
  const std::string parent = ::testing::TempDir() + "/pki_parent";
  std::filesystem::remove_all(parent);
  for (const char* end : {"/a/b", "/c/d/"}) {
    const PkiCommand command = {.directory = parent + end, .lifetime = kDay};
    const auto made = RunPki(command, now_);
    ASSERT_TRUE(made.ok()) << made.status();
  }
  struct stat between = {};
  ASSERT_EQ(::stat((parent + "/a").c_str(), &between), 0);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  EXPECT_EQ(between.st_mode & 07777, 0755u & ~mask);
  for (const char* end : {"/a/b", "/c/d"}) {
    struct stat inner = {};
    ASSERT_EQ(::stat((parent + end).c_str(), &inner), 0);
    EXPECT_EQ(inner.st_mode & 07777, 0700u) << end;
  }
  std::filesystem::remove_all(parent);
}

TEST_F(PkiTest, ARenewalTakesThePlaceOfWhatWasThere) {
  ASSERT_TRUE(Run({.servers = {"a"}, .clients = {"ci", "spiffe://example.org/lab"}}).ok());
  const std::string before = Text("ci.pem"), key_before = Text("ci-key.pem"), server_before = Text("server.pem");
  // A server that is not root's reads its key by its group.
  ASSERT_EQ(::chmod((directory_ + "/ci-key.pem").c_str(), 0640), 0);
  // What a run left that was killed.
  std::ofstream(directory_ + "/ci.pem.new") << "half of";
  const auto renewed = Run({.action = PkiCommand::Action::kIssue,
                            .servers = {"a", "b"},
                            .clients = {"ci", "spiffe://example.org/lab"},
                            .renew = true});
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_THAT(*renewed,
              ElementsAre(directory_ + "/server-key.pem", directory_ + "/server.pem", directory_ + "/ci-key.pem",
                          directory_ + "/ci.pem", directory_ + "/lab-key.pem", directory_ + "/lab.pem"));
  EXPECT_NE(Text("ci.pem"), before);
  EXPECT_NE(Text("ci-key.pem"), key_before);
  EXPECT_NE(Text("server.pem"), server_before);
  EXPECT_EQ(ModeOf("ci-key.pem"), 0640u);
  EXPECT_EQ(ModeOf("lab-key.pem"), 0600u);
  EXPECT_EQ(Verify("ci.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
  EXPECT_EQ(X509_check_host(Read("server.pem").get(), "b", 0, 0, nullptr), 1);
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    EXPECT_NE(file.path().extension(), ".new") << file.path();
  }
  // Who is not there yet is made.
  EXPECT_TRUE(Run({.action = PkiCommand::Action::kIssue, .clients = {"new"}, .renew = true}).ok());
}

TEST_F(PkiTest, ARenewalOfOneDoesNotReplaceAnother) {
  ASSERT_TRUE(Run({.servers = {"a"}, .clients = {"spiffe://example.org/a/node", "ci"}}).ok());
  const std::string before = Text("node.pem");
  for (const char* other : {"spiffe://example.org/b/node", "node"}) {
    const auto refused = Run({.action = PkiCommand::Action::kIssue, .clients = {other}, .renew = true});
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << other;
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("node.pem is somebody else's")) << other;
  }
  const auto of_server = Run({.action = PkiCommand::Action::kIssue, .servers = {"a"}, .name = "ci", .renew = true});
  EXPECT_EQ(of_server.status().code(), absl::StatusCode::kInvalidArgument);
  // One that fails leaves the others as they were too.
  const std::string ci = Text("ci.pem");
  EXPECT_FALSE(
      Run({.action = PkiCommand::Action::kIssue, .clients = {"ci", "spiffe://example.org/b/node"}, .renew = true})
          .ok());
  EXPECT_EQ(Text("ci.pem"), ci);
  EXPECT_EQ(Text("node.pem"), before);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/ci.pem.new"));
}

TEST_F(PkiTest, ARenewalReplacesNoKeyOfOthers) {
  ASSERT_TRUE(Run({.servers = {"a"}, .clients = {"ci"}}).ok());
  for (const char* key : {"ca-key", "server-key", "ci-key"}) {
    const std::string before = Text(std::string(key) + ".pem");
    EXPECT_FALSE(Run({.action = PkiCommand::Action::kIssue, .clients = {key}, .renew = true}).ok());
    EXPECT_FALSE(Run({.action = PkiCommand::Action::kIssue, .clients = {"new"}, .name = key, .renew = true}).ok());
    EXPECT_EQ(Text(std::string(key) + ".pem"), before);
  }
  // Nor what is no certificate at all.
  std::ofstream(directory_ + "/mine.pem") << "notes";
  EXPECT_FALSE(Run({.action = PkiCommand::Action::kIssue, .clients = {"mine"}, .renew = true}).ok());
  EXPECT_EQ(Text("mine.pem"), "notes");
}

TEST_F(PkiTest, ANameSetsApartWhatEndsAlike) {
  ASSERT_TRUE(Run({.servers = {"a"}, .clients = {"spiffe://example.org/a/node"}}).ok());
  const auto taken = Run({.action = PkiCommand::Action::kIssue, .clients = {"spiffe://example.org/b/node"}});
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr("--name names another"));
  ASSERT_TRUE(
      Run({.action = PkiCommand::Action::kIssue, .clients = {"spiffe://example.org/b/node"}, .name = "b-node"}).ok());
  EXPECT_EQ(Verify("b-node.pem", X509_PURPOSE_SSL_CLIENT, now_), "ok");
  ASSERT_TRUE(Run({.action = PkiCommand::Action::kIssue, .servers = {"b", "::1"}, .name = "server-b"}).ok());
  EXPECT_EQ(Verify("server-b.pem", X509_PURPOSE_SSL_SERVER, now_), "ok");
  // In one call.
  EXPECT_EQ(Run({.action = PkiCommand::Action::kIssue, .clients = {"spiffe://x/n", "spiffe://y/n"}, .renew = true})
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/n.pem"));
  // One name is for one certificate, and is one that can be.
  for (const PkiCommand& bad :
       std::vector<PkiCommand>{{.action = PkiCommand::Action::kIssue, .clients = {"x", "y"}, .name = "z"},
                               {.action = PkiCommand::Action::kIssue, .servers = {"x"}, .clients = {"y"}, .name = "z"},
                               {.action = PkiCommand::Action::kIssue, .clients = {"x"}, .name = "ca"},
                               {.action = PkiCommand::Action::kIssue, .clients = {"x"}, .name = "server"},
                               {.action = PkiCommand::Action::kIssue, .clients = {"x"}, .name = "../x"},
                               {.action = PkiCommand::Action::kIssue, .clients = {"a b"}, .name = "z"}}) {
    EXPECT_EQ(Run(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad.name;
  }
}

TEST_F(PkiTest, BadNamesAndStrangersAreRefused) {
  ASSERT_TRUE(Run({.clients = {"ci"}}).ok());
  for (const char* client :
       {"", "ca", "server", "crl", "a b", "-a", ".a", "a,b", "x:y", "spiffe://example.org/", "http://a,b/c"}) {
    EXPECT_EQ(Run({.action = PkiCommand::Action::kIssue, .clients = {client}}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << client;
  }
  for (const char* server : {"", "a b", "a,DNS:evil", "1.2.3.4/5"}) {
    EXPECT_EQ(Run({.action = PkiCommand::Action::kIssue, .servers = {server}}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << server;
  }
  std::filesystem::rename(directory_, directory_ + ".other");
  EXPECT_EQ(Run({.action = PkiCommand::Action::kIssue, .clients = {"x"}}).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Run({}).ok());
  const auto strange = Run({.action = PkiCommand::Action::kRevoke, .revoked = {directory_ + ".other/ci.pem"}});
  EXPECT_EQ(strange.status().code(), absl::StatusCode::kInvalidArgument);
  std::filesystem::remove_all(directory_ + ".other");
}

}  // namespace
}  // namespace netprov::cli
