// What netprov translates addresses with: one nf_tables table of its own, whose rules never change, and elements of its
// sets, one for each thing that an endpoint wants. Pure functions; NatTable (nat_table.h) sends what they make.
//
// The table `inet netprov` (docs/adr/0012-nftables.md):
//
//   forward4, forward6            map: host address . protocol . port -> target . port
//   forward4_any, forward6_any    map: protocol . port -> target . port, for all of the host's addresses
//   masquerade4, masquerade6      set: source address . the link that it hangs on
//   hairpin4, hairpin6            set: target address . the link that it hangs on
//   chain prerouting, output      nat hooks, at dstnat: connections to one of the host's addresses, but for those of
//   the
//                                 host itself to 127.0.0.0/8 and ::1, go to the target of their port
//   chain postrouting             nat hook, at srcnat: hairpin, masquerade
//
// nftables has what came first: a port that is forwarded is not the host's any more, and a host address's own forward
// comes before the one for all addresses. Nothing here forwards packets: that is the host's setting (ip_forward), and
// its filters'.
#ifndef NETPROV_SERVER_NETLINK_NAT_H_
#define NETPROV_SERVER_NETLINK_NAT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

inline constexpr char kNatTable[] = "netprov";

// A protocol with ports, by its number (IPPROTO_*). Read from the kernel it may have any value: who adds elements by
// hand may have added others.
enum class TransportProtocol : uint8_t { kTcp = 6, kUdp = 17 };

// Whatever an endpoint sends through another link than its own has the address of the link that it leaves by
// (masquerade), unless it goes to another endpoint with a Masquerade, which can answer without.
struct Masquerade {
  // The endpoint's address.
  IpAddress source;

  // The link of the table's namespace by which the endpoint's packets come in: the other end of its pair, or the bridge
  // whose port that is. Positive.
  int ifindex = 0;

  friend bool operator==(const Masquerade&, const Masquerade&) = default;
};

// Connections to a port of the host go to a port of an endpoint.
struct PortForward {
  TransportProtocol protocol = TransportProtocol::kTcp;

  // One of the host's addresses, of the family of `target`; none for all of them. While the host does not have it,
  // nothing is forwarded.
  std::optional<IpAddress> host_address;

  // Ports, 1 to 65535.
  uint16_t host_port = 0;
  IpAddress target;
  uint16_t target_port = 0;

  friend bool operator==(const PortForward&, const PortForward&) = default;
};

// Connections that were forwarded to an endpoint, and reach it by the link that they came from, have the host's address
// there: its neighbours on a bridge and the endpoint itself would else see an answer from where they did not ask. Goes
// with the forwards to the address. On a host whose bridges call these chains (bridge-nf-call-iptables), neighbours
// need none of it and keep their address, and the endpoint reaches itself only through a port that sends back to where
// it received from (BridgePort::hairpin).
struct Hairpin {
  // PortForward::target.
  IpAddress target;

  // As Masquerade::ifindex.
  int ifindex = 0;

  friend bool operator==(const Hairpin&, const Hairpin&) = default;
};

// One element of one of the table's sets.
struct NatElement {
  std::variant<Masquerade, PortForward, Hairpin> rule;

  // Whose it is, shown by `nft` as the element's comment; at most 128 characters (kMaxNftComment). Not part of its key.
  std::string tag;

  friend bool operator==(const NatElement&, const NatElement&) = default;
};

// The most ports of one range: each takes an element, as nftables has no map that shifts ports.
inline constexpr int kMaxForwardedPorts = 1024;

// The forwards of `count` ports from those of `first` on, each to the next port of the target. None where `count` is
// not 1 to kMaxForwardedPorts, or a port would be more than 65535.
std::optional<std::vector<PortForward>> ForwardPortRange(const PortForward& first, int count);

// What an element is, for errors, as in `192.0.2.1 tcp 80 to 10.0.0.2 port 8080`.
std::string ToString(const NatElement& element);

// One transaction that makes the table, marked with `comment`, or makes its chains and sets what they should be, with
// the rules new and the elements as they are.
std::vector<Request> EncodeEnsureNatTable(std::string_view comment);

// NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM, with errors as in nft.h; the key decides what is deleted. EINVAL in
// Session for what is out of range: a port or an ifindex of 0, a tag too long, addresses of two families.
Request EncodeAddNatElement(const NatElement& element);
Request EncodeDeleteNatElement(const NatElement& element);

// NFT_MSG_GETSETELEM for what the table has under the element's key, for Session::ExecuteBatch. ENOENT: nothing.
Request EncodeGetNatElement(const NatElement& element);
// NFT_MSG_GETSETELEM for each of the table's sets, for Session::Dump.
std::vector<Request> EncodeDumpNatElements();

// Reads one reply to them. EBADMSG where it is malformed, or not of one of the table's sets.
KernelResult<std::vector<NatElement>> DecodeNatElements(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NAT_H_
