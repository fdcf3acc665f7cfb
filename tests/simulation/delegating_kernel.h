// A kernel that does what another one does, to change one thing of it.
#ifndef NETPROV_TESTS_SIMULATION_DELEGATING_KERNEL_H_
#define NETPROV_TESTS_SIMULATION_DELEGATING_KERNEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/kernel.h"

namespace netprov::simulation {

class DelegatingKernel : public engine::Kernel {
 public:
  explicit DelegatingKernel(engine::Kernel& kernel) : kernel_(kernel) {}

  std::string BootId() override { return kernel_.BootId(); }
  KernelResult<uint64_t> CreateNetns(const std::string& name, const std::string& alias,
                                     const engine::Sysctls& sysctls) override {
    return kernel_.CreateNetns(name, alias, sysctls);
  }
  KernelResult<engine::Sysctls> FindSysctls(const engine::NetnsRef& netns, const engine::Sysctls& wanted) override {
    return kernel_.FindSysctls(netns, wanted);
  }
  KernelResult<void> SetSysctls(const engine::NetnsRef& netns, const engine::Sysctls& sysctls) override {
    return kernel_.SetSysctls(netns, sysctls);
  }
  KernelResult<engine::Inhabitants> FindInhabitants(const engine::NetnsRef& netns, size_t most) override {
    return kernel_.FindInhabitants(netns, most);
  }
  KernelResult<void> DeleteLinksInside(const engine::NetnsRef& netns) override {
    return kernel_.DeleteLinksInside(netns);
  }
  KernelResult<void> RemoveNetns(const engine::NetnsRef& netns) override { return kernel_.RemoveNetns(netns); }
  KernelResult<void> SetEtcFiles(const std::string& name, const std::string& mark, const engine::EtcFiles& files,
                                 bool owns_directory) override {
    return kernel_.SetEtcFiles(name, mark, files, owns_directory);
  }
  KernelResult<engine::EtcEntry> FindEtcFiles(const std::string& name) override { return kernel_.FindEtcFiles(name); }
  KernelResult<std::vector<std::string>> ListEtc() override { return kernel_.ListEtc(); }
  KernelResult<void> RemoveStaleNetnsFile(const std::string& name) override {
    return kernel_.RemoveStaleNetnsFile(name);
  }
  KernelResult<std::optional<engine::NetnsEntry>> FindNetns(const std::string& name) override {
    return kernel_.FindNetns(name);
  }
  KernelResult<engine::PlaceEntry> FindPlace(const engine::NetnsPlace& place) override {
    return kernel_.FindPlace(place);
  }
  KernelResult<std::optional<engine::NetnsPlace>> FindWayIn(uint64_t cookie) override {
    return kernel_.FindWayIn(cookie);
  }
  KernelResult<std::vector<std::string>> ListNetns() override { return kernel_.ListNetns(); }
  KernelResult<std::pair<engine::Link, engine::Link>> CreateVeth(const engine::LinkSpec& a, const engine::LinkSpec& b,
                                                                 const std::string& alias) override {
    return kernel_.CreateVeth(a, b, alias);
  }
  KernelResult<engine::Link> CreateDevice(const engine::LinkSpec& link, const engine::DeviceOptions& options,
                                          const std::string& alias) override {
    return kernel_.CreateDevice(link, options, alias);
  }
  KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> ListPortVlans(
      const engine::NetnsRef& netns) override {
    return kernel_.ListPortVlans(netns);
  }
  KernelResult<std::vector<engine::FdbEntry>> ListFdb(const engine::NetnsRef& netns, uint32_t ifindex) override {
    return kernel_.ListFdb(netns, ifindex);
  }
  KernelResult<void> DeleteLink(const engine::NetnsRef& netns, uint32_t ifindex) override {
    return kernel_.DeleteLink(netns, ifindex);
  }
  KernelResult<void> SetLink(const engine::NetnsRef& netns, uint32_t ifindex,
                             const engine::LinkSettings& settings) override {
    return kernel_.SetLink(netns, ifindex, settings);
  }
  KernelResult<std::optional<engine::Link>> FindLink(const engine::NetnsRef& netns, const std::string& name) override {
    return kernel_.FindLink(netns, name);
  }
  KernelResult<std::optional<engine::Link>> FindLink(const engine::NetnsRef& netns, uint32_t ifindex) override {
    return kernel_.FindLink(netns, ifindex);
  }
  KernelResult<std::vector<engine::Link>> ListLinks(const engine::NetnsRef& netns) override {
    return kernel_.ListLinks(netns);
  }
  KernelResult<std::vector<engine::ObservedLink>> ObserveLinks(const engine::NetnsRef& netns,
                                                               const std::optional<std::string>& name) override {
    return kernel_.ObserveLinks(netns, name);
  }
  KernelResult<std::vector<netlink::Address>> ListAddresses(const engine::NetnsRef& netns,
                                                            std::optional<netlink::IpFamily> family,
                                                            std::optional<uint32_t> ifindex) override {
    return kernel_.ListAddresses(netns, family, ifindex);
  }
  KernelResult<std::vector<netlink::Route>> ListRoutes(const engine::NetnsRef& netns,
                                                       std::optional<netlink::IpFamily> family,
                                                       std::optional<uint32_t> table) override {
    return kernel_.ListRoutes(netns, family, table);
  }
  KernelResult<std::vector<netlink::Neighbour>> ListNeighbours(const engine::NetnsRef& netns,
                                                               std::optional<netlink::IpFamily> family,
                                                               std::optional<uint32_t> ifindex) override {
    return kernel_.ListNeighbours(netns, family, ifindex);
  }
  KernelResult<std::string> FreeLinkName(const engine::NetnsRef& netns, const std::string& pattern,
                                         const std::vector<std::string>& taken) override {
    return kernel_.FreeLinkName(netns, pattern, taken);
  }
  KernelResult<void> Configure(const engine::NetnsRef& netns, uint32_t ifindex,
                               const std::vector<std::string>& alternative_names, const engine::IpConfig& ip,
                               bool anew) override {
    return kernel_.Configure(netns, ifindex, alternative_names, ip, anew);
  }
  KernelResult<void> Unconfigure(const engine::NetnsRef& netns, uint32_t ifindex,
                                 const std::vector<std::string>& alternative_names,
                                 const engine::IpConfig& ip) override {
    return kernel_.Unconfigure(netns, ifindex, alternative_names, ip);
  }
  KernelResult<void> Announce(const engine::NetnsRef& netns, uint32_t ifindex) override {
    return kernel_.Announce(netns, ifindex);
  }
  KernelResult<uint32_t> Shape(const engine::NetnsRef& netns, uint32_t ifindex,
                               const engine::ShapingSpec& wanted) override {
    return kernel_.Shape(netns, ifindex, wanted);
  }
  KernelResult<engine::Shaping> FindShaping(const engine::NetnsRef& netns, uint32_t ifindex) override {
    return kernel_.FindShaping(netns, ifindex);
  }
  KernelResult<engine::IpConfig> FindIpConfig(const engine::NetnsRef& netns, uint32_t ifindex) override {
    return kernel_.FindIpConfig(netns, ifindex);
  }
  KernelResult<std::vector<engine::RouteSpec>> ListRoutesWithoutLink(const engine::NetnsRef& netns) override {
    return kernel_.ListRoutesWithoutLink(netns);
  }
  KernelResult<void> AddRoutes(const engine::NetnsRef& netns, const std::vector<engine::RouteSpec>& routes) override {
    return kernel_.AddRoutes(netns, routes);
  }
  KernelResult<void> DeleteRoutes(const engine::NetnsRef& netns,
                                  const std::vector<engine::RouteSpec>& routes) override {
    return kernel_.DeleteRoutes(netns, routes);
  }
  KernelResult<void> AddNat(const engine::NetnsRef& netns, const std::string& registry,
                            const std::vector<netlink::NatElement>& elements) override {
    return kernel_.AddNat(netns, registry, elements);
  }
  KernelResult<void> DeleteNat(const engine::NetnsRef& netns, const std::string& registry,
                               const std::vector<netlink::NatElement>& elements) override {
    return kernel_.DeleteNat(netns, registry, elements);
  }
  KernelResult<std::vector<netlink::NatElement>> ListNat(const engine::NetnsRef& netns,
                                                         const std::string& registry) override {
    return kernel_.ListNat(netns, registry);
  }
  KernelResult<std::vector<netlink::NatElement>> FindNat(const engine::NetnsRef& netns, const std::string& registry,
                                                         const std::vector<netlink::NatElement>& elements) override {
    return kernel_.FindNat(netns, registry, elements);
  }
  KernelResult<std::unique_ptr<engine::KernelWatch>> Watch() override { return kernel_.Watch(); }

 private:
  engine::Kernel& kernel_;
};

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_DELEGATING_KERNEL_H_
