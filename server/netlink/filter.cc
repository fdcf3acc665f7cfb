#include "server/netlink/filter.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// tc_u32_sel, which ends in an array without a length, with the one key that all packets meet.
struct MatchAll {
  uint8_t flags = TC_U32_TERMINAL;
  uint8_t offset_shift = 0;
  uint8_t keys = 1;
  uint8_t padding = 0;
  uint16_t offset_mask = 0;
  uint16_t offset = 0;
  int16_t offset_offset = 0;
  int16_t hash_offset = 0;
  uint32_t hash_mask = 0;
  tc_u32_key key = {};
};
static_assert(sizeof(MatchAll) == sizeof(tc_u32_sel) + sizeof(tc_u32_key));
static_assert(offsetof(MatchAll, offset_mask) == offsetof(tc_u32_sel, offmask));
static_assert(offsetof(MatchAll, key) == sizeof(tc_u32_sel));

// `name` is the message's, with the classifier where it has one.
MessageBuilder FilterMessage(const char* name, uint16_t type, uint16_t flags, int ifindex, FilterHook hook,
                             uint16_t priority) {
  const char* direction = hook == FilterHook::kIngress ? " ingress" : " egress";
  MessageBuilder message(absl::StrCat(name, " ifindex ", ifindex, direction), type, flags);
  if (ifindex <= 0) message.Fail(EINVAL);
  tcmsg header = {};
  header.tcm_ifindex = ifindex;
  header.tcm_parent = static_cast<uint32_t>(hook);
  // Priority and Ethernet type; a dump that has neither is of all.
  if (priority != 0) header.tcm_info = TC_H_MAKE(uint32_t{priority} << 16, htons(ETH_P_ALL));
  message.PutHeader(header);
  return message;
}

// The one action of a filter.
void PutMirred(MessageBuilder& message, uint16_t type, const Mirred& mirred) {
  if (mirred.ifindex <= 0) message.Fail(EINVAL);
  tc_mirred parameters = {};
  parameters.eaction = static_cast<int>(mirred.action);
  parameters.ifindex = static_cast<uint32_t>(mirred.ifindex);
  // Redirected, the packet is gone; otherwise the next filter's turn comes.
  const bool redirect =
      mirred.action == MirredAction::kRedirectEgress || mirred.action == MirredAction::kRedirectIngress;
  parameters.action = redirect ? TC_ACT_STOLEN : TC_ACT_PIPE;
  size_t actions = message.BeginNest(type);
  // Actions are numbered from 1.
  size_t first = message.BeginNest(1);
  message.PutString(TCA_ACT_KIND, "mirred");
  size_t options = message.BeginNest(TCA_ACT_OPTIONS);
  message.PutStruct(TCA_MIRRED_PARMS, parameters);
  message.EndNest(options);
  message.EndNest(first);
  message.EndNest(actions);
}

KernelError Malformed(const std::string& what) {
  return {.code = EBADMSG, .operation = absl::StrCat("RTM_NEWTFILTER reply: ", what), .extack = {}};
}

// Finds the last attribute of a type and puts its payload into `found`; false where they are cut short.
bool Find(std::span<const std::byte> attributes, uint16_t type, std::span<const std::byte>& found) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == type) found = attribute->payload;
  }
  return !reader.malformed();
}

// Reads one action; false where it is malformed.
bool DecodeAction(std::span<const std::byte> attributes, Filter& filter) {
  std::span<const std::byte> kind;
  std::span<const std::byte> options;
  if (!Find(attributes, TCA_ACT_KIND, kind) || !Find(attributes, TCA_ACT_OPTIONS, options)) return false;
  if (AttributeView{.type = TCA_ACT_KIND, .payload = kind}.String() != "mirred") return true;
  std::span<const std::byte> parameters;
  if (!Find(options, TCA_MIRRED_PARMS, parameters)) return false;
  std::optional<tc_mirred> mirred = AttributeView{.type = TCA_MIRRED_PARMS, .payload = parameters}.Struct<tc_mirred>();
  if (!mirred) return false;
  filter.mirred = {.action = static_cast<MirredAction>(mirred->eaction), .ifindex = static_cast<int>(mirred->ifindex)};
  return filter.mirred->ifindex >= 0;
}

// Reads the actions of a filter, of which the first mirred counts; false where one is malformed.
bool DecodeActions(std::span<const std::byte> attributes, Filter& filter) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (!filter.mirred && !DecodeAction(attribute->payload, filter)) return false;
  }
  return !reader.malformed();
}

}  // namespace

Request EncodeNewFilter(const NewFilter& filter) {
  const bool matchall = filter.classifier == Classifier::kMatchall;
  MessageBuilder message =
      FilterMessage(matchall ? "RTM_NEWTFILTER matchall" : "RTM_NEWTFILTER u32", RTM_NEWTFILTER,
                    NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, filter.ifindex, filter.hook, filter.priority);
  // For the kernel to choose; but then nobody could delete it by its priority.
  if (filter.priority == 0) message.Fail(EINVAL);
  if (matchall) {
    message.PutString(TCA_KIND, "matchall");
    size_t options = message.BeginNest(TCA_OPTIONS);
    PutMirred(message, TCA_MATCHALL_ACT, filter.mirred);
    message.EndNest(options);
  } else {
    message.PutString(TCA_KIND, "u32");
    size_t options = message.BeginNest(TCA_OPTIONS);
    message.PutStruct(TCA_U32_SEL, MatchAll{});
    PutMirred(message, TCA_U32_ACT, filter.mirred);
    message.EndNest(options);
  }
  return std::move(message).Build();
}

Request EncodeDeleteFilters(int ifindex, FilterHook hook, uint16_t priority) {
  MessageBuilder message = FilterMessage("RTM_DELTFILTER", RTM_DELTFILTER, NLM_F_ACK, ifindex, hook, priority);
  // All priorities, for the kernel.
  if (priority == 0) message.Fail(EINVAL);
  return std::move(message).Build();
}

Request EncodeDumpFilters(int ifindex, FilterHook hook) {
  return FilterMessage("RTM_GETTFILTER dump", RTM_GETTFILTER, NLM_F_DUMP, ifindex, hook, 0).Build();
}

KernelResult<Filter> DecodeFilter(std::span<const std::byte> payload) {
  std::optional<tcmsg> header = TakeHeader<tcmsg>(payload);
  if (!header) return Malformed("no tcmsg");
  Filter filter;
  filter.ifindex = header->tcm_ifindex;
  filter.handle = header->tcm_handle;
  filter.priority = static_cast<uint16_t>(header->tcm_info >> 16);
  if (filter.ifindex <= 0) return Malformed("no ifindex");

  std::span<const std::byte> kind;
  std::span<const std::byte> options;
  if (!Find(payload, TCA_KIND, kind) || !Find(payload, TCA_OPTIONS, options)) return Malformed("attributes cut short");
  filter.kind = AttributeView{.type = TCA_KIND, .payload = kind}.String().value_or("");
  if (filter.kind.empty()) return Malformed("no kind");
  std::span<const std::byte> actions;
  if (filter.kind == "matchall" && !Find(options, TCA_MATCHALL_ACT, actions)) return Malformed("options of a matchall");
  if (filter.kind == "u32" && !Find(options, TCA_U32_ACT, actions)) return Malformed("options of a u32");
  if (!DecodeActions(actions, filter)) return Malformed("action");
  return filter;
}

}  // namespace netprov::netlink
