#include "server/netlink/nfnetlink.h"

#include <endian.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace netprov::netlink {
namespace {

MessageBuilder BatchMessage(uint16_t type) {
  MessageBuilder message("nf_tables transaction", type, 0);
  message.PutHeader(
      nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htobe16(NFNL_SUBSYS_NFTABLES)});
  return message;
}

}  // namespace

bool IsNft(uint16_t type) { return NFNL_SUBSYS_ID(type) == NFNL_SUBSYS_NFTABLES; }

Request EncodeBatchBegin(uint32_t generation) {
  MessageBuilder message = BatchMessage(NFNL_MSG_BATCH_BEGIN);
  if (generation != 0) message.PutBe32(NFNL_BATCH_GENID, generation);
  return std::move(message).Build();
}

Request EncodeBatchEnd() { return BatchMessage(NFNL_MSG_BATCH_END).Build(); }

std::string NftExpressionAt(const Request& request, uint32_t offset) {
  std::span<const std::byte> rest(request.message);
  const std::optional<nlmsghdr> header = TakeHeader<nlmsghdr>(rest);
  if (!header || header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE)) return {};
  if (!TakeHeader<nfgenmsg>(rest)) return {};
  AttributeReader attributes(rest);
  while (std::optional<AttributeView> attribute = attributes.Next()) {
    if (attribute->type != NFTA_RULE_EXPRESSIONS) continue;
    AttributeReader expressions(attribute->payload);
    while (std::optional<AttributeView> expression = expressions.Next()) {
      // Where its header is.
      const ptrdiff_t begin = expression->payload.data() - request.message.data() - NLA_HDRLEN;
      if (begin != static_cast<ptrdiff_t>(offset)) continue;
      AttributeReader parts(expression->payload);
      while (std::optional<AttributeView> part = parts.Next()) {
        if (part->type == NFTA_EXPR_NAME) return std::string(part->String().value_or(""));
      }
    }
  }
  return {};
}

}  // namespace netprov::netlink
