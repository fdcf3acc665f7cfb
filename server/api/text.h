// Text that came from a caller, from the file system or from the kernel, made safe to show.
#ifndef NETPROV_SERVER_API_TEXT_H_
#define NETPROV_SERVER_API_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace netprov::api {

// Whether `text` is UTF-8 as Protobuf wants it (RFC 3629: no surrogates, nothing overlong, nothing beyond U+10FFFF).
bool IsUtf8(absl::string_view text);

// `text` in visible ASCII and spaces: any other byte becomes `\xNN`. What is longer than `limit` bytes after that is
// cut, and ends in
// `...`. `limit` must be at least 3.
std::string Printable(absl::string_view text, size_t limit);

// A hostile value for an error message: printable, in double quotes, those within it and backslashes escaped, cut after
// 64 bytes.
std::string Quote(absl::string_view value);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_TEXT_H_
