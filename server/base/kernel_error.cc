#include "server/base/kernel_error.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov {

std::string KernelError::ToString() const {
  // strerrordesc_np, unlike strerror, is thread-safe and not translated.
  const char* description = strerrordesc_np(code);
  const char* symbol = strerrorname_np(code);
  std::string text = absl::StrCat(operation, ": ", description != nullptr ? description : "unknown error", " (",
                                  symbol != nullptr ? symbol : absl::StrCat("errno ", code), ")");
  if (!extack.empty()) absl::StrAppend(&text, ": ", extack);
  return text;
}

KernelError ErrnoError(std::string operation) {
  return {.code = errno, .operation = std::move(operation), .extack = {}};
}

}  // namespace netprov
