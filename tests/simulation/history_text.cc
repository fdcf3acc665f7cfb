#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "tests/simulation/history.h"
#include "tests/simulation/traits.h"

namespace netprov::simulation {

using engine::EndpointSpec;

namespace {

constexpr const char* kMethodNames[] = {"CreateNamespace", "DeleteNamespace",
                                        "AdoptNamespace",  "ReleaseNamespace",
                                        "CreateVeth",      "DeleteVeth",
                                        "CreateDevice",    "DeleteDevice",
                                        "UpdateNamespace", "UpdateVeth",
                                        "UpdateDevice",    "CollectGarbage",
                                        "expire",          "tend",
                                        "GetNamespace",    "GetVeth",
                                        "GetDevice",       "ListNamespaces",
                                        "ListVeths",       "ListDevices"};

constexpr const char* kLossNames[] = {
    "addresses, neighbors and routes", "route without a link", "limits", "ifb", "translation", "forwarding",
    "membership in its bridge",        "forwarding database"};

std::string ToText(const Words& words) {
  std::string text;
  for (const auto& [name, value] : words) absl::StrAppend(&text, ",", name, "=", value);
  return text;
}

std::string ToText(const engine::EndpointConfig& config) {
  std::string text;
  for (const std::string& trait : With(IpTraits(config), RouteTraits(config))) absl::StrAppend(&text, ",", trait);
  if (config.ingress_limit.has_value()) absl::StrAppend(&text, ",ingress ", config.ingress_limit->rate);
  if (config.egress_limit.has_value()) absl::StrAppend(&text, ",egress ", config.egress_limit->rate);
  if (config.masquerade) absl::StrAppend(&text, ",masquerade");
  for (const engine::PortForward& forward : config.port_forwards) absl::StrAppend(&text, ",port ", forward.host_port);
  if (config.ip_forwarding) absl::StrAppend(&text, ",forwarding");
  if (!config.bridge.empty()) absl::StrAppend(&text, ",port of ", config.bridge, ToText(PortWords(config.port)));
  return text;
}

std::string ToText(const engine::NamespaceSpec& spec) {
  std::string text;
  for (const auto& [name, value] : spec.sysctls) absl::StrAppend(&text, " ", name, "=", value);
  for (const std::string& server : spec.dns.nameservers) absl::StrAppend(&text, " nameserver=", server);
  for (const engine::HostsEntry& entry : spec.dns.hosts) absl::StrAppend(&text, " host=", entry.address);
  return text;
}

std::string ToText(const EndpointSpec& end) {
  const std::string place = end.is_at_host() ? "host" : end.place ? PlaceName(*end.place) : end.namespace_id;
  return absl::StrCat(place, ":", end.interface_name, end.mtu.has_value() ? absl::StrCat(",mtu=", *end.mtu) : "",
                      end.up ? "" : ",down", ToText(end.config));
}

std::string ToText(const engine::DeviceOptions& options) {
  return absl::StrCat(" ", engine::KindOf(options), ToText(DeviceWords(options)), " ",
                      absl::StrJoin(FdbTraits(options), ","));
}

std::string ToText(const engine::DeviceSpec& spec) {
  const bool has_lower = !spec.lower.interface_name.empty();
  return absl::StrCat(" ", ToText(spec.link), ToText(spec.options),
                      has_lower ? absl::StrCat(" on ", spec.lower.namespace_id, ":", spec.lower.interface_name) : "");
}

std::string ToText(const engine::LinkSettings& settings) {
  return absl::StrCat(settings.mtu.has_value() ? absl::StrCat(" mtu ", *settings.mtu) : "",
                      settings.mac.has_value() ? " address " + settings.mac->ToString() : "",
                      settings.alias.has_value() ? absl::StrCat(" alias '", *settings.alias, "'") : "",
                      settings.device.has_value() ? ToText(*settings.device) : "", ToText(PortWords(settings.port)),
                      !settings.up.has_value() ? ""
                      : *settings.up           ? " up"
                                               : " down");
}

}  // namespace

const char* LossName(Act::Loss loss) { return kLossNames[static_cast<int>(loss)]; }

std::string ToText(const engine::Metadata& metadata) {
  return absl::StrCat(metadata.owner.empty() ? "" : absl::StrCat(" owner=", metadata.owner),
                      metadata.ttl == absl::ZeroDuration() ? "" : absl::StrCat(" ttl=", ToInt64Seconds(metadata.ttl)),
                      metadata.persistent ? " persistent" : "", metadata.self_heal ? " self_heal" : "",
                      absl::StrJoin(metadata.labels, "", [](std::string* text, const auto& label) {
                        absl::StrAppend(text, " ", label.first, "=", label.second);
                      }));
}

std::string Change::ToString() const {
  std::string text;
  for (const auto& [end, name] : {std::pair(&a, "a"), std::pair(&b, "b")}) {
    if (end->mtu.has_value()) absl::StrAppend(&text, " ", name, ".mtu=", *end->mtu);
    if (end->any_mtu) absl::StrAppend(&text, " ", name, ".mtu=any");
    if (end->up.has_value()) absl::StrAppend(&text, " ", name, *end->up ? ".up" : ".down");
    if (end->config.has_value()) absl::StrAppend(&text, " ", name, "=(", ToText(*end->config), ")");
    if (end->bridge.has_value()) {
      absl::StrAppend(&text, " ", name, ".bridge=", *end->bridge, ToText(PortWords(end->port)));
    }
  }
  if (options.has_value()) absl::StrAppend(&text, ToText(*options));
  if (sysctls.has_value())
    absl::StrAppend(&text, " sysctls=(", ToText(engine::NamespaceSpec{.sysctls = *sysctls}), ")");
  if (dns.has_value()) absl::StrAppend(&text, " dns=(", ToText(engine::NamespaceSpec{.dns = *dns}), ")");
  if (owner.has_value()) absl::StrAppend(&text, " owner=", *owner);
  if (ttl.has_value()) absl::StrAppend(&text, " ttl=", ToInt64Seconds(*ttl));
  if (label.has_value()) absl::StrAppend(&text, " label=", *label);
  if (persistent.has_value()) absl::StrAppend(&text, " persistent=", *persistent);
  if (self_heal.has_value()) absl::StrAppend(&text, " self_heal=", *self_heal);
  return text;
}

std::string Call::Fingerprint() const {
  std::string text = absl::StrCat(kMethodNames[static_cast<int>(method)], id.empty() ? "" : " ", id);
  if (method == Method::kCreateVeth) absl::StrAppend(&text, " ", ToText(spec.a), " <-> ", ToText(spec.b));
  if (method == Method::kCreateDevice) absl::StrAppend(&text, ToText(device));
  if (method == Method::kCollectGarbage) absl::StrAppend(&text, " ", owner, " keep=[", absl::StrJoin(keep, " "), "]");
  if (is_chore()) absl::StrAppend(&text, " ", object.name);
  absl::StrAppend(&text, ToText(netns), ToText(metadata), change.ToString());
  if (births) absl::StrAppend(&text, " create_namespaces");
  if (allow) absl::StrAppend(&text, creates() ? " allow_existing" : " allow_missing");
  if (validate) absl::StrAppend(&text, " validate_only");
  return text;
}

std::string Call::ToString() const {
  return absl::StrCat(Fingerprint(), request_id.empty() ? "" : " request_id=", request_id);
}

std::string Act::ToString() const {
  const std::string place = name.empty() ? "the host" : name;
  switch (kind) {
    case Kind::kAddNetns:
      return absl::StrCat("ip netns add ", name);
    case Kind::kRemoveName:
      return absl::StrCat("ip netns delete ", name);
    case Kind::kAddFile:
      return absl::StrCat(empty ? "an empty file " : "a file ", name);
    case Kind::kAddLink:
      return absl::StrCat("a link ", link, " in ", place);
    case Kind::kBindPath:
      return absl::StrCat("bind ", pid == 0 ? "a new namespace" : absl::StrCat("that of process ", pid), " at ", path);
    case Kind::kUnbindPath:
      return absl::StrCat("umount ", path);
    case Kind::kStartProcess:
      return absl::StrCat("process ", pid, " starts in a new namespace");
    case Kind::kEndProcess:
      return absl::StrCat("process ", pid, " ends");
    case Kind::kUnshare:
      return absl::StrCat("process ", pid, " enters a new namespace");
    case Kind::kRenameLink:
      return absl::StrCat("rename ", link, " in ", place, " to ", new_link);
    case Kind::kDeleteLink:
      return absl::StrCat("ip link delete ", link, " in ", place);
    case Kind::kSetLink:
      return absl::StrCat("ip link set ", link, " in ", place, ToText(settings));
    case Kind::kMoveLink:
      return absl::StrCat("move ", link, " in ", place, " to ", new_link, " in ", to.empty() ? "the host" : to);
    case Kind::kTakeAway:
      return absl::StrCat("take ", LossName(loss), " away from ", link, " in ", place, " ",
                          absl::StrJoin(IpTraits(ip), " "));
    case Kind::kSetSysctl:
      return absl::StrCat("set ", sysctl, " to ", value, " in ", place);
    case Kind::kRemoveDns:
      return absl::StrCat("remove the DNS files of ", name);
    case Kind::kAddDns:
      return absl::StrCat("write a resolv.conf for ", name);
  }
  return "";
}

}  // namespace netprov::simulation
