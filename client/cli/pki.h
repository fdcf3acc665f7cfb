// A certificate authority for a first set-up: who runs a larger one has tools of its own.
#ifndef NETPROV_CLIENT_CLI_PKI_H_
#define NETPROV_CLIENT_CLI_PKI_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace netprov::cli {

// `contain pki`. Files are in PEM; keys are ECDSA on P-256 (RFC 5480), in files of mode 0600.
struct PkiCommand {
  enum class Action {
    kInit,    // makes ca.pem, ca-key.pem and crl.pem, a list of what is revoked that is empty, and then issues
    kIssue,   // makes server.pem and server-key.pem, if there are servers, and NAME.pem and NAME-key.pem of each client
    kRevoke,  // adds certificates to crl.pem
  };
  Action action = Action::kInit;
  std::string directory;  // made if it is missing (0700), and so is what it is in (0755)

  // Names and addresses that clients reach the server by.
  std::vector<std::string> servers;

  // Of callers: a name, which becomes the certificate's CN, or a SPIFFE ID or another URI, which becomes its subject
  // alternative name. What follows the last `/` names the file: letters, digits, `.`, `_` and `-`, and not `ca`,
  // `server` or `crl`.
  std::vector<std::string> clients;

  // What names the files in place of that, as where two URIs end alike. Only where one certificate is made, which is
  // one client's, or that of all `servers`. Empty: as above.
  std::string name;

  // Of kIssue: puts a new key and certificate in the place of those that are there, which must be of the same client.
  // Each file is replaced as a whole, the key first, and keeps its owner and group, and its mode as far as a new one
  // would have it.
  bool renew = false;

  std::vector<std::string> revoked;  // paths of certificates
  absl::Duration lifetime;           // of certificates. The CA and its list hold for ten years
};

// Does it, and returns the paths that it wrote. Without `renew`, nothing is overwritten but crl.pem: ALREADY_EXISTS for
// a file that is there, or one that two of the names would have. INVALID_ARGUMENT for a name that can't be one, or a
// certificate that another CA signed; NOT_FOUND where there is no CA; UNAVAILABLE for a file that can't be read or
// written; each one sentence.
absl::StatusOr<std::vector<std::string>> RunPki(const PkiCommand& command, absl::Time now);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_PKI_H_
