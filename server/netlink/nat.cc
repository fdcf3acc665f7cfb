#include "server/netlink/nat.h"

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/netlink/nft.h"

namespace netprov::netlink {
namespace {

// Chains. Packets to the host's own addresses are sent to the last one.
constexpr char kPrerouting[] = "prerouting";
constexpr char kOutput[] = "output";
constexpr char kPostrouting[] = "postrouting";
constexpr char kForwardPorts[] = "forward_ports";

// What differs between the families.
struct Family {
  IpFamily family;
  // As `meta nfproto` has it.
  uint8_t nfproto;
  NftType address;
  // How many registers an address takes.
  NftRegister registers;
  // Where the network header has addresses.
  uint32_t source_offset;
  uint32_t destination_offset;
  const char* forward;
  const char* forward_any;
  const char* masquerade;
  const char* hairpin;
};

constexpr Family kFamilies[] = {
    {IpFamily::kIpv4, NFPROTO_IPV4, NftType::kIpv4Address, 1, offsetof(iphdr, saddr), offsetof(iphdr, daddr),
     "forward4", "forward4_any", "masquerade4", "hairpin4"},
    {IpFamily::kIpv6, NFPROTO_IPV6, NftType::kIpv6Address, 4, offsetof(ipv6hdr, saddr), offsetof(ipv6hdr, daddr),
     "forward6", "forward6_any", "masquerade6", "hairpin6"},
};

const Family& FamilyOf(const IpAddress& address) { return kFamilies[address.family() == IpFamily::kIpv4 ? 0 : 1]; }

uint32_t AddressSize(const Family& family) { return family.registers * 4; }

// ---- Rules.

template <typename T>
void PutEqual(NftRuleBuilder& rule, T value) {
  rule.Equal(0, std::as_bytes(std::span(&value, 1)));
}

void MatchFamily(NftRuleBuilder& rule, const Family& family) {
  rule.LoadMeta(NFT_META_NFPROTO, 0);
  PutEqual(rule, family.nfproto);
}

// meta l4proto PROTOCOL dnat ip to [ip daddr .] meta l4proto . th dport map @MAP
//
// The protocol is compared first because nft, reading its own listing, insists on it where ports are named.
Request ForwardRule(const Family& family, TransportProtocol protocol, bool any) {
  NftRuleBuilder rule(kNatTable, kForwardPorts);
  rule.LoadMeta(NFT_META_L4PROTO, 0);
  PutEqual(rule, static_cast<uint8_t>(protocol));
  MatchFamily(rule, family);
  const NftRegister after = any ? 0 : family.registers;
  if (!any) rule.LoadNetworkHeader(family.destination_offset, AddressSize(family), 0);
  rule.LoadMeta(NFT_META_L4PROTO, after);
  // The destination port of TCP and UDP alike.
  rule.LoadTransportHeader(2, 2, after + 1);
  rule.Lookup(0, any ? family.forward_any : family.forward, 0);
  rule.Dnat(family.family, 0, family.registers);
  return std::move(rule).BuildWithDigest();
}

// ip daddr 127.0.0.0/8 return, ip6 daddr ::1 return
//
// What the host sends to its loopback addresses has such a source too, which no other link lets pass (route_localnet).
Request LoopbackRule(const Family& family) {
  NftRuleBuilder rule(kNatTable, kOutput);
  MatchFamily(rule, family);
  if (family.family == IpFamily::kIpv4) {
    rule.LoadNetworkHeader(family.destination_offset, 1, 0);
    PutEqual(rule, uint8_t{IN_LOOPBACKNET});
  } else {
    rule.LoadNetworkHeader(family.destination_offset, AddressSize(family), 0);
    rule.Equal(0, IpAddress::Parse("::1")->bytes());
  }
  rule.Return();
  return std::move(rule).BuildWithDigest();
}

// fib daddr type local jump forward_ports
Request LocalRule(const char* chain) {
  NftRuleBuilder rule(kNatTable, chain);
  rule.LoadDestinationType(0);
  PutEqual(rule, uint32_t{RTN_LOCAL});
  rule.Jump(kForwardPorts);
  return std::move(rule).BuildWithDigest();
}

// ip saddr . iif @SET, or with ip daddr or oif.
void MatchAttached(NftRuleBuilder& rule, const Family& family, uint32_t address_offset, uint32_t link,
                   const char* set) {
  rule.LoadNetworkHeader(address_offset, AddressSize(family), 0);
  rule.LoadMeta(link, family.registers);
  rule.Lookup(0, set);
}

void MatchForwarded(NftRuleBuilder& rule, const Family& family) {
  rule.LoadConntrack(NFT_CT_STATUS, 0);
  rule.AnyBit(0, IPS_DST_NAT);
  MatchFamily(rule, family);
}

// ct status dnat ip daddr . iif @hairpin4 ip daddr . oif @hairpin4 masquerade
Request HairpinRule(const Family& family) {
  NftRuleBuilder rule(kNatTable, kPostrouting);
  MatchForwarded(rule, family);
  MatchAttached(rule, family, family.destination_offset, NFT_META_IIF, family.hairpin);
  MatchAttached(rule, family, family.destination_offset, NFT_META_OIF, family.hairpin);
  rule.Masquerade();
  return std::move(rule).BuildWithDigest();
}

// ct status dnat ip saddr . oif @hairpin4 masquerade
//
// Where bridges call these chains (bridge-nf-call-iptables), a packet that stays on its bridge has no iif here
// (br_nf_post_routing). Then only what goes to the endpoint itself needs another source: the bridge's own conntrack
// sees answers of neighbours.
Request SelfHairpinRule(const Family& family) {
  NftRuleBuilder rule(kNatTable, kPostrouting);
  MatchForwarded(rule, family);
  MatchAttached(rule, family, family.source_offset, NFT_META_OIF, family.hairpin);
  rule.Masquerade();
  return std::move(rule).BuildWithDigest();
}

enum class Then { kReturn, kMasquerade };

// ip saddr . oif @masquerade4 return, and the like
Request MasqueradeRule(const Family& family, uint32_t address_offset, uint32_t link, Then then) {
  NftRuleBuilder rule(kNatTable, kPostrouting);
  MatchFamily(rule, family);
  MatchAttached(rule, family, address_offset, link, family.masquerade);
  if (then == Then::kReturn) {
    rule.Return();
  } else {
    rule.Masquerade();
  }
  return std::move(rule).BuildWithDigest();
}

void AppendRules(std::vector<Request>& requests) {
  requests.push_back(LocalRule(kPrerouting));
  for (const Family& family : kFamilies) requests.push_back(LoopbackRule(family));
  requests.push_back(LocalRule(kOutput));
  for (const Family& family : kFamilies) {
    for (const bool any : {false, true}) {
      for (const TransportProtocol protocol : {TransportProtocol::kTcp, TransportProtocol::kUdp}) {
        requests.push_back(ForwardRule(family, protocol, any));
      }
    }
  }
  for (const Family& family : kFamilies) {
    requests.push_back(HairpinRule(family));
    requests.push_back(SelfHairpinRule(family));
    // What stays on the endpoint's own link, and what goes to another one that is masqueraded.
    requests.push_back(MasqueradeRule(family, family.source_offset, NFT_META_OIF, Then::kReturn));
    requests.push_back(MasqueradeRule(family, family.destination_offset, NFT_META_OIF, Then::kReturn));
    requests.push_back(MasqueradeRule(family, family.source_offset, NFT_META_IIF, Then::kMasquerade));
  }
}

// ---- Sets.

std::vector<NftSet> SetsOf(const Family& family) {
  const std::vector<NftType> target = {family.address, NftType::kInetService};
  return {
      {.name = family.forward, .key = {family.address, NftType::kInetProtocol, NftType::kInetService}, .data = target},
      {.name = family.forward_any, .key = {NftType::kInetProtocol, NftType::kInetService}, .data = target},
      {.name = family.masquerade, .key = {family.address, NftType::kIfindex}, .data = {}},
      {.name = family.hairpin, .key = {family.address, NftType::kIfindex}, .data = {}}};
}

// ---- Elements.

// Appends fields of a concatenation, each padded to a multiple of 4 bytes.
class FieldWriter {
 public:
  FieldWriter& Address(const IpAddress& address) { return Append(address.bytes()); }
  FieldWriter& Protocol(TransportProtocol protocol) { return Append(std::as_bytes(std::span(&protocol, 1))); }
  // In network order.
  FieldWriter& Port(uint16_t port) {
    const std::array<std::byte, 2> octets = {static_cast<std::byte>(port >> 8), static_cast<std::byte>(port & 0xff)};
    return Append(octets);
  }
  FieldWriter& Ifindex(int ifindex) { return Append(std::as_bytes(std::span(&ifindex, 1))); }

  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  FieldWriter& Append(std::span<const std::byte> field) {
    bytes_.insert(bytes_.end(), field.begin(), field.end());
    bytes_.resize((bytes_.size() + 3) & ~size_t{3});
    return *this;
  }

  std::vector<std::byte> bytes_;
};

// The reverse. What it reads must be there.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  IpAddress Address(const Family& family) { return *IpAddress::FromBytes(Take(AddressSize(family))); }
  TransportProtocol Protocol() { return static_cast<TransportProtocol>(Take(4)[0]); }
  uint16_t Port() {
    const std::span<const std::byte> octets = Take(4);
    return static_cast<uint16_t>(std::to_integer<uint16_t>(octets[0]) << 8 | std::to_integer<uint16_t>(octets[1]));
  }
  int Ifindex() {
    int ifindex = 0;
    std::memcpy(&ifindex, Take(4).data(), sizeof(ifindex));
    return ifindex;
  }

 private:
  std::span<const std::byte> Take(size_t size) {
    const std::span<const std::byte> field = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return field;
  }

  std::span<const std::byte> bytes_;
};

// An element with the set that it belongs to.
struct Placed {
  const char* set = nullptr;
  NftElement element;
  bool valid = false;
};

Placed Attached(const char* set, const IpAddress& address, int ifindex) {
  return {.set = set,
          .element = {.key = FieldWriter().Address(address).Ifindex(ifindex).Take(), .data = {}, .comment = {}},
          .valid = ifindex > 0};
}

Placed Place(const Masquerade& rule) { return Attached(FamilyOf(rule.source).masquerade, rule.source, rule.ifindex); }

Placed Place(const Hairpin& rule) { return Attached(FamilyOf(rule.target).hairpin, rule.target, rule.ifindex); }

Placed Place(const PortForward& rule) {
  const Family& family = FamilyOf(rule.target);
  FieldWriter key;
  if (rule.host_address) key.Address(*rule.host_address);
  key.Protocol(rule.protocol).Port(rule.host_port);
  return {.set = rule.host_address ? family.forward : family.forward_any,
          .element = {.key = key.Take(),
                      .data = FieldWriter().Address(rule.target).Port(rule.target_port).Take(),
                      .comment = {}},
          .valid = rule.host_port != 0 && rule.target_port != 0 &&
                   (!rule.host_address || rule.host_address->family() == rule.target.family())};
}

Placed Place(const NatElement& element) {
  Placed placed = std::visit([](const auto& rule) { return Place(rule); }, element.rule);
  placed.element.comment = element.tag;
  return placed;
}

// An element of a set of a family. The kernel keeps keys and data of the set's lengths alone.
std::optional<NatElement> Decode(const Family& family, const NftSet& set, const NftElement& element) {
  if (element.key.size() != NftLength(set.key) || element.data.size() != NftLength(set.data)) return std::nullopt;
  FieldReader key(element.key);
  if (set.name == family.masquerade) {
    const IpAddress address = key.Address(family);
    return NatElement{.rule = Masquerade{.source = address, .ifindex = key.Ifindex()}, .tag = element.comment};
  }
  if (set.name == family.hairpin) {
    const IpAddress address = key.Address(family);
    return NatElement{.rule = Hairpin{.target = address, .ifindex = key.Ifindex()}, .tag = element.comment};
  }
  PortForward forward;
  if (set.name == family.forward) forward.host_address = key.Address(family);
  forward.protocol = key.Protocol();
  forward.host_port = key.Port();
  FieldReader data(element.data);
  forward.target = data.Address(family);
  forward.target_port = data.Port();
  return NatElement{.rule = forward, .tag = element.comment};
}

std::string ProtocolName(TransportProtocol protocol) {
  if (protocol == TransportProtocol::kTcp) return "tcp";
  if (protocol == TransportProtocol::kUdp) return "udp";
  return absl::StrCat("protocol ", static_cast<int>(protocol));
}

std::string Describe(const Masquerade& rule) { return absl::StrCat(rule.source.ToString(), " ifindex ", rule.ifindex); }

std::string Describe(const Hairpin& rule) { return absl::StrCat(rule.target.ToString(), " ifindex ", rule.ifindex); }

std::string Describe(const PortForward& rule) {
  return absl::StrCat(rule.host_address ? absl::StrCat(rule.host_address->ToString(), " ") : "",
                      ProtocolName(rule.protocol), " ", rule.host_port, " to ", rule.target.ToString(), " port ",
                      rule.target_port);
}

Request Invalid(Request request) {
  request.error = EINVAL;
  return request;
}

KernelError Malformed(const char* what) {
  return {.code = EBADMSG, .operation = absl::StrCat("NFT_MSG_GETSETELEM reply: ", what), .extack = {}};
}

}  // namespace

std::optional<std::vector<PortForward>> ForwardPortRange(const PortForward& first, int count) {
  constexpr int kMaxPort = std::numeric_limits<uint16_t>::max();
  if (count < 1 || count > kMaxForwardedPorts) return std::nullopt;
  if (std::max(first.host_port, first.target_port) + count - 1 > kMaxPort) return std::nullopt;
  std::vector<PortForward> forwards(count, first);
  for (int i = 0; i < count; ++i) {
    forwards[i].host_port = static_cast<uint16_t>(first.host_port + i);
    forwards[i].target_port = static_cast<uint16_t>(first.target_port + i);
  }
  return forwards;
}

std::string ToString(const NatElement& element) {
  return std::visit([](const auto& rule) { return Describe(rule); }, element.rule);
}

std::vector<Request> EncodeEnsureNatTable(std::string_view comment) {
  std::vector<Request> requests = {EncodeNewNftTable({.name = kNatTable, .comment = std::string(comment)})};
  uint32_t id = 0;
  for (const Family& family : kFamilies) {
    for (const NftSet& set : SetsOf(family)) requests.push_back(EncodeNewNftSet(kNatTable, set, ++id));
  }
  const std::pair<const char*, std::optional<NftNatHook>> chains[] = {
      {kForwardPorts, std::nullopt},
      {kPrerouting, NftNatHook{.hook = NF_INET_PRE_ROUTING, .priority = NF_IP_PRI_NAT_DST}},
      {kOutput, NftNatHook{.hook = NF_INET_LOCAL_OUT, .priority = NF_IP_PRI_NAT_DST}},
      {kPostrouting, NftNatHook{.hook = NF_INET_POST_ROUTING, .priority = NF_IP_PRI_NAT_SRC}}};
  for (const auto& [chain, hook] : chains) {
    requests.push_back(EncodeNewNftChain(kNatTable, chain, hook));
    requests.push_back(EncodeFlushNftChain(kNatTable, chain));
  }
  AppendRules(requests);
  return requests;
}

Request EncodeAddNatElement(const NatElement& element) {
  const Placed placed = Place(element);
  Request request = EncodeNewNftElement(kNatTable, placed.set, placed.element, ToString(element));
  return placed.valid ? request : Invalid(std::move(request));
}

Request EncodeDeleteNatElement(const NatElement& element) {
  const Placed placed = Place(element);
  Request request = EncodeDeleteNftElement(kNatTable, placed.set, placed.element.key, ToString(element));
  return placed.valid ? request : Invalid(std::move(request));
}

Request EncodeGetNatElement(const NatElement& element) {
  const Placed placed = Place(element);
  Request request = EncodeGetNftElement(kNatTable, placed.set, placed.element.key, ToString(element));
  return placed.valid ? request : Invalid(std::move(request));
}

std::vector<Request> EncodeDumpNatElements() {
  std::vector<Request> requests;
  for (const Family& family : kFamilies) {
    for (const NftSet& set : SetsOf(family)) requests.push_back(EncodeDumpNftElements(kNatTable, set.name));
  }
  return requests;
}

KernelResult<std::vector<NatElement>> DecodeNatElements(std::span<const std::byte> payload) {
  NETPROV_ASSIGN_OR_RETURN(const NftElements reply, DecodeNftElements(payload));
  for (const Family& family : kFamilies) {
    for (const NftSet& set : SetsOf(family)) {
      if (set.name != reply.set) continue;
      std::vector<NatElement> elements;
      for (const NftElement& element : reply.elements) {
        std::optional<NatElement> decoded = Decode(family, set, element);
        if (!decoded) return Malformed("element of another length");
        elements.push_back(*std::move(decoded));
      }
      return elements;
    }
  }
  return Malformed("another set");
}

}  // namespace netprov::netlink
