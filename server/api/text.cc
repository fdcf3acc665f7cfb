#include "server/api/text.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace netprov::api {
namespace {

constexpr size_t kLongestQuote = 64;
constexpr absl::string_view kEllipsis = "...";

// Appends the escaped form of `text` to `out` until that has `limit` bytes. An escape sequence is never cut.
void AppendPrintable(absl::string_view text, absl::string_view also_escaped, size_t limit, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  size_t last_cut = out.size();  // where an ellipsis still fits
  for (char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    std::string piece;
    if (byte < 0x20 || byte > 0x7e) {
      piece = {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else if (also_escaped.find(c) != absl::string_view::npos) {
      piece = {'\\', c};
    } else {
      piece = {c};
    }
    if (out.size() + piece.size() > limit) {
      out.resize(last_cut);
      out.append(kEllipsis.data(), kEllipsis.size());
      return;
    }
    out += piece;
    if (out.size() + kEllipsis.size() <= limit) last_cut = out.size();
  }
}

// The number of bytes of the UTF-8 character at the start of `text`, 0 if there is none.
size_t Utf8Length(absl::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  // The second byte's range excludes overlong forms, surrogates and what is beyond U+10FFFF (RFC 3629, section 4).
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  if (length == 0 || text.size() < length) return 0;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Printable(absl::string_view text, size_t limit) {
  std::string out;
  AppendPrintable(text, "", limit, out);
  return out;
}

std::string Quote(absl::string_view value) {
  std::string out = "\"";
  AppendPrintable(value, "\"\\", kLongestQuote, out);
  return absl::StrCat(out, "\"");
}

}  // namespace netprov::api
