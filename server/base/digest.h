// A short digest of bytes.
#ifndef NETPROV_SERVER_BASE_DIGEST_H_
#define NETPROV_SERVER_BASE_DIGEST_H_

#include <cstdint>
#include <string_view>

namespace netprov {

// FNV-1a with 64 bits: the same for ever and everywhere, and no defence against whoever looks for two that are equal.
inline uint64_t Digest(std::string_view bytes) {
  uint64_t digest = 0xcbf29ce484222325;
  for (const char byte : bytes) digest = (digest ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return digest;
}

}  // namespace netprov

#endif  // NETPROV_SERVER_BASE_DIGEST_H_
