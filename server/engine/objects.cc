#include "server/engine/objects.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace netprov::engine {

std::string ToText(const std::vector<Deviation>& deviations) {
  return absl::StrJoin(deviations, "; ", [](std::string* text, const Deviation& deviation) {
    absl::StrAppend(text, deviation.field, " is '", deviation.actual, "' in place of '", deviation.expected, "'");
  });
}

}  // namespace netprov::engine
