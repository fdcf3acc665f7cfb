// TLS with certificates of both sides, which may change while it is used.
#ifndef NETPROV_SERVER_RPC_TLS_H_
#define NETPROV_SERVER_RPC_TLS_H_

#include <grpcpp/security/server_credentials.h>
#include <spdlog/logger.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/statistics.h"

namespace netprov::rpc {

// Files in PEM.
struct TlsFiles {
  std::string certificate;  // the server's, with those between it and its CA behind it
  std::string key;          // its private key, without a passphrase, readable by nobody but its owner and group
  std::string client_ca;    // those that sign the certificates of clients
  std::string crl;  // what they have revoked: a list of each CA of a client's chain; empty: nothing is looked up

  // What is to be watched.
  std::vector<std::string> paths() const;
};

// Who a server is to its clients, and by which clients it is called.
//
// gRPC 1.51 can only read key and certificate from two files, at a moment of its own, and keeps what it once read of a
// list of revoked certificates. So the files are read and checked here; what is good goes to gRPC by one file of a
// private directory, and each client's chain is checked here a second time, against the lists as they are now.
//
// TLS 1.2 and 1.3. Threading: thread-safe.
class Tls {
 public:
  // Reads the files. `directory` is made if it is missing (0700), and the key is copied into it; it must be on a disk
  // or in memory of this host's. INVALID_ARGUMENT for files that don't fit each other or are expired, UNAVAILABLE for
  // one that can't be read or written, FAILED_PRECONDITION for a key that others may read; each one sentence that names
  // the file.
  //
  // `log` gets a line for a client that was refused, one a second at most.
  static absl::StatusOr<std::unique_ptr<Tls>> Open(const TlsFiles& files, const std::string& directory,
                                                   std::shared_ptr<spdlog::logger> log);
  // Whether Open() would take the files, without writing anything.
  static absl::Status Check(const TlsFiles& files);
  // Removes what it wrote.
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Reads the files again. Errors as Open(): what was good stays in use. gRPC takes a new certificate within two
  // seconds; of the others, the next handshake knows. Connections that are there stay until they end of age.
  absl::Status Reload();

  std::shared_ptr<grpc::ServerCredentials> Credentials();

  // When the server's certificate that is in use expires, in seconds since 1970.
  int64_t expires_at() const { return expires_at_; }

  // Handshakes that failed as a client's certificate is not good by the files as they are now. OpenSSL may have refused
  // others before.
  const Counter& refused_clients() const;

  // Says whether a client's certificate is good now. Of gRPC's threads.
  class Verifier;

 private:
  Tls(TlsFiles files, std::string directory, std::shared_ptr<spdlog::logger> log);
  absl::Status Publish(const std::string& identity, const std::string& client_ca);

  const TlsFiles files_;
  const std::string directory_;
  std::mutex mutex_;
  int64_t published_at_ = 0;  // the time that the files were given, in seconds
  std::atomic<int64_t> expires_at_ = 0;
  std::shared_ptr<Verifier> verifier_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_TLS_H_
