#include "server/rpc/call_statistics.h"

#include <cstddef>

#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "netprov/v1/error_reason.pb.h"
#include "server/api/errors.h"

namespace netprov::rpc {

CallStatistics::CallStatistics(const std::vector<std::string>& services) {
  for (const std::string& name : services) {
    const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
    for (int i = 0; service != nullptr && i < service->method_count(); ++i) methods_[service->method(i)->name()];
  }
  const auto* reasons = v1::ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    if (reasons->value(i)->number() == v1::ERROR_REASON_UNSPECIFIED) continue;
    reasons_[std::string(absl::StripPrefix(reasons->value(i)->name(), "ERROR_REASON_"))];
  }
}

void CallStatistics::Answered(absl::string_view method, const absl::Status& status, absl::Duration duration) {
  if (const auto counted = methods_.find(method); counted != methods_.end()) {
    const auto code = static_cast<size_t>(status.code());
    if (code < counted->second.by_code.size()) counted->second.by_code[code].Add();
    counted->second.durations.Observe(absl::ToChronoNanoseconds(duration));
  }
  if (status.ok()) return;
  if (const auto reason = reasons_.find(api::ReasonOf(status)); reason != reasons_.end()) reason->second.Add();
}

}  // namespace netprov::rpc
