#include "server/rpc/page_seal.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/escaping.h"

namespace netprov::rpc {
namespace {

constexpr int kNonceBytes = 12;
constexpr int kTagBytes = 16;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const unsigned char* Bytes(absl::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// OpenSSL has no entropy, or no memory: nothing that a server could go on without.
void Require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

PageSeal::PageSeal() { Require(RAND_bytes(key_.data(), static_cast<int>(key_.size())) == 1); }

std::string PageSeal::Seal(absl::string_view token, absl::string_view caller) const {
  // The nonce, what is sealed, and the signature of both.
  std::string sealed(kNonceBytes + token.size() + kTagBytes, '\0');
  unsigned char* const bytes = Bytes(sealed);
  Require(RAND_bytes(bytes, kNonceBytes) == 1);
  const Context context(EVP_CIPHER_CTX_new());
  int size = 0;
  Require(
      context != nullptr && EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes) == 1 &&
      EVP_EncryptUpdate(context.get(), nullptr, &size, Bytes(caller), static_cast<int>(caller.size())) == 1 &&
      EVP_EncryptUpdate(context.get(), bytes + kNonceBytes, &size, Bytes(token), static_cast<int>(token.size())) == 1 &&
      EVP_EncryptFinal_ex(context.get(), bytes + kNonceBytes + size, &size) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, bytes + kNonceBytes + token.size()) == 1);
  return absl::WebSafeBase64Escape(sealed);
}

std::optional<std::string> PageSeal::Open(absl::string_view sealed, absl::string_view caller) const {
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(sealed, &bytes) || bytes.size() < kNonceBytes + kTagBytes) return std::nullopt;
  std::string token(bytes.size() - kNonceBytes - kTagBytes, '\0');
  unsigned char* const from = Bytes(bytes);
  const Context context(EVP_CIPHER_CTX_new());
  int size = 0;
  const bool is_ours =
      context != nullptr && EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), from) == 1 &&
      EVP_DecryptUpdate(context.get(), nullptr, &size, Bytes(caller), static_cast<int>(caller.size())) == 1 &&
      EVP_DecryptUpdate(context.get(), Bytes(token), &size, from + kNonceBytes, static_cast<int>(token.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, from + kNonceBytes + token.size()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), Bytes(token) + size, &size) == 1;
  if (!is_ours) return std::nullopt;
  return token;
}

}  // namespace netprov::rpc
