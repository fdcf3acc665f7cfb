// The fake kernel's tables of address translation.
#include <algorithm>
#include <cerrno>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/fake_kernel.h"

namespace netprov::engine {
namespace {

using netlink::Hairpin;
using netlink::Masquerade;
using netlink::NatElement;
using netlink::PortForward;

// Whether the kernel has room for one of them.
bool HaveOneKey(const NatElement& a, const NatElement& b) {
  if (a.rule.index() != b.rule.index()) return false;
  const auto* forward = std::get_if<PortForward>(&a.rule);
  if (forward == nullptr) return a.rule == b.rule;
  const auto& other = std::get<PortForward>(b.rule);
  return forward->protocol == other.protocol && forward->host_address == other.host_address &&
         forward->host_port == other.host_port && forward->target.family() == other.target.family();
}

bool IsValid(const NatElement& element) {
  if (const auto* masquerade = std::get_if<Masquerade>(&element.rule)) return masquerade->ifindex > 0;
  if (const auto* hairpin = std::get_if<Hairpin>(&element.rule)) return hairpin->ifindex > 0;
  const auto& forward = std::get<PortForward>(element.rule);
  return forward.host_port != 0 && forward.target_port != 0 &&
         (!forward.host_address.has_value() || forward.host_address->family() == forward.target.family());
}

}  // namespace

void FakeKernel::SetNatForTest(const NetnsRef& netns, const std::vector<NatElement>& elements) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (inside.ok()) (*inside)->nat = elements;
}

KernelResult<void> FakeKernel::AddNat(const NetnsRef& netns, const std::string& registry,
                                      const std::vector<NatElement>& elements) {
  if (auto error = Ask("AddNat"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  if (elements.empty()) return {};
  if (!inside->nat.empty() && inside->nat_registry != registry) return Fail(EBUSY, "table inet netprov");
  std::vector<NatElement> after = inside->nat;
  for (const NatElement& element : elements) {
    const std::string operation = absl::StrCat("NFT_MSG_NEWSETELEM ", ToString(element));
    if (!IsValid(element)) return Fail(EINVAL, operation);
    const bool taken =
        std::any_of(after.begin(), after.end(), [&](const NatElement& other) { return HaveOneKey(other, element); });
    if (taken) return Fail(EEXIST, operation);
    after.push_back(element);
  }
  inside->nat = std::move(after);
  inside->nat_registry = registry;
  return {};
}

KernelResult<void> FakeKernel::DeleteNat(const NetnsRef& netns, const std::string& registry,
                                         const std::vector<NatElement>& elements) {
  if (auto error = Ask("DeleteNat"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  if (inside->nat_registry != registry) return {};
  for (const NatElement& element : elements) std::erase(inside->nat, element);
  return {};
}

KernelResult<std::vector<NatElement>> FakeKernel::ListNat(const NetnsRef& netns, const std::string& registry) {
  if (auto error = Ask("ListNat"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  return inside->nat_registry == registry ? inside->nat : std::vector<NatElement>();
}

KernelResult<std::vector<NatElement>> FakeKernel::FindNat(const NetnsRef& netns, const std::string& registry,
                                                          const std::vector<NatElement>& elements) {
  if (auto error = Ask("FindNat"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<NatElement> found;
  if (inside->nat_registry != registry) return found;
  for (const NatElement& wanted : elements) {
    for (const NatElement& element : inside->nat) {
      if (HaveOneKey(element, wanted)) found.push_back(element);
    }
  }
  return found;
}

}  // namespace netprov::engine
