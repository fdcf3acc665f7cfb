#include "client/utf8.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/status.h"
#include "google/protobuf/descriptor.h"

namespace netprov::client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void Add(const std::string& path, google::rpc::BadRequest& bad) {
  google::rpc::BadRequest::FieldViolation& violation = *bad.add_field_violations();
  violation.set_field(path);
  violation.set_description("must be UTF-8");
}

void Collect(const Message& message, const std::string& prefix, google::rpc::BadRequest& bad);

void CollectMap(const Message& message, const FieldDescriptor& field, const std::string& path,
                google::rpc::BadRequest& bad) {
  google::rpc::BadRequest entries;
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    Collect(reflection.GetRepeatedMessage(message, &field, i), "", entries);
  }
  if (!entries.field_violations().empty()) Add(path, bad);
}

void Collect(const Message& message, const std::string& prefix, google::rpc::BadRequest& bad) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_map()) {
      CollectMap(message, *field, prefix + field->name(), bad);
      continue;
    }
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const std::string path =
          field->is_repeated() ? absl::StrCat(prefix, field->name(), "[", i, "]") : prefix + field->name();
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        const Message& inner = field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                    : reflection.GetMessage(message, field);
        Collect(inner, path + ".", bad);
      } else if (field->type() == FieldDescriptor::TYPE_STRING) {
        const std::string text = field->is_repeated() ? reflection.GetRepeatedString(message, field, i)
                                                      : reflection.GetString(message, field);
        if (!IsUtf8(text)) Add(path, bad);
      }
    }
  }
}

}  // namespace

bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    // The second byte's range depends on the lead byte; that keeps overlong forms, surrogates and what is too large
    // out.
    int more = 0;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; more > 0; --more, low = 0x80, high = 0xbf) {
      if (i == text.size()) return false;
      const auto byte = static_cast<uint8_t>(text[i++]);
      if (byte < low || byte > high) return false;
    }
  }
  return true;
}

absl::Status CheckUtf8(const Message& message) {
  google::rpc::BadRequest bad;
  Collect(message, "", bad);
  if (bad.field_violations().empty()) return absl::OkStatus();
  absl::Status status = absl::InvalidArgumentError(
      absl::StrCat(bad.field_violations(0).field(), " ", bad.field_violations(0).description()));
  SetDetail(status, bad);
  google::rpc::ErrorInfo info;
  info.set_domain("netprov.v1");
  info.set_reason("MALFORMED_REQUEST");
  SetDetail(status, info);
  return status;
}

}  // namespace netprov::client
