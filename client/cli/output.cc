#include "client/cli/output.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/bridge_text.h"
#include "client/cli/device_text.h"
#include "client/cli/ip_text.h"
#include "client/cli/publish_text.h"
#include "client/cli/rate_text.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/repeated_field.h"
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
    if (field.is_map()) {  // Protobuf has no order for one.
      Json& map = ordered[field.name()] = Json::object();
      std::map<std::string, Json> sorted;
      for (const auto& [key, value] : member->items()) sorted[key] = value;
      for (const auto& [key, value] : sorted) map[key] = value;
    } else if (field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
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
  explicit Table(std::vector<std::string> header) { AddRow(std::move(header)); }

  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

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

// `READY` for `STATE_READY`, and the number of a value that this program does not know.
std::string State(int number, const std::string& name) {
  if (name.empty()) return absl::StrCat(number);
  return name.substr(sizeof("STATE_") - 1);
}

std::string StateOf(const v1::Namespace& ns) { return State(ns.state(), v1::Namespace::State_Name(ns.state())); }
std::string StateOf(const v1::Bridge& bridge) { return State(bridge.state(), v1::Bridge::State_Name(bridge.state())); }
std::string StateOf(const v1::Device& device) { return State(device.state(), v1::Device::State_Name(device.state())); }
std::string StateOf(const v1::Veth& veth) { return State(veth.state(), v1::Veth::State_Name(veth.state())); }

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

// `4m59s`: from `now` to `time`, in whole seconds.
std::string TimeLeft(const google::protobuf::Timestamp& time, absl::Time now) {
  const absl::Duration left = absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()) - now;
  if (left < absl::Seconds(1)) return "0s";
  return absl::FormatDuration(absl::Trunc(left, absl::Seconds(1)));
}

// `10.0.0.2/24 +1`: the first address, and how many more there are.
template <typename Link>
std::string AddressSummary(const Link& endpoint) {
  if (endpoint.addresses().empty()) return "";
  const std::string& first = endpoint.addresses(0).address();
  return endpoint.addresses_size() == 1 ? first : absl::StrCat(first, " +", endpoint.addresses_size() - 1);
}

// Adds the columns of a list that are there only if any row needs them.
void AddAddresses(const std::vector<v1::Veth>& veths, std::vector<std::vector<std::string>>& rows) {
  const auto has_addresses = [](const v1::Veth& veth) {
    return !veth.endpoint_a().addresses().empty() || !veth.endpoint_b().addresses().empty();
  };
  if (std::none_of(veths.begin(), veths.end(), has_addresses)) return;
  rows[0].insert(rows[0].end(), {"ADDRESSES", "PEER-ADDRESSES"});
  for (size_t i = 0; i < veths.size(); ++i) {
    rows[i + 1].push_back(AddressSummary(veths[i].endpoint_a()));
    rows[i + 1].push_back(AddressSummary(veths[i].endpoint_b()));
  }
}

// Adds the column of a list that is there only if any row needs it.
template <typename Object>
void AddExpiry(const std::vector<Object>& objects, absl::Time now, std::vector<std::vector<std::string>>& rows) {
  const auto expires = [](const Object& object) { return object.metadata().has_expire_time(); };
  if (std::none_of(objects.begin(), objects.end(), expires)) return;
  rows[0].push_back("EXPIRES");
  for (size_t i = 0; i < objects.size(); ++i) {
    const Object& object = objects[i];
    rows[i + 1].push_back(expires(object) ? TimeLeft(object.metadata().expire_time(), now) : "");
  }
}

std::string PrintTable(std::vector<std::vector<std::string>> rows) {
  Table table(std::move(rows[0]));
  for (size_t i = 1; i < rows.size(); ++i) table.AddRow(std::move(rows[i]));
  return table.Print();
}

// Whoever wants to know it to the nanosecond finds it in documents.
std::string ToSeconds(google::protobuf::Timestamp time) {
  time.set_nanos(0);
  return google::protobuf::util::TimeUtil::ToString(time);
}

// `Labels:      a=b`, and further lines below the first.
void AddDetail(const std::string& what, const std::vector<std::string>& lines, std::string& text,
               const std::string& margin = "") {
  constexpr size_t kIndent = sizeof("Deviations:  ") - 1;
  std::string head = what + ":";
  for (const std::string& line : lines) {
    head.resize(kIndent, ' ');
    absl::StrAppend(&text, margin, head, Printable(line), "\n");
    head.clear();
  }
}

// What stands below the table of one object, after `own`, the lines that only its kind has.
template <typename Object>
std::string Details(const Object& object, absl::Time now, const std::string& own = "") {
  const v1::Metadata& metadata = object.metadata();
  std::string text = own;
  if (!metadata.owner().empty()) AddDetail("Owner", {metadata.owner()}, text);
  if (!metadata.creator().empty()) AddDetail("Creator", {metadata.creator()}, text);
  std::vector<std::string> labels;
  for (const auto& [key, value] : metadata.labels()) labels.push_back(absl::StrCat(key, "=", value));
  std::sort(labels.begin(), labels.end());
  AddDetail("Labels", labels, text);
  if (metadata.has_ttl()) {
    std::string lease = absl::FormatDuration(ToDuration(metadata.ttl())) + " after the owner's last sign of life";
    if (metadata.has_expire_time()) {
      absl::StrAppend(&lease, "; expires in ", TimeLeft(metadata.expire_time(), now), ", at ",
                      ToSeconds(metadata.expire_time()));
    }
    AddDetail("Lease", {lease}, text);
  }
  if (metadata.persistent()) AddDetail("Persistent", {"is made again after a reboot"}, text);
  if (metadata.self_heal()) AddDetail("Self-heal", {"is put right when somebody else changes it"}, text);
  std::vector<std::string> deviations;
  for (const v1::Deviation& deviation : object.deviations()) {
    const auto value = [](const std::string& v) { return v.empty() ? std::string("(nothing)") : v; };
    deviations.push_back(
        absl::StrCat(deviation.field(), " is ", value(deviation.actual()), ", was made ", value(deviation.expected())));
  }
  AddDetail("Deviations", deviations, text);
  return text.empty() ? text : "\n" + text;
}

std::string NamespaceDetails(const v1::Namespace& ns) {
  std::string text;
  if (!ns.uid().empty()) AddDetail("UID", {ns.uid()}, text);
  if (ns.cookie() != 0) AddDetail("Cookie", {absl::StrCat(ns.cookie())}, text);
  std::vector<std::string> sysctls;
  for (const auto& [name, value] : ns.sysctls()) sysctls.push_back(absl::StrCat(name, " = ", value));
  std::sort(sysctls.begin(), sysctls.end());
  AddDetail("Sysctls", sysctls, text);
  const v1::Dns& dns = ns.dns();
  AddDetail("DNS", {dns.nameservers().begin(), dns.nameservers().end()}, text);
  AddDetail("Searches", {dns.searches().begin(), dns.searches().end()}, text);
  AddDetail("Options", {dns.options().begin(), dns.options().end()}, text);
  std::vector<std::string> hosts;
  for (const v1::Dns::Host& host : dns.hosts()) {
    hosts.push_back(absl::StrCat(host.address(), " ", absl::StrJoin(host.names(), " ")));
  }
  AddDetail("Hosts", hosts, text);
  std::vector<std::string> processes;
  for (const v1::Namespace::Process& process : ns.processes().first()) {
    processes.push_back(absl::StrCat(process.pid(), " ", process.command()));
  }
  if (const int more = ns.processes().count() - ns.processes().first_size(); more > 0) {
    processes.push_back(absl::StrCat("and ", more, " more"));
  }
  AddDetail("Processes", processes, text);
  return text;
}

template <typename Message>
std::vector<std::string> FormatAll(const google::protobuf::RepeatedPtrField<Message>& messages,
                                   std::string (*format)(const Message&)) {
  std::vector<std::string> lines;
  for (const Message& message : messages) lines.push_back(format(message));
  return lines;
}

// `gso-max-size 65536`, in the words of the options.
std::vector<std::string> FormatLimits(const v1::OffloadLimits& limits) {
  std::vector<std::string> lines;
  const auto add = [&lines](const char* what, uint32_t limit) {
    if (limit != 0) lines.push_back(absl::StrCat(what, " ", limit));
  };
  add("gso-max-size", limits.gso_max_size());
  add("gso-max-segments", limits.gso_max_segments());
  add("gro-max-size", limits.gro_max_size());
  add("gso-ipv4-max-size", limits.gso_ipv4_max_size());
  add("gro-ipv4-max-size", limits.gro_ipv4_max_size());
  return lines;
}

// The bridge that an end or a device is a port of, and as which, as far as it is not as any new port; none where it is
// no port.
template <typename Port>
std::vector<std::string> PortOf(const Port& port) {
  if (port.bridge().empty() && port.bridge_interface().empty()) return {};
  const std::string settings = FormatPortUnlikeNew(port.bridge_port());
  return {absl::StrCat(port.bridge().empty() ? port.bridge_interface() + " (not netprov's)" : ShortName(port.bridge()),
                       settings.empty() ? "" : ": ", settings)};
}

// What an end has besides what is in the tables, under a heading; empty where it has nothing.
std::string EndpointDetails(const std::string& heading, const v1::VethEndpoint& endpoint) {
  std::string text;
  const auto add = [&text](const char* what, const std::vector<std::string>& lines) {
    AddDetail(what, lines, text, /*margin=*/"  ");
  };
  add("Addresses", FormatAll(endpoint.addresses(), FormatAddress));
  add("Gateways", {endpoint.gateways().begin(), endpoint.gateways().end()});
  add("Routes", FormatAll(endpoint.routes(), FormatRoute));
  add("Neighbors", FormatAll(endpoint.neighbors(), FormatNeighbor));
  add("Port of", PortOf(endpoint));
  add("VLANs", FormatAll(endpoint.bridge_port().vlans(), FormatVlan));
  add("Also named", {endpoint.alternative_names().begin(), endpoint.alternative_names().end()});
  if (endpoint.tx_queues() > 1 || endpoint.rx_queues() > 1) {
    const auto at_least_one = [](uint32_t queues) { return std::max<uint32_t>(queues, 1); };
    add("Queues",
        {absl::StrCat(at_least_one(endpoint.tx_queues()), " tx, ", at_least_one(endpoint.rx_queues()), " rx")});
  }
  if (!endpoint.alias().empty()) add("Alias", {endpoint.alias()});
  if (endpoint.announce()) add("Announces", {"its addresses whenever it comes up"});
  std::vector<std::string> receives;
  if (endpoint.promiscuous()) receives.push_back("what is for others (promiscuous)");
  if (endpoint.all_multicast()) receives.push_back("all multicast");
  add("Receives", receives);
  std::vector<std::string> rates;
  if (endpoint.has_ingress_limit()) rates.push_back("receives " + FormatLimit(endpoint.ingress_limit()));
  if (endpoint.has_egress_limit()) rates.push_back("sends " + FormatLimit(endpoint.egress_limit()));
  add("Rates", rates);
  if (endpoint.masquerade()) add("Masqueraded", {"as the link that it leaves by"});
  add("Publishes", FormatAll(endpoint.port_forwards(), FormatPublish));
  if (endpoint.ip_forwarding()) add("Forwarding", {"on, where the other end is"});
  add("Limits", FormatLimits(endpoint.offload_limits()));
  return text.empty() ? text : absl::StrCat("\n", Printable(heading), "\n", text);
}

// What stands below the table of a bridge.
std::string BridgeDetails(const v1::Bridge& bridge) {
  std::string text;
  AddDetail("Addresses", FormatAll(bridge.addresses(), FormatAddress), text);
  AddDetail("Also named", {bridge.alternative_names().begin(), bridge.alternative_names().end()}, text);
  std::vector<std::string> options;
  const auto flag = [&options](const char* name, bool has, bool value) {
    if (has) options.push_back(absl::StrCat(name, value ? " on" : " off"));
  };
  const auto time = [&options](const char* name, bool has, const google::protobuf::Duration& value) {
    if (has) options.push_back(absl::StrCat(name, " ", absl::FormatDuration(ToDuration(value))));
  };
  const auto number = [&options](const char* name, bool has, uint32_t value) {
    if (has) options.push_back(absl::StrCat(name, " ", value));
  };
  flag("stp", bridge.has_stp(), bridge.stp());
  time("forward-delay", bridge.has_forward_delay(), bridge.forward_delay());
  time("hello-time", bridge.has_hello_time(), bridge.hello_time());
  time("max-age", bridge.has_max_age(), bridge.max_age());
  time("ageing-time", bridge.has_ageing_time(), bridge.ageing_time());
  number("priority", bridge.has_priority(), bridge.priority());
  flag("vlan-filtering", bridge.has_vlan_filtering(), bridge.vlan_filtering());
  number("default-pvid", bridge.has_default_pvid(), bridge.default_pvid());
  flag("multicast-snooping", bridge.has_multicast_snooping(), bridge.multicast_snooping());
  number("group-forward-mask", bridge.has_group_forward_mask(), bridge.group_forward_mask());
  AddDetail("Options", options, text);
  std::vector<std::string> ports;
  // A device and a pair may have one id.
  for (const std::string& port : bridge.ports()) {
    ports.push_back(absl::StartsWith(port, "veths/") ? ShortName(port) : port);
  }
  AddDetail("Ports", ports, text);
  return text;
}

template <typename Link>
std::string BridgeLocation(const Link& link) {
  return link.has_namespace_() ? ShortName(link.namespace_()) : "(host)";
}

// `eth0`, or `eth0 (in blue)`: what a device stands on.
std::string LowerText(const v1::Device& device) {
  if (device.lower_namespace().empty()) return device.lower_interface();
  return absl::StrCat(device.lower_interface(), device.lower_interface().empty() ? "" : " ", "(in ",
                      ShortName(device.lower_namespace()), ")");
}

// What stands below the table of a device.
std::string DeviceDetails(const v1::Device& device) {
  std::string text;
  AddDetail("Addresses", FormatAll(device.addresses(), FormatAddress), text);
  AddDetail("Gateways", {device.gateways().begin(), device.gateways().end()}, text);
  AddDetail("Routes", FormatAll(device.routes(), FormatRoute), text);
  AddDetail("Port of", PortOf(device), text);
  AddDetail("VLANs", FormatAll(device.bridge_port().vlans(), FormatVlan), text);
  AddDetail("Also named", {device.alternative_names().begin(), device.alternative_names().end()}, text);
  AddDetail("Options", FormatKind(device), text);
  AddDetail("Entries", FormatAll(device.vxlan().fdb(), FormatFdbEntry), text);
  return text;
}

struct Kind {
  v1::Finding::Kind kind;
  bool needs_attention;
  const char* heading;
};

// In the order of the text: what needs attention first. The first one stands for what this program does not know.
constexpr Kind kKinds[] = {
    {v1::Finding::KIND_UNSPECIFIED, true, "Of a kind that this program does not know"},
    {v1::Finding::KIND_UNFINISHED, true, "Begun and not finished"},
    {v1::Finding::KIND_MISSING, true, "Gone from the kernel"},
    {v1::Finding::KIND_DEGRADED, true, "Changed by somebody else"},
    {v1::Finding::KIND_NOT_RESTORED, true, "Not made again after the reboot"},
    {v1::Finding::KIND_ORPHAN, true, "Made by this server, and unknown to its registry"},
    {v1::Finding::KIND_UNREADABLE, true, "Can't be looked at"},
    {v1::Finding::KIND_ROLLED_BACK, false, "Creations that had not finished, undone"},
    {v1::Finding::KIND_COMPLETED, false, "Deletions that had not finished, completed"},
    {v1::Finding::KIND_ORPHAN_REMOVED, false, "Unknown to the registry, removed"},
    {v1::Finding::KIND_RESTORED, false, "Made again after the reboot"},
    {v1::Finding::KIND_FOREIGN_TAG, false, "Tagged by somebody else, left alone"},
    {v1::Finding::KIND_STALE_FILE, false, "Files that are no network namespaces, left alone"},
};

const Kind& KindOf(const v1::Finding& finding) {
  for (const Kind& kind : kKinds) {
    if (kind.kind == finding.kind()) return kind;
  }
  return kKinds[0];
}

std::string KindName(const v1::Finding& finding) {
  const std::string& name = v1::Finding::Kind_Name(finding.kind());
  return name.empty() ? absl::StrCat(static_cast<int>(finding.kind())) : name.substr(sizeof("KIND_") - 1);
}

std::string Count(size_t number, const std::string& what) {
  return absl::StrCat(number, " ", what, number == 1 ? "" : "s");
}

// The report in words.
std::string ReportText(const v1::HostReport& report) {
  std::string text = "Checked";
  if (report.has_time()) absl::StrAppend(&text, " at ", ToSeconds(report.time()));
  if (report.at_start()) absl::StrAppend(&text, ", when the server started");
  absl::StrAppend(&text, ": ", Count(report.objects(), "object"), " compared\n");
  if (report.registry_fault().empty()) {
    absl::StrAppend(&text, "The registry can be written\n");
  } else {
    absl::StrAppend(&text, "The registry can't be written (needs attention): ", Printable(report.registry_fault()),
                    "\n");
  }

  for (const std::string& fault : report.configuration_faults()) {
    absl::StrAppend(&text, "Configuration is not in use (needs attention): ", Printable(fault), "\n");
  }

  size_t urgent = 0;
  std::map<const Kind*, std::vector<const v1::Finding*>> groups;
  for (const v1::Finding& finding : report.findings()) {
    groups[&KindOf(finding)].push_back(&finding);
    if (KindOf(finding).needs_attention) ++urgent;
  }
  for (const auto& [kind, findings] : groups) {
    absl::StrAppend(&text, "\n", kind->heading, kind->needs_attention ? " (needs attention)" : "", ":\n");
    for (const v1::Finding* finding : findings) {
      absl::StrAppend(&text, "  ", Printable(finding->resource()));
      if (!finding->detail().empty()) absl::StrAppend(&text, ": ", Printable(finding->detail()));
      text += "\n";
    }
  }
  if (!groups.empty()) text += "\n";
  if (!NeedsAttention(report)) {
    absl::StrAppend(&text, "Nothing needs attention\n");
  } else {
    std::vector<std::string> what;
    if (!report.registry_fault().empty()) what.push_back("the registry");
    if (!report.configuration_faults().empty()) what.push_back("the configuration");
    if (urgent > 0) what.push_back(Count(urgent, "finding"));
    absl::StrAppend(&text, "To look after: ", absl::StrJoin(what, ", "), "\n");
  }
  return text;
}

bool IsIn(const std::string& namespace_name, const v1::VethEndpoint& endpoint) {
  return endpoint.location_case() == v1::VethEndpoint::kNamespace && endpoint.namespace_() == namespace_name;
}

absl::StatusOr<std::string> PrintMessage(Format format, const google::protobuf::Message& message) {
  const absl::StatusOr<Json> json = ToJson(message);
  if (!json.ok()) return json.status();
  return Document(format, *json);
}

bool IsDocument(Format format) { return format == Format::kJson || format == Format::kYaml; }

std::string CreateTime(const v1::Namespace& ns) {
  if (!ns.has_create_time()) return "";
  return ToSeconds(ns.create_time());
}

// How netprov came to it.
std::string Managed(const v1::Namespace& ns) {
  if (ns.adopted()) return "adopted";
  return ns.managed() ? "yes" : "no";
}

// An id never has parentheses or a slash, so `(host)`, `(pid 7)` and `/run/x` are no namespaces of netprov's.
std::string Location(const v1::VethEndpoint& endpoint) {
  switch (endpoint.location_case()) {
    case v1::VethEndpoint::kHost:
      return "(host)";
    case v1::VethEndpoint::kNamespace:
      return ShortName(endpoint.namespace_());
    case v1::VethEndpoint::kNetnsPath:
      return endpoint.netns_path();
    case v1::VethEndpoint::kPid:
      return absl::StrCat("(pid ", endpoint.pid(), ")");
    case v1::VethEndpoint::LOCATION_NOT_SET:
      break;
  }
  return "";
}

std::string DescribeEndpoint(const v1::VethEndpoint& endpoint) {
  std::string text = Printable(endpoint.interface_name());
  switch (endpoint.location_case()) {
    case v1::VethEndpoint::kNamespace:
    case v1::VethEndpoint::kNetnsPath:
      absl::StrAppend(&text, " (in ", Printable(Location(endpoint)), ")");
      break;
    case v1::VethEndpoint::kPid:
      absl::StrAppend(&text, " (in process ", endpoint.pid(), ")");
      break;
    case v1::VethEndpoint::kHost:
    case v1::VethEndpoint::LOCATION_NOT_SET:
      break;
  }
  return text;
}

std::string Number(uint32_t number) { return number == 0 ? "" : absl::StrCat(number); }

template <typename Link>
std::string AdminState(const Link& endpoint) {
  return endpoint.admin_state() == v1::VethEndpoint::ADMIN_STATE_DOWN ? "DOWN" : "UP";
}

void AddEndpoint(const v1::Veth& veth, const char* end, const v1::VethEndpoint& endpoint, Table& table) {
  table.AddRow({ShortName(veth.name()), StateOf(veth), end, endpoint.interface_name(), Location(endpoint),
                endpoint.mac_address(), Number(endpoint.mtu()), AdminState(endpoint), Number(endpoint.ifindex())});
}

// `a: h0 (host)`.
std::string EndpointHeading(const char* end, const v1::VethEndpoint& endpoint) {
  const std::string location = Location(endpoint);
  std::string text = absl::StrCat(end, ": ", endpoint.interface_name());
  if (location.empty()) return text;
  return absl::StrCat(text, absl::StartsWith(location, "(") ? " " : " in ", location);
}

// `UP` for `STATE_UP` of a `prefix` `STATE_`; the number of a value that this program does not know.
std::string WithoutPrefix(const std::string& name, const std::string& prefix, int number) {
  return name.empty() ? absl::StrCat(number) : name.substr(prefix.size());
}

std::string InLowerCase(std::string text) {
  absl::AsciiStrToLower(&text);
  return text;
}

std::string ScopeText(v1::IpScope scope) {
  if (scope == v1::IP_SCOPE_UNSPECIFIED) return "";
  return InLowerCase(WithoutPrefix(v1::IpScope_Name(scope), "IP_SCOPE_", scope));
}

// The names of /etc/iproute2/rt_protos, and netprov's own.
std::string RouteProtocol(uint32_t protocol) {
  static const std::map<uint32_t, std::string> names = {{0, ""},   {2, "kernel"}, {3, "boot"},     {4, "static"},
                                                        {9, "ra"}, {16, "dhcp"},  {110, "netprov"}};
  const auto name = names.find(protocol);
  return name == names.end() ? absl::StrCat(protocol) : name->second;
}

// As ip-address(8) says it.
std::string AddressProtocol(uint32_t protocol) {
  static const std::map<uint32_t, std::string> names = {
      {0, ""}, {1, "kernel_lo"}, {2, "kernel_ra"}, {3, "kernel_ll"}, {110, "netprov"}};
  const auto name = names.find(protocol);
  return name == names.end() ? absl::StrCat(protocol) : name->second;
}

std::string AddressFlags(const v1::AddressEntry& address) {
  std::vector<std::string> flags;
  const auto add = [&flags](bool is_set, const char* flag) {
    if (is_set) flags.push_back(flag);
  };
  add(!address.permanent(), "dynamic");
  add(address.secondary(), "secondary");
  add(address.tentative(), "tentative");
  add(address.duplicate(), "duplicate");
  add(address.deprecated(), "deprecated");
  return absl::StrJoin(flags, ",");
}

// `default`, `10.1.0.0/16` or `blackhole 10.9.0.0/16`.
std::string Destination(const v1::RouteEntry& route) {
  const bool everywhere = route.destination() == "0.0.0.0/0" || route.destination() == "::/0";
  std::string destination = everywhere ? "default" : route.destination();
  if (route.type() == v1::RouteEntry::TYPE_UNICAST) return destination;
  return absl::StrCat(InLowerCase(WithoutPrefix(v1::RouteEntry::Type_Name(route.type()), "TYPE_", route.type())), " ",
                      destination);
}

std::string TableName(uint32_t table) {
  static const std::map<uint32_t, std::string> names = {{253, "default"}, {254, "main"}, {255, "local"}};
  const auto name = names.find(table);
  return name == names.end() ? absl::StrCat(table) : name->second;
}

// The ends of `veths` that are in the namespace `name`, each with what it is paired with.
std::string LinkTexts(const std::string& name, const std::vector<v1::Veth>& veths) {
  Table table({"INTERFACE", "PAIR", "STATE", "ADMIN", "MAC", "MTU", "PEER", "PEER-LOCATION"});
  std::string details;
  bool any = false;
  for (const v1::Veth& veth : veths) {
    const v1::VethEndpoint* const ends[] = {&veth.endpoint_a(), &veth.endpoint_b()};
    for (const int i : {0, 1}) {
      if (!IsIn(name, *ends[i])) continue;
      any = true;
      const v1::VethEndpoint& end = *ends[i];
      const v1::VethEndpoint& peer = *ends[1 - i];
      table.AddRow({end.interface_name(), ShortName(veth.name()), StateOf(veth), AdminState(end), end.mac_address(),
                    Number(end.mtu()), peer.interface_name(), Location(peer)});
      details += EndpointDetails(end.interface_name(), end);
    }
  }
  return any ? absl::StrCat("\n", table.Print(), details) : "";
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

absl::StatusOr<std::string> PrintNamespace(Format format, const v1::Namespace& ns, absl::Time now) {
  if (format == Format::kName) return Printable(ns.name()) + "\n";
  if (IsDocument(format)) return PrintMessage(format, ns);
  Table table({"NAME", "STATE", "MANAGED", "CREATED", "PATH"});
  table.AddRow({ShortName(ns.name()), StateOf(ns), Managed(ns), CreateTime(ns), ns.path()});
  return table.Print() + Details(ns, now, NamespaceDetails(ns));
}

absl::StatusOr<std::string> PrintNamespaceWithLinks(Format format, const v1::Namespace& ns, const Links& links,
                                                    absl::Time now) {
  Links inside;
  for (const v1::Veth& veth : links.veths) {
    if (IsIn(ns.name(), veth.endpoint_a()) || IsIn(ns.name(), veth.endpoint_b())) inside.veths.push_back(veth);
  }
  for (const v1::Bridge& bridge : links.bridges) {
    if (bridge.namespace_() == ns.name()) inside.bridges.push_back(bridge);
  }
  for (const v1::Device& device : links.devices) {
    if (device.namespace_() == ns.name()) inside.devices.push_back(device);
  }
  if (IsDocument(format)) {
    absl::StatusOr<Json> json = ToJson(ns);
    if (!json.ok()) return json.status();
    for (const absl::StatusOr<Json>& list : {ToJsonList("veths", inside.veths), ToJsonList("bridges", inside.bridges),
                                             ToJsonList("devices", inside.devices)}) {
      if (!list.ok()) return list.status();
      json->update(*list);
    }
    return Document(format, *json);
  }
  absl::StatusOr<std::string> text = PrintNamespace(format, ns, now);
  if (!text.ok() || format == Format::kName) return text;
  *text += LinkTexts(ns.name(), inside.veths);
  if (!inside.bridges.empty()) absl::StrAppend(&*text, "\n", *PrintBridges(Format::kTable, inside.bridges, now));
  if (!inside.devices.empty()) absl::StrAppend(&*text, "\n", *PrintDevices(Format::kTable, inside.devices, now));
  return text;
}

absl::StatusOr<std::string> PrintNamespaces(Format format, const std::vector<v1::Namespace>& namespaces,
                                            absl::Time now) {
  if (format == Format::kName) {
    std::string text;
    for (const v1::Namespace& ns : namespaces) absl::StrAppend(&text, Printable(ns.name()), "\n");
    return text;
  }
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("namespaces", namespaces);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "STATE", "MANAGED", "OWNER", "CREATED"}};
  for (const v1::Namespace& ns : namespaces) {
    rows.push_back({ShortName(ns.name()), StateOf(ns), Managed(ns), ns.metadata().owner(), CreateTime(ns)});
  }
  AddExpiry(namespaces, now, rows);
  return PrintTable(std::move(rows));
}

absl::StatusOr<std::string> PrintVeth(Format format, const v1::Veth& veth, absl::Time now) {
  if (format == Format::kName) return Printable(veth.name()) + "\n";
  if (IsDocument(format)) return PrintMessage(format, veth);
  Table table({"NAME", "STATE", "END", "INTERFACE", "LOCATION", "MAC", "MTU", "ADMIN", "IFINDEX"});
  AddEndpoint(veth, "a", veth.endpoint_a(), table);
  AddEndpoint(veth, "b", veth.endpoint_b(), table);
  return absl::StrCat(table.Print(), Details(veth, now),
                      EndpointDetails(EndpointHeading("a", veth.endpoint_a()), veth.endpoint_a()),
                      EndpointDetails(EndpointHeading("b", veth.endpoint_b()), veth.endpoint_b()));
}

absl::StatusOr<std::string> PrintVeths(Format format, const std::vector<v1::Veth>& veths, absl::Time now) {
  if (format == Format::kName) {
    std::string text;
    for (const v1::Veth& veth : veths) absl::StrAppend(&text, Printable(veth.name()), "\n");
    return text;
  }
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("veths", veths);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "OWNER", "INTERFACE", "LOCATION", "PEER", "PEER-LOCATION"}};
  for (const v1::Veth& veth : veths) {
    rows.push_back({ShortName(veth.name()), StateOf(veth), veth.metadata().owner(), veth.endpoint_a().interface_name(),
                    Location(veth.endpoint_a()), veth.endpoint_b().interface_name(), Location(veth.endpoint_b())});
  }
  AddAddresses(veths, rows);
  AddExpiry(veths, now, rows);
  return PrintTable(std::move(rows));
}

std::string DescribeBridge(const v1::Bridge& bridge) {
  std::string text = Printable(bridge.interface_name());
  if (bridge.has_namespace_()) absl::StrAppend(&text, " (in ", Printable(ShortName(bridge.namespace_())), ")");
  return text;
}

absl::StatusOr<std::string> PrintBridge(Format format, const v1::Bridge& bridge, absl::Time now) {
  if (IsDocument(format)) return PrintMessage(format, bridge);
  if (format == Format::kName) return PrintName(format, bridge.name());
  Table table({"ID", "STATE", "INTERFACE", "LOCATION", "MAC", "MTU", "ADMIN", "IFINDEX"});
  table.AddRow({ShortName(bridge.name()), StateOf(bridge), bridge.interface_name(), BridgeLocation(bridge),
                bridge.mac_address(), Number(bridge.mtu()), AdminState(bridge), Number(bridge.ifindex())});
  return table.Print() + Details(bridge, now, BridgeDetails(bridge));
}

absl::StatusOr<std::string> PrintBridges(Format format, const std::vector<v1::Bridge>& bridges, absl::Time now) {
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("bridges", bridges);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  if (format == Format::kName) {
    std::string text;
    for (const v1::Bridge& bridge : bridges) absl::StrAppend(&text, Printable(bridge.name()), "\n");
    return text;
  }
  std::vector<std::vector<std::string>> rows = {{"ID", "STATE", "INTERFACE", "LOCATION", "ADDRESSES", "PORTS"}};
  for (const v1::Bridge& bridge : bridges) {
    rows.push_back({ShortName(bridge.name()), StateOf(bridge), bridge.interface_name(), BridgeLocation(bridge),
                    AddressSummary(bridge), absl::StrCat(bridge.ports_size())});
  }
  AddExpiry(bridges, now, rows);
  return PrintTable(std::move(rows));
}

std::string DescribeDevice(const v1::Device& device) {
  std::string text = absl::StrCat(KindName(device), " ", Printable(device.interface_name()));
  if (device.has_namespace_()) absl::StrAppend(&text, " (in ", Printable(ShortName(device.namespace_())), ")");
  return text;
}

absl::StatusOr<std::string> PrintDevice(Format format, const v1::Device& device, absl::Time now) {
  if (IsDocument(format)) return PrintMessage(format, device);
  if (format == Format::kName) return PrintName(format, device.name());
  Table table({"ID", "KIND", "STATE", "INTERFACE", "LOCATION", "LOWER", "MAC", "MTU", "ADMIN", "IFINDEX"});
  table.AddRow({ShortName(device.name()), KindName(device), StateOf(device), device.interface_name(),
                BridgeLocation(device), LowerText(device), device.mac_address(), Number(device.mtu()),
                AdminState(device), Number(device.ifindex())});
  return table.Print() + Details(device, now, DeviceDetails(device));
}

absl::StatusOr<std::string> PrintDevices(Format format, const std::vector<v1::Device>& devices, absl::Time now) {
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("devices", devices);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  if (format == Format::kName) {
    std::string text;
    for (const v1::Device& device : devices) absl::StrAppend(&text, Printable(device.name()), "\n");
    return text;
  }
  std::vector<std::vector<std::string>> rows = {{"ID", "KIND", "STATE", "INTERFACE", "LOCATION", "LOWER", "ADDRESSES"}};
  for (const v1::Device& device : devices) {
    rows.push_back({ShortName(device.name()), KindName(device), StateOf(device), device.interface_name(),
                    BridgeLocation(device), LowerText(device), AddressSummary(device)});
  }
  AddExpiry(devices, now, rows);
  return PrintTable(std::move(rows));
}

absl::StatusOr<std::string> PrintLinks(Format format, const std::vector<v1::Link>& links) {
  if (format == Format::kName) {
    std::string text;
    for (const v1::Link& link : links) absl::StrAppend(&text, Printable(link.name()), "\n");
    return text;
  }
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("links", links);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  std::map<uint32_t, std::string> names;
  bool any_master = false;
  for (const v1::Link& link : links) {
    names[link.ifindex()] = link.interface_name();
    any_master = any_master || link.master_ifindex() != 0;
  }
  std::vector<std::vector<std::string>> rows = {
      {"IFINDEX", "INTERFACE", "KIND", "ADMIN", "OPER", "MAC", "MTU", "RX-BYTES", "TX-BYTES", "OBJECT"}};
  if (any_master) rows[0].push_back("MASTER");
  for (const v1::Link& link : links) {
    const bool down = link.admin_state() == v1::VethEndpoint::ADMIN_STATE_DOWN;
    const v1::Link::OperState oper = link.oper_state();
    rows.push_back({absl::StrCat(link.ifindex()), link.interface_name(), link.kind(), down ? "DOWN" : "UP",
                    oper == v1::Link::OPER_STATE_UNSPECIFIED
                        ? ""
                        : WithoutPrefix(v1::Link::OperState_Name(oper), "OPER_STATE_", oper),
                    link.mac_address(), Number(link.mtu()), absl::StrCat(link.statistics().rx_bytes()),
                    absl::StrCat(link.statistics().tx_bytes()), link.object()});
    if (!any_master) continue;
    const auto master = names.find(link.master_ifindex());
    rows.back().push_back(master == names.end() ? Number(link.master_ifindex()) : master->second);
  }
  return PrintTable(std::move(rows));
}

absl::StatusOr<std::string> PrintAddresses(Format format, const std::vector<v1::AddressEntry>& addresses) {
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("addresses", addresses);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"INTERFACE", "ADDRESS", "PEER", "SCOPE", "FLAGS", "PROTOCOL", "OBJECT"});
  for (const v1::AddressEntry& address : addresses) {
    table.AddRow({address.interface_name(), address.address(), address.peer(), ScopeText(address.scope()),
                  AddressFlags(address), AddressProtocol(address.protocol()), address.object()});
  }
  return table.Print();
}

absl::StatusOr<std::string> PrintRoutes(Format format, const std::vector<v1::RouteEntry>& routes) {
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("routes", routes);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"DESTINATION", "VIA", "INTERFACE", "METRIC", "TABLE", "SCOPE", "PROTOCOL", "SOURCE", "OBJECT"});
  for (const v1::RouteEntry& route : routes) {
    const auto add = [&](const std::string& gateway, const std::string& interface) {
      table.AddRow({Destination(route), gateway, interface, Number(route.metric()), TableName(route.table()),
                    ScopeText(route.scope()), RouteProtocol(route.protocol()), route.preferred_source(),
                    route.object()});
    };
    for (const v1::RouteEntry::NextHop& hop : route.next_hops()) add(hop.gateway(), hop.interface_name());
    if (route.next_hops().empty()) add(route.gateway(), route.interface_name());
  }
  return table.Print();
}

absl::StatusOr<std::string> PrintNeighbors(Format format, const std::vector<v1::NeighborEntry>& neighbors) {
  if (IsDocument(format)) {
    const absl::StatusOr<Json> json = ToJsonList("neighbors", neighbors);
    if (!json.ok()) return json.status();
    return Document(format, *json);
  }
  Table table({"INTERFACE", "ADDRESS", "MAC", "STATE", "ROUTER", "PROTOCOL", "OBJECT"});
  for (const v1::NeighborEntry& neighbor : neighbors) {
    const v1::NeighborEntry::State state = neighbor.state();
    table.AddRow({neighbor.interface_name(), neighbor.address(), neighbor.mac_address(),
                  state == v1::NeighborEntry::STATE_UNSPECIFIED
                      ? ""
                      : WithoutPrefix(v1::NeighborEntry::State_Name(state), "STATE_", state),
                  neighbor.router() ? "yes" : "", RouteProtocol(neighbor.protocol()), neighbor.object()});
  }
  return table.Print();
}

absl::StatusOr<std::string> PrintRenewal(Format format, const std::string& owner, const v1::RenewLeaseResponse& renewal,
                                         absl::Time now) {
  if (IsDocument(format)) return PrintMessage(format, renewal);
  const std::string left = renewal.has_expire_time() ? TimeLeft(renewal.expire_time(), now) : "";
  if (format == Format::kTable) {
    Table table({"OWNER", "LEASES", "EXPIRES"});
    table.AddRow({owner, absl::StrCat(renewal.renewed()), left});
    return table.Print();
  }
  if (renewal.renewed() == 0) return absl::StrCat("There are no leases of ", Printable(owner), "\n");
  std::string text = absl::StrCat("Renewed ", Count(renewal.renewed(), "lease"), " of ", Printable(owner));
  if (!left.empty()) {
    absl::StrAppend(&text, renewal.renewed() == 1 ? "; it expires in " : "; the first expires in ", left);
  }
  return text + "\n";
}

absl::StatusOr<std::string> PrintGarbage(Format format, const v1::CollectGarbageResponse& garbage, bool trial) {
  if (IsDocument(format)) return PrintMessage(format, garbage);
  if (format == Format::kTable) {
    Table table({"NAME", "RESULT"});
    for (const std::string& name : garbage.deleted()) table.AddRow({name, trial ? "would be deleted" : "deleted"});
    for (const auto& failure : garbage.failures()) table.AddRow({failure.name(), failure.message()});
    return table.Print();
  }
  std::string text;
  for (const std::string& name : garbage.deleted()) absl::StrAppend(&text, Printable(name), "\n");
  return text;
}

absl::StatusOr<std::string> PrintHostReport(Format format, const v1::HostReport& report) {
  if (IsDocument(format)) return PrintMessage(format, report);
  if (format == Format::kName) {
    std::string text;
    for (const v1::Finding& finding : report.findings()) absl::StrAppend(&text, Printable(finding.resource()), "\n");
    return text;
  }
  if (format == Format::kDefault) return ReportText(report);
  Table table({"KIND", "RESOURCE", "DETAIL"});
  for (const v1::Finding& finding : report.findings()) {
    table.AddRow({KindName(finding), finding.resource(), finding.detail()});
  }
  return table.Print();
}

bool NeedsAttention(const v1::HostReport& report) {
  return !report.registry_fault().empty() || !report.configuration_faults().empty() ||
         std::any_of(report.findings().begin(), report.findings().end(),
                     [](const v1::Finding& finding) { return KindOf(finding).needs_attention; });
}

// How many calls, and how much of each kind.
static std::string Limits(const v1::WhoAmIResponse& answer) {
  std::string text;
  const v1::CallLimits& calls = answer.call_limits();
  std::vector<std::string> most;
  if (calls.calls_per_second() > 0) {
    most.push_back(absl::StrCat(calls.calls_per_second(), " a second"));
    if (calls.burst() > 0) most.push_back(absl::StrCat(calls.burst(), " at once after a rest"));
  }
  if (calls.concurrent_calls() > 0) most.push_back(absl::StrCat(calls.concurrent_calls(), " under way"));
  if (!most.empty()) text = absl::StrCat("\nYour calls, at most: ", absl::StrJoin(most, ", "), "\n");
  if (answer.quotas().empty()) return text;
  Table table({"QUOTA", "IN USE", "AT MOST"});
  for (const v1::Quota& quota : answer.quotas()) {
    table.AddRow(
        {quota.quota(), absl::StrCat(quota.usage()), quota.has_limit() ? absl::StrCat(quota.limit()) : "any number"});
  }
  return absl::StrCat(text, "\n", table.Print());
}

absl::StatusOr<std::string> PrintWhoAmI(Format format, const v1::WhoAmIResponse& answer) {
  if (IsDocument(format)) return PrintMessage(format, answer);
  const v1::Identity& identity = answer.identity();
  if (format == Format::kName) return Printable(identity.name()) + "\n";
  Table table({"RULE", "ROLE", "RESOURCES", "LABELS", "RIGHTS"});
  for (const v1::Grant& grant : answer.grants()) {
    std::vector<std::string> labels;
    for (const auto& [key, value] : std::map<std::string, std::string>(grant.labels().begin(), grant.labels().end())) {
      labels.push_back(absl::StrCat(key, "=", value));
    }
    table.AddRow({grant.rule(), grant.role(), absl::StrJoin(grant.resources(), ","), absl::StrJoin(labels, ","),
                  absl::StrJoin(grant.rights(), ",")});
  }
  if (format == Format::kTable) return table.Print();
  std::string text =
      absl::StrCat("You are ", Printable(identity.name()), ", calling from ", Printable(identity.peer()), "\n");
  if (answer.grants().empty()) return absl::StrCat(text, "You may do nothing here but ask who you are\n");
  return absl::StrCat(text, "\nYou may:\n", table.Print(), Limits(answer));
}

absl::StatusOr<std::string> PrintName(Format format, const std::string& name) {
  if (format == Format::kName) return Printable(name) + "\n";
  if (IsDocument(format)) return Document(format, Json{{"name", name}});
  Table table({"NAME"});
  table.AddRow({ShortName(name)});
  return table.Print();
}

}  // namespace netprov::cli
