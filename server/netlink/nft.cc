#include "server/netlink/nft.h"

#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// libnftnl's numbers for comments in user data (NFTNL_UDATA_TABLE_COMMENT, NFTNL_UDATA_SET_ELEM_COMMENT).
constexpr uint8_t kComment = 0;

// Of netprov's own, in the user data of rules: nft passes over what it does not know.
constexpr uint8_t kDigest = 0x6e;

// nft packs the types of a concatenation into one number, 6 bits each.
constexpr int kTypeBits = 6;

MessageBuilder NftMessage(std::string operation, uint16_t message, uint16_t flags) {
  MessageBuilder builder(std::move(operation), NFNL_SUBSYS_NFTABLES << 8 | message, flags);
  builder.PutHeader(nfgenmsg{.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0, .res_id = 0});
  return builder;
}

// As in `NFT_MSG_NEWCHAIN inet filter input`.
std::string Operation(const char* message, std::initializer_list<std::string_view> words) {
  std::string operation = absl::StrCat(message, " inet");
  for (std::string_view word : words) operation.append(" ").append(word);
  return operation;
}

uint32_t PackTypes(std::span<const NftType> types) {
  uint32_t packed = 0;
  for (NftType type : types) packed = packed << kTypeBits | static_cast<uint32_t>(type);
  return packed;
}

uint32_t FieldLength(NftType type) { return type == NftType::kIpv6Address ? 16 : 4; }

// User data are attributes of libnftnl's own: a type and a length of 8 bits each, without padding.
void PutComment(MessageBuilder& message, uint16_t type, std::string_view comment) {
  if (comment.empty()) return;
  if (comment.size() > kMaxNftComment || comment.find('\0') != std::string_view::npos) return message.Fail(EINVAL);
  std::vector<std::byte> user_data = {std::byte{kComment}, static_cast<std::byte>(comment.size() + 1)};
  for (char c : comment) user_data.push_back(static_cast<std::byte>(c));
  user_data.push_back(std::byte{0});
  message.PutBytes(type, user_data);
}

// FNV-1a.
uint64_t DigestOf(std::span<const std::byte> bytes) {
  uint64_t digest = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) digest = (digest ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3;
  return digest;
}

// The comment of user data, empty where there is none, as in user data of another form: whoever made them may have
// written anything.
std::string FindComment(std::span<const std::byte> user_data) {
  while (user_data.size() >= 2) {
    const auto length = std::to_integer<size_t>(user_data[1]);
    if (length > user_data.size() - 2) return {};
    if (std::to_integer<uint8_t>(user_data[0]) == kComment) {
      const AttributeView comment{.type = 0, .payload = user_data.subspan(2, length)};
      return std::string(comment.String().value_or(""));
    }
    user_data = user_data.subspan(2 + length);
  }
  return {};
}

// A nest with nothing in it but a value (NFTA_DATA_VALUE).
void PutDataNest(MessageBuilder& message, uint16_t type, std::span<const std::byte> value) {
  size_t nest = message.BeginNest(type);
  message.PutBytes(NFTA_DATA_VALUE, value);
  message.EndNest(nest);
}

// The value of such a nest, or none.
std::optional<std::vector<std::byte>> TakeValue(std::span<const std::byte> nest) {
  std::optional<std::vector<std::byte>> value;
  AttributeReader reader(nest);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_DATA_VALUE) value.emplace(attribute->payload.begin(), attribute->payload.end());
  }
  return reader.malformed() ? std::nullopt : value;
}

bool DecodeElement(std::span<const std::byte> attributes, NftElement& element) {
  std::optional<std::vector<std::byte>> key;
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_SET_ELEM_KEY) key = TakeValue(attribute->payload);
    if (attribute->type == NFTA_SET_ELEM_DATA) {
      std::optional<std::vector<std::byte>> data = TakeValue(attribute->payload);
      if (!data) return false;
      element.data = *std::move(data);
    }
    if (attribute->type == NFTA_SET_ELEM_USERDATA) element.comment = FindComment(attribute->payload);
  }
  if (reader.malformed() || !key) return false;
  element.key = *std::move(key);
  return true;
}

bool DecodeElementList(std::span<const std::byte> list, std::vector<NftElement>& elements) {
  AttributeReader reader(list);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_LIST_ELEM && !DecodeElement(attribute->payload, elements.emplace_back())) return false;
  }
  return !reader.malformed();
}

KernelError Malformed(const char* message, const std::string& what) {
  return {.code = EBADMSG, .operation = absl::StrCat(message, " reply: ", what), .extack = {}};
}

// The message around one element.
MessageBuilder ElementMessage(const char* name, uint16_t type, uint16_t flags, std::string_view table,
                              std::string_view set, std::string_view what) {
  MessageBuilder message = NftMessage(Operation(name, {table, set, what}), type, flags);
  message.PutString(NFTA_SET_ELEM_LIST_TABLE, table);
  message.PutString(NFTA_SET_ELEM_LIST_SET, set);
  return message;
}

}  // namespace

Request EncodeGetNftGeneration() { return NftMessage("NFT_MSG_GETGEN", NFT_MSG_GETGEN, NLM_F_ACK).Build(); }

KernelResult<uint32_t> DecodeNftGeneration(std::span<const std::byte> payload) {
  if (!TakeHeader<nfgenmsg>(payload)) return Malformed("NFT_MSG_GETGEN", "no nfgenmsg");
  uint32_t generation = 0;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_GEN_ID) generation = attribute->Be32().value_or(0);
  }
  if (reader.malformed() || generation == 0) return Malformed("NFT_MSG_GETGEN", "no generation");
  return generation;
}

Request EncodeNewNftTable(const NftTable& table) {
  MessageBuilder message =
      NftMessage(Operation("NFT_MSG_NEWTABLE", {table.name}), NFT_MSG_NEWTABLE, NLM_F_ACK | NLM_F_CREATE);
  message.PutString(NFTA_TABLE_NAME, table.name);
  PutComment(message, NFTA_TABLE_USERDATA, table.comment);
  return std::move(message).Build();
}

Request EncodeDeleteNftTable(std::string_view name) {
  MessageBuilder message = NftMessage(Operation("NFT_MSG_DELTABLE", {name}), NFT_MSG_DELTABLE, NLM_F_ACK);
  message.PutString(NFTA_TABLE_NAME, name);
  return std::move(message).Build();
}

Request EncodeGetNftTable(std::string_view name) {
  MessageBuilder message = NftMessage(Operation("NFT_MSG_GETTABLE", {name}), NFT_MSG_GETTABLE, NLM_F_ACK);
  message.PutString(NFTA_TABLE_NAME, name);
  return std::move(message).Build();
}

KernelResult<NftTable> DecodeNftTable(std::span<const std::byte> payload) {
  constexpr char kMessage[] = "NFT_MSG_GETTABLE";
  if (!TakeHeader<nfgenmsg>(payload)) return Malformed(kMessage, "no nfgenmsg");
  NftTable table;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_TABLE_NAME) table.name = attribute->String().value_or("");
    if (attribute->type == NFTA_TABLE_USERDATA) table.comment = FindComment(attribute->payload);
  }
  if (reader.malformed() || table.name.empty()) return Malformed(kMessage, "no name");
  return table;
}

Request EncodeNewNftChain(std::string_view table, std::string_view chain, const std::optional<NftNatHook>& hook) {
  MessageBuilder message =
      NftMessage(Operation("NFT_MSG_NEWCHAIN", {table, chain}), NFT_MSG_NEWCHAIN, NLM_F_ACK | NLM_F_CREATE);
  message.PutString(NFTA_CHAIN_TABLE, table);
  message.PutString(NFTA_CHAIN_NAME, chain);
  if (hook) {
    size_t nest = message.BeginNest(NFTA_CHAIN_HOOK);
    message.PutBe32(NFTA_HOOK_HOOKNUM, hook->hook);
    message.PutBe32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(hook->priority));
    message.EndNest(nest);
    message.PutBe32(NFTA_CHAIN_POLICY, NF_ACCEPT);
    message.PutString(NFTA_CHAIN_TYPE, "nat");
  }
  return std::move(message).Build();
}

Request EncodeFlushNftChain(std::string_view table, std::string_view chain) {
  MessageBuilder message = NftMessage(Operation("NFT_MSG_DELRULE", {table, chain}), NFT_MSG_DELRULE, NLM_F_ACK);
  message.PutString(NFTA_RULE_TABLE, table);
  message.PutString(NFTA_RULE_CHAIN, chain);
  return std::move(message).Build();
}

uint32_t NftLength(std::span<const NftType> types) {
  uint32_t length = 0;
  for (NftType type : types) length += FieldLength(type);
  return length;
}

Request EncodeNewNftSet(std::string_view table, const NftSet& set, uint32_t id) {
  MessageBuilder message =
      NftMessage(Operation("NFT_MSG_NEWSET", {table, set.name}), NFT_MSG_NEWSET, NLM_F_ACK | NLM_F_CREATE);
  message.PutString(NFTA_SET_TABLE, table);
  message.PutString(NFTA_SET_NAME, set.name);
  message.PutBe32(NFTA_SET_FLAGS, set.data.empty() ? 0 : NFT_SET_MAP);
  message.PutBe32(NFTA_SET_KEY_TYPE, PackTypes(set.key));
  message.PutBe32(NFTA_SET_KEY_LEN, NftLength(set.key));
  if (!set.data.empty()) {
    message.PutBe32(NFTA_SET_DATA_TYPE, PackTypes(set.data));
    message.PutBe32(NFTA_SET_DATA_LEN, NftLength(set.data));
  }
  message.PutBe32(NFTA_SET_ID, id);
  return std::move(message).Build();
}

Request EncodeNewNftElement(std::string_view table, std::string_view set, const NftElement& element,
                            std::string_view what) {
  MessageBuilder message =
      ElementMessage("NFT_MSG_NEWSETELEM", NFT_MSG_NEWSETELEM, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, table, set, what);
  size_t list = message.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
  size_t nest = message.BeginNest(NFTA_LIST_ELEM);
  PutDataNest(message, NFTA_SET_ELEM_KEY, element.key);
  if (!element.data.empty()) PutDataNest(message, NFTA_SET_ELEM_DATA, element.data);
  PutComment(message, NFTA_SET_ELEM_USERDATA, element.comment);
  message.EndNest(nest);
  message.EndNest(list);
  return std::move(message).Build();
}

// A list of the element of one key, at the end of a message.
static Request WithKey(MessageBuilder message, std::span<const std::byte> key) {
  size_t list = message.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
  size_t nest = message.BeginNest(NFTA_LIST_ELEM);
  PutDataNest(message, NFTA_SET_ELEM_KEY, key);
  message.EndNest(nest);
  message.EndNest(list);
  return std::move(message).Build();
}

Request EncodeDeleteNftElement(std::string_view table, std::string_view set, std::span<const std::byte> key,
                               std::string_view what) {
  return WithKey(ElementMessage("NFT_MSG_DELSETELEM", NFT_MSG_DELSETELEM, NLM_F_ACK, table, set, what), key);
}

Request EncodeGetNftElement(std::string_view table, std::string_view set, std::span<const std::byte> key,
                            std::string_view what) {
  return WithKey(ElementMessage("NFT_MSG_GETSETELEM", NFT_MSG_GETSETELEM, NLM_F_ACK, table, set, what), key);
}

Request EncodeDumpNftElements(std::string_view table, std::string_view set) {
  MessageBuilder message =
      NftMessage(Operation("NFT_MSG_GETSETELEM dump of", {table, set}), NFT_MSG_GETSETELEM, NLM_F_DUMP);
  message.PutString(NFTA_SET_ELEM_LIST_TABLE, table);
  message.PutString(NFTA_SET_ELEM_LIST_SET, set);
  return std::move(message).Build();
}

KernelResult<NftElements> DecodeNftElements(std::span<const std::byte> payload) {
  constexpr char kMessage[] = "NFT_MSG_GETSETELEM";
  if (!TakeHeader<nfgenmsg>(payload)) return Malformed(kMessage, "no nfgenmsg");
  NftElements reply;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_SET_ELEM_LIST_SET) reply.set = attribute->String().value_or("");
    if (attribute->type == NFTA_SET_ELEM_LIST_ELEMENTS && !DecodeElementList(attribute->payload, reply.elements)) {
      return Malformed(kMessage, "element");
    }
  }
  if (reader.malformed() || reply.set.empty()) return Malformed(kMessage, "no set");
  return reply;
}

NftRuleBuilder::NftRuleBuilder(std::string_view table, std::string_view chain)
    : message_(NftMessage(Operation("NFT_MSG_NEWRULE", {table, chain}), NFT_MSG_NEWRULE,
                          NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND)) {
  message_.PutString(NFTA_RULE_TABLE, table);
  message_.PutString(NFTA_RULE_CHAIN, chain);
  expressions_ = message_.BeginNest(NFTA_RULE_EXPRESSIONS);
}

Request NftRuleBuilder::Build() && {
  message_.EndNest(expressions_);
  return std::move(message_).Build();
}

Request NftRuleBuilder::BuildWithDigest() && {
  message_.EndNest(expressions_);
  const uint64_t digest = DigestOf(MessageBuilder(message_).Build().message);
  std::vector<std::byte> user_data = {std::byte{kDigest}, std::byte{sizeof(digest)}};
  const auto bytes = std::as_bytes(std::span(&digest, 1));
  user_data.insert(user_data.end(), bytes.begin(), bytes.end());
  message_.PutBytes(NFTA_RULE_USERDATA, user_data);
  return std::move(message_).Build();
}

Request EncodeDumpNftRules(std::string_view table) {
  MessageBuilder message = NftMessage(Operation("NFT_MSG_GETRULE dump of", {table}), NFT_MSG_GETRULE, NLM_F_DUMP);
  message.PutString(NFTA_RULE_TABLE, table);
  return std::move(message).Build();
}

KernelResult<NftRule> DecodeNftRule(std::span<const std::byte> payload) {
  constexpr char kMessage[] = "NFT_MSG_GETRULE";
  if (!TakeHeader<nfgenmsg>(payload)) return Malformed(kMessage, "no nfgenmsg");
  NftRule rule;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NFTA_RULE_CHAIN) rule.chain = attribute->String().value_or("");
    if (attribute->type == NFTA_RULE_USERDATA) {
      rule.user_data.assign(attribute->payload.begin(), attribute->payload.end());
    }
  }
  if (reader.malformed() || rule.chain.empty()) return Malformed(kMessage, "no chain");
  return rule;
}

template <typename PutAttributes>
void NftRuleBuilder::PutExpression(std::string_view name, PutAttributes put) {
  size_t nest = message_.BeginNest(NFTA_LIST_ELEM);
  message_.PutString(NFTA_EXPR_NAME, name);
  size_t data = message_.BeginNest(NFTA_EXPR_DATA);
  put();
  message_.EndNest(data);
  message_.EndNest(nest);
}

void NftRuleBuilder::PutRegister(uint16_t type, NftRegister number) { message_.PutBe32(type, NFT_REG32_00 + number); }

void NftRuleBuilder::PutData(uint16_t type, std::span<const std::byte> value) { PutDataNest(message_, type, value); }

void NftRuleBuilder::LoadMeta(uint32_t key, NftRegister target) {
  PutExpression("meta", [&] {
    message_.PutBe32(NFTA_META_KEY, key);
    PutRegister(NFTA_META_DREG, target);
  });
}

void NftRuleBuilder::LoadNetworkHeader(uint32_t offset, uint32_t length, NftRegister target) {
  LoadHeader(NFT_PAYLOAD_NETWORK_HEADER, offset, length, target);
}

void NftRuleBuilder::LoadTransportHeader(uint32_t offset, uint32_t length, NftRegister target) {
  LoadHeader(NFT_PAYLOAD_TRANSPORT_HEADER, offset, length, target);
}

void NftRuleBuilder::LoadHeader(uint32_t base, uint32_t offset, uint32_t length, NftRegister target) {
  PutExpression("payload", [&] {
    PutRegister(NFTA_PAYLOAD_DREG, target);
    message_.PutBe32(NFTA_PAYLOAD_BASE, base);
    message_.PutBe32(NFTA_PAYLOAD_OFFSET, offset);
    message_.PutBe32(NFTA_PAYLOAD_LEN, length);
  });
}

void NftRuleBuilder::LoadConntrack(uint32_t key, NftRegister target) {
  PutExpression("ct", [&] {
    message_.PutBe32(NFTA_CT_KEY, key);
    PutRegister(NFTA_CT_DREG, target);
  });
}

void NftRuleBuilder::LoadDestinationType(NftRegister target) {
  PutExpression("fib", [&] {
    PutRegister(NFTA_FIB_DREG, target);
    message_.PutBe32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    message_.PutBe32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  });
}

void NftRuleBuilder::Equal(NftRegister source, std::span<const std::byte> value) {
  PutExpression("cmp", [&] {
    PutRegister(NFTA_CMP_SREG, source);
    message_.PutBe32(NFTA_CMP_OP, NFT_CMP_EQ);
    PutData(NFTA_CMP_DATA, value);
  });
}

void NftRuleBuilder::AnyBit(NftRegister source, uint32_t bits) {
  const uint32_t zero = 0;
  PutExpression("bitwise", [&] {
    PutRegister(NFTA_BITWISE_SREG, source);
    PutRegister(NFTA_BITWISE_DREG, source);
    message_.PutBe32(NFTA_BITWISE_LEN, sizeof(bits));
    PutData(NFTA_BITWISE_MASK, std::as_bytes(std::span(&bits, 1)));
    PutData(NFTA_BITWISE_XOR, std::as_bytes(std::span(&zero, 1)));
  });
  PutExpression("cmp", [&] {
    PutRegister(NFTA_CMP_SREG, source);
    message_.PutBe32(NFTA_CMP_OP, NFT_CMP_NEQ);
    PutData(NFTA_CMP_DATA, std::as_bytes(std::span(&zero, 1)));
  });
}

void NftRuleBuilder::Lookup(NftRegister key, std::string_view set, std::optional<NftRegister> data) {
  PutExpression("lookup", [&] {
    message_.PutString(NFTA_LOOKUP_SET, set);
    PutRegister(NFTA_LOOKUP_SREG, key);
    if (data) PutRegister(NFTA_LOOKUP_DREG, *data);
  });
}

void NftRuleBuilder::Dnat(IpFamily family, NftRegister address, NftRegister port) {
  PutExpression("nat", [&] {
    message_.PutBe32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
    message_.PutBe32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family));
    PutRegister(NFTA_NAT_REG_ADDR_MIN, address);
    PutRegister(NFTA_NAT_REG_PROTO_MIN, port);
  });
}

void NftRuleBuilder::Masquerade() {
  PutExpression("masq", [] {});
}

void NftRuleBuilder::Return() { Verdict(NFT_RETURN, {}); }

void NftRuleBuilder::Jump(std::string_view chain) { Verdict(NFT_JUMP, chain); }

void NftRuleBuilder::Verdict(int code, std::string_view chain) {
  PutExpression("immediate", [&] {
    message_.PutBe32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = message_.BeginNest(NFTA_IMMEDIATE_DATA);
    size_t verdict = message_.BeginNest(NFTA_DATA_VERDICT);
    message_.PutBe32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
    if (!chain.empty()) message_.PutString(NFTA_VERDICT_CHAIN, chain);
    message_.EndNest(verdict);
    message_.EndNest(data);
  });
}

}  // namespace netprov::netlink
