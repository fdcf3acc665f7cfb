#include "server/engine/linux_nat.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/netlink/nat_table.h"

namespace netprov::engine {
namespace {

using netlink::NatElement;
using netlink::NatTable;
using netlink::Session;

// The table may be deleted between our making it and our use of it, by a call that took its last element.
constexpr int kMostTries = 16;

bool Contains(const std::vector<NatElement>& elements, const NatElement& element) {
  return std::find(elements.begin(), elements.end(), element) != elements.end();
}

// None, where there is no table of this registry's, or there can be none.
KernelResult<std::vector<NatElement>> UnlessNoTable(KernelResult<std::vector<NatElement>> elements) {
  if (elements.ok()) return elements;
  const int code = elements.error().code;
  if (code == ENOENT || code == EOPNOTSUPP) return std::vector<NatElement>();
  return elements;
}

KernelResult<void> Ensure(NatTable& table) {
  KernelResult<void> ensured = table.EnsureTable();
  if (ensured.ok()) return ensured;
  // EEXIST is for elements, and ENOENT, of a kernel without a kind of chain or expression, for namespaces.
  if (ensured.error().code == EEXIST) ensured.error().code = EBUSY;
  if (ensured.error().code == ENOENT) ensured.error().code = EOPNOTSUPP;
  return ensured;
}

// Others made or deleted the table, or elements, at each try: no namespace is gone.
KernelError Overtaken(KernelError error) {
  if (error.code == ENOENT) error.code = EAGAIN;
  return error;
}

// What became of elements whose addition was not answered.
KernelResult<void> LookAfter(NatTable& table, const std::vector<NatElement>& elements, KernelError error) {
  const KernelResult<std::vector<NatElement>> there = UnlessNoTable(table.FindElements(std::span(elements).first(1)));
  if (!there.ok()) return error;
  // A transaction is carried out whole or not at all.
  if (Contains(*there, elements.front())) return {};
  error.may_have_effect = false;
  return error;
}

// Leaves no table where it has no elements.
KernelError Failed(NatTable& table, KernelError error) {
  if (error.may_have_effect) return error;
  if (KernelResult<bool> deleted = table.DeleteTableIfEmpty(); !deleted.ok()) error.may_have_effect = true;
  return error;
}

KernelResult<void> AddTo(NatTable& table, const std::vector<NatElement>& elements) {
  for (int i = 1;; ++i) {
    NETPROV_RETURN_IF_ERROR(Ensure(table));
    auto added = table.AddElements(elements);
    if (added.ok()) return {};
    KernelError error = std::move(added).error().error;
    if (error.code == ENOENT && !error.may_have_effect && i < kMostTries) continue;
    if (!error.may_have_effect) return Failed(table, Overtaken(std::move(error)));
    KernelResult<void> looked = LookAfter(table, elements, std::move(error));
    if (looked.ok()) return {};
    return Failed(table, std::move(looked).error());
  }
}

KernelResult<void> DeleteFrom(NatTable& table, const std::vector<NatElement>& elements) {
  for (int i = 1;; ++i) {
    NETPROV_ASSIGN_OR_RETURN(std::vector<NatElement> left, UnlessNoTable(table.FindElements(elements)));
    std::erase_if(left, [&](const NatElement& element) { return !Contains(elements, element); });
    if (left.empty()) break;
    const size_t size = std::min(left.size(), Session::kMaxTransactionRequests);
    auto deleted = table.DeleteElements(std::span(left).first(size));
    // Others delete too, and an answer may be lost: what is left is looked at again.
    const bool to_look = deleted.ok() || deleted.error().error.code == ENOENT || deleted.error().error.may_have_effect;
    if (!to_look || (!deleted.ok() && i >= kMostTries)) return Overtaken(std::move(deleted).error().error);
  }
  KernelResult<bool> gone = table.DeleteTableIfEmpty();
  if (!gone.ok() && gone.error().code != EOPNOTSUPP) return std::move(gone).error();
  return {};
}

}  // namespace

KernelResult<void> AddNat(Session& session, const std::string& registry, const std::vector<NatElement>& elements,
                          uint32_t& settled) {
  if (elements.empty()) return {};
  NatTable table(session, registry, settled);
  KernelResult<void> added = AddTo(table, elements);
  settled = table.settled();
  return added;
}

KernelResult<void> DeleteNat(Session& session, const std::string& registry, const std::vector<NatElement>& elements,
                             uint32_t& settled) {
  NatTable table(session, registry, settled);
  KernelResult<void> deleted = DeleteFrom(table, elements);
  settled = table.settled();
  return deleted;
}

KernelResult<std::vector<NatElement>> ListNat(Session& session, const std::string& registry) {
  NatTable table(session, registry);
  return UnlessNoTable(table.ListElements());
}

KernelResult<std::vector<NatElement>> FindNat(Session& session, const std::string& registry,
                                              const std::vector<NatElement>& elements) {
  NatTable table(session, registry);
  return UnlessNoTable(table.FindElements(elements));
}

}  // namespace netprov::engine
