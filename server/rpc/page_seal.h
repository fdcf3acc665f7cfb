// Page tokens that tell their holder nothing.
#ifndef NETPROV_SERVER_RPC_PAGE_SEAL_H_
#define NETPROV_SERVER_RPC_PAGE_SEAL_H_

#include <array>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace netprov::rpc {

// Encrypts and signs tokens (AES-256-GCM) with a key of this process: a page token has the name of the last resource of
// its page, which the caller may not be allowed to see. Thread-safe.
class PageSeal {
 public:
  // Draws the key.
  PageSeal();
  PageSeal(const PageSeal&) = delete;
  PageSeal& operator=(const PageSeal&) = delete;

  // Printable text, which only `caller` can give back.
  std::string Seal(absl::string_view token, absl::string_view caller) const;
  // nullopt: it is none that this process sealed for this caller.
  std::optional<std::string> Open(absl::string_view sealed, absl::string_view caller) const;

 private:
  std::array<unsigned char, 32> key_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_PAGE_SEAL_H_
