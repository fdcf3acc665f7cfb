// The kernel of this machine.
#ifndef NETPROV_SERVER_ENGINE_LINUX_KERNEL_H_
#define NETPROV_SERVER_ENGINE_LINUX_KERNEL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"
#include "server/engine/kernel.h"
#include "server/engine/linux_netns_pool.h"
#include "server/netlink/session.h"
#include "server/netlink/statistics.h"
#include "server/netns/etc_directory.h"
#include "server/netns/netns_directory.h"

namespace netprov::engine {

// Kernel over rtnetlink and /run/netns. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN, and Linux 5.14 (SO_NETNS_COOKIE).
//
// "The host's namespace" is the network namespace of the thread that called Open(). Every other thread that uses the
// object must be in the same one, and is again when a call returns. Sockets are opened per operation (some 10 us): one
// that is kept in a namespace would keep the namespace, and with it the host's ends of its links, alive after its
// deletion.
class LinuxKernel : public Kernel {
 public:
  // Prepares /run/netns (NetnsDirectory::Prepare). `prepared`: how many namespaces are made ahead.
  // Errors: those of the system calls, EPERM above all.
  static KernelResult<std::unique_ptr<LinuxKernel>> Open(const NetnsPool::Options& prepared = {});

  // What was counted; as long-lived as the object.
  const netlink::Statistics& netlink_statistics() const { return statistics_; }
  const NetnsPool::Statistics& pool_statistics() const { return pool_.statistics(); }

  // The SO_NETNS_COOKIE of the host's namespace.
  KernelResult<uint64_t> HostCookie() const;

  std::string BootId() override { return boot_id_; }
  KernelResult<uint64_t> CreateNetns(const std::string& name, const std::string& alias,
                                     const Sysctls& sysctls) override;
  KernelResult<Sysctls> FindSysctls(const NetnsRef& netns, const Sysctls& wanted) override;
  KernelResult<void> SetSysctls(const NetnsRef& netns, const Sysctls& sysctls) override;
  KernelResult<Inhabitants> FindInhabitants(const NetnsRef& netns, size_t most) override;
  KernelResult<void> DeleteLinksInside(const NetnsRef& netns) override;
  KernelResult<void> RemoveNetns(const NetnsRef& netns) override;
  KernelResult<void> RemoveStaleNetnsFile(const std::string& name) override;
  KernelResult<std::optional<NetnsEntry>> FindNetns(const std::string& name) override;
  KernelResult<PlaceEntry> FindPlace(const NetnsPlace& place) override;
  KernelResult<std::optional<NetnsPlace>> FindWayIn(uint64_t cookie) override;
  KernelResult<std::vector<std::string>> ListNetns() override;
  KernelResult<void> SetEtcFiles(const std::string& name, const std::string& mark, const EtcFiles& files,
                                 bool owns_directory) override;
  KernelResult<EtcEntry> FindEtcFiles(const std::string& name) override;
  KernelResult<std::vector<std::string>> ListEtc() override;
  KernelResult<std::pair<Link, Link>> CreateVeth(const LinkSpec& a, const LinkSpec& b,
                                                 const std::string& alias) override;
  KernelResult<Link> CreateDevice(const LinkSpec& link, const DeviceOptions& options,
                                  const std::string& alias) override;
  KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> ListPortVlans(const NetnsRef& netns) override;
  KernelResult<std::vector<FdbEntry>> ListFdb(const NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<void> DeleteLink(const NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<std::optional<Link>> FindLink(const NetnsRef& netns, const std::string& name) override;
  KernelResult<std::optional<Link>> FindLink(const NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<std::vector<Link>> ListLinks(const NetnsRef& netns) override;
  KernelResult<std::vector<ObservedLink>> ObserveLinks(const NetnsRef& netns,
                                                       const std::optional<std::string>& name) override;
  KernelResult<std::vector<netlink::Address>> ListAddresses(const NetnsRef& netns,
                                                            std::optional<netlink::IpFamily> family,
                                                            std::optional<uint32_t> ifindex) override;
  KernelResult<std::vector<netlink::Route>> ListRoutes(const NetnsRef& netns, std::optional<netlink::IpFamily> family,
                                                       std::optional<uint32_t> table) override;
  KernelResult<std::vector<netlink::Neighbour>> ListNeighbours(const NetnsRef& netns,
                                                               std::optional<netlink::IpFamily> family,
                                                               std::optional<uint32_t> ifindex) override;
  KernelResult<std::string> FreeLinkName(const NetnsRef& netns, const std::string& pattern,
                                         const std::vector<std::string>& taken) override;
  KernelResult<void> SetLink(const NetnsRef& netns, uint32_t ifindex, const LinkSettings& settings) override;
  KernelResult<void> Configure(const NetnsRef& netns, uint32_t ifindex,
                               const std::vector<std::string>& alternative_names, const IpConfig& ip,
                               bool anew) override;
  KernelResult<void> Unconfigure(const NetnsRef& netns, uint32_t ifindex,
                                 const std::vector<std::string>& alternative_names, const IpConfig& ip) override;
  KernelResult<void> Announce(const NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<uint32_t> Shape(const NetnsRef& netns, uint32_t ifindex, const ShapingSpec& wanted) override;
  KernelResult<Shaping> FindShaping(const NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<IpConfig> FindIpConfig(const NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<std::vector<RouteSpec>> ListRoutesWithoutLink(const NetnsRef& netns) override;
  KernelResult<void> AddRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) override;
  KernelResult<void> DeleteRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) override;
  KernelResult<void> AddNat(const NetnsRef& netns, const std::string& registry,
                            const std::vector<netlink::NatElement>& elements) override;
  KernelResult<void> DeleteNat(const NetnsRef& netns, const std::string& registry,
                               const std::vector<netlink::NatElement>& elements) override;
  KernelResult<std::vector<netlink::NatElement>> ListNat(const NetnsRef& netns, const std::string& registry) override;
  KernelResult<std::vector<netlink::NatElement>> FindNat(const NetnsRef& netns, const std::string& registry,
                                                         const std::vector<netlink::NatElement>& elements) override;
  KernelResult<std::unique_ptr<KernelWatch>> Watch() override;

 private:
  class Connection;

  LinuxKernel(UniqueFd home, std::string boot_id, NetnsPool::Options prepared);

  // A netlink session in a namespace. ENOENT, ESTALE: it is not there.
  KernelResult<Connection> Connect(const NetnsRef& netns) const;
  // The same for whatever namespace has the name now, or is at the place.
  KernelResult<Connection> ConnectByName(const std::string& name) const;
  KernelResult<Connection> ConnectByPlace(const NetnsPlace& place) const;
  KernelResult<Connection> ConnectInside(UniqueFd netns) const;

  // Runs `work`, which must not leave the namespace, inside of one. Errors as Connect().
  KernelResult<void> RunIn(const NetnsRef& netns, const std::function<void()>& work) const;
  // A session with nf_tables in a namespace. Errors as Connect().
  KernelResult<std::unique_ptr<netlink::Session>> ConnectToNetfilter(const NetnsRef& netns) const;
  // Runs a change of the table of address translation with what is known of it (NatTable::settled()).
  KernelResult<void> WithSettledNat(const NetnsRef& netns, const std::function<KernelResult<void>(uint32_t&)>& change);

  netns::NetnsDirectory directory_;
  netns::EtcDirectory etc_;
  UniqueFd home_;  // the host's namespace
  std::string boot_id_;
  mutable netlink::Statistics statistics_;
  NetnsPool pool_;
  // NatTable::settled() in the host's namespace.
  std::atomic<uint32_t> settled_nat_ = 0;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_KERNEL_H_
