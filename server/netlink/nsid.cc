#include "server/netlink/nsid.h"

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstdint>
#include <optional>

namespace netprov::netlink {

Request EncodeNewNsid(int netns_fd) {
  MessageBuilder message("RTM_NEWNSID", RTM_NEWNSID, NLM_F_ACK);
  message.PutHeader(rtgenmsg{});
  message.PutU32(NETNSA_NSID, static_cast<uint32_t>(NETNSA_NSID_NOT_ASSIGNED));
  message.PutU32(NETNSA_FD, static_cast<uint32_t>(netns_fd));
  return std::move(message).Build();
}

Request EncodeGetNsid(int netns_fd) {
  MessageBuilder message("RTM_GETNSID", RTM_GETNSID, NLM_F_ACK);
  message.PutHeader(rtgenmsg{});
  message.PutU32(NETNSA_FD, static_cast<uint32_t>(netns_fd));
  return std::move(message).Build();
}

KernelResult<int> DecodeNsid(std::span<const std::byte> payload) {
  const KernelError malformed{.code = EBADMSG, .operation = "RTM_NEWNSID", .extack = {}};
  if (!TakeHeader<rtgenmsg>(payload)) return malformed;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type != NETNSA_NSID) continue;
    std::optional<uint32_t> nsid = attribute->U32();
    if (!nsid) return malformed;
    return static_cast<int>(*nsid);
  }
  return malformed;
}

}  // namespace netprov::netlink
