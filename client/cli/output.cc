#include "client/cli/output.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/time_util.h"

namespace netprov::cli {
namespace {

using Json = nlohmann::ordered_json;

// Puts the members into the order of the .proto file; Protobuf puts what is not a message first.
Json Ordered(const Json& json, const google::protobuf::Descriptor& descriptor) {
  if (!json.is_object()) return json;  // A timestamp is a message, too, but a string in JSON.
  Json ordered = Json::object();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *descriptor.field(i);
    const auto member = json.find(field.name());
    if (member == json.end()) continue;
    if (field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE || field.is_map()) {
      ordered[field.name()] = *member;
    } else if (member->is_array()) {
      ordered[field.name()] = Json::array();
      for (const Json& item : *member) ordered[field.name()].push_back(Ordered(item, *field.message_type()));
    } else {
      ordered[field.name()] = Ordered(*member, *field.message_type());
    }
  }
  return ordered;
}

absl::StatusOr<Json> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) return absl::InternalError("the server's answer can't be printed: " + status.ToString());
  return Ordered(Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false), *message.GetDescriptor());
}

// {"member": [...]}
template <typename Message>
absl::StatusOr<Json> ToJsonList(const char* member, const std::vector<Message>& messages) {
  Json list = Json::array();
  for (const Message& message : messages) {
    absl::StatusOr<Json> item = ToJson(message);
    if (!item.ok()) return item.status();
    list.push_back(*std::move(item));
  }
  return Json{{member, std::move(list)}};
}

void EmitYaml(const Json& value, YAML::Emitter& out) {
  if (value.is_object()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginMap;
    for (const auto& [key, member] : value.items()) {
      out << YAML::Key << key << YAML::Value;
      EmitYaml(member, out);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const Json& item : value) EmitYaml(item, out);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    // Unquoted, `1`, `yes` or `null` would be read as something else.
    out << YAML::DoubleQuoted << value.get<std::string>();
  } else {
    out << value.dump();
  }
}

std::string Document(Format format, const Json& json) {
  if (format == Format::kJson) return json.dump(2) + "\n";
  YAML::Emitter out;
  EmitYaml(json, out);
  return std::string(out.c_str()) + "\n";
}

class Table {
 public:
  explicit Table(std::initializer_list<std::string> header) : rows_({header}) {}

  void AddRow(std::initializer_list<std::string> cells) { rows_.emplace_back(cells); }

  std::string Print() const {
    std::vector<size_t> widths(rows_[0].size());
    std::vector<std::vector<std::string>> rows;
    for (const std::vector<std::string>& row : rows_) {
      rows.emplace_back();
      for (size_t i = 0; i < row.size(); ++i) {
        rows.back().push_back(row[i].empty() ? "-" : Printable(row[i]));
        widths[i] = std::max(widths[i], rows.back()[i].size());
      }
    }
    std::string text;
    for (const std::vector<std::string>& row : rows) {
      for (size_t i = 0; i < row.size(); ++i) {
        text += row[i];
        if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
      }
      text += '\n';
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

// `ACTIVE` for `STATE_ACTIVE`, and the number of a value that this program does not know.
std::string State(int number, const std::string& name) {
  if (name.empty()) return absl::StrCat(number);
  return name.substr(sizeof("STATE_") - 1);
}

std::string StateOf(const v1::Namespace& ns) { return State(ns.state(), v1::Namespace::State_Name(ns.state())); }
std::string StateOf(const v1::Veth& veth) { return State(veth.state(), v1::Veth::State_Name(veth.state())); }

std::string CreateTime(const v1::Namespace& ns) {
  if (!ns.has_create_time()) return "";
  return google::protobuf::util::TimeUtil::ToString(ns.create_time());
}

// An id never has parentheses, so `(host)` is no namespace.
std::string Location(const v1::VethEndpoint& endpoint) {
  switch (endpoint.location_case()) {
    case v1::VethEndpoint::kHost:
      return "(host)";
    case v1::VethEndpoint::kNamespace:
      return ShortName(endpoint.namespace_());
    case v1::VethEndpoint::LOCATION_NOT_SET:
      break;
  }
  return "";
}

std::string DescribeEndpoint(const v1::VethEndpoint& endpoint) {
  std::string text = Printable(endpoint.interface_name());
  if (endpoint.location_case() == v1::VethEndpoint::kNamespace) {
    absl::StrAppend(&text, " (in ", Printable(ShortName(endpoint.namespace_())), ")");
  }
  return text;
}

void AddEndpoint(const v1::Veth& veth, const char* end, const v1::VethEndpoint& endpoint, Table& table) {
  const auto number = [](uint32_t n) { return n == 0 ? std::string() : absl::StrCat(n); };
  table.AddRow({ShortName(veth.name()), StateOf(veth), end, endpoint.interface_name(), Location(endpoint),
                endpoint.mac_address(), number(endpoint.mtu()),
                endpoint.admin_state() == v1::VethEndpoint::ADMIN_STATE_DOWN ? "DOWN" : "UP",
                number(endpoint.ifindex())});
}

}  // namespace

std::string ShortName(std::string_view resource_name) {
  return std::string(resource_name.substr(resource_name.rfind('/') + 1));
}

std::string Printable(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string printable;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      printable.append("\\x").append({kDigits[byte >> 4], kDigits[byte & 0x0f]});
    } else {
      printable += c;
    }
  }
  return printable;
}

std::string DescribeVeth(const v1::Veth& veth) {
  return absl::StrCat(DescribeEndpoint(veth.endpoint_a()), " <-> ", DescribeEndpoint(veth.endpoint_b()));
}

absl::StatusOr<std::string> PrintNamespace(Format format, const v1::Namespace& ns) {
  if (format == Format::kName) return Printable(ns.name()) + "\n";
  if (format == Format::kJson || format == Format::kYaml) {
    const absl::StatusOr<Json> json = ToJson(ns);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"NAME", "STATE", "MANAGED", "CREATED", "UID", "COOKIE", "PATH"});
  table.AddRow({ShortName(ns.name()), StateOf(ns), ns.managed() ? "yes" : "no", CreateTime(ns), ns.uid(),
                ns.cookie() == 0 ? "" : absl::StrCat(ns.cookie()), ns.path()});
  return table.Print();
}

absl::StatusOr<std::string> PrintNamespaces(Format format, const std::vector<v1::Namespace>& namespaces) {
  if (format == Format::kName) {
    std::string text;
    for (const v1::Namespace& ns : namespaces) absl::StrAppend(&text, Printable(ns.name()), "\n");
    return text;
  }
  if (format == Format::kJson || format == Format::kYaml) {
    const absl::StatusOr<Json> json = ToJsonList("namespaces", namespaces);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"NAME", "STATE", "MANAGED", "CREATED"});
  for (const v1::Namespace& ns : namespaces) {
    table.AddRow({ShortName(ns.name()), StateOf(ns), ns.managed() ? "yes" : "no", CreateTime(ns)});
  }
  return table.Print();
}

absl::StatusOr<std::string> PrintVeth(Format format, const v1::Veth& veth) {
  if (format == Format::kName) return Printable(veth.name()) + "\n";
  if (format == Format::kJson || format == Format::kYaml) {
    const absl::StatusOr<Json> json = ToJson(veth);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"NAME", "STATE", "END", "INTERFACE", "LOCATION", "MAC", "MTU", "ADMIN", "IFINDEX"});
  AddEndpoint(veth, "a", veth.endpoint_a(), table);
  AddEndpoint(veth, "b", veth.endpoint_b(), table);
  return table.Print();
}

absl::StatusOr<std::string> PrintVeths(Format format, const std::vector<v1::Veth>& veths) {
  if (format == Format::kName) {
    std::string text;
    for (const v1::Veth& veth : veths) absl::StrAppend(&text, Printable(veth.name()), "\n");
    return text;
  }
  if (format == Format::kJson || format == Format::kYaml) {
    const absl::StatusOr<Json> json = ToJsonList("veths", veths);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"NAME", "STATE", "INTERFACE", "LOCATION", "PEER", "PEER-LOCATION"});
  for (const v1::Veth& veth : veths) {
    table.AddRow({ShortName(veth.name()), StateOf(veth), veth.endpoint_a().interface_name(),
                  Location(veth.endpoint_a()), veth.endpoint_b().interface_name(), Location(veth.endpoint_b())});
  }
  return table.Print();
}

absl::StatusOr<std::string> PrintName(Format format, const std::string& name) {
  if (format == Format::kName) return Printable(name) + "\n";
  if (format == Format::kJson || format == Format::kYaml) return Document(format, Json{{"name", name}});
  Table table({"NAME"});
  table.AddRow({ShortName(name)});
  return table.Print();
}

}  // namespace netprov::cli
