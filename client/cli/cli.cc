#include "client/cli/cli.h"

#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command_line.h"
#include "client/cli/error_text.h"
#include "client/cli/output.h"
#include "client/client.h"

namespace netprov::cli {
namespace {

constexpr int kOutputFailed = 1;
constexpr int kNeedsAttention = 1;
constexpr int kUsage = 2;

struct Server {
  std::shared_ptr<client::Connection> connection;
  // Empty for the one in this process.
  std::string endpoint;
  // Whether it is on this host for sure.
  bool local = false;
};

// What of TLS was not typed is as the environment says, which need not be about a unix socket.
client::TlsOptions TlsFor(const client::Endpoint& endpoint, client::TlsOptions tls, const Environment& environment) {
  if (endpoint.is_local()) return {};
  for (const auto& [name, value] :
       {std::pair("NETPROV_TLS_CA", &tls.ca), std::pair("NETPROV_TLS_CERT", &tls.certificate),
        std::pair("NETPROV_TLS_KEY", &tls.key), std::pair("NETPROV_TLS_SERVER_NAME", &tls.server_name)}) {
    if (value->empty()) *value = environment.getenv(name).value_or("");
  }
  return tls;
}

absl::StatusOr<Server> ConnectTo(const std::string& endpoint, const client::TlsOptions& tls,
                                 const Environment& environment) {
  const absl::StatusOr<client::Endpoint> parsed = client::ParseEndpoint(endpoint);
  if (!parsed.ok()) return parsed.status();
  absl::StatusOr<std::shared_ptr<client::Connection>> connection =
      environment.connect(endpoint, TlsFor(*parsed, tls, environment));
  if (!connection.ok()) return connection.status();
  return Server{.connection = *std::move(connection), .endpoint = endpoint, .local = parsed->is_local()};
}

absl::StatusOr<Server> Serve(const std::string& state_dir, absl::Duration wait, const Environment& environment) {
  absl::StatusOr<std::shared_ptr<client::Connection>> connection = environment.serve(state_dir, wait);
  if (!connection.ok()) return connection.status();
  return Server{.connection = *std::move(connection), .endpoint = "", .local = true};
}

absl::StatusOr<Server> FindServer(absl::Duration timeout, const Environment& environment) {
  const std::string socket_path = client::ParseEndpoint(client::kDefaultEndpoint)->socket_path;
  absl::StatusOr<bool> listening = environment.is_listening(socket_path);
  if (!listening.ok()) return listening.status();
  if (*listening) return ConnectTo(client::kDefaultEndpoint, {}, environment);
  absl::StatusOr<Server> server = Serve(kDefaultStateDir, timeout, environment);
  if (server.ok()) return server;
  // Perhaps the state is a daemon's that has come up meanwhile.
  listening = environment.is_listening(socket_path);
  if (listening.ok() && *listening) return ConnectTo(client::kDefaultEndpoint, {}, environment);
  return server;
}

// `sentence` in the default format, what `print` returns in any other.
absl::StatusOr<std::string> Sentence(Format format, const std::string& sentence,
                                     const std::function<absl::StatusOr<std::string>()>& print) {
  if (format == Format::kDefault) return sentence + "\n";
  return print();
}

// `Created network namespace: blue`. The server does not say whether a tolerated object was there before.
std::string Outcome(bool validate_only, bool tolerant, const char* verb, const char* past, const char* state,
                    const char* kind, const std::string& what) {
  if (validate_only) return absl::StrCat("Would ", verb, " ", kind, ": ", Printable(what));
  if (tolerant) {
    std::string sentence = absl::StrCat(kind, " is ", state, ": ", Printable(what));
    sentence[0] = absl::ascii_toupper(sentence[0]);
    return sentence;
  }
  return absl::StrCat(past, " ", kind, ": ", Printable(what));
}

std::string Updated(bool validate_only, const char* kind, const std::string& what) {
  return Outcome(validate_only, /*tolerant=*/false, "update", "Updated", /*state=*/"", kind, what);
}

// The id that the server chose, as nothing else tells it.
std::string IdUnlessKnown(const v1::CreateVethRequest& request, const v1::Veth& veth) {
  if (!request.veth_id().empty() || veth.name().empty()) return "";
  return absl::StrCat(", id ", Printable(ShortName(veth.name())));
}

// What a command that did its work prints, and how it ends.
struct Result {
  std::string out;
  std::string err;
  int exit_code = 0;
};

absl::StatusOr<Result> ToResult(absl::StatusOr<Result> result) { return result; }
absl::StatusOr<Result> ToResult(absl::StatusOr<std::string> text) {
  if (!text.ok()) return text.status();
  return Result{.out = *std::move(text), .err = "", .exit_code = 0};
}

// Runs one command against `client`; returns what it prints, or how it ends besides.
class Runner {
 public:
  Runner(const client::Client& client, Format format, std::function<absl::Time()> now)
      : client_(client), format_(format), now_(std::move(now)) {}

  absl::StatusOr<std::string> operator()(const v1::CreateNamespaceRequest& request) const {
    const absl::StatusOr<v1::Namespace> ns = client_.CreateNamespace(request);
    if (!ns.ok()) return ns.status();
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_existing(), "create", "Created", "there",
                            "network namespace", ShortName(ns->name())),
                    [&] { return PrintNamespace(format_, *ns, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::DeleteNamespaceRequest& request) const {
    if (const absl::Status status = client_.DeleteNamespace(request); !status.ok()) return status;
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_missing(), "delete", "Deleted", "gone",
                            "network namespace", ShortName(request.name())),
                    [&] { return PrintName(format_, request.name()); });
  }

  absl::StatusOr<std::string> operator()(const v1::AdoptNamespaceRequest& request) const {
    const absl::StatusOr<v1::Namespace> ns = client_.AdoptNamespace(request);
    if (!ns.ok()) return ns.status();
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_existing(), "adopt", "Adopted", "adopted",
                            "network namespace", ShortName(ns->name())),
                    [&] { return PrintNamespace(format_, *ns, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::ReleaseNamespaceRequest& request) const {
    if (const absl::Status status = client_.ReleaseNamespace(request); !status.ok()) return status;
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_missing(), "release", "Released", "not managed",
                            "network namespace", ShortName(request.name())),
                    [&] { return PrintName(format_, request.name()); });
  }

  absl::StatusOr<std::string> operator()(const v1::ListNamespacesRequest&) const {
    const absl::StatusOr<std::vector<v1::Namespace>> namespaces = client_.ListNamespaces();
    if (!namespaces.ok()) return namespaces.status();
    return PrintNamespaces(format_, *namespaces, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::GetNamespaceRequest& request) const {
    const absl::StatusOr<v1::Namespace> ns = client_.GetNamespace(request);
    if (!ns.ok()) return ns.status();
    if (format_ == Format::kName) return PrintNamespace(format_, *ns, now_());
    const absl::StatusOr<std::vector<v1::Veth>> veths = client_.ListVeths();
    if (!veths.ok()) return veths.status();
    const absl::StatusOr<std::vector<v1::Bridge>> bridges = client_.ListBridges();
    if (!bridges.ok()) return bridges.status();
    const absl::StatusOr<std::vector<v1::Device>> devices = client_.ListDevices();
    if (!devices.ok()) return devices.status();
    return PrintNamespaceWithLinks(format_, *ns, {.veths = *veths, .bridges = *bridges, .devices = *devices}, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::CreateVethRequest& request) const {
    const absl::StatusOr<v1::Veth> veth = client_.CreateVeth(request);
    if (!veth.ok()) return veth.status();
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_existing(), "create", "Created", "there",
                            "veth pair", DescribeVeth(*veth) + IdUnlessKnown(request, *veth)),
                    [&] { return PrintVeth(format_, *veth, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::DeleteVethRequest& request) const {
    if (const absl::Status status = client_.DeleteVeth(request); !status.ok()) return status;
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_missing(), "delete", "Deleted", "gone", "veth pair",
                            ShortName(request.name())),
                    [&] { return PrintName(format_, request.name()); });
  }

  absl::StatusOr<std::string> operator()(const v1::ListVethsRequest&) const {
    const absl::StatusOr<std::vector<v1::Veth>> veths = client_.ListVeths();
    if (!veths.ok()) return veths.status();
    return PrintVeths(format_, *veths, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::GetVethRequest& request) const {
    const absl::StatusOr<v1::Veth> veth = client_.GetVeth(request);
    if (!veth.ok()) return veth.status();
    return PrintVeth(format_, *veth, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::CreateBridgeRequest& request) const {
    const absl::StatusOr<v1::Bridge> bridge = client_.CreateBridge(request);
    if (!bridge.ok()) return bridge.status();
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_existing(), "create", "Created", "there", "bridge",
                            DescribeBridge(*bridge)),
                    [&] { return PrintBridge(format_, *bridge, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::DeleteBridgeRequest& request) const {
    if (const absl::Status status = client_.DeleteBridge(request); !status.ok()) return status;
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_missing(), "delete", "Deleted", "gone", "bridge",
                            ShortName(request.name())),
                    [&] { return PrintName(format_, request.name()); });
  }

  absl::StatusOr<std::string> operator()(const v1::ListBridgesRequest&) const {
    const absl::StatusOr<std::vector<v1::Bridge>> bridges = client_.ListBridges();
    if (!bridges.ok()) return bridges.status();
    return PrintBridges(format_, *bridges, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::GetBridgeRequest& request) const {
    const absl::StatusOr<v1::Bridge> bridge = client_.GetBridge(request);
    if (!bridge.ok()) return bridge.status();
    return PrintBridge(format_, *bridge, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::CreateDeviceRequest& request) const {
    const absl::StatusOr<v1::Device> device = client_.CreateDevice(request);
    if (!device.ok()) return device.status();
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_existing(), "create", "Created", "there", "device",
                            DescribeDevice(*device)),
                    [&] { return PrintDevice(format_, *device, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::UpdateDeviceRequest& request) const {
    const absl::StatusOr<v1::Device> device = client_.UpdateDevice(request);
    if (!device.ok()) return device.status();
    return Sentence(format_, Updated(request.validate_only(), "device", DescribeDevice(*device)),
                    [&] { return PrintDevice(format_, *device, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::DeleteDeviceRequest& request) const {
    if (const absl::Status status = client_.DeleteDevice(request); !status.ok()) return status;
    return Sentence(format_,
                    Outcome(request.validate_only(), request.allow_missing(), "delete", "Deleted", "gone", "device",
                            ShortName(request.name())),
                    [&] { return PrintName(format_, request.name()); });
  }

  absl::StatusOr<std::string> operator()(const v1::ListDevicesRequest&) const {
    const absl::StatusOr<std::vector<v1::Device>> devices = client_.ListDevices();
    if (!devices.ok()) return devices.status();
    return PrintDevices(format_, *devices, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::GetDeviceRequest& request) const {
    const absl::StatusOr<v1::Device> device = client_.GetDevice(request);
    if (!device.ok()) return device.status();
    return PrintDevice(format_, *device, now_());
  }

  absl::StatusOr<std::string> operator()(const v1::UpdateNamespaceRequest& request) const {
    const absl::StatusOr<v1::Namespace> ns = client_.UpdateNamespace(request);
    if (!ns.ok()) return ns.status();
    return Sentence(format_, Updated(request.validate_only(), "network namespace", ShortName(ns->name())),
                    [&] { return PrintNamespace(format_, *ns, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::UpdateVethRequest& request) const {
    const absl::StatusOr<v1::Veth> veth = client_.UpdateVeth(request);
    if (!veth.ok()) return veth.status();
    return Sentence(format_, Updated(request.validate_only(), "veth pair", DescribeVeth(*veth)),
                    [&] { return PrintVeth(format_, *veth, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::UpdateBridgeRequest& request) const {
    const absl::StatusOr<v1::Bridge> bridge = client_.UpdateBridge(request);
    if (!bridge.ok()) return bridge.status();
    return Sentence(format_, Updated(request.validate_only(), "bridge", DescribeBridge(*bridge)),
                    [&] { return PrintBridge(format_, *bridge, now_()); });
  }

  absl::StatusOr<std::string> operator()(const v1::RenewLeaseRequest& request) const {
    const absl::StatusOr<v1::RenewLeaseResponse> renewal = client_.RenewLease(request);
    if (!renewal.ok()) return renewal.status();
    return PrintRenewal(format_, request.owner(), *renewal, now_());
  }

  absl::StatusOr<Result> operator()(const v1::CollectGarbageRequest& request) const {
    const bool trial = request.validate_only();
    const absl::StatusOr<v1::CollectGarbageResponse> garbage = client_.CollectGarbage(request);
    if (!garbage.ok()) return garbage.status();
    absl::StatusOr<std::string> text = PrintGarbage(format_, *garbage, trial);
    if (!text.ok()) return text.status();
    Result result = {
        .out = *std::move(text), .err = "", .exit_code = garbage->failures().empty() ? 0 : kNeedsAttention};
    for (const auto& failure : garbage->failures()) {
      absl::StrAppend(&result.err, "contain: ", Printable(failure.name()),
                      trial ? " would not be deleted: " : " was not deleted: ", Printable(failure.message()), "\n");
    }
    if (garbage->deleted().empty() && garbage->failures().empty()) {
      absl::StrAppend(&result.err, "contain: there is nothing of ", Printable(request.owner()), "'s to delete\n");
    } else if (trial) {
      absl::StrAppend(&result.err, "contain: nothing was deleted; repeat the command with --apply to delete\n");
    }
    return result;
  }

  absl::StatusOr<std::string> operator()(const v1::ListLinksRequest& request) const {
    const absl::StatusOr<std::vector<v1::Link>> links = client_.ListLinks(request);
    if (!links.ok()) return links.status();
    return PrintLinks(format_, *links);
  }

  absl::StatusOr<std::string> operator()(const v1::ListAddressesRequest& request) const {
    const absl::StatusOr<std::vector<v1::AddressEntry>> addresses = client_.ListAddresses(request);
    if (!addresses.ok()) return addresses.status();
    return PrintAddresses(format_, *addresses);
  }

  absl::StatusOr<std::string> operator()(const v1::ListRoutesRequest& request) const {
    const absl::StatusOr<std::vector<v1::RouteEntry>> routes = client_.ListRoutes(request);
    if (!routes.ok()) return routes.status();
    return PrintRoutes(format_, *routes);
  }

  absl::StatusOr<std::string> operator()(const v1::ListNeighborsRequest& request) const {
    const absl::StatusOr<std::vector<v1::NeighborEntry>> neighbors = client_.ListNeighbors(request);
    if (!neighbors.ok()) return neighbors.status();
    return PrintNeighbors(format_, *neighbors);
  }

  absl::StatusOr<std::string> operator()(const v1::WhoAmIRequest&) const {
    const absl::StatusOr<v1::WhoAmIResponse> answer = client_.WhoAmI();
    if (!answer.ok()) return answer.status();
    return PrintWhoAmI(format_, *answer);
  }

  absl::StatusOr<Result> operator()(const v1::GetHostReportRequest&) const { return Doctor(client_.GetHostReport()); }

  absl::StatusOr<Result> operator()(const v1::CheckHostRequest& request) const {
    return Doctor(client_.CheckHost(request));
  }

 private:
  absl::StatusOr<Result> Doctor(const absl::StatusOr<v1::HostReport>& report) const {
    if (!report.ok()) return report.status();
    absl::StatusOr<std::string> text = PrintHostReport(format_, *report);
    if (!text.ok()) return text.status();
    return Result{.out = *std::move(text), .err = "", .exit_code = NeedsAttention(*report) ? kNeedsAttention : 0};
  }

  const client::Client& client_;
  const Format format_;
  const std::function<absl::Time()> now_;
};

// What a request asks for that only a daemon does; nullptr where there is no such thing in it.
template <typename Request>
const v1::Metadata* MetadataOf(const Request& request) {
  if constexpr (requires { request.namespace_().metadata(); }) {
    return &request.namespace_().metadata();
  } else if constexpr (requires { request.veth().metadata(); }) {
    return &request.veth().metadata();
  } else if constexpr (requires { request.bridge().metadata(); }) {
    return &request.bridge().metadata();
  } else if constexpr (requires { request.device().metadata(); }) {
    return &request.device().metadata();
  } else {
    return nullptr;
  }
}

// What a person is to know who asked a server that ends with the command for what takes a daemon; empty: nothing.
std::string NoteOf(const Command& command) {
  const v1::Metadata* const metadata = std::visit([](const auto& request) { return MetadataOf(request); }, command);
  if (metadata == nullptr || (!metadata->has_ttl() && !metadata->self_heal())) return "";
  const char* const what = !metadata->self_heal() ? "ends a lease"
                           : !metadata->has_ttl() ? "puts right what is changed"
                                                  : "ends a lease and puts right what is changed";
  return absl::StrCat("contain: note: no daemon serves here, and only a daemon ", what, "\n");
}

int Report(const absl::Status& status, const std::string& endpoint, const Environment& environment) {
  *environment.err << ErrorText(status);
  if (absl::IsUnavailable(status) && !endpoint.empty()) *environment.err << "  endpoint: " << endpoint << "\n";
  return ExitCode(status);
}

int Print(const std::string& text, const Environment& environment) {
  *environment.out << text;
  environment.out->flush();
  if (environment.out->good()) return 0;
  *environment.err << "contain: standard output can't be written\n";
  return kOutputFailed;
}

// Finds the namespace, lets go of the server, and becomes the command.
int Exec(const ExecCommand& command, Server server, const client::Options& options, const Environment& environment) {
  if (!server.local) {
    *environment.err << "contain: net exec needs a server on this host, by a unix socket or in this process, not "
                     << server.endpoint << "\n";
    return kUsage;
  }
  v1::GetNamespaceRequest request;
  request.set_name(command.namespace_name);
  const absl::StatusOr<v1::Namespace> ns = client::Client(server.connection, options).GetNamespace(request);
  if (!ns.ok()) return Report(ns.status(), server.endpoint, environment);
  server.connection.reset();
  if (ns->state() != v1::Namespace::STATE_READY && ns->state() != v1::Namespace::STATE_DEGRADED) {
    const char* const why =
        ns->state() == v1::Namespace::STATE_MISSING ? " is gone from the kernel" : " is no network namespace";
    return Report(absl::FailedPreconditionError(ns->path() + why), server.endpoint, environment);
  }
  environment.err->flush();
  const ExecFailure failure =
      environment.exec({.path = ns->path(), .cookie = ns->cookie(), .command = command.command});
  *environment.err << "contain: " << Printable(failure.message) << "\n";
  return failure.exit_code;
}

}  // namespace

int Run(const std::vector<std::string>& arguments, const Environment& environment) {
  std::variant<CommandLine, Exit> parsed = ParseCommandLine(arguments, environment.getenv("NETPROV_OWNER"));
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    if (exit->code == 0) return Print(exit->text, environment);
    *environment.err << exit->text;
    return exit->code;
  }
  const CommandLine& line = std::get<CommandLine>(parsed);

  if (const auto* pki = std::get_if<PkiCommand>(&line.command)) {
    const absl::StatusOr<std::vector<std::string>> written = RunPki(*pki, environment.now());
    if (!written.ok()) return Report(written.status(), "", environment);
    std::string text;
    for (const std::string& path : *written) absl::StrAppend(&text, "Wrote ", path, "\n");
    return Print(text, environment);
  }

  absl::StatusOr<Server> server = absl::InternalError("no server was chosen");
  const std::optional<std::string> variable = environment.getenv("NETPROV_ENDPOINT");
  if (line.endpoint.has_value()) {
    server = ConnectTo(*line.endpoint, line.tls, environment);
  } else if (line.state_dir.has_value()) {
    server = Serve(*line.state_dir, line.timeout, environment);
  } else if (variable.has_value() && !variable->empty()) {
    if (const auto endpoint = client::ParseEndpoint(*variable); !endpoint.ok()) {
      *environment.err << "contain: NETPROV_ENDPOINT: " << Printable(std::string(endpoint.status().message())) << "\n";
      return kUsage;
    }
    server = ConnectTo(*variable, line.tls, environment);
  } else {
    server = FindServer(line.timeout, environment);
  }
  if (!server.ok()) return Report(server.status(), "", environment);

  // A person would rather hear at once that nobody answers than wait; a script can repeat the command.
  const client::Options options = {.timeout = line.timeout, .retry = false, .owner = line.owner};
  if (const ExecCommand* exec = std::get_if<ExecCommand>(&line.command)) {
    return Exec(*exec, *std::move(server), options, environment);
  }
  const client::Client client(server->connection, options);
  const Runner runner(client, line.format, environment.now);
  const absl::StatusOr<Result> result = std::visit(
      [&runner](const auto& command) -> absl::StatusOr<Result> {
        using Type = std::decay_t<decltype(command)>;
        if constexpr (std::is_same_v<Type, ExecCommand> || std::is_same_v<Type, PkiCommand>) {
          return absl::InternalError("exec and pki were handled before");
        } else {
          return ToResult(runner(command));
        }
      },
      line.command);
  if (!result.ok()) return Report(result.status(), server->endpoint, environment);
  const int written = Print(result->out, environment);
  *environment.err << result->err;
  // Programs, which ask for another format, know what they do.
  if (server->endpoint.empty() && line.format == Format::kDefault) *environment.err << NoteOf(line.command);
  return written == 0 ? result->exit_code : written;
}

}  // namespace netprov::cli
