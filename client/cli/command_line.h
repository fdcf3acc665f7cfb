// What the user typed, understood.
#ifndef NETPROV_CLIENT_CLI_COMMAND_LINE_H_
#define NETPROV_CLIENT_CLI_COMMAND_LINE_H_

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/output.h"
#include "client/cli/pki.h"
#include "client/tls.h"
#include "netprov/v1/access.pb.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {

// `contain net exec`.
struct ExecCommand {
  // `namespaces/{namespace}`.
  std::string namespace_name;
  // Not empty.
  std::vector<std::string> command;
};

// Each command but exec and pki is a request of the API. Names and ids in it are as typed: the server judges them.
using Command =
    std::variant<v1::CreateNamespaceRequest, v1::DeleteNamespaceRequest, v1::AdoptNamespaceRequest,
                 v1::ReleaseNamespaceRequest, v1::ListNamespacesRequest, v1::GetNamespaceRequest, v1::CreateVethRequest,
                 v1::DeleteVethRequest, v1::ListVethsRequest, v1::GetVethRequest, v1::CreateBridgeRequest,
                 v1::DeleteBridgeRequest, v1::ListBridgesRequest, v1::GetBridgeRequest, v1::UpdateNamespaceRequest,
                 v1::UpdateVethRequest, v1::UpdateBridgeRequest, v1::CreateDeviceRequest, v1::UpdateDeviceRequest,
                 v1::DeleteDeviceRequest, v1::ListDevicesRequest, v1::GetDeviceRequest, v1::RenewLeaseRequest,
                 v1::CollectGarbageRequest, v1::GetHostReportRequest, v1::CheckHostRequest, v1::ListLinksRequest,
                 v1::ListAddressesRequest, v1::ListRoutesRequest, v1::ListNeighborsRequest, v1::WhoAmIRequest,
                 ExecCommand, PkiCommand>;

struct CommandLine {
  // --endpoint; understood by client::ParseEndpoint().
  std::optional<std::string> endpoint;
  // --tls-ca and the like. Empty with an `endpoint` that is a unix socket, and with `state_dir`.
  client::TlsOptions tls;
  // --state-dir. Never set together with `endpoint`.
  std::optional<std::string> state_dir;
  // --owner, or else the default one; a name that client::CheckOwner() takes. What is created is this owner's, and it
  // is the owner in requests about leases.
  std::optional<std::string> owner;
  // Positive and finite.
  absl::Duration timeout = absl::Seconds(30);
  Format format = Format::kDefault;
  Command command;
};

// The program ends here: after help and the version with 0 and text for stdout, after a usage error with 2 and text for
// stderr.
struct Exit {
  int code;
  std::string text;
};

// `arguments` are those after the program's name, `default_owner` is NETPROV_OWNER. An empty one is none.
std::variant<CommandLine, Exit> ParseCommandLine(const std::vector<std::string>& arguments,
                                                 const std::optional<std::string>& default_owner = std::nullopt);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_COMMAND_LINE_H_
