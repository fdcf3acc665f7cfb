#include "client/request_id.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace netprov::client {

std::string NewRequestId() {
  uint8_t bytes[16];
  // Fails only for more than 256 bytes or where the kernel has no getrandom(2); a guessable id would be worse than no
  // process.
  if (getentropy(bytes, sizeof(bytes)) != 0) std::abort();
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 0x0f];
  }
  return text;
}

}  // namespace netprov::client
