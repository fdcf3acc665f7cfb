#include "tests/simulation/faulty_kernel.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace netprov::simulation {

using engine::Link;
using engine::LinkSpec;
using engine::NetnsEntry;
using engine::NetnsRef;

template <typename Run>
auto FaultyKernel::Around(const char* operation, Run run, const std::function<void()>& half) -> decltype(run()) {
  const Fate fate = plot_.Before(operation);
  KernelError error{.code = fate.error, .operation = absl::StrCat(operation, " (injected)"), .extack = {}};
  switch (fate.kind) {
    case Fate::Kind::kFail:
      return error;
    case Fate::Kind::kFailLeaving:
      if (half != nullptr) half();
      error.may_have_effect = true;
      return error;
    case Fate::Kind::kCrashBefore:
      throw Crash();
    case Fate::Kind::kCrashInside:
      if (half != nullptr) {
        half();
      } else {
        (void)run();
      }
      throw Crash();
    case Fate::Kind::kCrashAfter:
      (void)run();
      throw Crash();
    case Fate::Kind::kSucceed:
      break;
  }
  auto result = run();
  plot_.After(operation);
  return result;
}

KernelResult<uint64_t> FaultyKernel::CreateNetns(const std::string& name, const std::string& alias,
                                                 const engine::Sysctls& sysctls) {
  return Around(
      "CreateNetns", [&] { return kernel_.CreateNetns(name, alias, sysctls); },
      [&] {
        // The file is made first, and only if there is none.
        auto entry = kernel_.FindNetns(name);
        if (entry.ok() && !entry->has_value()) leave_file_(name);
      });
}

KernelResult<engine::Sysctls> FaultyKernel::FindSysctls(const NetnsRef& netns, const engine::Sysctls& wanted) {
  return Around("FindSysctls", [&] { return kernel_.FindSysctls(netns, wanted); });
}

KernelResult<void> FaultyKernel::SetSysctls(const NetnsRef& netns, const engine::Sysctls& sysctls) {
  return Around("SetSysctls", [&] { return kernel_.SetSysctls(netns, sysctls); });
}

KernelResult<void> FaultyKernel::SetEtcFiles(const std::string& name, const std::string& mark,
                                             const engine::EtcFiles& files, bool owns_directory) {
  return Around("SetEtcFiles", [&] { return kernel_.SetEtcFiles(name, mark, files, owns_directory); });
}

KernelResult<engine::EtcEntry> FaultyKernel::FindEtcFiles(const std::string& name) {
  return Around("FindEtcFiles", [&] { return kernel_.FindEtcFiles(name); });
}

KernelResult<std::vector<std::string>> FaultyKernel::ListEtc() {
  return Around("ListEtc", [&] { return kernel_.ListEtc(); });
}

KernelResult<engine::Inhabitants> FaultyKernel::FindInhabitants(const NetnsRef& netns, size_t most) {
  return Around("FindInhabitants", [&] { return kernel_.FindInhabitants(netns, most); });
}

KernelResult<void> FaultyKernel::DeleteLinksInside(const NetnsRef& netns) {
  return Around("DeleteLinksInside", [&] { return kernel_.DeleteLinksInside(netns); });
}

KernelResult<void> FaultyKernel::RemoveNetns(const NetnsRef& netns) {
  return Around(
      "RemoveNetns", [&] { return kernel_.RemoveNetns(netns); },
      [&] {
        // Unmounted, but not unlinked yet.
        auto entry = kernel_.FindNetns(netns.name);
        const bool removes = entry.ok() && entry->has_value() && (*entry)->cookie == netns.cookie;
        if (kernel_.RemoveNetns(netns).ok() && removes) leave_file_(netns.name);
      });
}

KernelResult<void> FaultyKernel::RemoveStaleNetnsFile(const std::string& name) {
  return Around("RemoveStaleNetnsFile", [&] { return kernel_.RemoveStaleNetnsFile(name); });
}

KernelResult<std::optional<NetnsEntry>> FaultyKernel::FindNetns(const std::string& name) {
  return Around("FindNetns", [&] { return kernel_.FindNetns(name); });
}

KernelResult<engine::PlaceEntry> FaultyKernel::FindPlace(const engine::NetnsPlace& place) {
  return Around("FindPlace", [&] { return kernel_.FindPlace(place); });
}

KernelResult<std::optional<engine::NetnsPlace>> FaultyKernel::FindWayIn(uint64_t cookie) {
  return Around("FindWayIn", [&] { return kernel_.FindWayIn(cookie); });
}

KernelResult<std::vector<std::string>> FaultyKernel::ListNetns() {
  return Around("ListNetns", [&] { return kernel_.ListNetns(); });
}

KernelResult<std::pair<Link, Link>> FaultyKernel::CreateVeth(const LinkSpec& a, const LinkSpec& b,
                                                             const std::string& alias) {
  // Born, but without its alias.
  return Around(
      "CreateVeth", [&] { return kernel_.CreateVeth(a, b, alias); }, [&] { (void)kernel_.CreateVeth(a, b, ""); });
}

KernelResult<Link> FaultyKernel::CreateDevice(const LinkSpec& link, const engine::DeviceOptions& options,
                                              const std::string& alias) {
  // As above.
  return Around(
      "CreateDevice", [&] { return kernel_.CreateDevice(link, options, alias); },
      [&] { (void)kernel_.CreateDevice(link, options, ""); });
}

KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> FaultyKernel::ListPortVlans(const NetnsRef& netns) {
  return Around("ListPortVlans", [&] { return kernel_.ListPortVlans(netns); });
}

KernelResult<std::vector<engine::FdbEntry>> FaultyKernel::ListFdb(const NetnsRef& netns, uint32_t ifindex) {
  return Around("ListFdb", [&] { return kernel_.ListFdb(netns, ifindex); });
}

KernelResult<void> FaultyKernel::DeleteLink(const NetnsRef& netns, uint32_t ifindex) {
  return Around("DeleteLink", [&] { return kernel_.DeleteLink(netns, ifindex); });
}

KernelResult<void> FaultyKernel::SetLink(const NetnsRef& netns, uint32_t ifindex,
                                         const engine::LinkSettings& settings) {
  return Around("SetLink", [&] { return kernel_.SetLink(netns, ifindex, settings); });
}

KernelResult<void> FaultyKernel::Configure(const NetnsRef& netns, uint32_t ifindex,
                                           const std::vector<std::string>& alternative_names,
                                           const engine::IpConfig& ip, bool anew) {
  return Around(
      "Configure", [&] { return kernel_.Configure(netns, ifindex, alternative_names, ip, anew); },
      [&] { (void)kernel_.Configure(netns, ifindex, {}, {.addresses = ip.addresses}, anew); });
}

KernelResult<void> FaultyKernel::Unconfigure(const NetnsRef& netns, uint32_t ifindex,
                                             const std::vector<std::string>& alternative_names,
                                             const engine::IpConfig& ip) {
  return Around("Unconfigure", [&] { return kernel_.Unconfigure(netns, ifindex, alternative_names, ip); });
}

KernelResult<void> FaultyKernel::Announce(const NetnsRef& netns, uint32_t ifindex) {
  return Around("Announce", [&] { return kernel_.Announce(netns, ifindex); });
}

KernelResult<uint32_t> FaultyKernel::Shape(const NetnsRef& netns, uint32_t ifindex, const engine::ShapingSpec& wanted) {
  return Around("Shape", [&] { return kernel_.Shape(netns, ifindex, wanted); });
}

KernelResult<engine::Shaping> FaultyKernel::FindShaping(const NetnsRef& netns, uint32_t ifindex) {
  return Around("FindShaping", [&] { return kernel_.FindShaping(netns, ifindex); });
}

KernelResult<engine::IpConfig> FaultyKernel::FindIpConfig(const NetnsRef& netns, uint32_t ifindex) {
  return Around("FindIpConfig", [&] { return kernel_.FindIpConfig(netns, ifindex); });
}

KernelResult<std::vector<engine::RouteSpec>> FaultyKernel::ListRoutesWithoutLink(const NetnsRef& netns) {
  return Around("ListRoutesWithoutLink", [&] { return kernel_.ListRoutesWithoutLink(netns); });
}

KernelResult<void> FaultyKernel::AddRoutes(const NetnsRef& netns, const std::vector<engine::RouteSpec>& routes) {
  return Around("AddRoutes", [&] { return kernel_.AddRoutes(netns, routes); });
}

KernelResult<void> FaultyKernel::DeleteRoutes(const NetnsRef& netns, const std::vector<engine::RouteSpec>& routes) {
  return Around("DeleteRoutes", [&] { return kernel_.DeleteRoutes(netns, routes); });
}

KernelResult<void> FaultyKernel::AddNat(const NetnsRef& netns, const std::string& registry,
                                        const std::vector<netlink::NatElement>& elements) {
  return Around("AddNat", [&] { return kernel_.AddNat(netns, registry, elements); });
}

KernelResult<void> FaultyKernel::DeleteNat(const NetnsRef& netns, const std::string& registry,
                                           const std::vector<netlink::NatElement>& elements) {
  return Around("DeleteNat", [&] { return kernel_.DeleteNat(netns, registry, elements); });
}

KernelResult<std::vector<netlink::NatElement>> FaultyKernel::ListNat(const NetnsRef& netns,
                                                                     const std::string& registry) {
  return Around("ListNat", [&] { return kernel_.ListNat(netns, registry); });
}

KernelResult<std::vector<netlink::NatElement>> FaultyKernel::FindNat(const NetnsRef& netns, const std::string& registry,
                                                                     const std::vector<netlink::NatElement>& elements) {
  return Around("FindNat", [&] { return kernel_.FindNat(netns, registry, elements); });
}

KernelResult<std::optional<Link>> FaultyKernel::FindLink(const NetnsRef& netns, const std::string& name) {
  return Around("FindLink", [&] { return kernel_.FindLink(netns, name); });
}

KernelResult<std::optional<Link>> FaultyKernel::FindLink(const NetnsRef& netns, uint32_t ifindex) {
  return Around("FindLink", [&] { return kernel_.FindLink(netns, ifindex); });
}

KernelResult<std::vector<Link>> FaultyKernel::ListLinks(const NetnsRef& netns) {
  return Around("ListLinks", [&] { return kernel_.ListLinks(netns); });
}

KernelResult<std::vector<engine::ObservedLink>> FaultyKernel::ObserveLinks(const NetnsRef& netns,
                                                                           const std::optional<std::string>& name) {
  return Around("ObserveLinks", [&] { return kernel_.ObserveLinks(netns, name); });
}

KernelResult<std::vector<netlink::Address>> FaultyKernel::ListAddresses(const NetnsRef& netns,
                                                                        std::optional<netlink::IpFamily> family,
                                                                        std::optional<uint32_t> ifindex) {
  return Around("ListAddresses", [&] { return kernel_.ListAddresses(netns, family, ifindex); });
}

KernelResult<std::vector<netlink::Route>> FaultyKernel::ListRoutes(const NetnsRef& netns,
                                                                   std::optional<netlink::IpFamily> family,
                                                                   std::optional<uint32_t> table) {
  return Around("ListRoutes", [&] { return kernel_.ListRoutes(netns, family, table); });
}

KernelResult<std::vector<netlink::Neighbour>> FaultyKernel::ListNeighbours(const NetnsRef& netns,
                                                                           std::optional<netlink::IpFamily> family,
                                                                           std::optional<uint32_t> ifindex) {
  return Around("ListNeighbours", [&] { return kernel_.ListNeighbours(netns, family, ifindex); });
}

KernelResult<std::string> FaultyKernel::FreeLinkName(const NetnsRef& netns, const std::string& pattern,
                                                     const std::vector<std::string>& taken) {
  return Around("FreeLinkName", [&] { return kernel_.FreeLinkName(netns, pattern, taken); });
}

}  // namespace netprov::simulation
