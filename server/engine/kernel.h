// The kernel as the engine needs it: typed operations on named namespaces and links.
#ifndef NETPROV_SERVER_ENGINE_KERNEL_H_
#define NETPROV_SERVER_ENGINE_KERNEL_H_

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/engine/ip_config.h"
#include "server/engine/objects.h"
#include "server/netlink/address.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_statistics.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/nat.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/qdisc.h"
#include "server/netlink/route.h"

namespace netprov::engine {

// The IFLA_GROUP of every link that netprov makes, set at creation, so that even a link whose maker died shows whose it
// is. The letters `np`.
inline constexpr uint32_t kOwnedGroup = 0x6e70;

// A namespace, as the engine knows it. The default is the host's namespace.
struct NetnsRef {
  // The name at /run/netns; empty: the host's namespace, or where `place` leads.
  std::string name;

  // Its SO_NETNS_COOKIE: an operation on a namespace of the same name or place but another cookie fails with ESTALE and
  // does nothing.
  uint64_t cookie = 0;

  // It is looked up anew by each operation, and nothing is kept open: that would keep the namespace.
  std::optional<NetnsPlace> place;

  bool is_host() const { return name.empty() && !place.has_value(); }
  // Whether it is still to be made: there is nothing in it.
  bool is_unborn() const { return !is_host() && cookie == 0; }
  // Equal for references to one namespace, whichever place leads there.
  std::string key() const { return NetnsKey(name, place, cookie); }
  friend bool operator==(const NetnsRef&, const NetnsRef&) = default;
};

// What a name at /run/netns stands for.
struct NetnsEntry {
  std::string name;
  bool is_netns = false;  // false: a file that is no network namespace
  uint64_t cookie = 0;    // 0 when it is none
  // Of its loopback link, by which an object of ours is known; false and empty when it is none.
  bool loopback_up = false;
  std::string loopback_alias;

  friend bool operator==(const NetnsEntry&, const NetnsEntry&) = default;
};

// Files by their names, whole.
using EtcFiles = std::map<std::string, std::string>;

// What a name has at /etc/netns.
struct EtcEntry {
  bool exists = false;  // the directory does
  EtcFiles files;       // of resolv.conf and hosts those that are there; one that nobody could have written is empty

  friend bool operator==(const EtcEntry&, const EtcEntry&) = default;
};

// What a place leads to.
struct PlaceEntry {
  uint64_t cookie = 0;
  bool is_host = false;  // the host's namespace

  friend bool operator==(const PlaceEntry&, const PlaceEntry&) = default;
};

// The RTPROT_*, IFA_PROTO and NDA_PROTOCOL of every route, address and neighbour that netprov makes: a number that
// nobody else has (/etc/iproute2/rt_protos). The letter `n`.
inline constexpr uint8_t kOwnedProtocol = 110;

// What a device is to stand on.
struct LowerRef {
  NetnsRef netns;        // where it is; of a VXLAN device, where its own packets are to be
  uint32_t ifindex = 0;  // in there; 0: a VXLAN device that stands on none
};

// One end of a veth pair to be made, or a device.
struct LinkSpec {
  NetnsRef netns;
  std::string name;                        // final: no pattern
  std::optional<netlink::MacAddress> mac;  // nullopt: the kernel's choice
  std::optional<uint32_t> mtu;             // nullopt: the kernel's default
  bool up = true;
  LinkOptions options;
  uint32_t master = 0;  // the ifindex of the bridge in the same namespace of which it becomes a port; 0: of none
  PortOptions port;     // as which
  std::optional<LowerRef> lower;  // of a device; nullopt: its kind stands on none (HasLower())
};

// What of a link shall be set again; what is unset stays as it is.
struct LinkSettings {
  std::optional<std::string> name;
  std::optional<netlink::MacAddress> mac;
  std::optional<uint32_t> mtu;
  std::optional<uint32_t> group;
  std::optional<std::string> alias;  // the tag, or both (JoinAlias())
  std::optional<bool> up;
  std::optional<bool> promiscuous;
  std::optional<bool> all_multicast;
  netlink::OffloadLimits limits;
  std::optional<uint32_t> master;  // of the bridge; 0: of none
  PortOptions port;                // after that; all of `vlans` take the place of those that it has, if there are any
  bool no_vlans = false;           // of a port: in place of `vlans`, takes those that it has away
  // Of its kind: what is set of a bridge; of other kinds all that can be changed, of a VXLAN device also entries of its
  // forwarding database, which are added to those that it has.
  std::optional<DeviceOptions> device;
  std::vector<FdbEntry> lost_fdb;  // of a VXLAN device: entries that go before, as far as they are there

  friend bool operator==(const LinkSettings&, const LinkSettings&) = default;
};

// The index of the loopback link in every namespace.
inline constexpr uint32_t kLoopbackIndex = 1;
inline constexpr char kLoopbackName[] = "lo";

// A link as the kernel reports it.
struct Link {
  uint32_t ifindex = 0;
  std::string name;
  netlink::MacAddress mac;
  uint32_t mtu = 0;
  bool up = false;
  uint32_t group = 0;
  std::string alias;          // without the text of its user's, which is in `options`
  std::string kind;           // `veth`; empty for a device without link operations such as `lo`
  uint32_t peer_ifindex = 0;  // of a veth: the other end's, in its own namespace
  LinkOptions options;        // with all limits that the kernel has
  std::vector<std::string> alternative_names;
  uint32_t master_ifindex = 0;              // the link that it is a port of, such as a bridge; 0: of none
  std::optional<netlink::BridgePort> port;  // of a bridge's port: all but `state`, which changes by itself
  // With all that the kernel has, but for `lower` and the forwarding database; nullopt: it is of no kind that netprov
  // makes.
  std::optional<DeviceOptions> device;
  uint32_t lower_ifindex = 0;  // of such a device: what it stands on, in that one's namespace; 0: nothing

  friend bool operator==(const Link&, const Link&) = default;
};

// A link with what changes by itself, so that two looks at it need not agree.
struct ObservedLink {
  Link link;
  netlink::OperState oper_state = netlink::OperState::kUnknown;
  netlink::LinkStatistics statistics;
};

// To what a veth's traffic is held, all of it where the link is: who is at its other end can't reach it.
struct Shaping {
  std::optional<netlink::TokenBucket> egress;   // what it sends: at its root
  std::optional<netlink::TokenBucket> ingress;  // what it receives: at the root of an ifb that it is redirected to
  uint32_t ifb_ifindex = 0;                     // 0: there is none, or what is received does not get there

  friend bool operator==(const Shaping&, const Shaping&) = default;
};

// What a veth's traffic shall be held to.
struct ShapingSpec {
  std::optional<netlink::TokenBucket> egress;
  std::optional<netlink::TokenBucket> ingress;
  std::string ifb_name;      // of the ifb, which is of group kOwnedGroup
  std::string alias;         // and has this IFLA_IFALIAS
  bool leaves_root = false;  // without `egress`: a token bucket that is at the root stays
};

// Whether an operation failed because its namespace is not there any more.
inline bool NamespaceIsGone(const KernelError& error) { return error.code == ENOENT || error.code == ESTALE; }

// Whether it says that nobody lets us look at the namespace, such as one of another user namespace: it is somebody's.
inline bool NamespaceIsClosed(const KernelError& error) { return error.code == EPERM || error.code == EACCES; }

// A deletion's result, where it is all the same if somebody was faster.
inline KernelResult<void> UnlessGone(KernelResult<void> deleted) {
  const bool gone = !deleted.ok() && (deleted.error().code == ENODEV || NamespaceIsGone(deleted.error()));
  return gone ? KernelResult<void>() : deleted;
}

// Something that may have changed in the kernel. A hint: what is really there must be looked at.
struct Hint {
  enum class Kind {
    kLink,       // the link of that index in the namespace; of index 0, the routes that belong to no link
    kName,       // the name at /run/netns, with `netns.name` alone
    kEverything  // more than could be kept
  };
  Kind kind = Kind::kEverything;
  NetnsRef netns;
  uint32_t ifindex = 0;

  friend bool operator==(const Hint&, const Hint&) = default;
};

// Tells what changes in the kernel, whoever changes it. One thread at a time may use it, but for Wake().
class KernelWatch {
 public:
  virtual ~KernelWatch() = default;

  // From now on, links inside of that namespace are watched too, as long as it lives; those of the host always are.
  // Does not keep the namespace alive. ENOENT, ESTALE: it is not there.
  virtual KernelResult<void> Track(const NetnsRef& netns) = 0;

  // Waits until something changed, Wake() is called or the time is over, and returns what is known by then; mostly
  // nothing.
  virtual std::vector<Hint> Wait(std::chrono::milliseconds timeout) = 0;

  // Ends a Wait(), the present one or else the next. Thread-safe.
  virtual void Wake() = 0;
};

// The seam between the engine and the machine. LinuxKernel is the machine, FakeKernel a model of it in memory that
// fails as the machine fails; one suite of tests (tests/contract) holds both to this contract.
//
// Every operation is atomic: when it fails, it has changed nothing, unless the error says that it may have
// (KernelError::may_have_effect). Errors are the kernel's; those that the engine relies on are named below.
// Thread-safe.
class Kernel {
 public:
  virtual ~Kernel() = default;

  // Names the time since the host was started (/proc/sys/kernel/random/boot_id): cookies and indexes are of one boot.
  virtual std::string BootId() = 0;

  // Makes a namespace with these sysctls, brings its loopback link up with `alias` as its IFLA_IFALIAS, and publishes
  // it under `name`, whole. Returns its cookie. EEXIST: there is a file of that name. Errors of sysctls as
  // SetSysctls().
  virtual KernelResult<uint64_t> CreateNetns(const std::string& name, const std::string& alias,
                                             const Sysctls& sysctls) = 0;

  // The present values of those sysctls of `wanted` that the kernel has.
  virtual KernelResult<Sysctls> FindSysctls(const NetnsRef& netns, const Sysctls& wanted) = 0;

  // Sets sysctls, all of them or, where the kernel refuses one, as many as came before it. Of those that others of them
  // change, as `net.ipv4.ip_forward` does with the same of each link, the value given here counts. The error's
  // operation is `sysctl NAME`. EOPNOTSUPP: the kernel has no such sysctl. EINVAL: it refuses the value or, as the
  // extack says, keeps another one.
  virtual KernelResult<void> SetSysctls(const NetnsRef& netns, const Sysctls& sysctls) = 0;

  // The processes whose main thread is inside, as far as this one may see them, the first `most` of them by name too.
  // Looks at each process of the machine. ENOENT, ESTALE: the namespace is not there.
  virtual KernelResult<Inhabitants> FindInhabitants(const NetnsRef& netns, size_t most) = 0;

  // Deletes every link inside that can be deleted (all that have a kind), and with a veth its other end, wherever that
  // is, all in one kernel operation. ENOENT, ESTALE: the namespace is not there.
  virtual KernelResult<void> DeleteLinksInside(const NetnsRef& netns) = 0;

  // Takes the name away; the kernel destroys the namespace once nothing holds it. ESTALE: the name stands for another
  // namespace. Succeeds when there is no such name.
  virtual KernelResult<void> RemoveNetns(const NetnsRef& netns) = 0;

  // Removes the empty file that a half-made namespace leaves. EMEDIUMTYPE: it is something else.
  virtual KernelResult<void> RemoveStaleNetnsFile(const std::string& name) = 0;

  // What `name` stands for; nullopt: nothing.
  virtual KernelResult<std::optional<NetnsEntry>> FindNetns(const std::string& name) = 0;

  // The network namespace that a place leads to now. ENOENT: there is nothing at the path. ESRCH: there is no such
  // process. ELOOP: the path has a link in it, and the extack says what to give in its place. EMEDIUMTYPE: what is
  // there is no network namespace. As part of a reference, each of them is ENOENT or ESTALE.
  virtual KernelResult<PlaceEntry> FindPlace(const NetnsPlace& place) = 0;

  // A process inside the namespace with that cookie, as far as this one may see them; nullopt: there is none. Looks at
  // each process of the machine.
  virtual KernelResult<std::optional<NetnsPlace>> FindWayIn(uint64_t cookie) = 0;

  // Every name at /run/netns, ordered bytewise.
  virtual KernelResult<std::vector<std::string>> ListNetns() = 0;

  // The files at /etc/netns that `ip netns exec` puts in the place of those at /etc; whether there is a namespace of
  // the name does not matter, and what others have there besides stays. Each is written at once and whole.
  //
  // Of resolv.conf and hosts, those that are not there or whose first line is `mark` become those of `files`, and no
  // others. With `owns_directory` the directory goes with the last of them, if it is empty. EMEDIUMTYPE: what is in the
  // place of one is somebody else's.
  virtual KernelResult<void> SetEtcFiles(const std::string& name, const std::string& mark, const EtcFiles& files,
                                         bool owns_directory) = 0;
  virtual KernelResult<EtcEntry> FindEtcFiles(const std::string& name) = 0;
  // Every name that has a directory, ordered bytewise.
  virtual KernelResult<std::vector<std::string>> ListEtc() = 0;

  // Makes a veth pair in one kernel operation, both ends in their namespaces, of group kOwnedGroup, then gives both
  // `alias`, with the text of each, and makes them ports of their bridges. Returns both ends. EEXIST: one of the names
  // is taken where it shall be. ENOENT, ESTALE: a namespace is not there. EINVAL: a bridge is not there. EXFULL: it has
  // no room for another port.
  virtual KernelResult<std::pair<Link, Link>> CreateVeth(const LinkSpec& a, const LinkSpec& b,
                                                         const std::string& alias) = 0;

  // Makes a device of the kind that `options` are of, as CreateVeth() makes a pair. What becomes of its hardware
  // address and its MTU does not depend on ports that it gets later, but for an MTU that was not asked for. It is born
  // in its namespace, also where what it stands on is in another one. EOPNOTSUPP: the kernel does not have the kind, or
  // one of the options, or, where the error's operation is RTM_SETLINK, such a device is no port of any bridge. ENODEV:
  // what it is to stand on is not there, or somebody deleted the device at once. EEXIST with an extack: not the name is
  // taken, but the identifier of a VXLAN or a VLAN device. Others: the link that it is to stand on does not take it.
  virtual KernelResult<Link> CreateDevice(const LinkSpec& link, const DeviceOptions& options,
                                          const std::string& alias) = 0;

  // The VLANs of the ports of bridges in a namespace, by the ifindex of the port; none where the kernel has none.
  virtual KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> ListPortVlans(const NetnsRef& netns) = 0;

  // The entries that a VXLAN device has in its forwarding database with a destination, whoever made them, in no
  // particular order; with a port and an identifier only where they are not the device's own. None where there is no
  // such link.
  virtual KernelResult<std::vector<FdbEntry>> ListFdb(const NetnsRef& netns, uint32_t ifindex) = 0;

  // Deletes a link, of a veth pair both ends, and with it whatever stands on it. ENODEV: there is none.
  virtual KernelResult<void> DeleteLink(const NetnsRef& netns, uint32_t ifindex) = 0;

  // Sets what is set in `settings`, all of it or, where the kernel refuses one thing, as much as came before it.
  // ENODEV: there is no such link.
  virtual KernelResult<void> SetLink(const NetnsRef& netns, uint32_t ifindex, const LinkSettings& settings) = 0;

  // Gives a link of ours alternative names, and addresses, neighbours and routes of kOwnedProtocol. A route that
  // belongs to no link is passed over. Waits until every address that is to be alone on the link is known to be. With
  // `anew`, what the link has of the same address, or of the same destination, table and metric, goes first. Where the
  // kernel refuses one thing, others may be done: who made the link deletes it. The error's operation names the thing.
  // EEXIST: an alternative name or a route is taken. ENETUNREACH: a gateway can't be reached. EADDRINUSE: another has
  // the address.
  virtual KernelResult<void> Configure(const NetnsRef& netns, uint32_t ifindex,
                                       const std::vector<std::string>& alternative_names, const IpConfig& ip,
                                       bool anew) = 0;

  // Takes from a link those of its alternative names, addresses, neighbours and routes that it has; the reverse of
  // Configure(), which passes over the same routes. With the first address of an IPv4 network the kernel takes the
  // others of it, and with an address the routes whose preferred source it is. ENODEV: there is no such link.
  virtual KernelResult<void> Unconfigure(const NetnsRef& netns, uint32_t ifindex,
                                         const std::vector<std::string>& alternative_names, const IpConfig& ip) = 0;

  // Lets a link tell others of its addresses (arp_notify and ndisc_notify of ip-sysctl), each time that it comes up or
  // gets another hardware address, and now, where it is up. Its neighbours go. ENODEV: there is no such link.
  virtual KernelResult<void> Announce(const NetnsRef& netns, uint32_t ifindex) = 0;

  // Holds a veth to what `wanted` says, whatever it was held to, without a moment in which a limit that was there and
  // stays is not. Makes an ifb or deletes it; returns its ifindex, 0 without one. A token bucket at the root is taken
  // for one of ours, unless `leaves_root`. Where the kernel refuses one thing, others may be done: what is on the link
  // goes with it, and the ifb stays. ENODEV: there is no such link. EEXIST: the name of the ifb is taken. EOPNOTSUPP:
  // the kernel has no tbf, ifb, clsact, mirred, or neither u32 nor matchall.
  virtual KernelResult<uint32_t> Shape(const NetnsRef& netns, uint32_t ifindex, const ShapingSpec& wanted) = 0;

  // What a veth is held to. Nothing where there is no such link; nothing of what it receives where the ifb is down.
  virtual KernelResult<Shaping> FindShaping(const NetnsRef& netns, uint32_t ifindex) = 0;

  // The addresses, permanent neighbours and routes of a link, whoever made them; none where there is no such link.
  virtual KernelResult<IpConfig> FindIpConfig(const NetnsRef& netns, uint32_t ifindex) = 0;

  // The routes of kOwnedProtocol that belong to no link.
  virtual KernelResult<std::vector<RouteSpec>> ListRoutesWithoutLink(const NetnsRef& netns) = 0;
  // Adds such routes. EEXIST: there is a route to the destination with that table and metric.
  virtual KernelResult<void> AddRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) = 0;
  // Deletes those of them that are there.
  virtual KernelResult<void> DeleteRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) = 0;

  // Adds elements to netprov's table of address translation in a namespace (netlink/nat.h), all of them or none, at
  // most netlink::Session::kMaxTransactionRequests. Where there is no table, it is made, as that of `registry`
  // (Registry::id()). EEXIST: there is an element of the same key, whoever's; the error's operation says which one.
  // EINVAL: one is out of range. EBUSY: the table is another registry's, or somebody changed it into another kind.
  // EOPNOTSUPP: the kernel has no nf_tables, or too little of it. EAGAIN: others changed the rule set all the time.
  virtual KernelResult<void> AddNat(const NetnsRef& netns, const std::string& registry,
                                    const std::vector<netlink::NatElement>& elements) = 0;
  // Deletes those of them that are there with the same tag, and the table where it has none then. What was translated
  // stays so until the connection ends.
  virtual KernelResult<void> DeleteNat(const NetnsRef& netns, const std::string& registry,
                                       const std::vector<netlink::NatElement>& elements) = 0;
  // All elements of the registry's table; none where it has none.
  virtual KernelResult<std::vector<netlink::NatElement>> ListNat(const NetnsRef& netns,
                                                                 const std::string& registry) = 0;
  // Those that it has under the keys of `elements`, as they are there. What it costs does not depend on how many others
  // there are.
  virtual KernelResult<std::vector<netlink::NatElement>> FindNat(const NetnsRef& netns, const std::string& registry,
                                                                 const std::vector<netlink::NatElement>& elements) = 0;

  // One link by its name or by its index; nullopt: there is none. ENOENT, ESTALE: the namespace is not there.
  virtual KernelResult<std::optional<Link>> FindLink(const NetnsRef& netns, const std::string& name) = 0;
  virtual KernelResult<std::optional<Link>> FindLink(const NetnsRef& netns, uint32_t ifindex) = 0;

  // Every link of a namespace, ordered by ifindex.
  virtual KernelResult<std::vector<Link>> ListLinks(const NetnsRef& netns) = 0;

  // What is there, whoever made it, each one whole list that no change interrupted, in no particular order. Where
  // `name` is given, only the link that has it as its name or as an alternative one; where others are, only what is of
  // that family, link or routing table. ENOENT, ESTALE: the namespace is not there.
  virtual KernelResult<std::vector<ObservedLink>> ObserveLinks(const NetnsRef& netns,
                                                               const std::optional<std::string>& name) = 0;
  virtual KernelResult<std::vector<netlink::Address>> ListAddresses(const NetnsRef& netns,
                                                                    std::optional<netlink::IpFamily> family,
                                                                    std::optional<uint32_t> ifindex) = 0;
  virtual KernelResult<std::vector<netlink::Route>> ListRoutes(const NetnsRef& netns,
                                                               std::optional<netlink::IpFamily> family,
                                                               std::optional<uint32_t> table) = 0;
  // Proxies are not among them.
  virtual KernelResult<std::vector<netlink::Neighbour>> ListNeighbours(const NetnsRef& netns,
                                                                       std::optional<netlink::IpFamily> family,
                                                                       std::optional<uint32_t> ifindex) = 0;

  // The name that dev_alloc_name() would give a link in the namespace for `pattern`, which has one `%d`: with the
  // lowest number that is free and is not among `taken`. ENFILE: none whose name fits into 15 bytes.
  virtual KernelResult<std::string> FreeLinkName(const NetnsRef& netns, const std::string& pattern,
                                                 const std::vector<std::string>& taken) = 0;

  // Begins to watch: what changes from here on is told.
  virtual KernelResult<std::unique_ptr<KernelWatch>> Watch() = 0;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_KERNEL_H_
