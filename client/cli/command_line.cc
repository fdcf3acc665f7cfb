#include "client/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/bridge_flags.h"
#include "client/cli/device_flags.h"
#include "client/cli/end_flags.h"
#include "client/cli/field_text.h"
#include "client/cli/flags.h"
#include "client/cli/object_flags.h"
#include "client/endpoint.h"
#include "client/owner.h"
#include "client/version.h"

namespace netprov::cli {
namespace {

constexpr char kSeeHelp[] = "Run with --help for more information.\n";

// Whether the API takes `text` as the id of a veth pair.
bool IsVethId(const std::string& text) {
  const auto allowed = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= 63 && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), allowed);
}

// CLI11 does not know of the command after `--`.
class ExecFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = CLI::Formatter::make_usage(app, std::move(name));
    absl::StripTrailingAsciiWhitespace(&usage);
    return usage + " -- COMMAND [ARGUMENT...]\n";
  }
};

// The options of an end have several names, and what begins them is said at the top.
class VethFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    if (!option->get_snames().empty()) return CLI::Formatter::make_option_name(option, is_positional);
    return option->get_name(is_positional);
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
    typed_ = before;
    has_mark_ = mark != arguments.end();
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
    } catch (const CLI::ExtrasError&) {
      return UsageError(Unexpected());
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() != 0) return UsageError(error.what());
      std::ostringstream text;
      app_.exit(error, text, text);
      return Exit{.code = 0, .text = text.str()};
    }
    return std::nullopt;
  }

  // What is said of arguments that are too many: CLI11 turns them round, and does not know what exec wants.
  std::string Unexpected() const {
    const std::vector<std::string> extra = app_.remaining(/*recurse=*/true);
    const std::string words = absl::StrJoin(extra, " ");
    if (exec_->parsed() && !has_mark_) {
      return absl::StrCat("put -- before the command: contain net exec ", name_.empty() ? "NAME" : name_, " -- ",
                          words);
    }
    return absl::StrCat(extra.size() > 1 ? "these arguments were not expected: " : "this argument was not expected: ",
                        words);
  }

  void Build();
  void BuildVeth(CLI::App& net);
  void BuildBridge(CLI::App& net);
  void BuildDevice(CLI::App& net);
  void BuildUpdate(CLI::App& net);
  void BuildInspection(CLI::App& net);
  void BuildLeases(CLI::App& net);
  void BuildAccess();
  CLI::App* Add(CLI::App& parent, const std::string& name, const std::string& description, const std::string& footer) {
    CLI::App* app = parent.add_subcommand(name, description);
    app->footer(footer);
    return app;
  }

  std::variant<CommandLine, Exit> Interpret(const std::vector<std::string>& after);
  // Who calls. An error's message is for the user.
  absl::StatusOr<std::optional<std::string>> InterpretOwner() const;
  // What the namespace shall be like, as typed for `app`. An error's message is for the user.
  template <typename Request>
  absl::Status AddNamespaceTo(const CLI::App& app, const CommandLine& line, Request& request) const;
  std::variant<v1::CreateNamespaceRequest, Exit> InterpretCreateNamespace(const CommandLine& line);
  std::variant<v1::AdoptNamespaceRequest, Exit> InterpretAdoptNamespace(const CommandLine& line);
  std::variant<v1::CreateVethRequest, Exit> InterpretCreateVeth(const CommandLine& line);
  std::variant<v1::CreateBridgeRequest, Exit> InterpretCreateBridge(const CommandLine& line);
  // nullopt: it is another command, or the creation of one.
  std::optional<Command> InterpretBridge() const;
  std::variant<v1::CreateDeviceRequest, Exit> InterpretCreateDevice(const CommandLine& line);
  std::optional<Command> InterpretDevice() const;
  // OK if each name of an option of the first end is one for where that end is. An error's message is for the user.
  absl::Status CheckFirstEndNames() const;
  // nullopt: it is another command.
  std::optional<Command> InterpretAccess() const;
  std::variant<Command, Exit> InterpretUpdate() const;
  // What else of this id could have the fields that are to be set, as `veths/ID or devices/ID`; empty: nothing.
  std::string WhatElseHas(const std::string& id) const;
  std::variant<v1::CollectGarbageRequest, Exit> InterpretGc(const CommandLine& line);
  // What a command lists of the kernel's tables; nullopt: it is another command. An error's message is for the user.
  absl::StatusOr<std::optional<Command>> InterpretInspection(const CommandLine& line) const;

  const std::optional<std::string> default_owner_;
  // The arguments before `--`.
  std::vector<std::string> typed_;
  // Whether there is a `--`.
  bool has_mark_ = false;

  CLI::App app_{"Isolated network stacks: network namespaces, veth pairs and bridges.", "contain"};
  CLI::App* net_create_;
  CLI::App* net_delete_;
  CLI::App* net_adopt_;
  CLI::App* net_release_;
  CLI::App* net_list_;
  CLI::App* net_show_;
  CLI::App* veth_;
  CLI::App* veth_list_;
  CLI::App* veth_show_;
  CLI::App* veth_delete_;
  CLI::App* bridge_create_;
  CLI::App* bridge_list_;
  CLI::App* bridge_show_;
  CLI::App* bridge_delete_;
  CLI::App* device_create_;
  CLI::App* device_list_;
  CLI::App* device_show_;
  CLI::App* device_delete_;
  CLI::App* set_;
  CLI::App* links_;
  CLI::App* addresses_;
  CLI::App* routes_;
  CLI::App* neighbors_;
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
  NamespaceFlags namespace_;
  MetadataFlags metadata_;
  TableFilter filter_;
  bool force_ = false;
  std::vector<std::string> settings_;
  std::vector<std::string> keep_;
  bool apply_ = false;
  bool check_ = false;
  bool look_only_ = false;

  CLI::Option* host_option_;
  // How an end is said to be in a namespace.
  struct InNamespace {
    CLI::Option* name_option;
    CLI::Option* path_option;
    CLI::Option* pid_option;
    std::string name, path;
    uint32_t pid = 0;

    bool empty() const { return name_option->empty() && path_option->empty() && pid_option->empty(); }
    void AddTo(v1::VethEndpoint& endpoint) const;
  };
  // Adds its options, as `--ns`, `--ns-path` and `--ns-pid`, of which at most one can be given.
  void AddInNamespace(const std::string& option, const char* group, InNamespace& where);

  CLI::Option* interface_option_;
  InNamespace first_where_, peer_where_;
  std::string host_, interface_, peer_, veth_id_;
  bool create_namespaces_ = false;
  uint32_t mtu_ = 0;
  End first_end_, peer_end_;
  BridgeFlags bridge_;
  DeviceFlags device_;
  client::TlsOptions tls_;
  std::vector<CLI::Option*> tls_options_;
  CLI::App *whoami_, *pki_init_, *pki_issue_, *pki_revoke_;
  PkiCommand pki_;
  int pki_days_ = 365;
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
  for (const auto& [name, file, what] :
       {std::tuple("--tls-ca", &tls_.ca, "The CA that signs the server's certificate, where it is reached by TLS"),
        std::tuple("--tls-cert", &tls_.certificate, "Your certificate"),
        std::tuple("--tls-key", &tls_.key, "Its private key")}) {
    std::string variable = absl::StrCat("NETPROV_", absl::AsciiStrToUpper(absl::StrReplaceAll(name + 2, {{"-", "_"}})));
    tls_options_.push_back(
        app_.add_option(name, *file, absl::StrCat(what, ", in PEM. Default: ", variable))->type_name("FILE"));
  }
  tls_options_.push_back(
      app_.add_option(
              "--tls-server-name", tls_.server_name,
              "The name in the server's certificate. Default: NETPROV_TLS_SERVER_NAME, else the host of --endpoint")
          ->type_name("NAME"));
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

  CLI::App& net = *Add(app_, "net", "Network namespaces, and the veth pairs and bridges between them",
                       "Example:\n  contain net create blue");
  net.require_subcommand(1);

  net_create_ =
      Add(net, "create", "Create a network namespace. It belongs to --owner, or else to NETPROV_OWNER.",
          "Examples:\n"
          "  contain net create blue\n"
          "  contain net create blue --allow-existing -o json\n"
          "  contain net create blue --owner ci/job-17 --ttl 10m --label team=net\n"
          "  contain net create blue --persistent --self-heal\n"
          "  contain net create router --sysctl net.ipv4.ip_forward=1 --sysctl net.ipv6.conf.all.forwarding=1\n"
          "  contain net create ci --dns 10.0.0.53 --dns-search example.org --add-host db=10.0.0.5");
  net_create_->add_option("NAME", name_, "Its name, also for `ip netns`")->required();
  net_create_->add_flag("--allow-existing", mutation_.tolerant,
                        "Succeed where the same is there already, made by netprov");
  namespace_.AddOptions(*net_create_);
  metadata_.AddOptions(*net_create_);
  mutation_.AddOptions(*net_create_);

  net_delete_ = Add(net, "delete", "Delete a network namespace with all links in it",
                    "Examples:\n"
                    "  contain net delete blue\n"
                    "  contain net delete blue --allow-missing\n"
                    "  contain net delete blue --force");
  net_delete_->add_option("NAME", name_, "Its name")->required();
  net_delete_->add_flag("--allow-missing", mutation_.tolerant, "Succeed where it is not there");
  net_delete_->add_flag("--force", force_, "Delete it with processes inside, too; they keep an empty, unnamed one");
  mutation_.AddOptions(*net_delete_);

  net_adopt_ = Add(net, "adopt",
                   "Take a network namespace into netprov's care that somebody else made, as `ip netns add` does.\n"
                   "What is in it stays. It belongs to --owner, or else to NETPROV_OWNER.",
                   "Examples:\n"
                   "  contain net adopt lab\n"
                   "  contain net adopt lab --self-heal --sysctl net.ipv4.ip_forward=1");
  net_adopt_->add_option("NAME", name_, "Its name, as `ip netns` shows it")->required();
  net_adopt_->add_flag("--allow-existing", mutation_.tolerant, "Succeed where the same was adopted already");
  namespace_.AddOptions(*net_adopt_);
  metadata_.AddOptions(*net_adopt_);
  mutation_.AddOptions(*net_adopt_);

  net_release_ =
      Add(net, "release", "Let a network namespace go: netprov forgets it, and it stays with all that is in it",
          "Examples:\n"
          "  contain net release lab\n"
          "  contain net release lab --allow-missing");
  net_release_->add_option("NAME", name_, "Its name")->required();
  net_release_->add_flag("--allow-missing", mutation_.tolerant, "Succeed where netprov does not manage it");
  mutation_.AddOptions(*net_release_);

  net_list_ = Add(net, "list", "List network namespaces, also those that netprov did not make",
                  "Examples:\n  contain net list\n  contain net list -o json");

  net_show_ = Add(net, "show", "Show a network namespace",
                  "Examples:\n  contain net show blue\n  contain net show blue -o yaml");
  net_show_->add_option("NAME", name_, "Its name")->required();

  BuildVeth(net);
  BuildBridge(net);
  BuildDevice(net);
  BuildUpdate(net);
  BuildInspection(net);
  BuildLeases(net);

  exec_ = Add(net, "exec",
              "Run a command in a network namespace, also one that netprov did not make, as `ip netns exec` does.\n"
              "The server must run on this host. The exit code is the command's; 127: not found, 126: not executable.",
              "Examples:\n"
              "  contain net exec blue -- ip addr\n"
              "  contain net exec blue -- sh -c 'ping -c 1 10.0.0.1'");
  BuildAccess();
  exec_->formatter(std::make_shared<ExecFormatter>());
  exec_->add_option("NAME", name_, "The namespace's name")->required();
}

void Grammar::InNamespace::AddTo(v1::VethEndpoint& endpoint) const {
  if (!path_option->empty()) {
    endpoint.set_netns_path(path);
  } else if (!pid_option->empty()) {
    endpoint.set_pid(pid);
  } else {
    endpoint.set_namespace_(Name(kNamespaces, name));
  }
}

void Grammar::BuildAccess() {
  whoami_ = Add(app_, "whoami", "Show who the server takes you for, and what you may do",
                "Examples:\n  contain whoami\n  contain whoami -o json");
  CLI::App& pki =
      *Add(app_, "pki", "A certificate authority for a first set-up, with which server and callers know each other",
           "Example:\n  contain pki init --dir pki --server node1.example.org --client ci");
  pki.require_subcommand(1);
  pki_init_ = Add(pki, "init",
                  "Make a CA (ca.pem, ca-key.pem), an empty list of what it has revoked (crl.pem), and certificates.\n"
                  "Keep ca-key.pem away from servers.",
                  "Example:\n"
                  "  contain pki init --dir pki --server node1.example.org --server 192.0.2.1 --client ci");
  pki_issue_ = Add(pki, "issue", "Issue further certificates of the CA, or with --renew new ones for old",
                   "Examples:\n"
                   "  contain pki issue --dir pki --client spiffe://example.org/lab\n"
                   "  contain pki issue --dir pki --client spiffe://example.org/other/lab --name other-lab\n"
                   "  contain pki issue --dir pki --client spiffe://example.org/lab --renew\n"
                   "  contain pki issue --dir pki --server node1.example.org --server 192.0.2.1 --renew");
  pki_revoke_ = Add(pki, "revoke", "Add certificates to the list of what the CA has revoked",
                    "Example:\n  contain pki revoke --dir pki pki/ci.pem");
  for (CLI::App* app : {pki_init_, pki_issue_, pki_revoke_}) {
    app->add_option("--dir", pki_.directory, "Where the CA is")->type_name("DIRECTORY")->required();
  }
  for (CLI::App* app : {pki_init_, pki_issue_}) {
    app->add_option("--server", pki_.servers,
                    "A DNS name or an address by which the server is reached, for server.pem; may be repeated")
        ->take_all()
        ->type_name("NAME");
    app->add_option("--client", pki_.clients,
                    "A caller, for NAME.pem: a name (its CN), or a URI such as a SPIFFE ID, of which NAME is what "
                    "follows the last `/`; may be repeated")
        ->take_all()
        ->type_name("NAME");
    app->add_option("--name", pki_.name, "What names the files instead, where one certificate is made")
        ->type_name("NAME");
    app->add_option("--days", pki_days_, "How long the certificates hold, 1 to 3650 days. Default: 365")
        ->check(CLI::Range(1, 3650))
        ->type_name("DAYS");
  }
  pki_issue_->add_flag("--renew", pki_.renew,
                       "Replace the keys and certificates that are there, those of the same callers or of a server");
  pki_revoke_->add_option("CERTIFICATE", pki_.revoked, "Their files")->required();
}

std::optional<Command> Grammar::InterpretAccess() const {
  if (whoami_->parsed()) return v1::WhoAmIRequest();
  PkiCommand command = pki_;
  command.lifetime = absl::Hours(24 * pki_days_);
  if (pki_init_->parsed()) {
    command.action = PkiCommand::Action::kInit;
  } else if (pki_issue_->parsed()) {
    command.action = PkiCommand::Action::kIssue;
  } else if (pki_revoke_->parsed()) {
    command.action = PkiCommand::Action::kRevoke;
  } else {
    return std::nullopt;
  }
  return command;
}

void Grammar::AddInNamespace(const std::string& option, const char* group, InNamespace& where) {
  where.name_option =
      veth_->add_option(option, where.name, "It is in this namespace")->type_name("NAMESPACE")->group(group);
  where.path_option =
      veth_
          ->add_option(option + "-path", where.path, "It is in the network namespace at this path; no link is followed")
          ->type_name("PATH")
          ->group(group);
  where.pid_option = veth_->add_option(option + "-pid", where.pid, "It is in the network namespace of this process")
                         ->transform(Decimal())
                         ->type_name("PID")
                         ->group(group);
  where.name_option->excludes(where.path_option);
  where.name_option->excludes(where.pid_option);
  where.path_option->excludes(where.pid_option);
}

void Grammar::BuildVeth(CLI::App& net) {
  veth_ =
      Add(net, "veth",
          "Create a veth pair, or list, show and delete pairs.\n"
          "The first end is in the host (--host) or in a namespace (--from-ns), the peer in the namespace --ns.\n"
          "A namespace that netprov did not make is given by the path of its file or by a process inside: --ns-path\n"
          "and --ns-pid, --from-ns-path and --from-ns-pid.\n"
          "Each option of an end has a form that says which: with --host- or, with --from-ns, --from- the first's,\n"
          "with --peer- the peer's, as in --host-address, --from-mac, --peer-mtu. Without that, addresses, gateways,\n"
          "routes, neighbors, rates and NAT (--masquerade, --publish, --ip-forwarding) are the peer's, the others the\n"
          "first end's, and --mtu is of both.\n"
          "A pair belongs to --owner, or else to NETPROV_OWNER.",
          "Examples:\n"
          "  contain net veth --host uplink0 --ns blue\n"
          "  contain net veth --host h0 --ns blue --create-ns --address 10.0.0.2/24 --host-address 10.0.0.1/24 \\\n"
          "      --gateway 10.0.0.1\n"
          "  contain net veth --host uplink0 --ns blue --peer eth0 --mtu 1400\n"
          "  contain net veth --from-ns red --interface to-blue --ns blue --peer to-red --id red-blue \\\n"
          "      --from-address 10.0.0.1/24 --address 10.0.0.2/24 --route '10.1.0.0/16 via 10.0.0.1 metric 100'\n"
          "  contain net veth --host c0 --ns-pid 4242 --peer eth0 --address 10.0.0.2/24\n"
          "  contain net veth --host uplink0 --ns blue --owner ci/job-17 --ttl 10m --self-heal\n"
          "  contain net veth delete uplink0");
  veth_->formatter(std::make_shared<VethFormatter>());
  veth_->require_subcommand(0, 1);
  constexpr char kFirstEndGroup[] = "The first end";
  constexpr char kPeerGroup[] = "The peer, inside --ns, --ns-path or --ns-pid";
  host_option_ = veth_->add_option("--host", host_, "It is in the host and has this interface name")
                     ->type_name("INTERFACE")
                     ->group(kFirstEndGroup);
  AddInNamespace("--from-ns", kFirstEndGroup, first_where_);
  interface_option_ =
      veth_
          ->add_option("--interface", interface_,
                       "Its interface name, with --from-ns; `%d` in it becomes the lowest free number. Default: veth%d")
          ->type_name("INTERFACE")
          ->group(kFirstEndGroup);
  for (CLI::Option* option : {first_where_.name_option, first_where_.path_option, first_where_.pid_option}) {
    host_option_->excludes(option);
  }
  // Without a prefix, a link option is the first end's, and IP is for the namespace that the pair leads into.
  first_end_.AddOptions(
      EndOptions(*veth_, kFirstEndGroup,
                 {.link = {"--", "--host-", "--from-"}, .mtu = {"--host-", "--from-"}, .ip = {"--host-", "--from-"}}));
  AddInNamespace("--ns", kPeerGroup, peer_where_);
  veth_->add_option("--peer", peer_, "Its interface name, as with --interface. Default: veth%d")
      ->type_name("INTERFACE")
      ->group(kPeerGroup);
  peer_end_.AddOptions(
      EndOptions(*veth_, kPeerGroup, {.link = {"--peer-"}, .mtu = {"--peer-"}, .ip = {"--", "--peer-"}}));
  veth_->add_option("--id", veth_id_, "The pair's id, for show and delete. Default: with --host, that interface name")
      ->type_name("ID");
  veth_->add_option("--mtu", mtu_, "The MTU of both ends, 68 to 65535. Default: 1500")
      ->transform(Decimal())
      ->type_name("BYTES");
  veth_->add_flag("--create-ns", create_namespaces_,
                  "Make --ns and --from-ns too where they do not exist, with the pair's owner, lease and labels");
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

void Grammar::BuildBridge(CLI::App& net) {
  CLI::App& bridge =
      *Add(net, "bridge", "Bridges, whose ports are ends of veth pairs and devices (`contain net veth --bridge`)",
           "Example:\n  contain net bridge create br0 --address 10.0.0.1/24");
  bridge.require_subcommand(1);
  bridge_create_ = Add(bridge, "create", "Create a bridge. It belongs to --owner, or else to NETPROV_OWNER.",
                       "Examples:\n"
                       "  contain net bridge create br0 --address 10.0.0.1/24\n"
                       "  contain net bridge create lan --ns router --stp --ageing-time 1m");
  bridge_create_->add_option("NAME", name_, "Its id, for show and delete")->required();
  bridge_.AddOptions(*bridge_create_);
  bridge_create_->add_flag("--allow-existing", mutation_.tolerant,
                           "Succeed where the same is there already, made by netprov");
  metadata_.AddOptions(*bridge_create_);
  mutation_.AddOptions(*bridge_create_);
  bridge_list_ = Add(bridge, "list", "List the bridges that netprov made",
                     "Examples:\n  contain net bridge list\n  contain net bridge list -o json");
  bridge_show_ = Add(bridge, "show", "Show a bridge and its ports",
                     "Examples:\n  contain net bridge show br0\n  contain net bridge show br0 -o yaml");
  bridge_show_->add_option("NAME", name_, "Its id")->required();
  bridge_delete_ = Add(bridge, "delete", "Delete a bridge that has no ports any more",
                       "Examples:\n  contain net bridge delete br0\n  contain net bridge delete br0 --allow-missing");
  bridge_delete_->add_option("NAME", name_, "Its id")->required();
  bridge_delete_->add_flag("--allow-missing", mutation_.tolerant, "Succeed where it is not there");
  mutation_.AddOptions(*bridge_delete_);
}

void Grammar::BuildDevice(CLI::App& net) {
  CLI::App& device = *Add(net, "device", "Other links: macvlan, vxlan, vlan, ipvlan, dummy and ifb devices",
                          "Example:\n  contain net device create m0 --kind macvlan --lower eth0 --ns blue");
  device.require_subcommand(1);
  device_create_ = Add(device, "create", "Create a device. It belongs to --owner, or else to NETPROV_OWNER.",
                       "Examples:\n"
                       "  contain net device create m0 --kind macvlan --mode bridge --lower eth0 --ns blue \\\n"
                       "      --address 192.0.2.7/24 --gateway 192.0.2.1\n"
                       "  contain net device create x0 --kind vxlan --vni 42 --local 192.0.2.7 \\\n"
                       "      --fdb '00:00:00:00:00:00 dst 192.0.2.8' --fdb '00:00:00:00:00:00 dst 192.0.2.9'\n"
                       "  contain net device create x1 --kind vxlan --vni 43 --remote 192.0.2.8 --bridge br0 \\\n"
                       "      --bridge-port 'learning off'");
  device_create_->add_option("NAME", name_, "Its id, for show and delete")->required();
  device_.AddOptions(*device_create_);
  device_create_->add_flag("--allow-existing", mutation_.tolerant,
                           "Succeed where the same is there already, made by netprov");
  metadata_.AddOptions(*device_create_);
  mutation_.AddOptions(*device_create_);
  device_list_ = Add(device, "list", "List the devices that netprov made, but for bridges",
                     "Examples:\n  contain net device list\n  contain net device list -o json");
  device_show_ = Add(device, "show", "Show a device",
                     "Examples:\n  contain net device show m0\n  contain net device show m0 -o yaml");
  device_show_->add_option("NAME", name_, "Its id")->required();
  device_delete_ = Add(device, "delete", "Delete a device",
                       "Examples:\n  contain net device delete m0\n  contain net device delete m0 --allow-missing");
  device_delete_->add_option("NAME", name_, "Its id")->required();
  device_delete_->add_flag("--allow-missing", mutation_.tolerant, "Succeed where it is not there");
  mutation_.AddOptions(*device_delete_);
}

void Grammar::BuildUpdate(CLI::App& net) {
  set_ = Add(
      net, "set",
      "Change fields of a namespace, a veth pair, a bridge or another device that is in use: all of them or, where "
      "one can't be, none.\nA field is named by its path in the JSON of `show`, in lower case with underscores. A list "
      "gets all the\nvalues that are given and loses those that it had; without a value, as in "
      "`endpoint_b.routes=`, it becomes empty.",
      "Examples:\n"
      "  contain net set blue metadata.labels=team=net sysctls=net.ipv4.ip_forward=1\n"
      "  contain net set veths/uplink0 endpoint_a.mtu=1400 endpoint_b.mtu=1400\n"
      "  contain net set veths/uplink0 endpoint_b.addresses=10.0.0.3/24 endpoint_b.gateways=10.0.0.1\n"
      "  contain net set veths/uplink0 endpoint_a.bridge=bridges/br0 endpoint_a.bridge_port='isolated on'\n"
      "  contain net set bridges/br0 ageing_time=1m stp=yes\n"
      "  contain net set devices/x0 vxlan.fdb='00:00:00:00:00:00 dst 192.0.2.3'");
  set_->add_option("RESOURCE", name_,
                   "A namespace, as NAME or namespaces/NAME, a pair, as veths/ID, a bridge, as bridges/ID, or "
                   "another device, as devices/ID")
      ->required();
  set_->add_option("FIELD=VALUE", settings_, "What to change; can be repeated")->required();
  mutation_.AddOptions(*set_);
}

void Grammar::BuildInspection(CLI::App& net) {
  const auto add = [this, &net](const std::string& name, const std::string& what, const std::string& footer) {
    CLI::App* app = Add(net, name,
                        absl::StrCat("List the ", what, " that a namespace of netprov's or the host has, whoever made ",
                                     "them, and which pair of netprov's they belong to"),
                        footer);
    app->add_option("NAME", name_, "The namespace. Default: the host's");
    filter_.AddInterface(*app);
    return app;
  };
  links_ = add("links", "links",
               "Examples:\n"
               "  contain net links\n"
               "  contain net links blue --kind veth\n"
               "  contain net links blue --interface veth0 -o json");
  filter_.AddKind(*links_);
  addresses_ = add("addresses", "addresses",
                   "Examples:\n  contain net addresses blue\n  contain net addresses blue --family ipv6 -o json");
  filter_.AddFamily(*addresses_);
  routes_ = add("routes", "routes",
                "Examples:\n  contain net routes blue\n  contain net routes blue --table all --interface veth0");
  filter_.AddFamily(*routes_);
  filter_.AddTable(*routes_);
  neighbors_ = add("neighbors", "neighbors",
                   "Examples:\n  contain net neighbors blue\n  contain net neighbors --interface uplink0 -o yaml");
  filter_.AddFamily(*neighbors_);
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
  gc_->add_option(
         "--keep", keep_,
         "What stays: a namespace, as NAME or namespaces/NAME, a pair, as veths/ID, a bridge, as bridges/ID, or "
         "another device, as devices/ID; can be repeated")
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

template <typename Request>
absl::Status Grammar::AddNamespaceTo(const CLI::App& app, const CommandLine& line, Request& request) const {
  v1::Namespace ns;
  if (const absl::Status status = namespace_.AddTo(ns); !status.ok()) return status;
  const auto metadata = metadata_.Interpret(app, line.owner);
  if (!metadata.ok()) return metadata.status();
  if (metadata->has_value()) *ns.mutable_metadata() = **metadata;
  if (ns.ByteSizeLong() > 0) *request.mutable_namespace_() = std::move(ns);
  return absl::OkStatus();
}

std::variant<v1::CreateNamespaceRequest, Exit> Grammar::InterpretCreateNamespace(const CommandLine& line) {
  v1::CreateNamespaceRequest request;
  mutation_.AddTo(request);
  request.set_namespace_id(Id(kNamespaces, name_));
  request.set_allow_existing(mutation_.tolerant);
  if (const absl::Status status = AddNamespaceTo(*net_create_, line, request); !status.ok()) return UsageError(status);
  return request;
}

std::variant<v1::AdoptNamespaceRequest, Exit> Grammar::InterpretAdoptNamespace(const CommandLine& line) {
  v1::AdoptNamespaceRequest request;
  mutation_.AddTo(request);
  request.set_name(Name(kNamespaces, name_));
  request.set_allow_existing(mutation_.tolerant);
  if (const absl::Status status = AddNamespaceTo(*net_adopt_, line, request); !status.ok()) return UsageError(status);
  return request;
}

absl::StatusOr<std::optional<Command>> Grammar::InterpretInspection(const CommandLine& line) const {
  const auto to_command = [](auto request) -> absl::StatusOr<std::optional<Command>> {
    if (!request.ok()) return request.status();
    return Command(*std::move(request));
  };
  if (links_->parsed()) return to_command(filter_.Links(name_));
  for (const CLI::App* app : {addresses_, routes_, neighbors_}) {
    if (app->parsed() && line.format == Format::kName) {
      return absl::InvalidArgumentError("--output: `name` has no meaning for `contain net " + app->get_name() + "`");
    }
  }
  if (addresses_->parsed()) return to_command(filter_.OfFamily<v1::ListAddressesRequest>(name_));
  if (routes_->parsed()) return to_command(filter_.Routes(name_));
  if (neighbors_->parsed()) return to_command(filter_.OfFamily<v1::ListNeighborsRequest>(name_));
  return std::nullopt;
}

std::string Grammar::WhatElseHas(const std::string& id) const {
  const auto fits = [this](auto resource) {
    return absl::c_all_of(settings_, [&resource](const std::string& setting) {
      google::protobuf::FieldMask mask;
      // The path alone counts, whatever the value is like.
      return SetFields({setting.substr(0, setting.find('=')) + "="}, resource, mask).ok();
    });
  };
  std::vector<std::string> names;
  if (fits(v1::Veth())) names.push_back(kVeths + id);
  if (fits(v1::Bridge())) names.push_back(kBridges + id);
  if (fits(v1::Device())) names.push_back(kDevices + id);
  return absl::StrJoin(names, " or ");
}

std::variant<Command, Exit> Grammar::InterpretUpdate() const {
  const auto fill = [this](const std::string& name, auto& resource, auto& request) {
    mutation_.AddTo(request);
    absl::Status status = SetFields(settings_, resource, *request.mutable_update_mask());
    resource.set_name(name);
    return status;
  };
  absl::Status status;
  Command command;
  if (absl::StartsWith(name_, kVeths)) {
    auto& request = command.emplace<v1::UpdateVethRequest>();
    status = fill(name_, *request.mutable_veth(), request);
  } else if (absl::StartsWith(name_, kBridges)) {
    auto& request = command.emplace<v1::UpdateBridgeRequest>();
    status = fill(name_, *request.mutable_bridge(), request);
  } else if (absl::StartsWith(name_, kDevices)) {
    auto& request = command.emplace<v1::UpdateDeviceRequest>();
    status = fill(name_, *request.mutable_device(), request);
  } else {
    auto& request = command.emplace<v1::UpdateNamespaceRequest>();
    status = fill(Name(kNamespaces, name_), *request.mutable_namespace_(), request);
    const std::string others = status.ok() || absl::StrContains(name_, '/') ? "" : WhatElseHas(name_);
    if (!others.empty()) {
      return UsageError(
          absl::StrCat(status.message(), "; `", name_, "` is a namespace here, did you mean ", others, "?"));
    }
  }
  if (!status.ok()) return UsageError(status);
  return command;
}

std::variant<v1::CollectGarbageRequest, Exit> Grammar::InterpretGc(const CommandLine& line) {
  v1::CollectGarbageRequest request;
  request.set_owner(*line.owner);
  request.set_validate_only(!apply_);
  for (const std::string& typed : keep_) {
    const bool is_whole =
        absl::StartsWith(typed, kVeths) || absl::StartsWith(typed, kBridges) || absl::StartsWith(typed, kDevices);
    const std::string name = is_whole ? typed : Name(kNamespaces, typed);
    // The server leaves a name aside that it does not know, and what was meant would be deleted.
    const size_t id = name.find('/') + 1;
    if (id == name.size() || name.find('/', id) != std::string::npos) {
      return UsageError("--keep: must be NAME, namespaces/NAME, veths/ID, bridges/ID or devices/ID, not `" + typed +
                        "`");
    }
    request.add_keep(name);
  }
  return request;
}

absl::Status Grammar::CheckFirstEndNames() const {
  const bool in_host = !host_option_->empty();
  const std::string wrong = in_host ? "--from-" : "--host-";
  for (const std::string& argument : typed_) {
    if (!absl::StartsWith(argument, wrong)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(argument.substr(0, argument.find('=')), " needs ",
                     in_host ? "--from-ns; with --host it is --host-" : "--host; with --from-ns it is --from-",
                     argument.substr(wrong.size(), argument.find('=') - wrong.size())));
  }
  return absl::OkStatus();
}

std::variant<v1::CreateVethRequest, Exit> Grammar::InterpretCreateVeth(const CommandLine& line) {
  if (host_option_->empty() && first_where_.empty()) return UsageError("--host or --from-ns is required");
  if (peer_where_.empty()) return UsageError("--ns is required, or --ns-path or --ns-pid");
  if (!interface_option_->empty() && first_where_.empty()) return UsageError("--interface needs --from-ns");
  if (const absl::Status status = CheckFirstEndNames(); !status.ok()) return UsageError(status);
  v1::CreateVethRequest request;
  mutation_.AddTo(request);
  request.set_allow_existing(mutation_.tolerant);
  request.set_create_namespaces(create_namespaces_);
  if (create_namespaces_ && peer_where_.name.empty() && first_where_.name.empty()) {
    return UsageError("--create-ns needs --ns or --from-ns");
  }
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
    first_where_.AddTo(a);
    a.set_interface_name(interface_.empty() ? "veth%d" : interface_);
  }
  absl::Status status = first_end_.AddTo(mtu_, "--", host_option_->empty() ? "--from-" : "--host-", a);
  v1::VethEndpoint& b = *request.mutable_veth()->mutable_endpoint_b();
  peer_where_.AddTo(b);
  b.set_interface_name(peer_.empty() ? "veth%d" : peer_);
  status.Update(peer_end_.AddTo(mtu_, "--peer-", "--", b));
  if (!status.ok()) return UsageError(status);
  const auto metadata = metadata_.Interpret(*veth_, line.owner);
  if (!metadata.ok()) return UsageError(metadata.status());
  if (metadata->has_value()) *request.mutable_veth()->mutable_metadata() = **metadata;
  return request;
}

std::variant<v1::CreateBridgeRequest, Exit> Grammar::InterpretCreateBridge(const CommandLine& line) {
  v1::CreateBridgeRequest request;
  mutation_.AddTo(request);
  request.set_bridge_id(Id(kBridges, name_));
  request.set_allow_existing(mutation_.tolerant);
  if (const absl::Status status = bridge_.AddTo(request.bridge_id(), *request.mutable_bridge()); !status.ok()) {
    return UsageError(status);
  }
  const auto metadata = metadata_.Interpret(*bridge_create_, line.owner);
  if (!metadata.ok()) return UsageError(metadata.status());
  if (metadata->has_value()) *request.mutable_bridge()->mutable_metadata() = **metadata;
  return request;
}

std::optional<Command> Grammar::InterpretBridge() const {
  if (bridge_list_->parsed()) return v1::ListBridgesRequest();
  if (bridge_show_->parsed()) {
    v1::GetBridgeRequest request;
    request.set_name(Name(kBridges, name_));
    return request;
  }
  if (bridge_delete_->parsed()) {
    v1::DeleteBridgeRequest request;
    mutation_.AddTo(request);
    request.set_name(Name(kBridges, name_));
    request.set_allow_missing(mutation_.tolerant);
    return request;
  }
  return std::nullopt;
}

std::variant<v1::CreateDeviceRequest, Exit> Grammar::InterpretCreateDevice(const CommandLine& line) {
  v1::CreateDeviceRequest request;
  mutation_.AddTo(request);
  request.set_device_id(Id(kDevices, name_));
  request.set_allow_existing(mutation_.tolerant);
  if (const absl::Status status = device_.AddTo(request.device_id(), *request.mutable_device()); !status.ok()) {
    return UsageError(status);
  }
  const auto metadata = metadata_.Interpret(*device_create_, line.owner);
  if (!metadata.ok()) return UsageError(metadata.status());
  if (metadata->has_value()) *request.mutable_device()->mutable_metadata() = **metadata;
  return request;
}

std::optional<Command> Grammar::InterpretDevice() const {
  if (device_list_->parsed()) return v1::ListDevicesRequest();
  if (device_show_->parsed()) {
    v1::GetDeviceRequest request;
    request.set_name(Name(kDevices, name_));
    return request;
  }
  if (device_delete_->parsed()) {
    v1::DeleteDeviceRequest request;
    mutation_.AddTo(request);
    request.set_name(Name(kDevices, name_));
    request.set_allow_missing(mutation_.tolerant);
    return request;
  }
  return std::nullopt;
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

  for (const CLI::Option* option : tls_options_) {
    if (option->empty()) continue;
    const bool is_local = line.endpoint.has_value() && client::ParseEndpoint(*line.endpoint)->is_local();
    if (!is_local && !line.state_dir.has_value()) continue;
    return UsageError(option->get_name() + ": TLS is for a server that is reached by HOST:PORT");
  }
  line.tls = tls_;
  if (std::optional<Command> command = InterpretAccess(); command.has_value()) {
    const auto* pki = std::get_if<PkiCommand>(&*command);
    if (pki != nullptr && pki->action == PkiCommand::Action::kIssue && pki->servers.empty() && pki->clients.empty()) {
      return UsageError("--server or --client is required");
    }
    if (pki != nullptr && !output_option_->empty()) return UsageError("--output has no meaning for `contain pki`");
    line.command = *std::move(command);
    return line;
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

  absl::StatusOr<std::optional<Command>> inspection = InterpretInspection(line);
  if (!inspection.ok()) return UsageError(inspection.status());
  if (inspection->has_value()) {
    line.command = **std::move(inspection);
    return line;
  }
  if (std::optional<Command> command = InterpretBridge(); command.has_value()) {
    line.command = *std::move(command);
  } else if (std::optional<Command> of_device = InterpretDevice(); of_device.has_value()) {
    line.command = *std::move(of_device);
  } else if (device_create_->parsed()) {
    std::variant<v1::CreateDeviceRequest, Exit> request = InterpretCreateDevice(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::CreateDeviceRequest>(std::move(request));
  } else if (bridge_create_->parsed()) {
    std::variant<v1::CreateBridgeRequest, Exit> request = InterpretCreateBridge(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::CreateBridgeRequest>(std::move(request));
  } else if (set_->parsed()) {
    std::variant<Command, Exit> update = InterpretUpdate();
    if (std::holds_alternative<Exit>(update)) return std::get<Exit>(update);
    line.command = std::get<Command>(std::move(update));
  } else if (net_create_->parsed()) {
    std::variant<v1::CreateNamespaceRequest, Exit> request = InterpretCreateNamespace(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::CreateNamespaceRequest>(std::move(request));
  } else if (net_adopt_->parsed()) {
    std::variant<v1::AdoptNamespaceRequest, Exit> request = InterpretAdoptNamespace(line);
    if (std::holds_alternative<Exit>(request)) return std::get<Exit>(request);
    line.command = std::get<v1::AdoptNamespaceRequest>(std::move(request));
  } else if (net_release_->parsed()) {
    v1::ReleaseNamespaceRequest request;
    mutation_.AddTo(request);
    request.set_name(Name(kNamespaces, name_));
    request.set_allow_missing(mutation_.tolerant);
    line.command = std::move(request);
  } else if (net_delete_->parsed()) {
    v1::DeleteNamespaceRequest request;
    mutation_.AddTo(request);
    request.set_name(Name(kNamespaces, name_));
    request.set_allow_missing(mutation_.tolerant);
    request.set_force(force_);
    line.command = std::move(request);
  } else if (net_list_->parsed()) {
    line.command = v1::ListNamespacesRequest();
  } else if (net_show_->parsed()) {
    v1::GetNamespaceRequest request;
    request.set_name(Name(kNamespaces, name_));
    request.set_view(v1::NAMESPACE_VIEW_FULL);
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
