#include "server/api/request.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/api/field_behavior.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/unknown_field_set.h"
#include "server/api/errors.h"
#include "server/api/text.h"

namespace netprov::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// As deep as Protobuf itself reads.
constexpr int kDeepestNesting = 100;

// The first field on the wire that makes the message unreadable, as far as that can be said.
std::optional<FieldViolation> FindFault(const std::string& bytes, const Descriptor& type, const std::string& path,
                                        int depth) {
  auto violation = [&](absl::string_view what) {
    return FieldViolation{.field = path, .description = std::string(what)};
  };
  if (depth > kDeepestNesting) return violation("is nested too deeply");
  UnknownFieldSet fields;
  if (!fields.ParseFromString(bytes)) return violation("is no valid Protobuf message");
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* known = type.FindFieldByNumber(field.number());
    if (known == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string field_path = path.empty() ? known->name() : absl::StrCat(path, ".", known->name());
    if (known->type() == FieldDescriptor::TYPE_STRING && !IsUtf8(field.length_delimited())) {
      return FieldViolation{.field = field_path,
                            .description = absl::StrCat("must be UTF-8, but is ", Quote(field.length_delimited()))};
    }
    if (known->type() == FieldDescriptor::TYPE_MESSAGE) {
      if (auto fault = FindFault(field.length_delimited(), *known->message_type(), field_path, depth + 1)) return fault;
    }
  }
  return std::nullopt;
}

bool IsOutputOnly(const FieldDescriptor& field) {
  const auto& options = field.options();
  for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
    if (options.GetExtension(google::api::field_behavior, i) == google::api::OUTPUT_ONLY) return true;
  }
  return false;
}

void ClearOutputOnly(Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (IsOutputOnly(*field)) {
      reflection.ClearField(&message, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_repeated()) {
      ClearOutputOnly(*reflection.MutableMessage(&message, field));
    }
  }
}

std::string StringField(const Message& message, const char* name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->type() != FieldDescriptor::TYPE_STRING || field->is_repeated()) return "";
  return message.GetReflection()->GetString(message, field);
}

}  // namespace

absl::Status Decode(absl::string_view bytes, Message& request) {
  if (request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  std::optional<FieldViolation> fault = FindFault(std::string(bytes), *request.GetDescriptor(), "", 0);
  FieldViolation violation = fault.value_or(FieldViolation{});
  if (violation.field.empty()) {
    violation.description =
        absl::StrCat("the request is no valid Protobuf message of type ", request.GetDescriptor()->full_name());
  }
  return MalformedRequest(violation);
}

std::string Fingerprint(absl::string_view method, absl::string_view resource, const Message& request) {
  std::unique_ptr<Message> copy(request.New());
  copy->CopyFrom(request);
  if (const FieldDescriptor* field = copy->GetDescriptor()->FindFieldByName("request_id"); field != nullptr) {
    copy->GetReflection()->ClearField(copy.get(), field);
  }
  ClearOutputOnly(*copy);
  copy->DiscardUnknownFields();
  // What is updated is in no other field that counts.
  const bool is_update = request.GetDescriptor()->FindFieldByName("update_mask") != nullptr;
  std::string bytes = is_update ? absl::StrCat(method, " ", resource, ":") : absl::StrCat(method, ":");
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    copy->SerializeToCodedStream(&output);
  }
  return bytes;
}

RequestSummary Summarize(const Message& request) {
  RequestSummary summary{.resource = StringField(request, "name"), .request_id = StringField(request, "request_id")};
  if (summary.resource.empty()) summary.resource = StringField(request, "parent");
  for (const auto& [field, collection] : {std::pair("namespace_id", "namespaces/"), std::pair("veth_id", "veths/"),
                                          std::pair("bridge_id", "bridges/"), std::pair("device_id", "devices/")}) {
    if (std::string id = StringField(request, field); !id.empty()) summary.resource = absl::StrCat(collection, id);
  }
  if (request.GetDescriptor()->FindFieldByName("update_mask") != nullptr) {
    for (const char* resource : {"namespace", "veth", "bridge", "device"}) {
      const FieldDescriptor* field = request.GetDescriptor()->FindFieldByName(resource);
      if (field == nullptr) continue;
      summary.resource = StringField(request.GetReflection()->GetMessage(request, field), "name");
    }
  }
  if (summary.resource.empty()) {
    if (const std::string owner = StringField(request, "owner"); !owner.empty()) {
      summary.resource = absl::StrCat("owners/", owner);
    }
  }
  const FieldDescriptor* field = request.GetDescriptor()->FindFieldByName("validate_only");
  summary.validate_only = field != nullptr && field->type() == FieldDescriptor::TYPE_BOOL &&
                          request.GetReflection()->GetBool(request, field);
  return summary;
}

}  // namespace netprov::api
