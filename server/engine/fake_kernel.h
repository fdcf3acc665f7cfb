// A model of the kernel in memory, for tests.
#ifndef NETPROV_SERVER_ENGINE_FAKE_KERNEL_H_
#define NETPROV_SERVER_ENGINE_FAKE_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/kernel.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {

// Does what the machine does, as far as the Kernel interface shows it; tests/contract holds it to that. Thread-safe.
//
// Besides, tests can make operations fail, and do what other programs on the machine do.
class FakeKernel : public Kernel {
 public:
  // Asked before every operation with its name, as in `CreateVeth`: an error is returned in its place, and nothing
  // changes. Called without a lock, so it may also block, or do something to the kernel behind the engine's back.
  using Fault = std::function<std::optional<KernelError>(const std::string& operation)>;

  FakeKernel();

  void SetFaultForTest(Fault fault);
  // Called by CreateVeth when the pair is born and has no alias yet, as others can see it on the machine. Called
  // without a lock.
  void SetBornForTest(std::function<void()> born);
  // Fails the next operation of that name once.
  void FailNextForTest(const std::string& operation, int code, const std::string& extack = "");
  // As the same operation by another program: `ip netns add`, `ip netns delete`, `touch /run/netns/NAME`, `ip link
  // delete`.
  void AddForeignNetnsForTest(const std::string& name);
  void RemoveForeignNetnsForTest(const std::string& name);
  void AddStaleFileForTest(const std::string& name, bool empty = true);
  void AddForeignLinkForTest(const NetnsRef& netns, const std::string& name, const std::string& kind = "dummy");
  // `ip link set NAME name NEW_NAME`.
  void RenameLinkForTest(const NetnsRef& netns, const std::string& name, const std::string& new_name);
  // `ip address flush`, `ip route flush` and `ip neighbour flush` of the link, then what is given in their place, which
  // is not netprov's.
  void SetIpConfigForTest(const NetnsRef& netns, const std::string& name, const IpConfig& ip);
  // `ip link set NAME mtu MTU`, as far as it shows.
  void SetLinkForTest(const NetnsRef& netns, const std::string& name, const LinkSettings& settings);
  // `ip link set NAME netns TO`, where the name is free.
  void MoveLinkForTest(const NetnsRef& netns, const std::string& name, const NetnsRef& to);
  // `tc qdisc replace dev NAME root tbf`, or where `bucket` is none `tc qdisc delete dev NAME root`.
  void SetBucketForTest(const NetnsRef& netns, const std::string& name,
                        const std::optional<netlink::TokenBucket>& bucket);
  // How often a link has told others of its addresses.
  int AnnouncementsForTest(const NetnsRef& netns, const std::string& name);
  // `tc filter delete dev NAME ingress`.
  void RemoveFiltersForTest(const NetnsRef& netns, const std::string& name);
  // `bridge fdb del` for all that a VXLAN device was given.
  void DeleteFdbForTest(const NetnsRef& netns, const std::string& name);
  // `nft flush table inet netprov`, then what is given in place of its elements.
  void SetNatForTest(const NetnsRef& netns, const std::vector<netlink::NatElement>& elements);
  // `ip netns exec NAME sysctl -w`.
  void SetSysctlForTest(const NetnsRef& netns, const std::string& name, const std::string& value);
  // Writes /etc/netns/NAME/FILE, or where `text` is none deletes it; the directory stays.
  void SetEtcFileForTest(const std::string& name, const std::string& file, const std::optional<std::string>& text);
  // `ip netns exec NAME COMMAND &`, whose process gets the next number and returns it.
  uint32_t StartProcessForTest(const NetnsRef& netns, const std::string& command);
  // `unshare -n COMMAND &`.
  uint32_t StartProcessInNewNetnsForTest(const std::string& command);
  // `kill -9`. A namespace that nothing leads to any more is destroyed, here and below.
  void EndProcessForTest(uint32_t pid);
  // The process enters a new one by itself (unshare(2)); to others, it may as well be another of its number.
  void UnshareForTest(uint32_t pid);
  // `mount --bind /proc/PID/ns/net PATH`, and `umount PATH`.
  void MountForTest(uint32_t pid, const std::string& path);
  void UnmountForTest(const std::string& path);
  // Puts at a path what is no network namespace, or where `code` is ELOOP a symbolic link.
  void AddOddPathForTest(const std::string& path, int code);
  // More happened than a watch could keep.
  void OverrunWatchesForTest();
  void RebootForTest();
  // A text of everything that exists, equal for equal states; cookies and indexes are left out, as a create and a
  // delete use them up.
  std::string DumpForTest() const;

  std::string BootId() override;
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
  class FakeWatch;

  // A link with the namespace that its peer is in.
  struct FakeLink {
    Link link;
    uint64_t peer_cookie = 0;
    IpConfig ip;
    uint8_t ip_protocol = kOwnedProtocol;        // who made it
    std::vector<netlink::BridgeVlan> vlans;      // of a port
    std::optional<netlink::TokenBucket> bucket;  // at the root
    int announcements = 0;                       // 0: it makes none
    uint32_t redirected_to = 0;                  // where what it receives goes; 0: nowhere else
    uint64_t lower_cookie = 0;                   // where what it stands on is, or its own packets are
    std::vector<FdbEntry> fdb;                   // of a VXLAN device
    std::string forwards_ipv4 = "0";             // sysctls of the link
    std::string forwards_ipv6 = "0";
  };
  struct FakeNetns {
    std::map<uint32_t, FakeLink> links;
    uint32_t next_ifindex = 1;
    std::vector<RouteSpec> routes;         // those that belong to no link
    Sysctls sysctls;                       // all that this kernel has
    std::vector<netlink::NatElement> nat;  // without any, there is no table
    std::string nat_registry;              // whose it is
    std::vector<Process> processes;
  };
  struct File {
    uint64_t cookie = 0;  // 0: no namespace
    bool empty = true;
  };

  static constexpr size_t kLongestAlias = 254;  // IFALIASZ - 1, the terminating zero among them
  // Sysctls of links to come.
  static constexpr const char* kForwardsByDefault[] = {"net.ipv4.conf.default.forwarding",
                                                       "net.ipv6.conf.default.forwarding"};

  static KernelError Fail(int code, std::string operation, std::string extack = "");
  // Of a new namespace. A few that the machine has too.
  static const Sysctls& DefaultSysctls();
  std::optional<KernelError> Ask(const std::string& operation);
  void Boot();
  uint64_t AddNetns(const std::string& alias);
  static KernelResult<void> Write(const Sysctls& sysctls, FakeNetns& netns);
  // Where the value of a sysctl is; null: this kernel has none.
  static std::string* FindSysctl(const std::string& name, FakeNetns& netns);
  static void WriteSysctl(const std::string& name, const std::string& value, FakeNetns& netns);
  void DestroyNetns(uint64_t cookie);
  void DeleteLinkAndPeer(uint64_t cookie, uint32_t ifindex);
  KernelResult<FakeNetns*> Enter(const NetnsRef& netns);
  // The cookie of what a place leads to.
  KernelResult<uint64_t> LookAt(const NetnsPlace& place) const;
  // Takes a process out of its namespace; nullopt: there is none of that number.
  std::optional<Process> TakeProcess(uint32_t pid);
  // Destroys a namespace that no name, path or process leads to.
  void DestroyIfUnused(uint64_t cookie);
  static std::optional<Link> Find(const FakeNetns& netns, const std::string& name);
  static bool HasRoute(const FakeNetns& netns, const RouteSpec& route);
  uint32_t AddLink(FakeNetns& netns, const LinkSpec& spec, const std::string& kind);
  // The ifb that a link's shaping has or may take; 0: none.
  static uint32_t FindIfb(const FakeNetns& netns, const FakeLink& link, const ShapingSpec& wanted);
  // What is wrong with a link to be made; nullopt: nothing.
  static std::optional<KernelError> WhyNot(const FakeNetns& netns, const LinkSpec& spec, const std::string& alias);
  // What a new device of that kind has there. ENODEV, EBUSY, EINVAL, EEXIST: as on the machine.
  KernelResult<FakeLink> NewDevice(const LinkSpec& spec, const DeviceOptions& options);
  KernelResult<void> CheckMacvlan(const LinkSpec& spec, const netlink::MacvlanInfo& macvlan, uint64_t cookie,
                                  uint32_t lower);
  KernelResult<void> CheckBeside(const LinkSpec& spec, const DeviceOptions& options, uint64_t cookie, uint32_t lower);
  KernelResult<void> CheckVxlan(const LinkSpec& spec, const VxlanOptions& vxlan, uint64_t cookie, uint32_t lower) const;
  // Gives a link what NewDevice() returned.
  static void Become(const FakeLink& device, const LinkSpec& spec, FakeLink& made);
  // Of a device that is no bridge. EINVAL: as on the machine.
  static KernelResult<void> SetDevice(const DeviceOptions& wanted, FakeLink& link);
  // The devices, each by the cookie of its namespace and its ifindex, that stand on a link; on 0, the VXLAN devices
  // whose own packets are in the namespace.
  std::vector<std::pair<uint64_t, uint32_t>> StandingOn(uint64_t cookie, uint32_t ifindex) const;
  // Adds entries to those that it has.
  static void AddFdb(const VxlanOptions& vxlan, FakeLink& link);
  static void RemoveFdb(const FdbEntry& entry, FakeLink& link);
  static void Apply(const LinkSettings& settings, FakeLink& link);
  static void DeleteAddress(const AddressSpec& address, IpConfig& ip);
  // What a link has of IPv4 but for its addresses.
  static void LoseIpv4(IpConfig& ip);
  // EINVAL, EXFULL: as on the machine.
  static KernelResult<void> Join(FakeNetns& netns, uint32_t ifindex, uint32_t master, const PortOptions& port);
  // Tells the watches.
  void TellLink(uint64_t cookie, uint32_t ifindex);
  void TellName(const std::string& name);

  mutable std::mutex mutex_;
  Fault fault_;
  std::function<void()> born_;
  std::vector<std::pair<std::string, KernelError>> fail_next_;
  std::vector<std::weak_ptr<FakeWatch>> watches_;
  int boots_ = 0;
  uint64_t next_cookie_ = 1;
  uint8_t next_mac_ = 1;
  static constexpr int kFirstPid = 1000;
  int next_pid_ = kFirstPid;
  uint64_t host_cookie_ = 0;
  std::map<uint64_t, FakeNetns> namespaces_;  // by cookie; the host's among them
  std::map<std::string, File> files_;         // /run/netns
  std::map<std::string, EtcFiles> etc_;       // /etc/netns, which outlives a boot
  std::map<std::string, uint64_t> mounts_;    // elsewhere; cookies by path
  std::map<std::string, int> odd_paths_;      // what LookAt() says of them
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_FAKE_KERNEL_H_
