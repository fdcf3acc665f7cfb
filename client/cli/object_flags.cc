#include "client/cli/object_flags.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace netprov::cli {

void Mutation::AddOptions(CLI::App& app) {
  app.add_flag("--validate-only", validate_only, "Check everything, change nothing, and say what would happen");
  app.add_option("--request-id", request_id,
                 "A UUID that names this call: a repeat with the same one gets the first answer. Default: a fresh one")
      ->type_name("UUID");
}

void MetadataFlags::AddOptions(CLI::App& app) {
  app.add_option("--label", labels, "A label of yours; can be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--ttl", ttl,
                 "Delete it so long after the last sign of life of its owner (--owner), as in 30s, 10m or 24h. Only "
                 "a daemon does. Default: never")
      ->type_name("DURATION");
  app.add_flag("--persistent", persistent, "Make it again after a reboot of the host");
  app.add_flag("--self-heal", self_heal, "Put it right when somebody else changes or removes it. Only a daemon does");
}

absl::StatusOr<std::optional<v1::Metadata>> MetadataFlags::Interpret(const CLI::App& app,
                                                                     const std::optional<std::string>& owner) const {
  v1::Metadata metadata;
  if (owner.has_value()) metadata.set_owner(*owner);
  for (const std::string& label : labels) {
    const size_t mark = label.find('=');
    if (mark == 0 || mark == std::string::npos) {
      return absl::InvalidArgumentError("--label: must be KEY=VALUE, not `" + label + "`");
    }
    const std::string key = label.substr(0, mark);
    if (metadata.labels().contains(key)) return absl::InvalidArgumentError("--label: `" + key + "` is there twice");
    (*metadata.mutable_labels())[key] = label.substr(mark + 1);
  }
  if (app.count("--ttl") > 0) {
    absl::Duration duration;
    if (!ParsePositiveDuration(ttl, duration)) {
      return absl::InvalidArgumentError("--ttl: must be a positive duration such as 30s, 10m or 24h, not `" + ttl +
                                        "`");
    }
    if (!owner.has_value()) {
      return absl::InvalidArgumentError("--ttl needs --owner or NETPROV_OWNER: who shall give signs of life?");
    }
    Set(duration, *metadata.mutable_ttl());
  }
  metadata.set_persistent(persistent);
  metadata.set_self_heal(self_heal);
  if (metadata.ByteSizeLong() == 0) return std::nullopt;
  return metadata;
}

void NamespaceFlags::AddOptions(CLI::App& app) {
  app.add_option("--sysctl", sysctls,
                 "A kernel setting inside it, as in net.ipv4.ip_forward=1; written before it gets its name. Can be "
                 "repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  const auto add = [&app](const char* name, std::vector<std::string>& to, const char* what, const char* type) {
    app.add_option(name, to, what)->type_name(type)->allow_extra_args(false);
  };
  add("--dns", nameservers,
      "A name server for what `ip netns exec` starts in it, in /etc/netns/NAME/resolv.conf. Can be repeated",
      "ADDRESS");
  add("--dns-search", searches, "A domain in which names are looked for. Can be repeated", "DOMAIN");
  add("--dns-option", options, "An option of the resolver, as ndots:2. Can be repeated", "OPTION");
  add("--add-host", hosts, "A line of /etc/netns/NAME/hosts, as db,db.example.org=10.0.0.5. Can be repeated",
      "NAME[,NAME...]=ADDRESS");
}

absl::Status NamespaceFlags::AddDnsTo(v1::Namespace& ns) const {
  v1::Dns dns;
  dns.mutable_nameservers()->Add(nameservers.begin(), nameservers.end());
  dns.mutable_searches()->Add(searches.begin(), searches.end());
  dns.mutable_options()->Add(options.begin(), options.end());
  for (const std::string& text : hosts) {
    const size_t mark = text.find('=');
    if (mark == 0 || mark == std::string::npos) {
      return absl::InvalidArgumentError("--add-host: must be NAME[,NAME...]=ADDRESS, not `" + text + "`");
    }
    v1::Dns::Host& host = *dns.add_hosts();
    for (const absl::string_view name : absl::StrSplit(text.substr(0, mark), ',')) host.add_names(std::string(name));
    host.set_address(text.substr(mark + 1));
  }
  if (dns.ByteSizeLong() > 0) *ns.mutable_dns() = std::move(dns);
  return absl::OkStatus();
}

absl::Status NamespaceFlags::AddTo(v1::Namespace& ns) const {
  if (const absl::Status status = AddDnsTo(ns); !status.ok()) return status;
  for (const std::string& sysctl : sysctls) {
    const size_t mark = sysctl.find('=');
    if (mark == 0 || mark == std::string::npos) {
      return absl::InvalidArgumentError("--sysctl: must be NAME=VALUE, not `" + sysctl + "`");
    }
    const std::string name = sysctl.substr(0, mark);
    if (ns.sysctls().contains(name)) return absl::InvalidArgumentError("--sysctl: `" + name + "` is there twice");
    (*ns.mutable_sysctls())[name] = sysctl.substr(mark + 1);
  }
  return absl::OkStatus();
}

void TableFilter::AddInterface(CLI::App& app) {
  app.add_option("--interface", interface_, "Only that link, by its name or another one that it has, or what is on it")
      ->type_name("INTERFACE");
}

void TableFilter::AddKind(CLI::App& app) {
  app.add_option("--kind", kind_, "Only links of this kind, as veth or bridge")->type_name("KIND");
}

void TableFilter::AddFamily(CLI::App& app) {
  app.add_option("--family", family_, "Only what is of this family")->type_name("ipv4|ipv6");
}

void TableFilter::AddTable(CLI::App& app) {
  app.add_option("--table", table_, "The routing table: a number, main, local or all. Default: main")
      ->type_name("TABLE");
}

absl::StatusOr<v1::ListLinksRequest> TableFilter::Links(const std::string& name) const {
  v1::ListLinksRequest request;
  SetWhere(name, request);
  request.set_kind(kind_);
  return request;
}

absl::StatusOr<v1::ListRoutesRequest> TableFilter::Routes(const std::string& name) const {
  absl::StatusOr<v1::ListRoutesRequest> request = OfFamily<v1::ListRoutesRequest>(name);
  if (!request.ok()) return request;
  uint32_t table = 0;
  if (table_ == "main") {
    table = kMainTable;
  } else if (table_ == "local") {
    table = kLocalTable;
  } else if (table_ != "all" && (!IsNumber(table_) || !absl::SimpleAtoi(table_, &table) || table == 0)) {
    return absl::InvalidArgumentError("--table: must be a number above 0, main, local or all, not `" + table_ + "`");
  }
  request->set_table(table);
  return request;
}

}  // namespace netprov::cli
