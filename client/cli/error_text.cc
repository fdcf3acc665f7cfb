#include "client/cli/error_text.h"

#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "client/status.h"

namespace netprov::cli {
namespace {

void AddLine(const std::string& what, const std::string& description, std::string& text) {
  absl::StrAppend(&text, "  ", Printable(what), ": ", Printable(description), "\n");
}

}  // namespace

int ExitCode(const absl::Status& status) { return status.ok() ? 0 : 64 + static_cast<int>(status.code()); }

std::string ErrorText(const absl::Status& status) {
  std::string message(status.message());
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  std::string text = absl::StrCat("contain: ", Printable(message), "\n");
  if (const auto bad = client::GetBadRequest(status)) {
    for (const auto& violation : bad->field_violations()) AddLine(violation.field(), violation.description(), text);
  }
  if (const auto failure = client::GetDetail<google::rpc::PreconditionFailure>(status)) {
    for (const auto& violation : failure->violations()) AddLine(violation.subject(), violation.description(), text);
  }
  if (const auto resource = client::GetDetail<google::rpc::ResourceInfo>(status)) {
    AddLine("resource", resource->resource_name(), text);
  }
  if (const auto info = client::GetErrorInfo(status)) {
    AddLine("reason", info->reason(), text);
    for (const auto& [key, value] :
         std::map<std::string, std::string>(info->metadata().begin(), info->metadata().end())) {
      AddLine(key, value, text);
    }
  }
  return text;
}

}  // namespace netprov::cli
