// What subsystems of netfilter have in common in netlink: nfnetlink(7), Linux net/netfilter/nfnetlink.c.
#ifndef NETPROV_SERVER_NETLINK_NFNETLINK_H_
#define NETPROV_SERVER_NETLINK_NFNETLINK_H_

#include <cstdint>
#include <string>

#include "server/netlink/message.h"

namespace netprov::netlink {

// Whether a message type is nf_tables' (NFNL_SUBSYS_NFTABLES).
bool IsNft(uint16_t type);

// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END, between which changes of nf_tables stand. The kernel makes them only
// while the rule set's generation is `generation`; 0 is any.
Request EncodeBatchBegin(uint32_t generation);
Request EncodeBatchEnd();

// The name of the expression of a rule that begins `offset` bytes into its NFT_MSG_NEWRULE, as in `masq`: what the
// kernel means with a NLMSGERR_ATTR_OFFS where it refuses the rule (nf_tables_newrule()). Empty where there is none.
std::string NftExpressionAt(const Request& request, uint32_t offset);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NFNETLINK_H_
