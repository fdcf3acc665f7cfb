#include "client/cli/device_text.h"

#include <cstdint>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"

namespace netprov::cli {
namespace {

// The value of an enum whose name is `prefix` and `text` in upper case, but for the unspecified one.
template <typename Enum>
absl::Status SetByName(const char* option, const std::string& prefix, const std::string& text,
                       const google::protobuf::EnumDescriptor& names, Enum& value) {
  const google::protobuf::EnumValueDescriptor* found = names.FindValueByName(prefix + absl::AsciiStrToUpper(text));
  const bool is_lower = text == absl::AsciiStrToLower(text);
  if (found == nullptr || found->number() == 0 || !is_lower) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": `", text, "` is not known here"));
  }
  value = static_cast<Enum>(found->number());
  return absl::OkStatus();
}

// The reverse; a number where this program does not know it.
std::string NameOf(const std::string& prefix, int number, const google::protobuf::EnumDescriptor& names) {
  const google::protobuf::EnumValueDescriptor* value = names.FindValueByNumber(number);
  if (value == nullptr) return absl::StrCat(number);
  return absl::AsciiStrToLower(value->name().substr(prefix.size()));
}

bool ParseNumber(const std::string& text, uint32_t& number) {
  return text.find_first_not_of("0123456789") == std::string::npos && absl::SimpleAtoi(text, &number);
}

}  // namespace

absl::Status SetMacvlanMode(const std::string& text, v1::Macvlan& macvlan) {
  if (text.empty()) return absl::OkStatus();
  v1::Macvlan::Mode mode = v1::Macvlan::MODE_UNSPECIFIED;
  const absl::Status status = SetByName("--mode", "MODE_", text, *v1::Macvlan::Mode_descriptor(), mode);
  macvlan.set_mode(mode);
  return status;
}

absl::Status SetIpvlanMode(const std::string& text, v1::Ipvlan& ipvlan) {
  if (text.empty()) return absl::OkStatus();
  v1::Ipvlan::Mode mode = v1::Ipvlan::MODE_UNSPECIFIED;
  const absl::Status status = SetByName("--mode", "MODE_", text, *v1::Ipvlan::Mode_descriptor(), mode);
  ipvlan.set_mode(mode);
  return status;
}

absl::Status SetIpvlanModeFlag(const std::string& text, v1::Ipvlan& ipvlan) {
  if (text.empty()) return absl::OkStatus();
  v1::Ipvlan::ModeFlag flag = v1::Ipvlan::MODE_FLAG_UNSPECIFIED;
  const absl::Status status = SetByName("--mode-flag", "MODE_FLAG_", text, *v1::Ipvlan::ModeFlag_descriptor(), flag);
  ipvlan.set_mode_flag(flag);
  return status;
}

absl::Status SetVlanProtocol(const std::string& text, v1::Vlan& vlan) {
  if (text.empty()) return absl::OkStatus();
  v1::Vlan::Protocol protocol = v1::Vlan::PROTOCOL_UNSPECIFIED;
  const absl::Status status = SetByName("--protocol", "PROTOCOL_", text, *v1::Vlan::Protocol_descriptor(), protocol);
  vlan.set_protocol(protocol);
  return status;
}

absl::StatusOr<v1::Vxlan::FdbEntry> ParseFdbEntry(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (words.empty()) return absl::InvalidArgumentError("the MAC address is missing");
  v1::Vxlan::FdbEntry entry;
  entry.set_mac_address(words[0]);
  std::set<std::string> seen;
  for (size_t i = 1; i < words.size(); i += 2) {
    const std::string& word = words[i];
    if (word != "dst" && word != "port" && word != "vni") {
      return absl::InvalidArgumentError(absl::StrCat("`", word, "` is not known here"));
    }
    if (!seen.insert(word).second) return absl::InvalidArgumentError(absl::StrCat("`", word, "` is there twice"));
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    uint32_t number = 0;
    if (value.empty() || (word != "dst" && !ParseNumber(value, number))) {
      return absl::InvalidArgumentError(
          absl::StrCat("`", word, "` takes ", word == "dst" ? "an address" : "a number", ", not `", value, "`"));
    }
    if (word == "dst") entry.set_destination(value);
    if (word == "port") entry.set_port(number);
    if (word == "vni") entry.set_vni(number);
  }
  if (entry.destination().empty()) return absl::InvalidArgumentError("`dst` is missing");
  return entry;
}

std::string FormatFdbEntry(const v1::Vxlan::FdbEntry& entry) {
  std::string text = absl::StrCat(entry.mac_address(), " dst ", entry.destination());
  if (entry.port() != 0) absl::StrAppend(&text, " port ", entry.port());
  if (entry.vni() != 0) absl::StrAppend(&text, " vni ", entry.vni());
  return text;
}

std::string KindName(const v1::Device& device) {
  const google::protobuf::OneofDescriptor* kind = v1::Device::descriptor()->FindOneofByName("kind");
  const google::protobuf::FieldDescriptor* field = v1::Device::GetReflection()->GetOneofFieldDescriptor(device, kind);
  return field == nullptr ? "" : field->name();
}

std::vector<std::string> FormatKind(const v1::Device& device) {
  std::vector<std::string> lines;
  switch (device.kind_case()) {
    case v1::Device::kMacvlan:
      lines.push_back("mode " + NameOf("MODE_", device.macvlan().mode(), *v1::Macvlan::Mode_descriptor()));
      for (const std::string& source : device.macvlan().source_mac_addresses()) lines.push_back("source " + source);
      break;
    case v1::Device::kVxlan: {
      const v1::Vxlan& vxlan = device.vxlan();
      lines.push_back(absl::StrCat("vni ", vxlan.vni()));
      if (!vxlan.local().empty()) lines.push_back("local " + vxlan.local());
      if (!vxlan.remote().empty()) lines.push_back("remote " + vxlan.remote());
      lines.push_back(absl::StrCat("port ", vxlan.port()));
      if (vxlan.ttl() != 0) lines.push_back(absl::StrCat("ttl ", vxlan.ttl()));
      lines.push_back(absl::StrCat("learning ", vxlan.learning() ? "on" : "off"));
      if (vxlan.proxy()) lines.push_back("proxy on");
      lines.push_back("ageing-time " + absl::FormatDuration(absl::Seconds(vxlan.ageing_time().seconds())));
      break;
    }
    case v1::Device::kVlan:
      lines.push_back(absl::StrCat("vlan-id ", device.vlan().id()));
      lines.push_back("protocol " + NameOf("PROTOCOL_", device.vlan().protocol(), *v1::Vlan::Protocol_descriptor()));
      break;
    case v1::Device::kIpvlan:
      lines.push_back("mode " + NameOf("MODE_", device.ipvlan().mode(), *v1::Ipvlan::Mode_descriptor()));
      lines.push_back("mode-flag " +
                      NameOf("MODE_FLAG_", device.ipvlan().mode_flag(), *v1::Ipvlan::ModeFlag_descriptor()));
      break;
    case v1::Device::kDummy:
    case v1::Device::kIfb:
    case v1::Device::KIND_NOT_SET:
      break;
  }
  return lines;
}

}  // namespace netprov::cli
