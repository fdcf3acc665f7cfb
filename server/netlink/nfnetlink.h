// What subsystems of netfilter have in common in netlink: nfnetlink(7), Linux net/netfilter/nfnetlink.c.
#ifndef NETPROV_SERVER_NETLINK_NFNETLINK_H_
#define NETPROV_SERVER_NETLINK_NFNETLINK_H_

#include <cstdint>

#include "server/netlink/message.h"

namespace netprov::netlink {

// Whether a message type is nf_tables' (NFNL_SUBSYS_NFTABLES).
bool IsNft(uint16_t type);

// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END, between which changes of nf_tables stand. The kernel makes them only
// while the rule set's generation is `generation`; 0 is any.
Request EncodeBatchBegin(uint32_t generation);
Request EncodeBatchEnd();

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NFNETLINK_H_
