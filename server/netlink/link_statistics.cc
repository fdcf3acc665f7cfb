#include "server/netlink/link_statistics.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// Up to rx_nohandler; Linux 5.19 has one more.
constexpr size_t kShortest = offsetof(rtnl_link_stats64, rx_nohandler) + sizeof(uint64_t);

KernelError Malformed(const std::string& what) {
  return {.code = EBADMSG, .operation = absl::StrCat("RTM_NEWLINK reply: ", what), .extack = {}};
}

void ReadStatistics(std::span<const std::byte> payload, LinkStatistics& statistics) {
  // A copy, as the attribute need not be aligned.
  rtnl_link_stats64 raw = {};
  std::memcpy(&raw, payload.data(), std::min(payload.size(), sizeof(raw)));
  statistics.rx_packets = raw.rx_packets;
  statistics.tx_packets = raw.tx_packets;
  statistics.rx_bytes = raw.rx_bytes;
  statistics.tx_bytes = raw.tx_bytes;
  statistics.rx_errors = raw.rx_errors;
  statistics.tx_errors = raw.tx_errors;
  statistics.rx_dropped = raw.rx_dropped;
  statistics.tx_dropped = raw.tx_dropped;
  statistics.multicast = raw.multicast;
  statistics.rx_no_handler = raw.rx_nohandler;
}

}  // namespace

Request EncodeGetLinkStatistics(const LinkRef& link) {
  MessageBuilder message(DescribeLink("RTM_GETLINK", link), RTM_GETLINK, NLM_F_ACK);
  PutLinkRef(message, link);
  return std::move(message).Build();
}

Request EncodeDumpLinkStatistics() {
  MessageBuilder message("RTM_GETLINK dump with statistics", RTM_GETLINK, NLM_F_DUMP);
  message.PutHeader(ifinfomsg{});
  return std::move(message).Build();
}

KernelResult<LinkStatistics> DecodeLinkStatistics(std::span<const std::byte> payload) {
  std::optional<ifinfomsg> header = TakeHeader<ifinfomsg>(payload);
  if (!header) return Malformed("no ifinfomsg");
  if (header->ifi_index <= 0) return Malformed("no ifindex");
  LinkStatistics statistics;
  statistics.ifindex = header->ifi_index;
  bool found = false;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type != IFLA_STATS64) continue;
    if (attribute->payload.size() < kShortest) return Malformed(absl::StrCat("attribute ", attribute->type));
    ReadStatistics(attribute->payload, statistics);
    found = true;
  }
  if (reader.malformed()) return Malformed("attributes cut short");
  if (!found) return Malformed("no statistics");
  return statistics;
}

}  // namespace netprov::netlink
