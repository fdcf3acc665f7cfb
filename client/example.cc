#include "client/example.h"

#include <algorithm>
#include <vector>

namespace netprov::client {
namespace {

constexpr char kNamespaceId[] = "netprov-example";
constexpr char kVethId[] = "netprov-example";

absl::Status UseVeth(const Client& client, std::ostream& out) {
  v1::Veth spec;
  spec.mutable_endpoint_a()->mutable_host();
  spec.mutable_endpoint_a()->set_interface_name("np-example");
  spec.mutable_endpoint_b()->set_namespace_("namespaces/netprov-example");
  spec.mutable_endpoint_b()->set_interface_name("eth0");
  spec.mutable_endpoint_b()->set_mtu(1400);
  spec.mutable_endpoint_b()->add_addresses()->set_address("10.0.0.2/24");
  spec.mutable_endpoint_b()->add_gateways("10.0.0.1");
  const absl::StatusOr<v1::Veth> created = client.CreateVeth(kVethId, spec);
  if (!created.ok()) return created.status();
  out << "created " << created->name() << ": " << created->endpoint_a().interface_name() << " <-> "
      << created->endpoint_b().interface_name() << " in " << created->endpoint_b().namespace_() << "\n";

  const absl::StatusOr<v1::Veth> read = client.GetVeth(kVethId);
  if (!read.ok()) return read.status();
  out << "read " << read->name() << ": " << v1::Veth::State_Name(read->state()) << ", mtu " << read->endpoint_b().mtu();
  for (const v1::Address& address : read->endpoint_b().addresses()) out << ", " << address.address();
  out << "\n";

  const absl::StatusOr<std::vector<v1::Namespace>> namespaces = client.ListNamespaces();
  if (!namespaces.ok()) return namespaces.status();
  const bool listed = std::any_of(namespaces->begin(), namespaces->end(),
                                  [](const v1::Namespace& ns) { return ns.name() == "namespaces/netprov-example"; });
  if (!listed) return absl::NotFoundError("namespaces/netprov-example is not in the list");
  out << "listed namespaces/netprov-example\n";

  // A second pair of the same id is refused, and the error says why.
  const absl::Status refused = client.CreateVeth(kVethId, spec).status();
  const std::optional<google::rpc::ErrorInfo> info = GetErrorInfo(refused);
  if (!absl::IsAlreadyExists(refused) || !info.has_value()) {
    return absl::InternalError("the second pair was not refused as expected: " + refused.ToString());
  }
  out << "refused a second one: " << info->reason() << "\n";

  if (const absl::Status deleted = client.DeleteVeth(kVethId); !deleted.ok()) return deleted;
  out << "deleted veths/netprov-example\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status RunExample(const Client& client, std::ostream& out) {
  const absl::StatusOr<v1::Namespace> created = client.CreateNamespace(kNamespaceId);
  if (!created.ok()) return created.status();
  out << "created " << created->name() << " at " << created->path() << "\n";

  const absl::Status used = UseVeth(client, out);

  // Takes a pair that is left over along.
  const absl::Status deleted = client.DeleteNamespace(kNamespaceId);
  if (!used.ok()) return used;
  if (!deleted.ok()) return deleted;
  out << "deleted namespaces/netprov-example\n";
  return absl::OkStatus();
}

}  // namespace netprov::client
