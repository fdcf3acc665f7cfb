#include "server/rpc/tls.h"

#include <fcntl.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/trusted_file.h"
#include "server/base/unique_fd.h"
#include "server/rpc/call_log.h"

namespace netprov::rpc {
namespace {

constexpr size_t kLongestFile = 4 << 20;

// How often gRPC looks at the published files.
constexpr unsigned kRefreshSeconds = 1;

constexpr absl::Duration kComplaintInterval = absl::Seconds(1);

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using RevocationList = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Store = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;

struct FreeChain {
  void operator()(STACK_OF(X509) * chain) const { sk_X509_pop_free(chain, X509_free); }
};
using Chain = std::unique_ptr<STACK_OF(X509), FreeChain>;

std::string Errno() { return strerrordesc_np(errno); }

absl::Status Bad(const std::string& path, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", why));
}

Bio Reading(absl::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// A passphrase is nowhere to be had, and OpenSSL would ask the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

// All objects of a kind in a file, in their order; none where one of them is damaged.
template <typename Object, typename Reader>
std::vector<Object> AllIn(absl::string_view text, Reader read) {
  std::vector<Object> objects;
  const Bio bio = Reading(text);
  for (;;) {
    Object object(read(bio.get(), nullptr, NoPassphrase, nullptr));
    if (object == nullptr) break;
    objects.push_back(std::move(object));
  }
  // The end of the file is an error to OpenSSL, and must not be taken for one of the next call of this thread.
  const bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!is_end) objects.clear();
  return objects;
}

std::vector<Certificate> CertificatesIn(absl::string_view text) { return AllIn<Certificate>(text, PEM_read_bio_X509); }
std::vector<RevocationList> ListsIn(absl::string_view text) {
  return AllIn<RevocationList>(text, PEM_read_bio_X509_CRL);
}

absl::Status CheckIdentity(const TlsFiles& files, absl::string_view certificate, absl::string_view key) {
  const std::vector<Certificate> chain = CertificatesIn(certificate);
  if (chain.empty()) return Bad(files.certificate, "holds no certificate in PEM, or a damaged one");
  const Key private_key(PEM_read_bio_PrivateKey(Reading(key).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (private_key == nullptr) return Bad(files.key, "holds no private key in PEM without a passphrase");
  const bool fits = X509_check_private_key(chain.front().get(), private_key.get()) == 1;
  ERR_clear_error();
  if (!fits) return Bad(files.key, absl::StrCat("is not the key of the certificate in ", files.certificate));
  if (X509_cmp_current_time(X509_get0_notAfter(chain.front().get())) <= 0) {
    return Bad(files.certificate, "the certificate has expired");
  }
  return absl::OkStatus();
}

// When the first certificate expires, in seconds since 1970; 0 where its time is none.
int64_t ExpiryOf(absl::string_view text) {
  const std::vector<Certificate> chain = CertificatesIn(text);
  tm time = {};
  const bool is_time = !chain.empty() && ASN1_TIME_to_tm(X509_get0_notAfter(chain.front().get()), &time) == 1;
  ERR_clear_error();
  return is_time ? static_cast<int64_t>(::timegm(&time)) : 0;
}

// What the files hold, once they are found good.
struct Loaded {
  std::string identity;  // key and certificates, in PEM
  std::string client_ca;
  Store trusted;       // what a client's chain is checked against
  int64_t expires_at;  // of the server's certificate; ExpiryOf()
};

absl::StatusOr<Loaded> Load(const TlsFiles& files) {
  absl::StatusOr<std::string> certificate = ReadTrustedFile(files.certificate, {.longest = kLongestFile});
  if (!certificate.ok()) return certificate.status();
  absl::StatusOr<std::string> key = ReadTrustedFile(files.key, {.longest = kLongestFile, .is_secret = true});
  if (!key.ok()) return key.status();
  absl::StatusOr<std::string> client_ca = ReadTrustedFile(files.client_ca, {.longest = kLongestFile});
  if (!client_ca.ok()) return client_ca.status();
  if (absl::Status good = CheckIdentity(files, *certificate, *key); !good.ok()) return good;

  Store trusted(X509_STORE_new());
  const std::vector<Certificate> authorities = CertificatesIn(*client_ca);
  if (authorities.empty()) return Bad(files.client_ca, "holds no certificate in PEM, or a damaged one");
  bool is_added = true;
  for (const Certificate& authority : authorities) {
    is_added = is_added && X509_STORE_add_cert(trusted.get(), authority.get()) == 1;
  }
  if (!files.crl.empty()) {
    absl::StatusOr<std::string> text = ReadTrustedFile(files.crl, {.longest = kLongestFile});
    if (!text.ok()) return text.status();
    const std::vector<RevocationList> lists = ListsIn(*text);
    if (lists.empty()) return Bad(files.crl, "holds no list of revoked certificates in PEM, or a damaged one");
    for (const RevocationList& list : lists) {
      is_added = is_added && X509_STORE_add_crl(trusted.get(), list.get()) == 1;
    }
    X509_STORE_set_flags(trusted.get(), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  }
  ERR_clear_error();
  if (!is_added) return absl::ResourceExhaustedError("out of memory for certificates");
  // The key comes first: OpenSSL finds either in a file with both.
  return Loaded{.identity = absl::StrCat(*key, "\n", *certificate),
                .client_ca = *std::move(client_ca),
                .trusted = std::move(trusted),
                .expires_at = ExpiryOf(*certificate)};
}

}  // namespace

std::vector<std::string> TlsFiles::paths() const {
  std::vector<std::string> all = {certificate, key, client_ca};
  if (!crl.empty()) all.push_back(crl);
  return all;
}

// gRPC owns an object that forwards to this one, and may keep it for longer than the Tls.
class Tls::Verifier {
 public:
  explicit Verifier(std::shared_ptr<spdlog::logger> log) : log_(std::move(log)) {}

  // What a client's chain is checked against.
  void Set(std::shared_ptr<X509_STORE> trusted) {
    std::lock_guard<std::mutex> lock(mutex_);
    trusted_ = std::move(trusted);
  }

  // Why a client's certificate is not good, with the others that it sent, both in PEM; empty: it is.
  std::string Verify(absl::string_view certificate, absl::string_view others) {
    std::string wrong = WhatIsWrongWith(certificate, others);
    if (wrong.empty()) return wrong;
    refused_.Add();
    std::lock_guard<std::mutex> lock(mutex_);
    if (absl::Now() < next_complaint_) return wrong;
    next_complaint_ = absl::Now() + kComplaintInterval;
    log_->warn(absl::StrCat("event=client_refused reason=", LogfmtValue(wrong)));
    return wrong;
  }

  const Counter& refused() const { return refused_; }

 private:
  std::string WhatIsWrongWith(absl::string_view certificate, absl::string_view others) const {
    const std::vector<Certificate> leaf = CertificatesIn(certificate);
    if (leaf.empty()) return "the client has no certificate";
    const Chain chain(sk_X509_new_null());
    for (Certificate& other : CertificatesIn(others)) sk_X509_push(chain.get(), other.release());
    std::shared_ptr<X509_STORE> trusted;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      trusted = trusted_;
    }
    const StoreContext context(X509_STORE_CTX_new());
    if (context == nullptr || X509_STORE_CTX_init(context.get(), trusted.get(), leaf.front().get(), chain.get()) != 1) {
      return "out of memory";
    }
    X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT);
    const bool is_good = X509_verify_cert(context.get()) == 1;
    ERR_clear_error();
    return is_good ? "" : X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  }

  const std::shared_ptr<spdlog::logger> log_;
  mutable std::mutex mutex_;
  std::shared_ptr<X509_STORE> trusted_;
  absl::Time next_complaint_ = absl::InfinitePast();
  Counter refused_;
};

namespace {

using VerifyFunction = std::function<std::string(absl::string_view certificate, absl::string_view others)>;

class ForwardingVerifier final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  explicit ForwardingVerifier(VerifyFunction verify) : verify_(std::move(verify)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    // A server's chain is without the client's own certificate (SSL_get_peer_cert_chain(3)).
    const grpc::string_ref certificate = request->peer_cert();
    const grpc::string_ref others = request->peer_cert_full_chain();
    const std::string wrong = verify_(absl::string_view(certificate.data(), certificate.size()),
                                      absl::string_view(others.data(), others.size()));
    if (!wrong.empty()) *sync_status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, wrong);
    return true;
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest*) override {}

 private:
  const VerifyFunction verify_;
};

}  // namespace

Tls::Tls(TlsFiles files, std::string directory, std::shared_ptr<spdlog::logger> log)
    : files_(std::move(files)),
      directory_(std::move(directory)),
      verifier_(std::make_shared<Verifier>(std::move(log))) {}

absl::StatusOr<std::unique_ptr<Tls>> Tls::Open(const TlsFiles& files, const std::string& directory,
                                               std::shared_ptr<spdlog::logger> log) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::UnavailableError(absl::StrCat("cannot make the directory ", directory, ": ", Errno()));
  }
  struct stat made = {};
  if (::lstat(directory.c_str(), &made) != 0 || !S_ISDIR(made.st_mode) || made.st_uid != ::geteuid() ||
      ::chmod(directory.c_str(), 0700) != 0) {
    return absl::UnavailableError(absl::StrCat(directory, " must be a directory of the daemon's own"));
  }
  std::unique_ptr<Tls> tls(new Tls(files, directory, std::move(log)));
  if (absl::Status loaded = tls->Reload(); !loaded.ok()) return loaded;
  return tls;
}

Tls::~Tls() {
  for (const char* name : {"/identity.pem", "/client-ca.pem"}) ::unlink((directory_ + name).c_str());
  ::rmdir(directory_.c_str());
}

absl::Status Tls::Check(const TlsFiles& files) { return Load(files).status(); }

absl::Status Tls::Reload() {
  std::lock_guard<std::mutex> lock(mutex_);
  absl::StatusOr<Loaded> loaded = Load(files_);
  if (!loaded.ok()) return loaded.status();
  // First, so that what is revoked is refused also where the disk is full.
  verifier_->Set(std::move(loaded->trusted));
  absl::Status published = Publish(loaded->identity, loaded->client_ca);
  if (published.ok()) expires_at_ = loaded->expires_at;
  return published;
}

const Counter& Tls::refused_clients() const { return verifier_->refused(); }

absl::Status Tls::Publish(const std::string& identity, const std::string& client_ca) {
  // gRPC reads the key, then the certificate, and takes them for a pair if the files have the same time in seconds
  // before and after. So no two versions may have the same.
  published_at_ = std::max(absl::ToUnixSeconds(absl::Now()), published_at_ + 1);
  for (const auto& [name, text] : {std::pair("/identity.pem", &identity), std::pair("/client-ca.pem", &client_ca)}) {
    const std::string path = directory_ + name;
    const std::string next = path + ".new";
    const UniqueFd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    const timespec times[] = {{.tv_sec = published_at_}, {.tv_sec = published_at_}};
    if (!fd.valid() || ::write(fd.get(), text->data(), text->size()) != static_cast<ssize_t>(text->size()) ||
        ::futimens(fd.get(), times) != 0 || ::rename(next.c_str(), path.c_str()) != 0) {
      return absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", Errno()));
    }
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::ServerCredentials> Tls::Credentials() {
  const std::string identity = directory_ + "/identity.pem";
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          identity, identity, directory_ + "/client-ca.pem", kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  options.watch_root_certs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.set_certificate_verifier(grpc::experimental::ExternalCertificateVerifier::Create<ForwardingVerifier>(
      [verifier = verifier_](absl::string_view certificate, absl::string_view others) {
        return verifier->Verify(certificate, others);
      }));
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace netprov::rpc
