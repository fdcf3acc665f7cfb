// What the kernel, or anybody who can send to our socket, might answer: read as bare messages, and through a Session.
//
// The input's first byte chooses flags of the datagrams, the rest is what arrives. Through the session it comes twice:
// as it is, and with sequence and port of each message set to what the session waits for, so that the fuzzer need not
// guess those.
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/address.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/filter.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/link_monitor.h"
#include "server/netlink/link_statistics.h"
#include "server/netlink/message.h"
#include "server/netlink/nat.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/nft.h"
#include "server/netlink/nsid.h"
#include "server/netlink/qdisc.h"
#include "server/netlink/route.h"
#include "server/netlink/session.h"
#include "server/netlink/transport.h"

namespace netprov::netlink {
namespace {

constexpr uint32_t kPortId = 4711;

// Gives out canned datagrams, then times out.
class CannedTransport : public Transport {
 public:
  explicit CannedTransport(std::deque<Datagram> datagrams) : datagrams_(std::move(datagrams)) {}

  KernelResult<void> Send(std::span<const std::byte>) override { return {}; }
  KernelResult<Datagram> Receive() override {
    if (datagrams_.empty()) return KernelError{.code = ETIMEDOUT, .operation = {}, .extack = {}};
    Datagram datagram = std::move(datagrams_.front());
    datagrams_.pop_front();
    return datagram;
  }
  uint32_t port_id() const override { return kPortId; }

 private:
  std::deque<Datagram> datagrams_;
};

void ReadAttributes(std::span<const std::byte> payload, int depth) {
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    (void)attribute->U8();
    (void)attribute->U16();
    (void)attribute->U32();
    (void)attribute->String();
    if (depth < 4) ReadAttributes(attribute->payload, depth + 1);
  }
}

void Decode(std::span<const std::byte> payload) {
  ReadAttributes(payload, 0);
  // What was decoded keeps what the decoder's header promises.
  KernelResult<Link> link = DecodeLink(payload);
  if (link.ok() ? (link->ifindex <= 0 || link->name.empty()) : link.error().code != EBADMSG) std::abort();
  KernelResult<LinkInfo> info = DecodeLinkInfo(payload);
  if (!info.ok() && info.error().code != EBADMSG) std::abort();
  if (info.ok() && !std::holds_alternative<std::monostate>(*info)) {
    const int error = EncodeNewLink({.name = "copy"}, *info).error;
    if (error != 0 && error != EMSGSIZE) std::abort();
  }
  KernelResult<std::optional<BridgePort>> port = DecodeBridgePort(payload);
  if (!port.ok() && port.error().code != EBADMSG) std::abort();
  KernelResult<LinkStatistics> statistics = DecodeLinkStatistics(payload);
  if (statistics.ok() ? statistics->ifindex <= 0 : statistics.error().code != EBADMSG) std::abort();
  KernelResult<int> nsid = DecodeNsid(payload);
  if (!nsid.ok() && nsid.error().code != EBADMSG) std::abort();
  KernelResult<Qdisc> qdisc = DecodeQdisc(payload);
  if (qdisc.ok() ? qdisc->ifindex <= 0 || qdisc->kind.empty() : qdisc.error().code != EBADMSG) std::abort();
  KernelResult<Filter> filter = DecodeFilter(payload);
  if (filter.ok() ? filter->ifindex <= 0 || filter->kind.empty() : filter.error().code != EBADMSG) std::abort();
  if (filter.ok() && filter->mirred && filter->mirred->ifindex < 0) std::abort();
  auto foreseen = [](const KernelError& error) { return error.code == EBADMSG || error.code == EAFNOSUPPORT; };
  KernelResult<BridgeVlans> vlans = DecodeBridgeVlans(payload);
  if (vlans.ok() ? vlans->ifindex <= 0 : !foreseen(vlans.error())) std::abort();
  KernelResult<Address> address = DecodeAddress(payload);
  if (address.ok() ? EncodeDeleteAddress(*address).error != 0 : !foreseen(address.error())) std::abort();
  KernelResult<Route> route = DecodeRoute(payload);
  if (route.ok() ? route->destination.length > route->destination.address.max_prefix_length() ||
                       route->ifindex.value_or(1) <= 0
                 : !foreseen(route.error())) {
    std::abort();
  }
  KernelResult<Neighbour> neighbour = DecodeNeighbour(payload);
  if (neighbour.ok() ? EncodeDeleteNeighbour(*neighbour).error != 0 : !foreseen(neighbour.error())) std::abort();
  KernelResult<FdbEntry> entry = DecodeFdbEntry(payload);
  if (entry.ok() ? EncodeDeleteFdbEntry(*entry).error != 0 : !foreseen(entry.error())) std::abort();
}

void DecodeNft(std::span<const std::byte> payload) {
  KernelResult<uint32_t> generation = DecodeNftGeneration(payload);
  if (generation.ok() ? *generation == 0 : generation.error().code != EBADMSG) std::abort();
  KernelResult<NftTable> table = DecodeNftTable(payload);
  if (table.ok() ? table->name.empty() : table.error().code != EBADMSG) std::abort();
  KernelResult<NftRule> rule = DecodeNftRule(payload);
  if (rule.ok() ? rule->chain.empty() : rule.error().code != EBADMSG) std::abort();
  KernelResult<NftElements> reply = DecodeNftElements(payload);
  if (reply.ok() ? reply->set.empty() : reply.error().code != EBADMSG) std::abort();
  KernelResult<std::vector<NatElement>> elements = DecodeNatElements(payload);
  if (!elements.ok() && elements.error().code != EBADMSG) std::abort();
  if (!elements.ok()) return;
  for (const NatElement& element : *elements) {
    // The kernel, unlike the encoder, takes ports and indexes of 0.
    const int error = EncodeDeleteNatElement(element).error;
    if (error != 0 && error != EINVAL) std::abort();
  }
}

void ReadDatagram(std::span<const std::byte> datagram) {
  MessageReader reader(datagram);
  while (std::optional<MessageView> message = reader.Next()) {
    Decode(message->payload);
    DecodeNft(message->payload);
  }
}

// Sets sequence and port of each well-formed message.
void Readdress(std::vector<std::byte>& datagram) {
  size_t offset = 0;
  nlmsghdr header;
  while (datagram.size() - offset >= sizeof(header)) {
    std::memcpy(&header, datagram.data() + offset, sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > datagram.size() - offset) return;
    // Answers to three requests, the first of a new session.
    header.nlmsg_seq = 1 + header.nlmsg_seq % 3;
    header.nlmsg_pid = kPortId;
    std::memcpy(datagram.data() + offset, &header, sizeof(header));
    offset += std::min((size_t{header.nlmsg_len} + 3) & ~size_t{3}, datagram.size() - offset);
  }
}

void CheckPayloads(const std::vector<Payload>& payloads) {
  for (const Payload& payload : payloads) Decode(payload);
}

void Converse(const std::vector<std::byte>& bytes, uint8_t flags) {
  auto canned = [&] {
    // Twice, since a dump may be tried again.
    Datagram datagram{.bytes = bytes, .sender = flags & 1u, .truncated = (flags & 2) != 0};
    return CannedTransport({datagram, datagram});
  };
  {
    CannedTransport transport = canned();
    const Request requests[] = {EncodeGetLink(1), EncodeDeleteLink("veth0"), EncodeGetLink("veth1")};
    std::vector<Outcome> outcomes = Session(transport).ExecuteBatch(requests);
    if (outcomes.size() != std::size(requests)) std::abort();
    for (const Outcome& outcome : outcomes) CheckPayloads(outcome.replies);
  }
  {
    CannedTransport transport = canned();
    KernelResult<std::vector<Payload>> dump = Session(transport, {.max_dump_tries = 2}).Dump(EncodeDumpLinks());
    if (dump.ok()) CheckPayloads(*dump);
  }
  {
    CannedTransport transport = canned();
    KernelResult<std::vector<Payload>> dump = Session(transport).Dump(EncodeDumpNftElements("netprov", "forward4"));
    if (dump.ok()) {
      for (const Payload& payload : *dump) DecodeNft(payload);
    }
  }
  {
    CannedTransport transport = canned();
    const Request requests[] = {EncodeDeleteNftTable("a"), EncodeDeleteNftTable("b")};
    Result<void, TransactionError> done = Session(transport).ExecuteTransaction(requests);
    if (!done.ok() && done.error().request.value_or(0) >= std::size(requests)) std::abort();
  }
}

}  // namespace
}  // namespace netprov::netlink

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace netprov::netlink;  // NOLINT(google-build-using-namespace): the function must be global.
  if (size == 0) return 0;
  std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  ReadDatagram(input.subspan(1));
  DecodeLinkEvents(input.subspan(1), std::nullopt);
  Decode(input.subspan(1));
  DecodeNft(input.subspan(1));
  std::vector<std::byte> bytes(input.begin() + 1, input.end());
  Converse(bytes, data[0]);
  Readdress(bytes);
  Converse(bytes, data[0]);
  return 0;
}
