// What the mutations ask for. Names and MAC addresses are fixed, so that what is made twice looks the same. A request
// id names the call; empty: it is not remembered.
#ifndef NETPROV_TESTS_E2E_REQUESTS_H_
#define NETPROV_TESTS_E2E_REQUESTS_H_

#include <string>

#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/metadata.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::testing {

// Where MutationTest has a namespace of somebody else's that is not at /run/netns: a path that it is mounted at, and
// the file with the number of a process inside.
inline constexpr char kPlace[] = "/run/place";
inline constexpr char kInsidePlace[] = "/run/place.pid";

// The namespace `blue`.
v1::CreateNamespaceRequest BlueRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
// The same with two sysctls.
v1::CreateNamespaceRequest FullBlueRequest(const std::string& request_id = "");
// With both files of its own.
v1::CreateNamespaceRequest ResolvingBlueRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
// Other sysctls, other name servers and no hosts, and a label; or, back, as ResolvingBlueRequest() has it.
v1::UpdateNamespaceRequest ChangeBlueRequest(const std::string& request_id = "", bool back = false);
// Also with processes inside: without, each process of the machine is looked at, a system call apiece, before the first
// change.
v1::DeleteNamespaceRequest DeleteBlueRequest(const std::string& request_id = "");

// Of the namespace `foreign`, which is somebody else's.
v1::AdoptNamespaceRequest AdoptRequest(const std::string& request_id = "");
v1::ReleaseNamespaceRequest ReleaseRequest(const std::string& request_id = "");

// The pair `v`: h0 on the host, eth0 in `blue`.
v1::CreateVethRequest PairRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
// With addresses, routes, a neighbor and names.
v1::CreateVethRequest ConfiguredPairRequest(const std::string& request_id = "");
// With what else a link can have: a text, queues, limits of offloads, and an address that is announced and for whose
// duplicates it waits.
v1::CreateVethRequest DetailedPairRequest(const std::string& request_id = "");
// Makes of the configured pair another one; or, back, the first again.
v1::UpdateVethRequest ChangePairRequest(const std::string& request_id = "", bool back = false);
// Both ends with both limits.
v1::CreateVethRequest LimitedPairRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
// Other rates, and one limit less at each end; or, back, as LimitedPairRequest() has them.
v1::UpdateVethRequest ChangeLimitsRequest(const std::string& request_id = "", bool back = false);
// The end inside is masqueraded, has ports of the host, and the host forwards.
v1::CreateVethRequest TranslatedPairRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
// Other ports, and no masquerade; or, back, as TranslatedPairRequest() has them.
v1::UpdateVethRequest ChangeTranslationRequest(const std::string& request_id = "", bool back = false);
// The end inside is a port of the bridge `br`.
v1::CreateVethRequest PortRequest(const std::string& request_id = "");
// Other settings of the port; or, back, those that it had.
v1::UpdateVethRequest ChangePortRequest(const std::string& request_id = "", bool back = false);
// Makes the end h0 of the pair a port of the host's bridge; or, back, none.
v1::UpdateVethRequest JoinHostBridgeRequest(const std::string& request_id = "", bool back = false);
// Makes the end inside, which is a port as PortRequest() has it, none; or, back, that port again.
v1::UpdateVethRequest LeaveBridgeRequest(const std::string& request_id = "", bool back = false);
// The end inside is a port of br-lan, a bridge that netprov did not make.
v1::CreateVethRequest ForeignPortRequest(const std::string& request_id = "");
// Makes the end inside, which is a port as PortRequest() has it, one as ForeignPortRequest() has it; or back.
v1::UpdateVethRequest JoinForeignBridgeRequest(const std::string& request_id = "", bool back = false);
// Makes the end inside, which is a port as PortRequest() has it, one of the bridge `other`; or, back, that port again.
v1::UpdateVethRequest MovePortRequest(const std::string& request_id = "", bool back = false);
// The end h0 is at kPlace.
v1::CreateVethRequest PlacedRequest(const std::string& request_id = "");
// The same by the process that is inside.
v1::CreateVethRequest InsideRequest(const std::string& request_id = "");
// The whole network of a namespace, which it makes too: the pair `netns`, p-NETNS on the host, a port of
// StackBridgeRequest()'s bridge, and eth0 inside with the addresses 10.0.0.HOST and fd00::HOST, ways out of both
// families and one that is closed, masquerade, a port of the host (8000 + HOST to 80), and a rate in both directions.
// `host`: one digit.
v1::CreateVethRequest StackRequest(const std::string& netns, int host, const std::string& request_id = "");
// Its rate in bits a second, and its burst in bytes.
inline constexpr int kStackRate = 10'000'000;
inline constexpr int kStackBurst = 32768;
v1::DeleteVethRequest DeletePairRequest(const std::string& request_id = "");

// The bridge `br` in `blue`, with something of everything.
v1::CreateBridgeRequest BridgeRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
// Makes of it another one; or, back, the first again.
v1::UpdateBridgeRequest ChangeBridgeRequest(const std::string& request_id = "", bool back = false);
v1::DeleteBridgeRequest DeleteBridgeRequest(const std::string& request_id = "");
// The bridge `other` in `blue`, with nothing.
v1::CreateBridgeRequest OtherBridgeRequest(const std::string& request_id = "");
// The bridge `br` of the host, with 10.0.0.1 and fd00::1.
v1::CreateBridgeRequest StackBridgeRequest(const std::string& request_id = "");
// The bridge `hostbr` of the host.
v1::CreateBridgeRequest HostBridgeRequest(const std::string& request_id = "");
v1::DeleteBridgeRequest DeleteHostBridgeRequest(const std::string& request_id = "");

// The macvlan `m` in `blue`, on the end h0 of the pair.
v1::CreateDeviceRequest MacvlanRequest(const std::string& request_id = "", const v1::Metadata& metadata = {});
v1::DeleteDeviceRequest DeleteMacvlanRequest(const std::string& request_id = "");
// The vxlan `x` in `blue`, with entries of its forwarding database.
v1::CreateDeviceRequest VxlanRequest(const std::string& request_id = "");
// The same as a port of the bridge `br`.
v1::CreateDeviceRequest VxlanPortRequest(const std::string& request_id = "");
v1::DeleteDeviceRequest DeleteVxlanRequest(const std::string& request_id = "");
// Makes of the former another one; or, back, the first again.
v1::UpdateDeviceRequest ChangeVxlanRequest(const std::string& request_id = "", bool back = false);
// The ifb `i` in `blue`, which stands on nothing.
v1::CreateDeviceRequest IfbRequest(const std::string& request_id = "");
v1::DeleteDeviceRequest DeleteIfbRequest(const std::string& request_id = "");

// Metadata of what heals itself, and of what an owner has.
v1::Metadata SelfHealing();
v1::Metadata OwnedBy(const std::string& owner);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_REQUESTS_H_
