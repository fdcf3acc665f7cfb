// One namespace and one veth pair into it: netprov over its unix socket, in one call and in two, the kernel's floor,
// and the tutorial's `ip` commands, interleaved in one run; the same with addresses, and with all that a namespace of a
// host with a bridge needs. Prints medians and ratios; what they should be is in docs/performance.md.
//
// Each subject makes a few in a row, then deletes them. The first one after a pause pays for a machine that sleeps,
// most of all where threads wake each other, so it is shown apart.
#include <arpa/inet.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/client.h"
#include "server/base/unique_fd.h"
#include "server/engine/linux_kernel.h"
#include "server/engine/registry.h"
#include "server/engine/tag.h"
#include "server/netlink/address.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/message.h"
#include "server/netlink/nat.h"
#include "server/netlink/nfnetlink.h"
#include "server/netlink/qdisc.h"
#include "server/netlink/route.h"
#include "tests/bench/attach_records.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr char kSocket[] = "/run/netprov/netprovd.sock";
constexpr char kOtherSocket[] = "/run/netprov/other.sock";
constexpr int kInARow = 8;
// The kernel destroys a namespace in the background for some 40 ms and takes the lock that every create needs: what is
// measured is not how one subject suffers from another's deletions.
constexpr int kSettleMicroseconds = 300000;
constexpr uint32_t kGroup = 0x6e70;
constexpr uint8_t kProtocol = 110;  // of addresses and routes
constexpr char kAlias[] = "netprov:00000000-0000-4000-8000-000000000000:veths/bench";

// 10.200.0.1 and 10.200.0.2, the same for each: what counts is what it costs.
constexpr uint32_t kHostAddress = 0x0ac80001;
constexpr uint32_t kInnerAddress = 0x0ac80002;

std::string NetnsName(int i) { return absl::StrCat("bench", i); }
std::string HostEnd(int i) { return absl::StrCat("bench-host", i); }

[[noreturn]] void Die(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

void Check(bool ok, const char* what) {
  if (!ok) Die(what);
}

// ---- The floor: the same end state with libmnl and nothing else: no RPC, no validation, no journal, no reading back.

class Floor {
 public:
  Floor() : home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)), host_(Open()) {}
  ~Floor() { ::mnl_socket_close(host_); }
  Floor(const Floor&) = delete;
  Floor& operator=(const Floor&) = delete;

  // With `addresses`, also what a working attach has: one address at each end, and a default route inside.
  void Create(int i, bool addresses) {
    Check(::unshare(CLONE_NEWNET) == 0, "unshare");
    UniqueFd netns(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    mnl_socket* inside = Open();
    Check(::setns(home_.get(), CLONE_NEWNET) == 0, "setns");
    Talk(inside, Set("lo", /*up=*/true));
    const std::string path = absl::StrCat("/run/netns/", NetnsName(i));
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    UniqueFd tree(::open_tree(netns.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
    Check(::move_mount(tree.get(), "", file.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0,
          "move_mount");

    nlmsghdr* create = Start(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, /*up=*/true);
    const std::string host_end = HostEnd(i);
    PutEnd(create, host_end.c_str());
    nlattr* info = ::mnl_attr_nest_start(create, IFLA_LINKINFO);
    ::mnl_attr_put_strz(create, IFLA_INFO_KIND, "veth");
    nlattr* data = ::mnl_attr_nest_start(create, IFLA_INFO_DATA);
    nlattr* peer = ::mnl_attr_nest_start(create, VETH_INFO_PEER);
    ::mnl_nlmsg_put_extra_header(create, sizeof(ifinfomsg));
    PutEnd(create, "veth0");
    ::mnl_attr_put_u32(create, IFLA_NET_NS_FD, static_cast<uint32_t>(netns.get()));
    ::mnl_attr_nest_end(create, peer);
    ::mnl_attr_nest_end(create, data);
    ::mnl_attr_nest_end(create, info);
    Talk(host_, create);
    Talk(host_, Set(host_end.c_str(), /*up=*/false));
    Talk(inside, Set("veth0", /*up=*/true));
    if (addresses) {
      Talk(host_, Address(::if_nametoindex(host_end.c_str()), kHostAddress));
      // The first link after lo in a new namespace.
      Talk(inside, Address(2, kInnerAddress));
      Talk(inside, DefaultRoute(2));
    }
    ::mnl_socket_close(inside);
  }

  void Delete(int i) {
    nlmsghdr* remove = Start(RTM_DELLINK, 0, /*up=*/false);
    ::mnl_attr_put_strz(remove, IFLA_IFNAME, HostEnd(i).c_str());
    Talk(host_, remove);
    const std::string path = absl::StrCat("/run/netns/", NetnsName(i));
    Check(::umount2(path.c_str(), MNT_DETACH) == 0, "umount2");
    Check(::unlink(path.c_str()) == 0, "unlink");
  }

 private:
  static mnl_socket* Open() {
    mnl_socket* socket = ::mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    Check(socket != nullptr && ::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0, "netlink socket");
    return socket;
  }

  nlmsghdr* Start(uint16_t type, uint16_t flags, bool up) {
    nlmsghdr* message = ::mnl_nlmsg_put_header(buffer_.data());
    message->nlmsg_type = type;
    message->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    message->nlmsg_seq = ++sequence_;
    auto* link = static_cast<ifinfomsg*>(::mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg)));
    if (up) link->ifi_flags = link->ifi_change = IFF_UP;
    return message;
  }

  nlmsghdr* Set(const char* name, bool up) {
    nlmsghdr* message = Start(RTM_SETLINK, 0, up);
    ::mnl_attr_put_strz(message, IFLA_IFNAME, name);
    ::mnl_attr_put_strz(message, IFLA_IFALIAS, kAlias);
    return message;
  }

  nlmsghdr* Address(uint32_t ifindex, uint32_t address) {
    nlmsghdr* message = ::mnl_nlmsg_put_header(buffer_.data());
    message->nlmsg_type = RTM_NEWADDR;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    message->nlmsg_seq = ++sequence_;
    auto* header = static_cast<ifaddrmsg*>(::mnl_nlmsg_put_extra_header(message, sizeof(ifaddrmsg)));
    header->ifa_family = AF_INET;
    header->ifa_prefixlen = 24;
    header->ifa_index = ifindex;
    ::mnl_attr_put_u32(message, IFA_LOCAL, htonl(address));
    ::mnl_attr_put_u32(message, IFA_ADDRESS, htonl(address));
    ::mnl_attr_put_u8(message, IFA_PROTO, kProtocol);
    return message;
  }

  nlmsghdr* DefaultRoute(uint32_t ifindex) {
    nlmsghdr* message = ::mnl_nlmsg_put_header(buffer_.data());
    message->nlmsg_type = RTM_NEWROUTE;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    message->nlmsg_seq = ++sequence_;
    auto* header = static_cast<rtmsg*>(::mnl_nlmsg_put_extra_header(message, sizeof(rtmsg)));
    header->rtm_family = AF_INET;
    header->rtm_table = RT_TABLE_MAIN;
    header->rtm_protocol = kProtocol;
    header->rtm_type = RTN_UNICAST;
    ::mnl_attr_put_u32(message, RTA_GATEWAY, htonl(kHostAddress));
    ::mnl_attr_put_u32(message, RTA_OIF, ifindex);
    return message;
  }

  static void PutEnd(nlmsghdr* message, const char* name) {
    ::mnl_attr_put_strz(message, IFLA_IFNAME, name);
    ::mnl_attr_put_u32(message, IFLA_GROUP, kGroup);
    ::mnl_attr_put_u32(message, IFLA_NUM_TX_QUEUES, 1);
    ::mnl_attr_put_u32(message, IFLA_NUM_RX_QUEUES, 1);
  }

  void Talk(mnl_socket* socket, nlmsghdr* message) {
    Check(::mnl_socket_sendto(socket, message, message->nlmsg_len) > 0, "sendto");
    std::array<char, 8192> reply;
    const ssize_t size = ::mnl_socket_recvfrom(socket, reply.data(), reply.size());
    Check(size > 0 && ::mnl_cb_run(reply.data(), static_cast<size_t>(size), sequence_, ::mnl_socket_get_portid(socket),
                                   nullptr, nullptr) >= 0,
          "netlink request");
  }

  UniqueFd home_;
  mnl_socket* host_;
  alignas(nlmsghdr) std::array<char, 4096> buffer_;
  uint32_t sequence_ = 0;
};

// ---- A full attach: the end in the namespace has addresses and default routes of both families, is masqueraded, has a
// forwarded port and is held to a rate; the host's end is a port of a bridge that is the gateway. All of a kind share
// the bridge, so each has addresses and a port of its own.

constexpr uint16_t kBridgeMtu = 1500;
constexpr int64_t kRate = 10'000'000;  // bits a second
constexpr uint32_t kBurst = 32768;     // bytes; as netprov does by default
constexpr std::chrono::milliseconds kLatency(50);
constexpr uint16_t kFirstPort = 20000;
constexpr uint16_t kPort = 80;

// Of a bridge.
struct Subnet {
  std::string bridge;
  std::string v4;  // without the last number
  std::string v6;

  std::string Gateway4() const { return v4 + "1"; }
  std::string Gateway6() const { return v6 + "1"; }
  std::string Address4(int i) const { return absl::StrCat(v4, 2 + i); }
  std::string Address6(int i) const { return absl::StrCat(v6, 2 + i); }
};

const Subnet kNetprovSubnet = {"bench-br0", "10.200.0.", "fd00:200::"};
const Subnet kFloorSubnet = {"bench-br1", "10.201.0.", "fd00:201::"};
const Subnet kCommandSubnet = {"bench-br2", "10.202.0.", "fd00:202::"};

netlink::IpAddress Ip(const std::string& text) { return *netlink::IpAddress::Parse(text); }
netlink::IpPrefix Prefix(const std::string& text) { return *netlink::IpPrefix::Parse(text); }

// The same end state with the least that the kernel needs for it: what goes to one socket goes in one datagram, as far
// as it does not need an answer first. In a host's namespace of its own, whose table of address translation nobody else
// changes.
class FullFloor {
 public:
  FullFloor() : home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    Check(::unshare(CLONE_NEWNET) == 0, "unshare");
    host_ = Open(NETLINK_ROUTE);
    netfilter_ = Open(NETLINK_NETFILTER);
    netlink::NewLink bridge;
    bridge.name = kFloorSubnet.bridge;
    bridge.mtu = kBridgeMtu;
    bridge.up = true;
    bridge_ = Born(host_, netlink::EncodeNewLink(bridge, netlink::BridgeInfo{}));
    Talk(host_,
         {NewAddress(bridge_, kFloorSubnet.Gateway4() + "/24"), NewAddress(bridge_, kFloorSubnet.Gateway6() + "/64")});
    Transact(netlink::EncodeEnsureNatTable("bench"));
    Check(::setns(home_.get(), CLONE_NEWNET) == 0, "setns");
  }
  ~FullFloor() {
    ::mnl_socket_close(netfilter_);
    ::mnl_socket_close(host_);
  }
  FullFloor(const FullFloor&) = delete;
  FullFloor& operator=(const FullFloor&) = delete;

  void Create(int i) {
    Check(::unshare(CLONE_NEWNET) == 0, "unshare");
    UniqueFd netns(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    mnl_socket* inside = Open(NETLINK_ROUTE);
    Check(::setns(home_.get(), CLONE_NEWNET) == 0, "setns");
    const std::string path = absl::StrCat("/run/netns/", NetnsName(i));
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    UniqueFd tree(::open_tree(netns.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
    Check(::move_mount(tree.get(), "", file.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0,
          "move_mount");

    netlink::VethRequest veth;
    veth.end.name = HostEnd(i);
    veth.peer.name = "veth0";
    veth.peer.netns_fd = netns.get();
    veth.end.group = veth.peer.group = kGroup;
    veth.end.tx_queues = veth.end.rx_queues = veth.peer.tx_queues = veth.peer.rx_queues = 1;
    const int host_end = Born(host_, netlink::EncodeNewVeth(veth));
    const netlink::TokenBucket bucket{
        .rate = kRate / 8, .burst = kBurst, .limit = netlink::TokenBucketLimit(kRate / 8, kBurst, kLatency)};
    Talk(host_, {netlink::EncodeSetLink(host_end, {.alias = kAlias, .master = bridge_}),
                 netlink::EncodeSetLink(host_end, {.up = true}),
                 netlink::EncodeReplaceQdisc({.ifindex = host_end, .options = bucket})});
    // The first link after lo in a new namespace.
    Talk(inside, {netlink::EncodeSetLink("lo", {.up = true, .alias = kAlias}),
                  netlink::EncodeSetLink(2, {.up = true, .alias = kAlias}),
                  NewAddress(2, kFloorSubnet.Address4(i) + "/24"), NewAddress(2, kFloorSubnet.Address6(i) + "/64"),
                  DefaultRoute("0.0.0.0/0", kFloorSubnet.Gateway4()), DefaultRoute("::/0", kFloorSubnet.Gateway6())});
    std::vector<netlink::Request> elements;
    for (const netlink::NatElement& element : Elements(i)) elements.push_back(netlink::EncodeAddNatElement(element));
    Transact(std::move(elements));
    ::mnl_socket_close(inside);
  }

  void Delete(int i) {
    std::vector<netlink::Request> elements;
    for (const netlink::NatElement& element : Elements(i)) elements.push_back(netlink::EncodeDeleteNatElement(element));
    Transact(std::move(elements));
    Talk(host_, {netlink::EncodeDeleteLink(HostEnd(i))});
    const std::string path = absl::StrCat("/run/netns/", NetnsName(i));
    Check(::umount2(path.c_str(), MNT_DETACH) == 0, "umount2");
    Check(::unlink(path.c_str()) == 0, "unlink");
  }

 private:
  static mnl_socket* Open(int protocol) {
    mnl_socket* socket = ::mnl_socket_open2(protocol, SOCK_CLOEXEC);
    Check(socket != nullptr && ::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0, "netlink socket");
    return socket;
  }

  static netlink::Request NewAddress(int ifindex, const std::string& address) {
    return netlink::EncodeNewAddress({.ifindex = ifindex,
                                      .local = Prefix(address),
                                      .peer = std::nullopt,
                                      .flags = IFA_F_NODAD,
                                      .protocol = kProtocol});
  }

  static netlink::Request DefaultRoute(const std::string& destination, const std::string& gateway) {
    netlink::Route route;
    route.destination = Prefix(destination);
    route.gateway = Ip(gateway);
    route.ifindex = 2;
    route.protocol = kProtocol;
    return netlink::EncodeNewRoute(route);
  }

  // What netprov makes for it: for each family a source, a port, and the way back to neighbors and itself.
  std::vector<netlink::NatElement> Elements(int i) const {
    std::vector<netlink::NatElement> elements;
    for (const std::string& text : {kFloorSubnet.Address4(i), kFloorSubnet.Address6(i)}) {
      const netlink::IpAddress address = Ip(text);
      elements.push_back({.rule = netlink::Masquerade{.source = address, .ifindex = bridge_}, .tag = kAlias});
      elements.push_back({.rule = netlink::PortForward{.host_address = std::nullopt,
                                                       .host_port = static_cast<uint16_t>(kFirstPort + i),
                                                       .target = address,
                                                       .target_port = kPort},
                          .tag = kAlias});
      elements.push_back({.rule = netlink::Hairpin{.target = address, .ifindex = bridge_}, .tag = kAlias});
    }
    return elements;
  }

  // Sends all in one datagram and waits for each acknowledgement. Returns the ifindex of a link that was told of.
  int Talk(mnl_socket* socket, std::vector<netlink::Request> requests) {
    std::vector<std::byte> datagram;
    for (netlink::Request& request : requests) {
      Check(request.error == 0, "request");
      auto* header = reinterpret_cast<nlmsghdr*>(request.message.data());
      header->nlmsg_flags |= NLM_F_ACK;
      header->nlmsg_seq = ++sequence_;
      datagram.insert(datagram.end(), request.message.begin(), request.message.end());
    }
    Check(::mnl_socket_sendto(socket, datagram.data(), datagram.size()) > 0, "sendto");
    return Await(socket, requests.size());
  }

  int Born(mnl_socket* socket, netlink::Request request) {
    std::vector<netlink::Request> requests = {std::move(request)};
    const int ifindex = Talk(socket, std::move(requests));
    Check(ifindex > 0, "echo of a new link");
    return ifindex;
  }

  // One transaction, of which the last request alone is acknowledged.
  void Transact(std::vector<netlink::Request> requests) {
    std::vector<std::byte> datagram;
    const auto append = [&](netlink::Request request, bool acknowledged) {
      Check(request.error == 0, "request");
      auto* header = reinterpret_cast<nlmsghdr*>(request.message.data());
      header->nlmsg_flags &= ~NLM_F_ACK;
      if (acknowledged) header->nlmsg_flags |= NLM_F_ACK;
      header->nlmsg_seq = ++sequence_;
      datagram.insert(datagram.end(), request.message.begin(), request.message.end());
    };
    append(netlink::EncodeBatchBegin(0), false);
    for (size_t i = 0; i < requests.size(); ++i) append(requests[i], i + 1 == requests.size());
    append(netlink::EncodeBatchEnd(), false);
    Check(::mnl_socket_sendto(netfilter_, datagram.data(), datagram.size()) > 0, "sendto");
    Await(netfilter_, 1);
  }

  static int Await(mnl_socket* socket, size_t acknowledgements) {
    int ifindex = 0;
    while (acknowledgements > 0) {
      alignas(nlmsghdr) std::array<char, 32768> reply;
      ssize_t left = ::mnl_socket_recvfrom(socket, reply.data(), reply.size());
      Check(left > 0, "recvfrom");
      int size = static_cast<int>(left);
      for (auto* message = reinterpret_cast<nlmsghdr*>(reply.data()); ::mnl_nlmsg_ok(message, size);
           message = ::mnl_nlmsg_next(message, &size)) {
        if (message->nlmsg_type == RTM_NEWLINK) {
          ifindex = static_cast<const ifinfomsg*>(::mnl_nlmsg_get_payload(message))->ifi_index;
        }
        if (message->nlmsg_type != NLMSG_ERROR) continue;
        errno = -static_cast<const nlmsgerr*>(::mnl_nlmsg_get_payload(message))->error;
        Check(errno == 0, "netlink request");
        --acknowledgements;
      }
    }
    return ifindex;
  }

  UniqueFd home_;
  mnl_socket* host_ = nullptr;
  mnl_socket* netfilter_ = nullptr;
  int bridge_ = 0;
  uint32_t sequence_ = 0;
};

// ---- `ip`, `tc` and `nft`, without a shell in between.

void Run(std::vector<std::string> arguments) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid = -1;
  Check(::posix_spawnp(&pid, pointers[0], nullptr, nullptr, pointers.data(), environ) == 0, "posix_spawnp");
  int status = 0;
  Check(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, pointers[0]);
}

void Ip(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  Run(std::move(arguments));
}

void IpCreate(int i) {
  Ip({"netns", "add", NetnsName(i)});
  Ip({"link", "add", HostEnd(i), "type", "veth", "peer", "name", "veth0"});
  Ip({"link", "set", "veth0", "netns", NetnsName(i)});
  Ip({"link", "set", HostEnd(i), "up"});
}

void IpDelete(int i) {
  Ip({"link", "delete", HostEnd(i)});
  Ip({"netns", "delete", NetnsName(i)});
}

// What a person would write for a full attach, where the bridge, and the table with rules for sets of this kind, are
// there.
constexpr char kCommandTable[] = R"(
table inet bench {
  set masquerade4 { type ipv4_addr . iface_index; }
  set masquerade6 { type ipv6_addr . iface_index; }
  map forward4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map forward6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . tcp dport map @forward4
    meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . tcp dport map @forward6
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr . iif @masquerade4 masquerade
    ip6 saddr . iif @masquerade6 masquerade
  }
})";

void SetUpCommands() {
  const Subnet& net = kCommandSubnet;
  Ip({"link", "add", net.bridge, "up", "type", "bridge"});
  Ip({"address", "add", net.Gateway4() + "/24", "dev", net.bridge});
  Ip({"address", "add", net.Gateway6() + "/64", "dev", net.bridge, "nodad"});
  Run({"nft", kCommandTable});
}

// The elements, to be added or deleted.
void Elements(const char* verb, int i) {
  const Subnet& net = kCommandSubnet;
  std::string script;
  for (const auto& [family, address] : {std::pair("4", net.Address4(i)), std::pair("6", net.Address6(i))}) {
    absl::StrAppend(&script, verb, " element inet bench masquerade", family, " { ", address, " . ", net.bridge, " }; ",
                    verb, " element inet bench forward", family, " { tcp . ", kFirstPort + i, " : ", address, " . ",
                    kPort, " }; ");
  }
  Run({"nft", script});
}

void CommandsCreate(int i) {
  const Subnet& net = kCommandSubnet;
  const std::string netns = NetnsName(i);
  const std::string host_end = HostEnd(i);
  Ip({"netns", "add", netns});
  Ip({"link", "add", host_end, "up", "master", net.bridge, "type", "veth", "peer", "name", "veth0", "netns", netns});
  Ip({"-n", netns, "link", "set", "lo", "up"});
  Ip({"-n", netns, "link", "set", "veth0", "up"});
  Ip({"-n", netns, "address", "add", net.Address4(i) + "/24", "dev", "veth0"});
  Ip({"-n", netns, "address", "add", net.Address6(i) + "/64", "dev", "veth0", "nodad"});
  Ip({"-n", netns, "route", "add", "default", "via", net.Gateway4()});
  Ip({"-n", netns, "route", "add", "default", "via", net.Gateway6()});
  Run({"tc", "qdisc", "add", "dev", host_end, "root", "tbf", "rate", "10mbit", "burst", "32k", "latency", "50ms"});
  Elements("add", i);
}

void CommandsDelete(int i) {
  Elements("delete", i);
  IpDelete(i);
}

// ---- netprov through its client library.

class Netprov {
 public:
  explicit Netprov(client::Client client) : client_(std::move(client)) {}

  void Create(int i, bool addresses) {
    v1::CreateVethRequest request;
    request.set_veth_id(NetnsName(i));
    *request.mutable_veth() = Pair(i, addresses);
    request.set_create_namespaces(true);
    Expect(client_.CreateVeth(request).status());
  }
  // The bridge of full attaches, and one of them that stays, as on a host that has others already.
  void SetUpFull() {
    v1::Bridge bridge;
    bridge.mutable_host();
    bridge.set_mtu(kBridgeMtu);
    bridge.add_addresses()->set_address(kNetprovSubnet.Gateway4() + "/24");
    bridge.add_addresses()->set_address(kNetprovSubnet.Gateway6() + "/64");
    Expect(client_.CreateBridge(kNetprovSubnet.bridge, bridge).status());
    CreateFull(kInARow);
  }
  void CreateFull(int i) {
    v1::CreateVethRequest request;
    request.set_veth_id(NetnsName(i));
    *request.mutable_veth() = Pair(i, /*addresses=*/false);
    request.set_create_namespaces(true);
    request.mutable_veth()->mutable_endpoint_a()->set_bridge(absl::StrCat("bridges/", kNetprovSubnet.bridge));
    v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
    inside.add_addresses()->set_address(kNetprovSubnet.Address4(i) + "/24");
    inside.add_addresses()->set_address(kNetprovSubnet.Address6(i) + "/64");
    inside.add_gateways(kNetprovSubnet.Gateway4());
    inside.add_gateways(kNetprovSubnet.Gateway6());
    inside.set_masquerade(true);
    inside.set_ip_forwarding(true);
    v1::PortForward& forward = *inside.add_port_forwards();
    forward.set_host_port(static_cast<uint32_t>(kFirstPort + i));
    forward.set_port(kPort);
    inside.mutable_ingress_limit()->set_rate(kRate);
    Expect(client_.CreateVeth(request).status());
  }
  void CreateInTwoCalls(int i) {
    Expect(client_.CreateNamespace(NetnsName(i)).status());
    Expect(client_.CreateVeth(NetnsName(i), Pair(i, /*addresses=*/false)).status());
  }
  void Delete(int i) { Expect(client_.DeleteNamespace(NetnsName(i))); }

  // A call that the server refuses at sight: what gRPC alone costs.
  void CallInVain() {
    if (!absl::IsInvalidArgument(client_.GetNamespace("/").status())) Expect(absl::InternalError("not refused"));
  }

 private:
  static v1::Veth Pair(int i, bool addresses) {
    v1::Veth veth;
    veth.mutable_endpoint_a()->mutable_host();
    veth.mutable_endpoint_a()->set_interface_name(HostEnd(i));
    veth.mutable_endpoint_b()->set_namespace_(absl::StrCat("namespaces/", NetnsName(i)));
    veth.mutable_endpoint_b()->set_interface_name("veth0");
    if (addresses) {
      veth.mutable_endpoint_a()->add_addresses()->set_address("10.200.0.1/24");
      veth.mutable_endpoint_b()->add_addresses()->set_address("10.200.0.2/24");
      veth.mutable_endpoint_b()->add_gateways("10.200.0.1");
    }
    return veth;
  }

  static void Expect(const absl::Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }

  client::Client client_;
};

// ---- The engine's operations on the kernel inside this process, with and without what the journal writes beside them.

class KernelOperations {
 public:
  // Without a `registry` nothing is written.
  KernelOperations(engine::Kernel& kernel, engine::Registry* registry) : kernel_(kernel), registry_(registry) {}

  void Create(int i) {
    AttachRecords& records = records_.emplace_back(NetnsName(i));
    if (registry_ != nullptr) records.Begin(*registry_);
    auto cookie = kernel_.CreateNetns(NetnsName(i), engine::TagOf(kUid, kUid, "namespaces/" + NetnsName(i)), {});
    Check(cookie.ok(), "CreateNetns");
    cookies_[i] = *cookie;
    auto veth = kernel_.CreateVeth({.netns = {}, .name = HostEnd(i)}, {.netns = Ref(i), .name = "veth0"},
                                   engine::TagOf(kUid, kUid, "veths/" + NetnsName(i)));
    Check(veth.ok(), "CreateVeth");
    if (registry_ != nullptr) records.Commit(*registry_);
  }
  void Delete(int i) {
    Check(kernel_.DeleteLinksInside(Ref(i)).ok(), "DeleteLinksInside");
    Check(kernel_.RemoveNetns(Ref(i)).ok(), "RemoveNetns");
    if (registry_ != nullptr) records_.front().Remove(*registry_);
    records_.pop_front();
    // As the daemon's housekeeper does, beside the calls.
    if (registry_ != nullptr && records_.empty()) registry_->Checkpoint();
  }

 private:
  static constexpr char kUid[] = "00000000-0000-4000-8000-000000000000";
  engine::NetnsRef Ref(int i) const { return {.name = NetnsName(i), .cookie = cookies_[i]}; }

  engine::Kernel& kernel_;
  engine::Registry* registry_;
  std::deque<AttachRecords> records_;
  std::array<uint64_t, kInARow> cookies_ = {};
};

// ---- Measuring.

struct Subject {
  std::string name;
  std::function<void(int)> create;
  std::function<void(int)> remove;
  int every = 1;  // runs in each so many rounds
  std::vector<double> first_ms;
  std::vector<double> create_ms;
  std::vector<double> remove_ms;
};

double TimeOf(const std::function<void(int)>& body, int i) {
  const Clock::time_point begin = Clock::now();
  body(i);
  return Milliseconds(Clock::now() - begin).count();
}

void Measure(Subject& subject, bool count) {
  ::usleep(kSettleMicroseconds);
  for (int i = 0; i < kInARow; ++i) {
    const double ms = TimeOf(subject.create, i);
    if (count) (i == 0 ? subject.first_ms : subject.create_ms).push_back(ms);
  }
  for (int i = 0; i < kInARow; ++i) {
    const double ms = TimeOf(subject.remove, i);
    if (count) subject.remove_ms.push_back(ms);
  }
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

int Main(int argc, char** argv) {
  int rounds = 50;
  if (argc > 2 || (argc == 2 && (!absl::SimpleAtoi(argv[1], &rounds) || rounds < 10 || rounds > 10000))) {
    std::fprintf(stderr, "usage: %s [ROUNDS, 10 to 10000]\n", argv[0]);
    return 2;
  }
  if (std::string failure = testing::EnterPrivateHost(); !failure.empty()) {
    std::fprintf(stderr, "needs root, or unprivileged user namespaces: %s\n", failure.c_str());
    return 1;
  }
  testing::Process daemon({testing::kNetprovd});
  // By then it has prepared /run/netns, which the others need too.
  if (daemon.WaitForLine("listening address=unix:").empty()) return 1;
  Netprov netprov(client::Client(client::MakeConnection(absl::StrCat("unix://", kSocket)).value()));
  testing::Process other_daemon(
      {testing::kNetprovd, "--socket", kOtherSocket, "--state-dir", "/var/lib/other", "--prepared-namespaces", "0"});
  if (other_daemon.WaitForLine("listening address=unix:").empty()) return 1;
  Netprov unprepared(client::Client(client::MakeConnection(absl::StrCat("unix://", kOtherSocket)).value()));
  Floor floor;
  auto kernel = engine::LinuxKernel::Open();
  Check(kernel.ok(), "LinuxKernel");
  auto registry = engine::Registry::Open("/var/lib/bench.db");
  Check(registry.ok(), "Registry");
  KernelOperations without_journal(**kernel, nullptr);
  KernelOperations with_journal(**kernel, registry->get());

  FullFloor full_floor;
  netprov.SetUpFull();
  SetUpCommands();

  std::vector<Subject> subjects(13);
  subjects[0] = {"kernel floor (libmnl)", [&](int i) { floor.Create(i, /*addresses=*/false); },
                 [&](int i) { floor.Delete(i); }};
  subjects[1] = {"netprov (unix socket)", [&](int i) { netprov.Create(i, /*addresses=*/false); },
                 [&](int i) { netprov.Delete(i); }};
  subjects[2] = {"ip, four commands", IpCreate, IpDelete, 5};
  subjects[3] = {"a refused call", [&](int) { netprov.CallInVain(); }, [](int) {}};
  subjects[4] = {"operations, no journal", [&](int i) { without_journal.Create(i); },
                 [&](int i) { without_journal.Delete(i); }};
  subjects[5] = {"operations, journal", [&](int i) { with_journal.Create(i); }, [&](int i) { with_journal.Delete(i); }};
  subjects[6] = {"floor, with addresses", [&](int i) { floor.Create(i, /*addresses=*/true); },
                 [&](int i) { floor.Delete(i); }};
  subjects[7] = {"netprov, with addresses", [&](int i) { netprov.Create(i, /*addresses=*/true); },
                 [&](int i) { netprov.Delete(i); }};
  subjects[8] = {"netprov, two calls", [&](int i) { netprov.CreateInTwoCalls(i); }, [&](int i) { netprov.Delete(i); }};
  subjects[9] = {"netprov, none prepared", [&](int i) { unprepared.Create(i, /*addresses=*/false); },
                 [&](int i) { unprepared.Delete(i); }};
  subjects[10] = {"floor, full", [&](int i) { full_floor.Create(i); }, [&](int i) { full_floor.Delete(i); }};
  subjects[11] = {"netprov, full", [&](int i) { netprov.CreateFull(i); }, [&](int i) { netprov.Delete(i); }};
  subjects[12] = {"ten commands, full", CommandsCreate, CommandsDelete, 5};
  for (int round = -2; round < rounds; ++round) {  // The first two warm up.
    for (Subject& subject : subjects) {
      if (round < 0 || round % subject.every == 0) Measure(subject, round >= 0);
    }
  }

  absl::PrintF("One namespace and one veth pair into it, %d rounds of %d in a row, interleaved, milliseconds\n\n",
               rounds, kInARow);
  absl::PrintF("%-24s %10s %10s %10s %12s %12s\n", "", "create p50", "p90", "p99", "first p50", "delete p50");
  for (const Subject& subject : subjects) {
    absl::PrintF("%-24s %10.2f %10.2f %10.2f %12.2f %12.2f\n", subject.name, Quantile(subject.create_ms, 0.5),
                 Quantile(subject.create_ms, 0.9), Quantile(subject.create_ms, 0.99), Quantile(subject.first_ms, 0.5),
                 Quantile(subject.remove_ms, 0.5));
  }
  auto ratio = [&](int a, int b, std::vector<double> Subject::*values) {
    return Quantile(subjects[a].*values, 0.5) / Quantile(subjects[b].*values, 0.5);
  };
  absl::PrintF("\ncreate:            netprov / floor = %.2f, ip / netprov = %.1f\n", ratio(1, 0, &Subject::create_ms),
               ratio(2, 1, &Subject::create_ms));
  absl::PrintF("with addresses:      netprov / floor = %.2f\n", ratio(7, 6, &Subject::create_ms));
  absl::PrintF("full:                netprov / floor = %.2f, commands / netprov = %.1f\n",
               ratio(11, 10, &Subject::create_ms), ratio(12, 11, &Subject::create_ms));
  absl::PrintF("in two calls:        netprov / floor = %.2f\n", ratio(8, 0, &Subject::create_ms));
  absl::PrintF("none prepared:       netprov / floor = %.2f\n", ratio(9, 0, &Subject::create_ms));
  absl::PrintF("with a call's cost:  netprov / (floor + a refused call) = %.2f\n",
               Quantile(subjects[1].create_ms, 0.5) /
                   (Quantile(subjects[0].create_ms, 0.5) + Quantile(subjects[3].create_ms, 0.5)));
  absl::PrintF("first after a pause: netprov / floor = %.2f, ip / netprov = %.1f\n", ratio(1, 0, &Subject::first_ms),
               ratio(2, 1, &Subject::first_ms));
  // What is spent on the journal is spent in the daemon all the same; the rest of its time is what a daemon without one
  // would take.
  const double journal = Quantile(subjects[5].create_ms, 0.5) - Quantile(subjects[4].create_ms, 0.5);
  const double netprov_ms = Quantile(subjects[1].create_ms, 0.5);
  absl::PrintF("journal:             %.3f ms, netprov with / without it = %.2f\n", journal,
               netprov_ms / (netprov_ms - journal));
  return daemon.Stop(SIGTERM) + other_daemon.Stop(SIGTERM);
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Main(argc, argv); }
