// A row of the registry, whatever a failing disk made of it: it is no record, or one that is written and read as the
// same.
//
// The input's first byte chooses the kind of record.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "server/engine/record_json.h"

namespace netprov::engine {
namespace {

template <typename Record>
void Check(const std::string& text, std::optional<Record> (*read)(const std::string& text),
           std::string (*write)(const Record& record)) {
  const std::optional<Record> record = read(text);
  if (!record.has_value()) return;
  const std::string written = write(*record);
  const std::optional<Record> again = read(written);
  if (!again.has_value() || write(*again) != written) std::abort();
}

}  // namespace
}  // namespace netprov::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace netprov::engine;  // NOLINT(google-build-using-namespace): one function, about one namespace
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      Check<NamespaceRecord>(text, NamespaceRecordFromJson, ToJson);
      break;
    case 1:
      Check<VethRecord>(text, VethRecordFromJson, ToJson);
      break;
    case 2:
      Check<DeviceRecord>(text, DeviceRecordFromJson, ToJson);
      break;
    case 3:
      Check<Intent>(text, IntentFromJson, ToJson);
      break;
    default:
      Check<RequestRecord>(text, AnswerFromJson, AnswerToJson);
      break;
  }
  return 0;
}
