#include "client/cli/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/fd.h"

namespace netprov::cli {
namespace {

constexpr absl::Duration kAuthorityLifetime = absl::Hours(10 * 365 * 24);

// Extended usages.
constexpr char kOfClients[] = "clientAuth";
constexpr char kOfServers[] = "serverAuth";

// Clocks differ.
constexpr absl::Duration kLeeway = absl::Minutes(5);

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
using Time = std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

struct Authority {
  Certificate certificate;
  Key key;
};

// OpenSSL fails where memory or entropy lack, or by a fault of this file's.
absl::Status OpenSslFailed(const char* what) {
  char text[256] = {};
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  ERR_clear_error();
  return absl::InternalError(absl::StrCat("OpenSSL cannot ", what, ": ", text));
}

std::string PemOf(const std::function<int(BIO*)>& write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || write(bio.get()) != 1) return "";
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, size);
}

std::string PemOf(X509* certificate) {
  return PemOf([certificate](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}
std::string PemOf(X509_CRL* list) {
  return PemOf([list](BIO* bio) { return PEM_write_bio_X509_CRL(bio, list); });
}
std::string PemOf(EVP_PKEY* key) {
  return PemOf([key](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

Time At(absl::Time time) { return Time(ASN1_TIME_set(nullptr, absl::ToTimeT(time))); }

// What a certificate is for, and whose it is.
struct Subject {
  std::string common_name;
  std::string names;    // subject alternative names as in x509v3_config(5); empty: none
  std::string usage;    // of the key
  std::string purpose;  // extended usage; empty: of a CA
};

bool AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A random serial number of 127 bits, which is positive and below the 20 bytes of RFC 5280.
bool SetSerialNumber(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
  bytes[0] = (bytes[0] & 0x7f) | 0x40;
  const std::unique_ptr<BIGNUM, Free<BN_free>> number(BN_bin2bn(bytes, sizeof(bytes), nullptr));
  return number != nullptr && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

// A certificate of `key`, signed by `authority`, or by itself where that is null.
absl::StatusOr<Certificate> Sign(const Subject& subject, EVP_PKEY* key, const Authority* authority, absl::Time now,
                                 absl::Duration lifetime) {
  Certificate certificate(X509_new());
  X509* const raw = certificate.get();
  X509* const issuer = authority == nullptr ? raw : authority->certificate.get();
  const auto* name = reinterpret_cast<const unsigned char*>(subject.common_name.c_str());
  const bool is_authority = subject.purpose.empty();
  const bool is_made =
      raw != nullptr && X509_set_version(raw, X509_VERSION_3) == 1 && SetSerialNumber(raw) &&
      X509_set1_notBefore(raw, At(now - kLeeway).get()) == 1 &&
      X509_set1_notAfter(raw, At(now + lifetime).get()) == 1 && X509_set_pubkey(raw, key) == 1 &&
      X509_NAME_add_entry_by_txt(X509_get_subject_name(raw), "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1 &&
      X509_set_issuer_name(raw, X509_get_subject_name(issuer)) == 1 &&
      AddExtension(raw, issuer, NID_basic_constraints,
                   is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
      AddExtension(raw, issuer, NID_key_usage, "critical," + subject.usage) &&
      AddExtension(raw, issuer, NID_subject_key_identifier, "hash") &&
      AddExtension(raw, issuer, NID_authority_key_identifier, "keyid:always") &&
      (is_authority || AddExtension(raw, issuer, NID_ext_key_usage, subject.purpose)) &&
      (subject.names.empty() || AddExtension(raw, issuer, NID_subject_alt_name, subject.names)) &&
      X509_sign(raw, authority == nullptr ? key : authority->key.get(), EVP_sha256()) != 0;
  if (!is_made) return OpenSslFailed("make a certificate");
  return certificate;
}

absl::StatusOr<Key> MakeKey() {
  Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslFailed("make a key");
  return key;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file.good()) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return text.str();
}

// Writes what was made, and takes it all back unless it is told to keep it.
class Files {
 public:
  explicit Files(std::string directory) : directory_(std::move(directory)) {}
  ~Files() {
    for (const std::string& path : written_) ::unlink(path.c_str());
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  // What the directory is in is for everybody to pass, as is usual in /etc.
  absl::Status MakeDirectory() const {
    for (size_t end = directory_.find('/', 1); end != std::string::npos; end = directory_.find('/', end + 1)) {
      const bool is_last = directory_.find_first_not_of('/', end) == std::string::npos;
      if (is_last) break;
      if (absl::Status made = Make(directory_.substr(0, end), 0755); !made.ok()) return made;
    }
    return Make(directory_, 0700);
  }

  // A file that is not there yet.
  absl::Status Write(const std::string& name, const std::string& text, mode_t mode) {
    const std::string path = directory_ + "/" + name;
    const ScopedFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd.valid() && errno == EEXIST) return absl::AlreadyExistsError(absl::StrCat(path, " is there already"));
    if (fd.valid()) written_.push_back(path);
    if (text.empty() || !fd.valid() ||
        ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(fd.get()) != 0) {
      return absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", strerrordesc_np(errno)));
    }
    return absl::OkStatus();
  }

  // A file that may be there: written beside it now, and put in its place by Keep().
  absl::Status Replace(const std::string& name, const std::string& text, mode_t mode) {
    const std::string path = directory_ + "/" + name;
    const std::string next = path + ".new";
    struct stat former = {};
    const bool is_there = ::lstat(path.c_str(), &former) == 0;
    if (is_there && !S_ISREG(former.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is no file of its own, and is not replaced"));
    }
    // Of a run that did not come to its end.
    ::unlink(next.c_str());
    if (absl::Status status = Write(name + ".new", text, mode); !status.ok()) return status;
    // A server that is not root's has been given its key.
    if (is_there && (::lchown(next.c_str(), former.st_uid, former.st_gid) != 0 ||
                     ::chmod(next.c_str(), former.st_mode & (mode | 0040)) != 0)) {
      return absl::UnavailableError(
          absl::StrCat("cannot give ", next, " the owner of ", path, ": ", strerrordesc_np(errno)));
    }
    replacements_.push_back(path);
    return absl::OkStatus();
  }

  // Puts the replacements in their places, in the order in which they came, and returns all paths. After an error,
  // those before it are in theirs.
  absl::StatusOr<std::vector<std::string>> Keep() {
    for (const std::string& path : replacements_) {
      const std::string next = path + ".new";
      if (::rename(next.c_str(), path.c_str()) != 0) {
        return absl::UnavailableError(absl::StrCat("cannot replace ", path, ": ", strerrordesc_np(errno)));
      }
      std::erase(written_, next);
    }
    std::vector<std::string> kept = std::exchange(written_, {});
    kept.insert(kept.end(), replacements_.begin(), replacements_.end());
    return kept;
  }

 private:
  static absl::Status Make(const std::string& directory, mode_t mode) {
    if (::mkdir(directory.c_str(), mode) == 0 || errno == EEXIST) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("cannot make ", directory, ": ", strerrordesc_np(errno)));
  }

  const std::string directory_;
  std::vector<std::string> written_;
  std::vector<std::string> replacements_;
};

absl::StatusOr<Authority> ReadAuthority(const std::string& directory) {
  absl::StatusOr<std::string> certificate = ReadFile(directory + "/ca.pem");
  if (!certificate.ok()) return certificate.status();
  absl::StatusOr<std::string> key = ReadFile(directory + "/ca-key.pem");
  if (!key.ok()) return key.status();
  const Bio certificate_bio(BIO_new_mem_buf(certificate->data(), static_cast<int>(certificate->size())));
  const Bio key_bio(BIO_new_mem_buf(key->data(), static_cast<int>(key->size())));
  Authority authority{.certificate = Certificate(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr)),
                      .key = Key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr))};
  ERR_clear_error();
  if (authority.certificate == nullptr || authority.key == nullptr ||
      X509_check_private_key(authority.certificate.get(), authority.key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(absl::StrCat(directory, "/ca.pem and ca-key.pem are no CA"));
  }
  return authority;
}

// A list of what `revoked` names, and of what `former` has.
absl::StatusOr<RevocationList> MakeList(const Authority& authority, const X509_CRL* former,
                                        const std::vector<Certificate>& revoked, absl::Time now) {
  RevocationList list(former == nullptr ? X509_CRL_new() : X509_CRL_dup(const_cast<X509_CRL*>(former)));
  bool is_made = list != nullptr && X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1 &&
                 X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(authority.certificate.get())) == 1 &&
                 X509_CRL_set1_lastUpdate(list.get(), At(now - kLeeway).get()) == 1 &&
                 X509_CRL_set1_nextUpdate(list.get(), X509_get0_notAfter(authority.certificate.get())) == 1;
  for (const Certificate& certificate : revoked) {
    X509_REVOKED* known = nullptr;
    if (!is_made || X509_CRL_get0_by_cert(list.get(), &known, certificate.get()) == 1) continue;
    X509_REVOKED* entry = X509_REVOKED_new();
    is_made = entry != nullptr && X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get())) == 1 &&
              X509_REVOKED_set_revocationDate(entry, At(now).get()) == 1 &&
              X509_CRL_add0_revoked(list.get(), entry) == 1;
  }
  is_made =
      is_made && X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), authority.key.get(), EVP_sha256()) != 0;
  if (!is_made) return OpenSslFailed("make a list of revoked certificates");
  return list;
}

// The subject alternative names of a server, as in x509v3_config(5).
absl::StatusOr<std::string> NamesOf(const std::vector<std::string>& servers) {
  std::string names;
  for (const std::string& server : servers) {
    unsigned char address[16];
    const bool is_address =
        ::inet_pton(AF_INET, server.c_str(), address) == 1 || ::inet_pton(AF_INET6, server.c_str(), address) == 1;
    const bool is_name = !server.empty() && std::all_of(server.begin(), server.end(), [](char c) {
      return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '*';
    });
    if (!is_address && !is_name) {
      return absl::InvalidArgumentError(
          absl::StrCat("--server: must be a DNS name or an IP address, not `", server, "`"));
    }
    absl::StrAppend(&names, names.empty() ? "" : ",", is_address ? "IP:" : "DNS:", server);
  }
  return names;
}

// Whether it can name a pair of files, and is none of those that this has for itself.
bool IsFileName(const std::string& file) {
  return !file.empty() && file.front() != '.' && file.front() != '-' && file.size() <= 64 &&
         std::all_of(file.begin(), file.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; }) &&
         file != "ca" && file != "server" && file != "crl" && !absl::EndsWith(file, "-key");
}

// What names the files of a client; `name` is what was asked for.
absl::StatusOr<std::string> FileOf(const std::string& client, const std::string& name) {
  if (!name.empty()) return name;
  std::string file = client.substr(client.rfind('/') + 1);
  if (!IsFileName(file)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--client: must be a name of 1 to 64 letters, digits, `.`, `_` and `-` other than ca, crl and "
                     "server that does not end in -key, or a URI ",
                     "that ends in `/` and such a name, not `", client, "`; for another URI, --name names the files"));
  }
  return file;
}

// `file` names its files.
absl::StatusOr<Subject> SubjectOf(const std::string& client, const std::string& file) {
  Subject subject{.common_name = client, .usage = "digitalSignature", .purpose = kOfClients};
  if (!absl::StrContains(client, ':')) {
    // What --name calls the files says nothing of who the caller is.
    if (!IsFileName(client)) return FileOf(client, "").status();
    return subject;
  }
  const bool is_uri = absl::StrContains(client, "://") && std::all_of(client.begin(), client.end(), [](char c) {
                        return absl::ascii_isgraph(c) && c != ',';
                      });
  if (!is_uri) return absl::InvalidArgumentError(absl::StrCat("--client: `", client, "` is no URI"));
  subject.names = "URI:" + client;
  subject.common_name = file;
  return subject;
}

// Whether the certificate at `path` is of the same client as `next`, or as much a server's; also where there is no
// file.
bool IsOfTheSame(const std::string& path, X509* next) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return true;
  const Bio bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  const Certificate former(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (former == nullptr) return false;
  const uint32_t use = X509_get_extended_key_usage(next);
  if (X509_get_extended_key_usage(former.get()) != use) return false;
  // A server may get other names.
  if ((use & XKU_SSL_SERVER) != 0) return true;
  const auto names = [](X509* certificate) -> const ASN1_OCTET_STRING* {
    const int at = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
    return at < 0 ? nullptr : X509_EXTENSION_get_data(X509_get_ext(certificate, at));
  };
  const ASN1_OCTET_STRING* const before = names(former.get());
  const ASN1_OCTET_STRING* const after = names(next);
  // With a URI, it is the URI that says who the caller is.
  if (before != nullptr && after != nullptr) return ASN1_OCTET_STRING_cmp(before, after) == 0;
  return before == after && X509_NAME_cmp(X509_get_subject_name(former.get()), X509_get_subject_name(next)) == 0;
}

absl::Status Issue(const Subject& subject, const std::string& file, const Authority& authority,
                   const PkiCommand& command, absl::Time now, Files& files) {
  const absl::StatusOr<Key> key = MakeKey();
  if (!key.ok()) return key.status();
  const absl::StatusOr<Certificate> certificate = Sign(subject, key->get(), &authority, now, command.lifetime);
  if (!certificate.ok()) return certificate.status();
  const std::string key_text = PemOf(key->get());
  const std::string certificate_text = PemOf(certificate->get());
  if (command.renew) {
    // Who has it replaced by another's would be somebody else from then on, and nobody would see it.
    const std::string path = absl::StrCat(command.directory, "/", file, ".pem");
    if (!IsOfTheSame(path, certificate->get())) {
      return absl::InvalidArgumentError(
          absl::StrCat("--renew: ", path, " is somebody else's certificate; --name names other files"));
    }
    if (absl::Status status = files.Replace(file + "-key.pem", key_text, 0600); !status.ok()) return status;
    return files.Replace(file + ".pem", certificate_text, 0644);
  }
  absl::Status status = files.Write(file + "-key.pem", key_text, 0600);
  if (status.ok()) status = files.Write(file + ".pem", certificate_text, 0644);
  if (!absl::IsAlreadyExists(status) || command.action != PkiCommand::Action::kIssue) return status;
  return absl::AlreadyExistsError(
      absl::StrCat(status.message(), "; --renew replaces a caller's or a server's pair, and --name names another"));
}

absl::Status IssueAll(const Authority& authority, const PkiCommand& command, absl::Time now, Files& files) {
  if (!command.name.empty() && !IsFileName(command.name) && (command.name != "server" || !command.clients.empty())) {
    return absl::InvalidArgumentError(
        absl::StrCat("--name: must be 1 to 64 letters, digits, `.`, `_` and `-` other than ca, crl and server that do "
                     "not end in -key, not `",
                     command.name, "`"));
  }
  if (!command.name.empty() && command.clients.size() + (command.servers.empty() ? 0 : 1) != 1) {
    return absl::InvalidArgumentError("--name: is for one certificate: that of one --client, or of the server");
  }
  std::set<std::string> taken;
  if (!command.servers.empty()) {
    const absl::StatusOr<std::string> names = NamesOf(command.servers);
    if (!names.ok()) return names.status();
    const Subject server{.common_name = command.servers.front().substr(0, 64),
                         .names = *names,
                         .usage = "digitalSignature",
                         .purpose = kOfServers};
    const std::string file = command.name.empty() ? "server" : command.name;
    if (absl::Status status = Issue(server, file, authority, command, now, files); !status.ok()) return status;
  }
  for (const std::string& client : command.clients) {
    const absl::StatusOr<std::string> file = FileOf(client, command.name);
    if (!file.ok()) return file.status();
    const absl::StatusOr<Subject> subject = SubjectOf(client, *file);
    if (!subject.ok()) return subject.status();
    if (!taken.insert(*file).second) {
      return absl::AlreadyExistsError(absl::StrCat("--client: two of them would have the file ", *file,
                                                   ".pem; issue them one by one, and give one of them a --name"));
    }
    if (absl::Status status = Issue(*subject, *file, authority, command, now, files); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Authority> MakeAuthority(absl::Time now, Files& files) {
  if (absl::Status status = files.MakeDirectory(); !status.ok()) return status;
  absl::StatusOr<Key> key = MakeKey();
  if (!key.ok()) return key.status();
  const Subject subject{.common_name = "netprov CA", .names = "", .usage = "keyCertSign,cRLSign", .purpose = ""};
  absl::StatusOr<Certificate> certificate = Sign(subject, key->get(), nullptr, now, kAuthorityLifetime);
  if (!certificate.ok()) return certificate.status();
  Authority authority{.certificate = *std::move(certificate), .key = *std::move(key)};
  const absl::StatusOr<RevocationList> list = MakeList(authority, nullptr, {}, now);
  if (!list.ok()) return list.status();
  for (const absl::Status& status : {files.Write("ca-key.pem", PemOf(authority.key.get()), 0600),
                                     files.Write("ca.pem", PemOf(authority.certificate.get()), 0644),
                                     files.Write("crl.pem", PemOf(list->get()), 0644)}) {
    if (!status.ok()) return status;
  }
  return authority;
}

absl::Status Revoke(const Authority& authority, const PkiCommand& command, absl::Time now, Files& files) {
  std::vector<Certificate> revoked;
  for (const std::string& path : command.revoked) {
    const absl::StatusOr<std::string> text = ReadFile(path);
    if (!text.ok()) return text.status();
    const Bio bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
    Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    const bool is_ours =
        certificate != nullptr && X509_verify(certificate.get(), X509_get0_pubkey(authority.certificate.get())) == 1;
    ERR_clear_error();
    if (!is_ours) return absl::InvalidArgumentError(absl::StrCat(path, " is no certificate of this CA's"));
    revoked.push_back(std::move(certificate));
  }
  const absl::StatusOr<std::string> text = ReadFile(command.directory + "/crl.pem");
  if (!text.ok()) return text.status();
  const Bio bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  const RevocationList former(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
  if (former == nullptr) {
    ERR_clear_error();
    return absl::InvalidArgumentError(absl::StrCat(command.directory, "/crl.pem is no list of revoked certificates"));
  }
  const absl::StatusOr<RevocationList> list = MakeList(authority, former.get(), revoked, now);
  if (!list.ok()) return list.status();
  return files.Replace("crl.pem", PemOf(list->get()), 0644);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> RunPki(const PkiCommand& command, absl::Time now) {
  Files files(command.directory);
  absl::StatusOr<Authority> authority =
      command.action == PkiCommand::Action::kInit ? MakeAuthority(now, files) : ReadAuthority(command.directory);
  if (!authority.ok()) return authority.status();
  const absl::Status done = command.action == PkiCommand::Action::kRevoke ? Revoke(*authority, command, now, files)
                                                                          : IssueAll(*authority, command, now, files);
  if (!done.ok()) return done;
  return files.Keep();
}

}  // namespace netprov::cli
