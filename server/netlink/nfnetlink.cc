#include "server/netlink/nfnetlink.h"

#include <endian.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

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

}  // namespace netprov::netlink
