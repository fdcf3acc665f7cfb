#include "client/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/endpoint.h"
#include "client/owner.h"
#include "client/version.h"

namespace netprov::cli {
namespace {

constexpr char kNamespaces[] = "namespaces/";
constexpr char kVeths[] = "veths/";
constexpr char kSeeHelp[] = "Run with --help for more information.\n";

// Users may give an id or, as `-o name` prints it, a resource name.
std::string Name(const char* collection, const std::string& text) {
  return absl::StartsWith(text, collection) ? text : collection + text;
}

std::string Id(const char* collection, const std::string& text) {
  return absl::StartsWith(text, collection) ? text.substr(std::string_view(collection).size()) : text;
}

// Whether the API takes `text` as the id of a veth pair.
bool IsVethId(const std::string& text) {
  const auto allowed = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= 63 && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), allowed);
}

// CLI11 would take `010` for 8.
CLI::Validator Decimal() {
  return CLI::Validator(
      [](std::string& text) {
        uint32_t number = 0;
        const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        if (!digits || !absl::SimpleAtoi(text, &number)) return "must be a whole number, not `" + text + "`";
        text = absl::StrCat(number);
        return std::string();
      },
      "BYTES");
}

bool ParsePositiveDuration(const std::string& text, absl::Duration& duration) {
  return absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration() &&
         duration != absl::InfiniteDuration();
}

// One end of a pair, as typed.
struct End {
  std::string mac;
  uint32_t mtu = 0;
  bool down = false;

  void AddTo(v1::VethEndpoint& endpoint) const {
    if (!mac.empty()) endpoint.set_mac_address(mac);
    if (mtu != 0) endpoint.set_mtu(mtu);
    if (down) endpoint.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  }
};

struct Mutation {
  std::string request_id;
  bool validate_only = false;
  bool tolerant = false;  // --allow-existing, --allow-missing

  void AddOptions(CLI::App& app) {
    app.add_flag("--validate-only", validate_only, "Check everything, change nothing, and say what would happen");
    app.add_option(
           "--request-id", request_id,
           "A UUID that names this call: a repeat with the same one gets the first answer. Default: a fresh one")
        ->type_name("UUID");
  }

  template <typename Request>
  void AddTo(Request& request) const {
    request.set_request_id(request_id);
    request.set_validate_only(validate_only);
  }
};

// What an object has besides its shape, as typed.
struct MetadataFlags {
  std::vector<std::string> labels;
  std::string ttl;
  bool persistent = false;
  bool self_heal = false;

  void AddOptions(CLI::App& app) {
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

  // nullopt where nothing was said. An error's message is for the user.
  absl::StatusOr<std::optional<v1::Metadata>> Interpret(const CLI::App& app,
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
      metadata.mutable_ttl()->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
      metadata.mutable_ttl()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(duration)));
    }
    metadata.set_persistent(persistent);
    metadata.set_self_heal(self_heal);
    if (metadata.ByteSizeLong() == 0) return std::nullopt;
    return metadata;
  }
};

// CLI11 does not know of the command after `--`.
class ExecFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = CLI::Formatter::make_usage(app, std::move(name));
    absl::StripTrailingAsciiWhitespace(&usage);
    return usage + " -- COMMAND [ARGUMENT...]\n";
  }
};

// The grammar, and the places that it parses into. Used once.
class Grammar {
 public:
  explicit Grammar(std::optional<std::string> default_owner) : default_owner_(std::move(default_owner)) { Build(); }

  std::variant<CommandLine, Exit> Parse(const std::vector<std::string>& arguments) {
    // What follows `--` is exec's, and CLI11 must not see it: it would take `[a,b]` apart, for one.
    const auto mark = std::find(arguments.begin(), arguments.end(), "--");
    const std::vector<std::string> before(arguments.begin(), mark);
    // CLI11 would take the next argument for the value, which is dangerous with `--endpoint=$UNSET`.
    for (const std::string& argument : before) {
      if (absl::StartsWith(argument, "--") && argument.find('=') == argument.size() - 1) {
        return UsageError(argument + ": the value is missing");
      }
    }
    const std::vector<std::string> after(mark == arguments.end() ? mark : mark + 1, arguments.end());

    std::optional<Exit> exit = Run(before);
    if (!exec_->parsed() && mark != arguments.end()) exit = Run(arguments);
    if (exit.has_value()) return *exit;
    return Interpret(after);
  }

 private:
  static Exit UsageError(const absl::Status& status) { return UsageError(std::string(status.message())); }
  static Exit UsageError(const std::string& message) {
    return {.code = 2, .text = absl::StrCat("contain: ", Printable(message), "\n", kSeeHelp)};
  }

  // CLI11 reports by exception.
  std::optional<Exit> Run(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() != 0) return UsageError(error.what());
      std::ostringstream text;
      app_.exit(error, text, text);
      return Exit{.code = 0, .text = text.str()};
    }
    return std::nullopt;
  }

  void Build();
  void BuildVeth(CLI::App& net);
  void BuildLeases(CLI::App& net);
  CLI::App* Add(CLI::App& parent, const std::string& name, const std::string& description, const std::string& footer) {
    CLI::App* app = parent.add_subcommand(name, description);
    app->footer(footer);
    return app;
  }

  std::variant<CommandLine, Exit> Interpret(const std::vector<std::string>& after);
  // Who calls. An error's message is for the user.
  absl::StatusOr<std::optional<std::string>> InterpretOwner() const;
  std::variant<v1::CreateNamespaceRequest, Exit> InterpretCreateNamespace(const CommandLine& line);
  std::variant<v1::CreateVethRequest, Exit> InterpretCreateVeth(const CommandLine& line);
  std::variant<v1::CollectGarbageRequest, Exit> InterpretGc(const CommandLine& line);

  const std::optional<std::string> default_owner_;

  CLI::App app_{"Isolated network stacks: network namespaces and veth pairs.", "contain"};
  CLI::App* net_create_;
  CLI::App* net_delete_;
  CLI::App* net_list_;
  CLI::App* net_show_;
  CLI::App* veth_;
  CLI::App* veth_list_;
  CLI::App* veth_show_;
  CLI::App* veth_delete_;
  CLI::App* renew_;
  CLI::App* gc_;
  CLI::App* doctor_;
  CLI::App* exec_;

  CLI::Option* endpoint_option_;
  CLI::Option* state_dir_option_;
  CLI::Option* output_option_;
  CLI::Option* owner_option_;
  std::string endpoint_;
  std::string state_dir_;
  std::string timeout_ = "30s";
  std::string output_;
  std::string owner_;
  // All names are of this kind: what a command is about.
  std::string name_;
  Mutation mutation_;
  MetadataFlags metadata_;
  std::vector<std::string> keep_;
  bool apply_ = false;
  bool check_ = false;
  bool look_only_ = false;

  CLI::Option* host_option_;
  CLI::Option* from_ns_option_;
  CLI::Option* ns_option_;
  std::string host_, from_ns_, interface_, ns_, peer_, veth_id_;
  End first_end_, peer_end_;
};

void Grammar::Build() {
  app_.footer(
      "Examples:\n"
      "  contain net create blue\n"
      "  contain net veth --host uplink0 --ns blue\n"
      "  contain net exec blue -- ip addr\n"
      "  contain net delete blue");
  app_.fallthrough();
  app_.require_subcommand(1);
  app_.set_version_flag("--version", absl::StrCat("contain ", client::kVersion));
  endpoint_option_ =
      app_.add_option("--endpoint", endpoint_,
                      "The server: unix:///PATH or HOST:PORT. Default: NETPROV_ENDPOINT; without it, the daemon at "
                      "/run/netprov/netprovd.sock, or, where none runs, a server inside this process")
          ->type_name("ADDRESS");
  output_option_ =
      app_.add_option("-o,--output", output_,
                      "The form of the output. Default: a sentence for what changes something, else a table")
          ->type_name("table|json|yaml|name");
  app_.add_option("--timeout", timeout_, "How long the call may take in all, as in 500ms, 10s or 2m. Default: 30s")
      ->type_name("DURATION");
  state_dir_option_ =
      app_.add_option("--state-dir", state_dir_,
                      "Serve inside this process whether a daemon runs or not, with the state in this directory. "
                      "Default there: /var/lib/netprov")
          ->type_name("DIRECTORY");

  owner_option_ =
      app_.add_option("--owner", owner_,
                      "Who you are. What is created is this owner's, and every call renews the leases of what this "
                      "owner has. Default: NETPROV_OWNER; without it, nobody in particular")
          ->type_name("OWNER");

  CLI::App& net =
      *Add(app_, "net", "Network namespaces, and the veth pairs between them", "Example:\n  contain net create blue");
  net.require_subcommand(1);

  net_create_ = Add(net, "create", "Create a network namespace. It belongs to --owner, or else to NETPROV_OWNER.",
                    "Examples:\n"
                    "  contain net create blue\n"
                    "  contain net create blue --allow-existing -o json\n"
                    "  contain net create blue --owner ci/job-17 --ttl 10m --label team=net\n"
                    "  contain net create blue --persistent --self-heal");
  net_create_->add_option("NAME", name_, "Its name, also for `ip netns`")->required();
  net_create_->add_flag("--allow-existing", mutation_.tolerant,
                        "Succeed where the same is there already, made by netprov");
  metadata_.AddOptions(*net_create_);
  mutation_.AddOptions(*net_create_);

  net_delete_ = Add(net, "delete", "Delete a network namespace with all links in it",
                    "Examples:\n  contain net delete blue\n  contain net delete blue --allow-missing");
  net_delete_->add_option("NAME", name_, "Its name")->required();
  net_delete_->add_flag("--allow-missing", mutation_.tolerant, "Succeed where it is not there");
  mutation_.AddOptions(*net_delete_);

  net_list_ = Add(net, "list", "List network namespaces, also those that netprov did not make",
                  "Examples:\n  contain net list\n  contain net list -o json");

  net_show_ = Add(net, "show", "Show a network namespace",
                  "Examples:\n  contain net show blue\n  contain net show blue -o yaml");
  net_show_->add_option("NAME", name_, "Its name")->required();

  BuildVeth(net);
  BuildLeases(net);

  exec_ = Add(net, "exec",
              "Run a command in a network namespace, also one that netprov did not make, as `ip netns exec` does.\n"
              "The server must run on this host. The exit code is the command's; 127: not found, 126: not executable.",
              "Examples:\n"
              "  contain net exec blue -- ip addr\n"
              "  contain net exec blue -- sh -c 'ping -c 1 10.0.0.1'");
  exec_->formatter(std::make_shared<ExecFormatter>());
  exec_->add_option("NAME", name_, "The namespace's name")->required();
}

void Grammar::BuildVeth(CLI::App& net) {
  veth_ = Add(net, "veth",
              "Create a veth pair, or list, show and delete pairs.\n"
              "The first end is in the host (--host) or in a namespace (--from-ns), the peer in the namespace --ns.\n"
              "A pair belongs to --owner, or else to NETPROV_OWNER.",
              "Examples:\n"
              "  contain net veth --host uplink0 --ns blue\n"
              "  contain net veth --host uplink0 --ns blue --peer eth0 --mtu 1400 --peer-mtu 1400\n"
              "  contain net veth --from-ns red --interface to-blue --ns blue --peer to-red --id red-blue\n"
              "  contain net veth --host uplink0 --ns blue --owner ci/job-17 --ttl 10m --self-heal\n"
              "  contain net veth delete uplink0");
  veth_->require_subcommand(0, 1);
  host_option_ = veth_->add_option("--host", host_, "The first end is in the host and has this interface name")
                     ->type_name("INTERFACE");
  from_ns_option_ =
      veth_->add_option("--from-ns", from_ns_, "The first end is in this namespace")->type_name("NAMESPACE");
  CLI::Option* interface_option =
      veth_
          ->add_option("--interface", interface_,
                       "The first end's interface name, with --from-ns; `%d` in it becomes the lowest free number. "
                       "Default: veth%d")
          ->type_name("INTERFACE");
  interface_option->needs(from_ns_option_);
  host_option_->excludes(from_ns_option_);
  ns_option_ = veth_->add_option("--ns", ns_, "The peer is in this namespace")->type_name("NAMESPACE");
  veth_->add_option("--peer", peer_, "The peer's interface name, as with --interface. Default: veth%d")
      ->type_name("INTERFACE");
  veth_->add_option("--id", veth_id_, "The pair's id, for show and delete. Default: with --host, that interface name")
      ->type_name("ID");
  veth_->add_option("--mac", first_end_.mac, "The first end's MAC address")->type_name("MAC");
  veth_->add_option("--peer-mac", peer_end_.mac, "The peer's MAC address")->type_name("MAC");
  veth_->add_option("--mtu", first_end_.mtu, "The MTU of both ends, 68 to 65535. Default: 1500")
      ->transform(Decimal())
      ->type_name("BYTES");
  veth_->add_option("--peer-mtu", peer_end_.mtu, "The peer's MTU, where it is another. Default: that of --mtu")
      ->transform(Decimal())
      ->type_name("BYTES");
  veth_->add_flag("--down", first_end_.down, "Leave the first end down");
  veth_->add_flag("--peer-down", peer_end_.down, "Leave the peer down");
  veth_->add_flag("--allow-existing", mutation_.tolerant, "Succeed where the same pair is there already under this id");
  metadata_.AddOptions(*veth_);
  mutation_.AddOptions(*veth_);

  veth_list_ = Add(*veth_, "list", "List the veth pairs that netprov made",
                   "Examples:\n  contain net veth list\n  contain net veth list -o name");
  veth_show_ = Add(*veth_, "show", "Show both ends of a veth pair",
                   "Examples:\n  contain net veth show uplink0\n  contain net veth show uplink0 -o json");
  veth_show_->add_option("ID", name_, "The pair's id")->required();
  veth_delete_ = Add(*veth_, "delete", "Delete a veth pair",
                     "Examples:\n  contain net veth delete uplink0\n  contain net veth delete uplink0 --allow-missing");
  veth_delete_->add_option("ID", name_, "The pair's id")->required();
  veth_delete_->add_flag("--allow-missing", mutation_.tolerant, "Succeed where it is not there");
  mutation_.AddOptions(*veth_delete_);
}

void Grammar::BuildLeases(CLI::App& net) {
  renew_ = Add(net, "renew", "Give a sign of life: every lease of --owner, or else of NETPROV_OWNER, begins anew",
               "Examples:\n  contain net renew --owner ci/job-17\n  contain net renew --owner ci/job-17 -o json");

  gc_ = Add(net, "gc",
            "Delete what --owner, or else NETPROV_OWNER, has, but for what is to be kept.\n"
            "Without --apply, print what would be deleted and delete nothing. The exit code is 1 where something can't "
            "be deleted.",
            "Examples:\n"
            "  contain net gc --owner ci/job-17\n"
            "  contain net gc --owner ci/job-17 --keep blue --keep veths/uplink0 --apply");
  gc_->add_option("--keep", keep_,
                  "What stays: a namespace, as NAME or namespaces/NAME, or a pair, as veths/ID; can be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false);
  gc_->add_flag("--apply", apply_, "Do delete it");

  doctor_ = Add(net, "doctor",
                "Show what the server found when it last checked its host: at its start, or when it was asked to.\n"
                "The exit code is 0 where nothing needs attention, else 1.",
                "Examples:\n"
                "  contain net doctor\n"
                "  contain net doctor --check\n"
                "  contain net doctor --check --look-only -o json");
  CLI::Option* check =
      doctor_->add_flag("--check", check_, "Check the host now, and put right what was left unfinished");
  doctor_->add_flag("--look-only", look_only_, "Check, and change nothing")->needs(check);
}

absl::StatusOr<std::optional<std::string>> Grammar::InterpretOwner() const {
  const bool typed = !owner_option_->empty();
  if (!typed && (!default_owner_.has_value() || default_owner_->empty())) return std::nullopt;
  const std::string& owner = typed ? owner_ : *default_owner_;
  if (const absl::Status status = client::CheckOwner(owner); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(typed ? "--owner" : "NETPROV_OWNER", ": ", status.message(), ", not `", owner, "`"));
  }
  return owner;
}

std::variant<v1::CreateNamespaceRequest, Exit> Grammar::InterpretCreateNamespace(const CommandLine& line) {
  v1::CreateNamespaceRequest request;
  mutation_.AddTo(request);
  request.set_namespace_id(Id(kNamespaces, name_));
  request.set_allow_existing(mutation_.tolerant);
  const auto metadata = metadata_.Interpret(*net_create_, line.owner);
  if (!metadata.ok()) return UsageError(metadata.status());
  if (metadata->has_value()) *request.mutable_namespace_()->mutable_metadata() = **metadata;
  return request;
}

std::variant<v1::CollectGarbageRequest, Exit> Grammar::InterpretGc(const CommandLine& line) {
  v1::CollectGarbageRequest request;
  request.set_owner(*line.owner);
  request.set_validate_only(!apply_);
  for (const std::string& typed : keep_) {
    const std::string name = absl::StartsWith(typed, kVeths) ? typed : Name(kNamespaces, typed);
    // The server leaves a name aside that it does not know, and what was meant would be deleted.
    const size_t id = name.find('/') + 1;
    if (id == name.size() || name.find('/', id) != std::string::npos) {
      return UsageError("--keep: must be NAME, namespaces/NAME or veths/ID, not `" + typed + "`");
    }
    request.add_keep(name);
  }
  return request;
}

std::variant<v1::CreateVethRequest, Exit> Grammar::InterpretCreateVeth(const CommandLine& line) {
  if (host_option_->empty() && from_ns_option_->empty()) return UsageError("--host or --from-ns is required");
  if (ns_option_->empty()) return UsageError("--ns is required");
  v1::CreateVethRequest request;
  mutation_.AddTo(request);
  request.set_allow_existing(mutation_.tolerant);
  if (!veth_id_.empty()) {
    request.set_veth_id(Id(kVeths, veth_id_));
  } else if (IsVethId(host_)) {
    request.set_veth_id(host_);
  } else if (mutation_.tolerant) {
    return UsageError("--allow-existing needs --id here");
  }
  v1::VethEndpoint& a = *request.mutable_veth()->mutable_endpoint_a();
  if (!host_option_->empty()) {
    a.mutable_host();
    a.set_interface_name(host_);
  } else {
    a.set_namespace_(Name(kNamespaces, from_ns_));
    a.set_interface_name(interface_.empty() ? "veth%d" : interface_);
  }
  first_end_.AddTo(a);
  v1::VethEndpoint& b = *request.mutable_veth()->mutable_endpoint_b();
  b.set_namespace_(Name(kNamespaces, ns_));
  b.set_interface_name(peer_.empty() ? "veth%d" : peer_);
  if (peer_end_.mtu == 0) peer_end_.mtu = first_end_.mtu;
  peer_end_.AddTo(b);
  const auto metadata = metadata_.Interpret(*veth_, line.owner);
  if (!metadata.ok()) return UsageError(metadata.status());
  if (metadata->has_value()) *request.mutable_veth()->mutable_metadata() = **metadata;
  return request;
}

std::variant<CommandLine, Exit> Grammar::Interpret(const std::vector<std::string>& after) {
  CommandLine line;
  static const std::map<std::string, Format> kFormats = {
      {"table", Format::kTable}, {"json", Format::kJson}, {"yaml", Format::kYaml}, {"name", Format::kName}};
  if (!output_option_->empty()) {
    const auto format = kFormats.find(output_);
    if (format == kFormats.end())
      return UsageError("--output: must be table, json, yaml or name, not `" + output_ + "`");
    line.format = format->second;
  }
  if (!ParsePositiveDuration(timeout_, line.timeout)) {
    return UsageError("--timeout: must be a positive duration such as 500ms, 10s or 2m, not `" + timeout_ + "`");
  }
  if (!endpoint_option_->empty()) {
    if (!state_dir_option_->empty()) return UsageError("--endpoint and --state-dir exclude each other");
    const auto parsed = client::ParseEndpoint(endpoint_);
    if (!parsed.ok()) return UsageError("--endpoint: " + std::string(parsed.status().message()));
    line.endpoint = endpoint_;
  }
  if (!state_dir_option_->empty()) {
    if (state_dir_.empty()) return UsageError("--state-dir: must not be empty");
    line.state_dir = state_dir_;
  }

  absl::StatusOr<std::optional<std::string>> owner = InterpretOwner();
  if (!owner.ok()) return UsageError(owner.status());
  line.owner = *std::move(owner);
  if ((renew_->parsed() || gc_->parsed()) && !line.owner.has_value()) {
    return UsageError("--owner or NETPROV_OWNER is required");
  }

  if (!veth_->get_subcommands().empty()) {
    // Fallthrough, which lets global flags stand anywhere, also lets these through.
    for (const CLI::Option* option : veth_->get_options()) {
      if (option->empty()) continue;
      return UsageError(option->get_name() + " belongs to the creation of a pair, not to `contain net veth " +
                        veth_->get_subcommands().front()->get_name() + "`");
    }
  }

  if (net_create_->parsed()) {
    std::variant<v1::CreateNamespaceRequest, Exit> request = InterpretCreateNamespace(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::CreateNamespaceRequest>(std::move(request));
  } else if (net_delete_->parsed()) {
    v1::DeleteNamespaceRequest request;
    mutation_.AddTo(request);
    request.set_name(Name(kNamespaces, name_));
    request.set_allow_missing(mutation_.tolerant);
    line.command = std::move(request);
  } else if (net_list_->parsed()) {
    line.command = v1::ListNamespacesRequest();
  } else if (net_show_->parsed()) {
    v1::GetNamespaceRequest request;
    request.set_name(Name(kNamespaces, name_));
    line.command = std::move(request);
  } else if (renew_->parsed()) {
    if (line.format == Format::kName) return UsageError("--output: `name` has no meaning for `contain net renew`");
    v1::RenewLeaseRequest request;
    request.set_owner(*line.owner);
    line.command = std::move(request);
  } else if (gc_->parsed()) {
    std::variant<v1::CollectGarbageRequest, Exit> request = InterpretGc(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::CollectGarbageRequest>(std::move(request));
  } else if (doctor_->parsed() && check_) {
    v1::CheckHostRequest request;
    request.set_validate_only(look_only_);
    line.command = std::move(request);
  } else if (doctor_->parsed()) {
    line.command = v1::GetHostReportRequest();
  } else if (exec_->parsed()) {
    if (after.empty()) return UsageError("the command is missing: contain net exec NAME -- COMMAND [ARGUMENT...]");
    if (!output_option_->empty()) return UsageError("--output has no meaning for `contain net exec`");
    line.command = ExecCommand{.namespace_name = Name(kNamespaces, name_), .command = after};
  } else if (veth_list_->parsed()) {
    line.command = v1::ListVethsRequest();
  } else if (veth_show_->parsed()) {
    v1::GetVethRequest request;
    request.set_name(Name(kVeths, name_));
    line.command = std::move(request);
  } else if (veth_delete_->parsed()) {
    v1::DeleteVethRequest request;
    mutation_.AddTo(request);
    request.set_name(Name(kVeths, name_));
    request.set_allow_missing(mutation_.tolerant);
    line.command = std::move(request);
  } else {
    std::variant<v1::CreateVethRequest, Exit> request = InterpretCreateVeth(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::CreateVethRequest>(std::move(request));
  }
  return line;
}

}  // namespace

std::variant<CommandLine, Exit> ParseCommandLine(const std::vector<std::string>& arguments,
                                                 const std::optional<std::string>& default_owner) {
  return Grammar(default_owner).Parse(arguments);
}

}  // namespace netprov::cli
