// netprov's table of address translation in one network namespace.
#ifndef NETPROV_SERVER_NETLINK_NAT_TABLE_H_
#define NETPROV_SERVER_NETLINK_NAT_TABLE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"
#include "server/netlink/nat.h"
#include "server/netlink/session.h"

namespace netprov::netlink {

// The table `inet netprov` (nat.h) of the namespace of a session. It is marked with the id of the registry that made
// it, as `comment "netprov:REGISTRY"`; one without the mark is somebody else's, and is not touched. That holds also
// where tables come and go meanwhile: each change is made on the condition that nothing changed in the rule set since
// the look at the mark, and is tried again where something did.
//
// Every change is one transaction: all of it or none, also for packets. Nothing else is changed: no other table, and no
// sysctl, so that nothing is forwarded on a host that does not forward. Linux 5.10 is needed: earlier ones keep no
// mark, and match no incoming link where packets leave.
//
// Errors, besides Session's (EPERM: no CAP_NET_ADMIN; EOPNOTSUPP: a kernel without nf_tables, or without a kind of
// expression or chain, where it may be ENOENT too; may_have_effect where the answer was lost): EAGAIN where others
// changed the rule set at each of kMaxTries. For one thread at a time.
class NatTable {
 public:
  static constexpr int kMaxTries = 16;

  // `session`, on a NETLINK_NETFILTER socket, must outlive it. `registry` is Registry::id(). `settled` is what
  // settled() of an earlier one said in this namespace; 0: nothing.
  NatTable(Session& session, const std::string& registry, uint32_t settled = 0);

  // A generation of the namespace's rule set at which the table is what EnsureTable() makes, as nothing else was
  // changed since; 0: none is known. No generation comes twice (nf_tables_commit()).
  uint32_t settled() const { return settled_; }

  // Makes the table where there is none. Where its rules are not what they should be, as after `nft flush chain`, makes
  // chains, rules and sets of the table anew; elements stay. Else changes nothing. EEXIST where the table is somebody
  // else's; EEXIST or EOPNOTSUPP where somebody made one of its sets or chains another kind, which only they can undo.
  // At the generation settled() nobody looks at the rules.
  KernelResult<void> EnsureTable();

  // Adds elements, at most Session::kMaxTransactionRequests. TransactionError::request is the index of the element that
  // is to blame, the first one. EEXIST: there is one of its key, its own or another's tag (nft_add_set_elem). EINVAL:
  // it is out of range (nat.h). ENOENT without an index: there is no table of netprov's.
  Result<void, TransactionError> AddElements(std::span<const NatElement> elements);

  // Deletes elements by their keys; tags are not looked at. Connections that were translated go on being so until they
  // end. ENOENT: there is none of the key (nft_del_setelem), or without an index, no table of netprov's.
  Result<void, TransactionError> DeleteElements(std::span<const NatElement> elements);

  // All elements, in no order; each set's are of one moment. ENOENT where there is no table of netprov's.
  KernelResult<std::vector<NatElement>> ListElements();

  // What is there under the keys of `elements`; it may lead elsewhere, or have another tag. One round trip for
  // each Session::kMaxBatchRequests of them, however many others there are. ENOENT where there is no table of
  // netprov's.
  KernelResult<std::vector<NatElement>> FindElements(std::span<const NatElement> elements);

  // Deletes the table if it has no elements. Returns whether there is no table of netprov's now.
  KernelResult<bool> DeleteTableIfEmpty();

 private:
  enum class Owner { kNobody, kNetprov, kSomebodyElse };
  struct Look {
    // At or before the look at the owner.
    uint32_t generation = 0;
    Owner owner = Owner::kNobody;
  };

  KernelResult<Look> LookAtTable();
  // One transaction on the table, which must be netprov's.
  Result<void, TransactionError> ChangeElements(std::span<const Request> requests);
  KernelResult<std::vector<NatElement>> DumpElements();

  Session& session_;
  std::string mark_;
  uint32_t settled_;
  // What EnsureTable() has left, for the next change.
  std::optional<Look> look_;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NAT_TABLE_H_
