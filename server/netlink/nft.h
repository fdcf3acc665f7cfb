// Tables, chains, sets and rules of nf_tables in netlink, in the family inet (IPv4 and IPv6): nft(8), Linux
// net/netfilter/nf_tables_api.c. Pure functions; changes are made for Session::ExecuteTransaction, gets and dumps for
// Session::ExecuteBatch and Session::Dump of a NETLINK_NETFILTER socket, and replies come from there.
//
// Names have at most 255 characters (NFT_NAME_MAXLEN), comments kMaxNftComment. Longer ones, and those with a NUL byte,
// are EINVAL or EMSGSIZE in Session.
#ifndef NETPROV_SERVER_NETLINK_NFT_H_
#define NETPROV_SERVER_NETLINK_NFT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// The longest comment that `nft` reads back from what it has printed (NFTNL_UDATA_COMMENT_MAXLEN).
inline constexpr size_t kMaxNftComment = 128;

// ---- The rule set's generation: it changes with every transaction in the namespace, whoever made it.

// NFT_MSG_GETGEN.
Request EncodeGetNftGeneration();
// Reads the reply: never 0. EBADMSG where it is malformed.
KernelResult<uint32_t> DecodeNftGeneration(std::span<const std::byte> payload);

// ---- Tables.

struct NftTable {
  std::string name;

  // The comment in its user data (Linux 5.10), empty where it has none.
  std::string comment;

  friend bool operator==(const NftTable&, const NftTable&) = default;
};

// NFT_MSG_NEWTABLE. A table of the name that is there stays as it is, its comment too (nf_tables_newtable).
Request EncodeNewNftTable(const NftTable& table);
// NFT_MSG_DELTABLE, with all that is in it. ENOENT where there is none (nft_table_lookup).
Request EncodeDeleteNftTable(std::string_view name);
// NFT_MSG_GETTABLE for one table. ENOENT where there is none.
Request EncodeGetNftTable(std::string_view name);
// Reads the reply. EBADMSG where it is malformed: cut short or without a name. User data of another form than nft's are
// no comment.
KernelResult<NftTable> DecodeNftTable(std::span<const std::byte> payload);

// ---- Chains.

// Where a base chain of type nat hangs: one of NF_INET_*, and its place among others there; policy accept.
struct NftNatHook {
  uint32_t hook = 0;
  int32_t priority = 0;
};

// NFT_MSG_NEWCHAIN: with a hook a base chain, else one to jump to. A chain of the name that is there stays, unless it
// is of another kind: EEXIST or EOPNOTSUPP (nf_tables_addchain, nf_tables_updchain).
Request EncodeNewNftChain(std::string_view table, std::string_view chain, const std::optional<NftNatHook>& hook);
// NFT_MSG_DELRULE for all rules of a chain; none is right too.
Request EncodeFlushNftChain(std::string_view table, std::string_view chain);

// ---- Sets and maps.

// The types of which keys and data are made; the values are nft's (src/datatype.h), by which it prints elements.
enum class NftType : uint32_t {
  kIpv4Address = 7,
  kIpv6Address = 8,
  kInetProtocol = 12,
  kInetService = 13,
  kIfindex = 20,
};

// A set, or a map where it has data. Key and data are concatenations; each field takes a multiple of 4 bytes.
struct NftSet {
  std::string name;
  std::vector<NftType> key;
  std::vector<NftType> data;
};

// How many bytes a concatenation of types takes.
uint32_t NftLength(std::span<const NftType> types);

// NFT_MSG_NEWSET. `id`, not 0, tells the sets of one transaction apart. A set of the name that is there stays, with its
// elements; EEXIST where it is of another kind (nf_tables_newset, Linux 6.3; earlier it goes unnoticed).
Request EncodeNewNftSet(std::string_view table, const NftSet& set, uint32_t id);

struct NftElement {
  std::vector<std::byte> key;
  std::vector<std::byte> data;
  std::string comment;

  friend bool operator==(const NftElement&, const NftElement&) = default;
};

// NFT_MSG_NEWSETELEM. `what` names it in errors. EEXIST where the set has an element of the key (nft_add_set_elem),
// ENOENT where there is no such set or table, EINVAL where a length is not the set's.
Request EncodeNewNftElement(std::string_view table, std::string_view set, const NftElement& element,
                            std::string_view what);
// NFT_MSG_DELSETELEM by the key; data and comment are not looked at. ENOENT where the set has none (nft_del_setelem),
// or where there is no such set or table.
Request EncodeDeleteNftElement(std::string_view table, std::string_view set, std::span<const std::byte> key,
                               std::string_view what);
// NFT_MSG_GETSETELEM for the element of a key, whose reply is as one of a dump. ENOENT where the set has none
// (nft_get_set_elem, Linux 4.15), or where there is no such set or table.
Request EncodeGetNftElement(std::string_view table, std::string_view set, std::span<const std::byte> key,
                            std::string_view what);
// NFT_MSG_GETSETELEM for all elements of a set, for Session::Dump. ENOENT where there is no such set or table.
Request EncodeDumpNftElements(std::string_view table, std::string_view set);
// One reply of a dump: some of a set's elements, or none.
struct NftElements {
  std::string set;
  std::vector<NftElement> elements;
};
// Reads one. EBADMSG where it is malformed: cut short, without the set's name, or an element without a key. User data
// of another form than nft's are no comment.
KernelResult<NftElements> DecodeNftElements(std::span<const std::byte> payload);

// ---- Rules.

// One of the kernel's registers of 4 bytes, 0 to 15. A value takes as many in a row as it needs.
using NftRegister = uint32_t;

// A rule: expressions that a packet passes one after the other, until one of them does not match, or decides.
class NftRuleBuilder {
 public:
  NftRuleBuilder(std::string_view table, std::string_view chain);

  // Load something of the packet: NFT_META_*; `length` bytes at `offset` of the network or the transport header;
  // NFT_CT_*, of its connection; the kind of its destination address (RTN_LOCAL and the like, by `fib`).
  void LoadMeta(uint32_t key, NftRegister target);
  void LoadNetworkHeader(uint32_t offset, uint32_t length, NftRegister target);
  void LoadTransportHeader(uint32_t offset, uint32_t length, NftRegister target);
  void LoadConntrack(uint32_t key, NftRegister target);
  void LoadDestinationType(NftRegister target);

  // Goes on where registers have this value.
  void Equal(NftRegister source, std::span<const std::byte> value);
  // Goes on where the register, in the host's byte order, has one of the bits.
  void AnyBit(NftRegister source, uint32_t bits);
  // Goes on where a set has the key, and loads its data, of a map.
  void Lookup(NftRegister key, std::string_view set, std::optional<NftRegister> data = std::nullopt);

  // Decide.
  void Dnat(IpFamily family, NftRegister address, NftRegister port);
  void Masquerade();
  void Return();
  void Jump(std::string_view chain);

  // NFT_MSG_NEWRULE at the end of the chain.
  Request Build() &&;
  // The same with a digest of the rule in its user data, which `nft` does not show. The kernel gives back expressions
  // in another form than it takes them, but user data as they are; who replaces the rule takes the digest away.
  Request BuildWithDigest() &&;

 private:
  void LoadHeader(uint32_t base, uint32_t offset, uint32_t length, NftRegister target);
  void Verdict(int code, std::string_view chain);
  template <typename PutAttributes>
  void PutExpression(std::string_view name, PutAttributes put);
  void PutRegister(uint16_t type, NftRegister number);
  void PutData(uint16_t type, std::span<const std::byte> value);

  MessageBuilder message_;
  size_t expressions_ = 0;
};

struct NftRule {
  std::string chain;
  std::vector<std::byte> user_data;

  friend bool operator==(const NftRule&, const NftRule&) = default;
};

// NFT_MSG_GETRULE for all rules of a table, for Session::Dump: of each chain in their order. None where there is no
// such table.
Request EncodeDumpNftRules(std::string_view table);
// Reads one reply, or what a NftRuleBuilder has built without its header. EBADMSG where it is malformed: cut short or
// without a chain.
KernelResult<NftRule> DecodeNftRule(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NFT_H_
