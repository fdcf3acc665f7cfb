#include "server/netlink/nat_table.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/netlink/nft.h"

namespace netprov::netlink {
namespace {

std::string TableName() { return absl::StrCat("table inet ", kNatTable); }

KernelError TableError(int code, const char* what) {
  return {.code = code, .operation = absl::StrCat(TableName(), what), .extack = {}};
}

KernelError NoTable() { return TableError(ENOENT, ": none of netprov's"); }

KernelError TooManyTries() { return TableError(EAGAIN, " (others changed the rule set at every try)"); }

// The generation after a change at this one.
uint32_t After(uint32_t generation) { return generation + 1 != 0 ? generation + 1 : 1; }

// Whether the table has the rules that these requests make: all of them, in the order that each chain has them in, and
// no others. Rules hold their chains and sets, so that these are there too.
KernelResult<bool> HasRules(Session& session, const std::vector<Request>& requests) {
  std::vector<NftRule> wanted;
  for (const Request& request : requests) {
    MessageReader reader(request.message);
    const std::optional<MessageView> message = reader.Next();
    if (!message.has_value() || message->type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE)) continue;
    NETPROV_ASSIGN_OR_RETURN(NftRule rule, DecodeNftRule(message->payload));
    wanted.push_back(std::move(rule));
  }
  NETPROV_ASSIGN_OR_RETURN(const std::vector<Payload> payloads, session.Dump(EncodeDumpNftRules(kNatTable)));
  std::vector<NftRule> found;
  for (const Payload& payload : payloads) {
    NETPROV_ASSIGN_OR_RETURN(NftRule rule, DecodeNftRule(payload));
    found.push_back(std::move(rule));
  }
  // Between chains there is no order.
  for (std::vector<NftRule>* rules : {&wanted, &found}) std::ranges::stable_sort(*rules, {}, &NftRule::chain);
  return found == wanted;
}

// Whether somebody changed the rule set since the look at it.
bool Overtaken(const KernelError& error) { return error.code == ERESTART; }

}  // namespace

NatTable::NatTable(Session& session, const std::string& registry, uint32_t settled)
    : session_(session), mark_(absl::StrCat("netprov:", registry)), settled_(settled) {}

KernelResult<NatTable::Look> NatTable::LookAtTable() {
  // In this order: what changes between the two makes the generation an old one. And one by one: where nfnetlink
  // refuses a datagram as a whole, it answers only its first message.
  Look look;
  KernelResult<Payload> generation = session_.Get(EncodeGetNftGeneration());
  // What nfnetlink says where there is no nf_tables; there is nothing else about this request.
  if (!generation.ok() && generation.error().code == EINVAL) generation.error().code = EOPNOTSUPP;
  if (!generation.ok()) return std::move(generation).error();
  NETPROV_ASSIGN_OR_RETURN(look.generation, DecodeNftGeneration(*generation));
  KernelResult<Payload> payload = session_.Get(EncodeGetNftTable(kNatTable));
  if (!payload.ok() && payload.error().code == ENOENT) return look;
  if (!payload.ok()) return std::move(payload).error();
  NETPROV_ASSIGN_OR_RETURN(const NftTable table, DecodeNftTable(*payload));
  look.owner = table.comment == mark_ ? Owner::kNetprov : Owner::kSomebodyElse;
  return look;
}

KernelResult<void> NatTable::EnsureTable() {
  look_.reset();
  const std::vector<Request> requests = EncodeEnsureNatTable(mark_);
  for (int i = 0; i < kMaxTries; ++i) {
    NETPROV_ASSIGN_OR_RETURN(const Look look, LookAtTable());
    if (look.owner == Owner::kSomebodyElse) return TableError(EEXIST, " is somebody else's");
    if (look.owner == Owner::kNetprov) {
      bool is_settled = look.generation == settled_;
      if (!is_settled) {
        NETPROV_ASSIGN_OR_RETURN(is_settled, HasRules(session_, requests));
      }
      if (is_settled) {
        settled_ = look.generation;
        look_ = look;
        return {};
      }
    }
    Result<void, TransactionError> done = session_.ExecuteTransaction(requests, look.generation);
    if (done.ok()) {
      settled_ = After(look.generation);
      look_ = Look{.generation = settled_, .owner = Owner::kNetprov};
      return {};
    }
    if (!Overtaken(done.error().error)) return std::move(done).error().error;
  }
  return TooManyTries();
}

Result<void, TransactionError> NatTable::AddElements(std::span<const NatElement> elements) {
  std::vector<Request> requests;
  requests.reserve(elements.size());
  for (const NatElement& element : elements) requests.push_back(EncodeAddNatElement(element));
  return ChangeElements(requests);
}

Result<void, TransactionError> NatTable::DeleteElements(std::span<const NatElement> elements) {
  std::vector<Request> requests;
  requests.reserve(elements.size());
  for (const NatElement& element : elements) requests.push_back(EncodeDeleteNatElement(element));
  return ChangeElements(requests);
}

Result<void, TransactionError> NatTable::ChangeElements(std::span<const Request> requests) {
  if (requests.empty()) return {};
  for (int i = 0; i < kMaxTries; ++i) {
    KernelResult<Look> look =
        look_.has_value() ? KernelResult<Look>(*std::exchange(look_, std::nullopt)) : LookAtTable();
    if (!look.ok()) return TransactionError{.error = std::move(look).error(), .request = std::nullopt};
    if (look->owner != Owner::kNetprov) return TransactionError{.error = NoTable(), .request = std::nullopt};
    Result<void, TransactionError> done = session_.ExecuteTransaction(requests, look->generation);
    if (done.ok() && look->generation == settled_) settled_ = After(settled_);
    if (done.ok() || !Overtaken(done.error().error)) return done;
  }
  return TransactionError{.error = TooManyTries(), .request = std::nullopt};
}

KernelResult<std::vector<NatElement>> NatTable::ListElements() {
  NETPROV_ASSIGN_OR_RETURN(const Look look, LookAtTable());
  if (look.owner != Owner::kNetprov) return NoTable();
  return DumpElements();
}

KernelResult<std::vector<NatElement>> NatTable::FindElements(std::span<const NatElement> elements) {
  NETPROV_ASSIGN_OR_RETURN(const Look look, LookAtTable());
  if (look.owner != Owner::kNetprov) return NoTable();
  std::vector<NatElement> found;
  while (!elements.empty()) {
    const size_t size = std::min(elements.size(), Session::kMaxBatchRequests);
    std::vector<Request> requests;
    for (const NatElement& element : elements.first(size)) requests.push_back(EncodeGetNatElement(element));
    elements = elements.subspan(size);
    for (Outcome& outcome : session_.ExecuteBatch(requests)) {
      // There is none of the key, or no table any more.
      if (!outcome.ok() && outcome.error->code == ENOENT) continue;
      if (!outcome.ok()) return *std::move(outcome.error);
      for (const Payload& payload : outcome.replies) {
        NETPROV_ASSIGN_OR_RETURN(std::vector<NatElement> some, DecodeNatElements(payload));
        std::move(some.begin(), some.end(), std::back_inserter(found));
      }
    }
  }
  return found;
}

KernelResult<std::vector<NatElement>> NatTable::DumpElements() {
  std::vector<NatElement> elements;
  for (const Request& request : EncodeDumpNatElements()) {
    NETPROV_ASSIGN_OR_RETURN(const std::vector<Payload> payloads, session_.Dump(request));
    for (const Payload& payload : payloads) {
      NETPROV_ASSIGN_OR_RETURN(std::vector<NatElement> some, DecodeNatElements(payload));
      std::move(some.begin(), some.end(), std::back_inserter(elements));
    }
  }
  return elements;
}

KernelResult<bool> NatTable::DeleteTableIfEmpty() {
  const Request request = EncodeDeleteNftTable(kNatTable);
  for (int i = 0; i < kMaxTries; ++i) {
    NETPROV_ASSIGN_OR_RETURN(const Look look, LookAtTable());
    if (look.owner != Owner::kNetprov) return true;
    KernelResult<std::vector<NatElement>> elements = DumpElements();
    // Deleted since the look.
    if (!elements.ok() && elements.error().code == ENOENT) continue;
    if (!elements.ok()) return std::move(elements).error();
    if (!elements->empty()) return false;
    Result<void, TransactionError> done = session_.ExecuteTransaction(std::span(&request, 1), look.generation);
    if (done.ok()) return true;
    if (!Overtaken(done.error().error)) return std::move(done).error().error;
  }
  return TooManyTries();
}

}  // namespace netprov::netlink
