#include "client/cli/field_text.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/bridge_text.h"
#include "client/cli/device_text.h"
#include "client/cli/ip_text.h"
#include "client/cli/publish_text.h"
#include "client/cli/rate_text.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace netprov::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using nlohmann::json;

template <typename T>
absl::Status Copy(absl::StatusOr<T> parsed, Message& message) {
  if (!parsed.ok()) return parsed.status();
  message.CopyFrom(*parsed);
  return absl::OkStatus();
}

absl::StatusOr<google::protobuf::Duration> ParseTime(const std::string& text) {
  absl::Duration time;
  if (!absl::ParseDuration(text, &time) || time == absl::InfiniteDuration() || time == -absl::InfiniteDuration()) {
    return absl::InvalidArgumentError("must be a duration such as 30s, 10m or 24h");
  }
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(time, absl::Seconds(1), &time));
  proto.set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(time)));
  return proto;
}

// The library knows what a field takes; it is told in its own language.
absl::Status SetByJson(const std::string& name, const json& value, Message& message) {
  // It begins with an empty message.
  const std::unique_ptr<Message> read(message.New());
  if (!google::protobuf::util::JsonStringToMessage(json({{name, value}}).dump(), read.get()).ok()) {
    return absl::InvalidArgumentError("is not what the field takes");
  }
  message.MergeFrom(*read);
  return absl::OkStatus();
}

absl::Status SetMessage(const std::string& text, Message& message) {
  const std::string& type = message.GetDescriptor()->full_name();
  if (type == "netprov.v1.Address") return Copy(ParseAddress(text), message);
  if (type == "netprov.v1.Route") return Copy(ParseRoute(text), message);
  if (type == "netprov.v1.Neighbor") return Copy(ParseNeighbor(text), message);
  if (type == "netprov.v1.BridgePort") return Copy(ParsePort(text), message);
  if (type == "netprov.v1.Vxlan.FdbEntry") return Copy(ParseFdbEntry(text), message);
  if (type == "netprov.v1.BridgeVlan") return Copy(ParseVlan(text), message);
  if (type == "netprov.v1.PortForward") return Copy(ParsePublish(text), message);
  if (type == "google.protobuf.Duration") return Copy(ParseTime(text), message);
  if (google::protobuf::util::JsonStringToMessage(text, &message).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError("must be JSON, as in {\"field\": 1}");
}

// `down` is ADMIN_STATE_DOWN.
std::string EnumValue(const EnumDescriptor& type, const std::string& text) {
  const std::string end = "_" + absl::AsciiStrToUpper(text);
  for (int i = 0; i < type.value_count(); ++i) {
    if (absl::EndsWith(type.value(i)->name(), end)) return type.value(i)->name();
  }
  return text;
}

json Scalar(const FieldDescriptor& field, const std::string& text) {
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return EnumValue(*field.enum_type(), text);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    if (text == "yes" || text == "on" || text == "true") return true;
    if (text == "no" || text == "off" || text == "false") return false;
  }
  // Numbers may be strings in JSON.
  return text;
}

absl::Status AddToMap(const FieldDescriptor& field, const std::string& text, Message& message) {
  const size_t mark = text.find('=');
  if (mark == 0 || mark == std::string::npos) return absl::InvalidArgumentError("must be KEY=VALUE");
  return SetByJson(field.name(), json({{text.substr(0, mark), text.substr(mark + 1)}}), message);
}

absl::Status SetField(const FieldDescriptor& field, const std::string& text, Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (field.full_name() == "netprov.v1.RateLimit.rate") {
    absl::StatusOr<uint64_t> rate = ParseRate(text);
    if (rate.ok()) reflection.SetUInt64(&message, &field, *rate);
    return rate.status();
  }
  if (field.full_name() == "netprov.v1.RateLimit.burst") {
    absl::StatusOr<uint32_t> burst = ParseSize(text);
    if (burst.ok()) reflection.SetUInt32(&message, &field, *burst);
    return burst.status();
  }
  if (field.is_map()) return AddToMap(field, text, message);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return SetMessage(text, field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                                : *reflection.MutableMessage(&message, &field));
  }
  const json value = Scalar(field, text);
  if (!field.is_repeated()) return SetByJson(field.name(), value, message);
  return SetByJson(field.name(), json::array({value}), message);
}

absl::Status SetPath(const std::string& path, const std::string& text, Message& message) {
  Message* inner = &message;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const FieldDescriptor* field = inner->GetDescriptor()->FindFieldByName(names[i]);
    if (field == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("there is no field `", names[i], "` in it"));
    }
    if (i + 1 == names.size()) return text.empty() ? absl::OkStatus() : SetField(*field, text, *inner);
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) {
      return absl::InvalidArgumentError(absl::StrCat("nothing is below `", names[i], "`"));
    }
    // What is left out is not made, unless something in it is set.
    if (text.empty()) return absl::OkStatus();
    inner = inner->GetReflection()->MutableMessage(inner, field);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SetFields(const std::vector<std::string>& settings, Message& message, google::protobuf::FieldMask& mask) {
  for (const std::string& setting : settings) {
    const size_t mark = setting.find('=');
    if (mark == 0 || mark == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("must be FIELD=VALUE, as in metadata.labels=team=net, not `", setting, "`"));
    }
    const std::string path = setting.substr(0, mark);
    if (const absl::Status status = SetPath(path, setting.substr(mark + 1), message); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", status.message(), ", in `", setting, "`"));
    }
    if (std::find(mask.paths().begin(), mask.paths().end(), path) == mask.paths().end()) mask.add_paths(path);
  }
  return absl::OkStatus();
}

}  // namespace netprov::cli
