// What `contain` prints on stdout.
#ifndef NETPROV_CLIENT_CLI_OUTPUT_H_
#define NETPROV_CLIENT_CLI_OUTPUT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "netprov/v1/access.pb.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {

enum class Format {
  // What the command prints when nobody chose: a sentence for what changes something, a table for what reads.
  kDefault,
  // Aligned columns under a header, two spaces apart; `-` stands for nothing. For people: columns may be added.
  kTable,
  // Protobuf's JSON mapping with the fields' names as the .proto files have them, in their order, default values
  // included; 64-bit integers are strings, and a message that is not set is left out. A list is an object with one
  // member, as `namespaces`, `veths`, `bridges` or `devices`. Stable: fields may be added, nothing else changes.
  kJson,
  // The same document in YAML. Strings are always in quotes.
  kYaml,
  // Resource names, one a line, as in `namespaces/blue`.
  kName,
};

// Each returns whole lines. Where nothing else is said, kDefault counts as kTable. INTERNAL if the server sent what
// JSON can't express (a time beyond the year 9999). `now` is where the rest of a lease is counted from.

// Below the table of one object stands what is special about it, if anything is: owner, labels, lease, flags,
// deviations.
absl::StatusOr<std::string> PrintNamespace(Format format, const v1::Namespace& ns, absl::Time now);
// What has links somewhere.
struct Links {
  std::vector<v1::Veth> veths;
  std::vector<v1::Bridge> bridges;
  std::vector<v1::Device> devices;
};
// The same, and which of `links` are in it: in a document the members `veths`, `bridges` and `devices`, arrays of what
// PrintVeth() and the like print; otherwise a line for each end of a pair that is there, and below what it has of
// addresses, routes and the like, then the bridges and the other devices.
absl::StatusOr<std::string> PrintNamespaceWithLinks(Format format, const v1::Namespace& ns, const Links& links,
                                                    absl::Time now);
absl::StatusOr<std::string> PrintNamespaces(Format format, const std::vector<v1::Namespace>& namespaces,
                                            absl::Time now);
// The table has a line for each end, and below it stands what the end has of addresses, routes and the like.
absl::StatusOr<std::string> PrintVeth(Format format, const v1::Veth& veth, absl::Time now);
absl::StatusOr<std::string> PrintVeths(Format format, const std::vector<v1::Veth>& veths, absl::Time now);
// Below the table stand the addresses, the options and the ports.
absl::StatusOr<std::string> PrintBridge(Format format, const v1::Bridge& bridge, absl::Time now);
absl::StatusOr<std::string> PrintBridges(Format format, const std::vector<v1::Bridge>& bridges, absl::Time now);
// Below the table stand the addresses, the routes and what is of the kind.
absl::StatusOr<std::string> PrintDevice(Format format, const v1::Device& device, absl::Time now);
absl::StatusOr<std::string> PrintDevices(Format format, const std::vector<v1::Device>& devices, absl::Time now);
// What the kernel has. The table of links has the column MASTER only if one of them is a port of another; a route over
// several next hops has a line for each of them. There is kName for links alone.
absl::StatusOr<std::string> PrintLinks(Format format, const std::vector<v1::Link>& links);
absl::StatusOr<std::string> PrintAddresses(Format format, const std::vector<v1::AddressEntry>& addresses);
absl::StatusOr<std::string> PrintRoutes(Format format, const std::vector<v1::RouteEntry>& routes);
absl::StatusOr<std::string> PrintNeighbors(Format format, const std::vector<v1::NeighborEntry>& neighbors);
// kDefault is a sentence. There is no kName.
absl::StatusOr<std::string> PrintRenewal(Format format, const std::string& owner, const v1::RenewLeaseResponse& renewal,
                                         absl::Time now);
// kDefault counts as kName: what was deleted, or, for a `trial`, what would be.
absl::StatusOr<std::string> PrintGarbage(Format format, const v1::CollectGarbageResponse& garbage, bool trial);
// kDefault is a text in words, kTable a line for each finding, kName what the findings are about.
absl::StatusOr<std::string> PrintHostReport(Format format, const v1::HostReport& report);
// kDefault is a text in words, kTable a line for each grant, kName the caller's name.
absl::StatusOr<std::string> PrintWhoAmI(Format format, const v1::WhoAmIResponse& answer);
// What there is to say of a resource that is gone: its name.
absl::StatusOr<std::string> PrintName(Format format, const std::string& name);

// Whether somebody should look after the host: the registry can't be written, configuration is not in use, or something
// is not as it should be and was not put right. A kind of finding that this program does not know counts.
bool NeedsAttention(const v1::HostReport& report);

// `veth-host <-> veth0 (in test-ns)`: the ends' interface names, each with its namespace unless that is the host's.
std::string DescribeVeth(const v1::Veth& veth);

// `br0`, or `br0 (in blue)`: the interface name, with the namespace unless that is the host's.
std::string DescribeBridge(const v1::Bridge& bridge);
// The same, with the kind before it: `macvlan m0 (in blue)`.
std::string DescribeDevice(const v1::Device& device);

// What follows the last `/`: `blue` for `namespaces/blue`.
std::string ShortName(std::string_view resource_name);

// `text` with each control character as `\x1b`, so that it can't do anything to a terminal.
std::string Printable(std::string_view text);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_OUTPUT_H_
