#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace netprov {

// What must be true of a file that says whom the daemon trusts: the policy, a certificate, a key.
struct TrustedFileRules {
  size_t longest;          // bytes
  bool is_secret = false;  // nobody else may read it, but for its group
};

// Reads a file that nobody but root and the daemon's user can write: who writes it decides who may do what. It is
// looked at once it is open (fstat(2)), so that what is read is what was looked at.
//
// Errors, each of which names the path: UNAVAILABLE where it can't be read, FAILED_PRECONDITION for what is no file, or
// has the wrong owner or mode, INVALID_ARGUMENT for one that is too long.
absl::StatusOr<std::string> ReadTrustedFile(const std::string& path, TrustedFileRules rules);

}  // namespace netprov
