#include "server/engine/linux_kernel.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "server/engine/linux_device.h"
#include "server/engine/linux_ip.h"
#include "server/engine/linux_link.h"
#include "server/engine/linux_nat.h"
#include "server/engine/linux_shaping.h"
#include "server/engine/linux_watch.h"
#include "server/engine/tag.h"
#include "server/netlink/address.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/link_statistics.h"
#include "server/netlink/message.h"
#include "server/netlink/mnl_transport.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/route.h"
#include "server/netlink/session.h"
#include "server/netns/inhabitants.h"
#include "server/netns/netns.h"
#include "server/netns/place.h"
#include "server/netns/sysctl.h"

namespace netprov::engine {
namespace {

// The group into which links are put that the next RTM_DELLINK shall delete together: one by one each would cost a
// grace period of 16 ms. Only ever used inside a namespace that is being deleted.
constexpr uint32_t kDoomedGroup = kOwnedGroup + 1;

constexpr uint32_t kSmallestMtu = 68;  // ETH_MIN_MTU

constexpr size_t kLongestLinkName = 15;  // IFNAMSIZ less the terminating zero

KernelResult<std::string> ReadBootId() {
  constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  UniqueFd file(::open(kPath, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoError(absl::StrCat("open(", kPath, ")"));
  std::array<char, 64> text;
  const ssize_t size = ::read(file.get(), text.data(), text.size());
  if (size <= 0) return ErrnoError(absl::StrCat("read(", kPath, ")"));
  return std::string(absl::StripAsciiWhitespace(absl::string_view(text.data(), static_cast<size_t>(size))));
}

netlink::Request DeletionOfVlans(uint32_t ifindex) {
  constexpr netlink::BridgeVlan kAllVlans{.first = 1, .last = 4094};
  return netlink::EncodeDeleteBridgeVlans(static_cast<int>(ifindex), netlink::VlanMember::kPort,
                                          std::span(&kAllVlans, 1));
}

// What makes a port of a bridge such a port.
void AddPortRequests(uint32_t ifindex, const PortOptions& port, std::vector<netlink::Request>& requests) {
  const int index = static_cast<int>(ifindex);
  if (port.settings != netlink::BridgePort()) requests.push_back(netlink::EncodeSetBridgePort(index, port.settings));
  if (port.vlans.empty()) return;
  // Among them the one that every new port is given.
  requests.push_back(DeletionOfVlans(ifindex));
  requests.push_back(netlink::EncodeAddBridgeVlans(index, netlink::VlanMember::kPort, port.vlans));
}

// Adds what `request` lists. Families that are not of IP, such as MCTP's, are left out, and it is no error where `none`
// says that there is nothing to list.
template <typename Item>
KernelResult<void> AddDump(netlink::Session& session, const netlink::Request& request,
                           KernelResult<Item> (*decode)(std::span<const std::byte>), int none,
                           std::vector<Item>& items) {
  KernelResult<std::vector<netlink::Payload>> payloads = session.Dump(request);
  if (!payloads.ok()) return payloads.error().code == none ? KernelResult<void>() : std::move(payloads).error();
  for (const netlink::Payload& payload : *payloads) {
    KernelResult<Item> item = decode(payload);
    if (item.ok()) {
      items.push_back(*std::move(item));
    } else if (item.error().code != EAFNOSUPPORT) {
      return std::move(item).error();
    }
  }
  return {};
}

std::optional<int> ToIndex(std::optional<uint32_t> ifindex) {
  return ifindex.has_value() ? std::optional(static_cast<int>(*ifindex)) : std::nullopt;
}

netlink::NewLink ToNewLink(const LinkSpec& spec) {
  return {.name = spec.name,
          .mac = spec.mac,
          .mtu = spec.mtu,
          .group = kOwnedGroup,
          .up = spec.up,
          .netns_fd = std::nullopt,
          .tx_queues = spec.options.tx_queues,
          .rx_queues = spec.options.rx_queues,
          .master = std::nullopt,
          .promiscuous = spec.options.promiscuous,
          .all_multicast = spec.options.all_multicast,
          .limits = spec.options.limits};
}

// Gives a link that was just born what it is not born with, `options` if it is a device, and looks at it.
KernelResult<Link> Finish(netlink::Session& session, uint32_t ifindex, netlink::LinkChange change, const LinkSpec& spec,
                          const DeviceOptions* options = nullptr) {
  // As a port it comes up when it is isolated, and has its VLANs.
  const std::optional<bool> up = spec.master == 0 ? std::nullopt : std::exchange(change.up, std::nullopt);
  if (spec.master != 0) change.master = static_cast<int>(spec.master);
  std::vector<netlink::Request> requests = {netlink::EncodeSetLink(Index(ifindex), change)};
  AddPortRequests(ifindex, spec.port, requests);
  if (options != nullptr) AddFdbRequests(ifindex, *options, requests);
  if (up.has_value()) requests.push_back(netlink::EncodeSetLink(Index(ifindex), {.up = up}));
  requests.push_back(netlink::EncodeGetLink(Index(ifindex)));
  // What does not go with the last of them goes before.
  const size_t before = requests.size() - std::min(requests.size(), netlink::Session::kMaxBatchRequests);
  const std::span<const netlink::Request> all(requests);
  NETPROV_RETURN_IF_ERROR(ExecuteAll(session, all.first(before), ToleratesNothing));
  std::vector<netlink::Outcome> outcomes = session.ExecuteBatch(all.subspan(before));
  for (netlink::Outcome& outcome : outcomes) {
    if (!outcome.ok()) return *std::move(outcome.error);
  }
  if (outcomes.back().replies.size() != 1) {
    return KernelError{.code = EBADMSG, .operation = absl::StrCat("RTM_GETLINK ", spec.name), .extack = {}};
  }
  return ToLink(outcomes.back().replies[0]);
}

// Deletes a link that could not be finished; returns why it could not.
KernelError Unmade(netlink::Session& session, uint32_t ifindex, KernelError why) {
  // By the same socket, as there may be no more descriptors.
  KernelResult<void> deleted = session.Execute(netlink::EncodeDeleteLink(Index(ifindex)));
  // It did not fail half way any more.
  why.may_have_effect = false;
  // ENODEV: somebody else deleted it, which may be why.
  if (!deleted.ok() && deleted.error().code != ENODEV) {
    why.may_have_effect = true;
    why.extack = absl::StrCat(why.extack, why.extack.empty() ? "" : "; ",
                              "the link is left behind: ", deleted.error().ToString());
  }
  return why;
}

}  // namespace

// A netlink session inside a namespace, with a descriptor of it.
class LinuxKernel::Connection {
 public:
  // The host's: `netns` is none of its own.
  Connection(std::unique_ptr<netlink::MnlTransport> transport, UniqueFd netns, uint64_t cookie,
             netlink::Statistics& statistics)
      : netns_(std::move(netns)),
        cookie_(cookie),
        session_(std::make_unique<netlink::Session>(std::move(transport),
                                                    netlink::SessionOptions{.statistics = &statistics})) {}

  netlink::Session& session() { return *session_; }
  int netns() const { return netns_.get(); }
  uint64_t cookie() const { return cookie_; }
  // Ends what the connection is good for.
  UniqueFd TakeNetns() { return std::move(netns_); }

 private:
  UniqueFd netns_;
  uint64_t cookie_;
  std::unique_ptr<netlink::Session> session_;
};

LinuxKernel::LinuxKernel(UniqueFd home, std::string boot_id, NetnsPool::Options prepared)
    : home_(std::move(home)), boot_id_(std::move(boot_id)), pool_(home_.get(), [&] {
        prepared.netlink_statistics = &statistics_;
        return prepared;
      }()) {}

KernelResult<std::unique_ptr<LinuxKernel>> LinuxKernel::Open(const NetnsPool::Options& prepared) {
  NETPROV_ASSIGN_OR_RETURN(UniqueFd home, netns::OpenCurrent());
  NETPROV_ASSIGN_OR_RETURN(std::string boot_id, ReadBootId());
  std::unique_ptr<LinuxKernel> kernel(new LinuxKernel(std::move(home), std::move(boot_id), prepared));
  NETPROV_RETURN_IF_ERROR(kernel->directory_.Prepare());
  return kernel;
}

KernelResult<uint64_t> LinuxKernel::HostCookie() const {
  NETPROV_ASSIGN_OR_RETURN(std::unique_ptr<netlink::MnlTransport> transport, netlink::MnlTransport::Open());
  return netns::Cookie(transport->fd());
}

KernelResult<LinuxKernel::Connection> LinuxKernel::ConnectByName(const std::string& name) const {
  NETPROV_ASSIGN_OR_RETURN(UniqueFd netns, directory_.Open(name));
  return ConnectInside(std::move(netns));
}

KernelResult<LinuxKernel::Connection> LinuxKernel::ConnectByPlace(const NetnsPlace& place) const {
  NETPROV_ASSIGN_OR_RETURN(UniqueFd netns, place.path.empty() ? netns::OpenNetnsOfProcess(static_cast<int>(place.pid))
                                                              : netns::OpenNetnsAt(place.path));
  return ConnectInside(std::move(netns));
}

KernelResult<LinuxKernel::Connection> LinuxKernel::ConnectInside(UniqueFd netns) const {
  KernelResult<std::unique_ptr<netlink::MnlTransport>> transport = KernelError{};
  NETPROV_RETURN_IF_ERROR(
      netns::RunInside(netns.get(), home_.get(), [&] { transport = netlink::MnlTransport::Open(); }));
  if (!transport.ok()) return std::move(transport).error();
  NETPROV_ASSIGN_OR_RETURN(uint64_t cookie, netns::Cookie((*transport)->fd()));
  return Connection(*std::move(transport), std::move(netns), cookie, statistics_);
}

KernelResult<LinuxKernel::Connection> LinuxKernel::Connect(const NetnsRef& netns) const {
  if (netns.is_host()) {
    NETPROV_ASSIGN_OR_RETURN(std::unique_ptr<netlink::MnlTransport> transport, netlink::MnlTransport::Open());
    return Connection(std::move(transport), UniqueFd(), 0, statistics_);
  }
  const std::string path = netns.place.has_value() ? PlaceName(*netns.place) : absl::StrCat("/run/netns/", netns.name);
  const KernelError stale{.code = ESTALE, .operation = absl::StrCat("open(", path, ")"), .extack = {}};
  KernelResult<Connection> connection =
      netns.place.has_value() ? ConnectByPlace(*netns.place) : ConnectByName(netns.name);
  if (!connection.ok()) {
    switch (connection.error().code) {
      case EMEDIUMTYPE:  // The name stands for something that is no namespace.
      case ELOOP:
      case ENOTDIR:
      case ESRCH:
        return stale;
      default:
        return connection;
    }
  }
  if (connection->cookie() != netns.cookie) return stale;
  return connection;
}

KernelResult<uint64_t> LinuxKernel::CreateNetns(const std::string& name, const std::string& alias,
                                                const Sysctls& sysctls) {
  if (!directory_.IsPrepared()) NETPROV_RETURN_IF_ERROR(directory_.Prepare());
  NETPROV_ASSIGN_OR_RETURN(NetnsPool::Made made, pool_.Take());
  const UniqueFd netns = std::move(made.netns);
  if (!sysctls.empty()) {
    KernelResult<void> written;
    NETPROV_RETURN_IF_ERROR(
        netns::RunInside(netns.get(), home_.get(), [&] { written = netns::WriteSysctls(sysctls); }));
    NETPROV_RETURN_IF_ERROR(std::move(written));
  }
  NETPROV_ASSIGN_OR_RETURN(uint64_t cookie, netns::Cookie(made.transport->fd()));
  netlink::Session session(std::move(made.transport), {.statistics = &statistics_});
  NETPROV_RETURN_IF_ERROR(session.Execute(netlink::EncodeSetLink("lo", {.up = true, .alias = alias})));
  // Only what is complete gets a name.
  NETPROV_RETURN_IF_ERROR(directory_.Publish(name, netns.get()));
  return cookie;
}

KernelResult<void> LinuxKernel::RunIn(const NetnsRef& netns, const std::function<void()>& work) const {
  if (netns.is_host()) {
    work();
    return {};
  }
  // For its cookie, too.
  NETPROV_ASSIGN_OR_RETURN(const Connection connection, Connect(netns));
  return netns::RunInside(connection.netns(), home_.get(), work);
}

KernelResult<Sysctls> LinuxKernel::FindSysctls(const NetnsRef& netns, const Sysctls& wanted) {
  Sysctls found;
  std::optional<KernelError> failure;
  NETPROV_RETURN_IF_ERROR(RunIn(netns, [&] {
    for (const auto& [name, value] : wanted) {
      KernelResult<std::string> now = netns::ReadSysctl(name);
      if (now.ok()) {
        found[name] = *std::move(now);
      } else if (now.error().code != EOPNOTSUPP) {
        failure = std::move(now).error();
        return;
      }
    }
  }));
  if (failure.has_value()) return *std::move(failure);
  return found;
}

KernelResult<void> LinuxKernel::SetSysctls(const NetnsRef& netns, const Sysctls& sysctls) {
  KernelResult<void> written;
  NETPROV_RETURN_IF_ERROR(RunIn(netns, [&] { written = netns::WriteSysctls(sysctls); }));
  if (netns.is_host()) pool_.Discard();
  return written;
}

KernelResult<Inhabitants> LinuxKernel::FindInhabitants(const NetnsRef& netns, size_t most) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  NETPROV_ASSIGN_OR_RETURN(const std::vector<int> processes, netns::FindProcesses(connection.netns()));
  Inhabitants inhabitants{.count = processes.size(), .first = {}};
  for (size_t i = 0; i < std::min(most, processes.size()); ++i) {
    NETPROV_ASSIGN_OR_RETURN(std::string command, netns::CommandOf(processes[i]));
    inhabitants.first.push_back({.pid = processes[i], .command = std::move(command)});
  }
  return inhabitants;
}

KernelResult<void> LinuxKernel::DeleteLinksInside(const NetnsRef& netns) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  netlink::Session& session = connection.session();
  NETPROV_ASSIGN_OR_RETURN(std::vector<Link> links, DumpLinks(session));
  std::vector<netlink::Request> doom;
  for (const Link& link : links) {
    if (!link.kind.empty()) doom.push_back(netlink::EncodeSetLink(Index(link.ifindex), {.group = kDoomedGroup}));
  }
  if (doom.empty()) return {};
  // ENODEV: somebody was faster.
  NETPROV_RETURN_IF_ERROR(ExecuteAll(session, doom, [](int code) { return code == ENODEV; }));
  KernelResult<void> deleted = session.Execute(netlink::EncodeDeleteLinkGroup(kDoomedGroup));
  if (deleted.ok() || deleted.error().code == ENODEV) return {};
  if (!deleted.error().may_have_effect) return deleted;
  NETPROV_ASSIGN_OR_RETURN(links, DumpLinks(session));
  const bool some_left = std::any_of(links.begin(), links.end(), [](const Link& link) { return !link.kind.empty(); });
  return some_left ? deleted : KernelResult<void>();
}

KernelResult<void> LinuxKernel::RemoveNetns(const NetnsRef& netns) {
  UniqueFd checked;
  {
    KernelResult<Connection> connection = Connect(netns);
    if (!connection.ok()) {
      if (connection.error().code == ENOENT) return {};
      return std::move(connection).error();
    }
    checked = connection->TakeNetns();
  }
  return directory_.Remove(netns.name, checked.get());
}

KernelResult<void> LinuxKernel::RemoveStaleNetnsFile(const std::string& name) { return directory_.RemoveFile(name); }

KernelResult<void> LinuxKernel::SetEtcFiles(const std::string& name, const std::string& mark, const EtcFiles& files,
                                            bool owns_directory) {
  return etc_.Write(name, mark, files, owns_directory);
}

KernelResult<EtcEntry> LinuxKernel::FindEtcFiles(const std::string& name) {
  NETPROV_ASSIGN_OR_RETURN(netns::EtcDirectory::Entry entry, etc_.Read(name));
  return EtcEntry{.exists = entry.exists, .files = std::move(entry.files)};
}

KernelResult<std::vector<std::string>> LinuxKernel::ListEtc() { return etc_.List(); }

KernelResult<std::optional<NetnsEntry>> LinuxKernel::FindNetns(const std::string& name) {
  KernelResult<Connection> connection = ConnectByName(name);
  if (connection.ok()) {
    NETPROV_ASSIGN_OR_RETURN(std::optional<Link> loopback, FindLinkAt(connection->session(), Index(kLoopbackIndex)));
    return std::optional(NetnsEntry{.name = name,
                                    .is_netns = true,
                                    .cookie = connection->cookie(),
                                    .loopback_up = loopback.has_value() && loopback->up,
                                    .loopback_alias = loopback.has_value() ? loopback->alias : ""});
  }
  if (connection.error().code == ENOENT) return std::optional<NetnsEntry>();
  if (connection.error().code == EMEDIUMTYPE) return std::optional(NetnsEntry{.name = name});
  return std::move(connection).error();
}

KernelResult<PlaceEntry> LinuxKernel::FindPlace(const NetnsPlace& place) {
  NETPROV_ASSIGN_OR_RETURN(const Connection connection, ConnectByPlace(place));
  NETPROV_ASSIGN_OR_RETURN(const uint64_t host, HostCookie());
  return PlaceEntry{.cookie = connection.cookie(), .is_host = connection.cookie() == host};
}

KernelResult<std::optional<NetnsPlace>> LinuxKernel::FindWayIn(uint64_t cookie) {
  NETPROV_ASSIGN_OR_RETURN(const std::vector<int> processes, netns::FindOneProcessInEach());
  for (const int pid : processes) {
    const NetnsPlace place{.path = "", .pid = static_cast<uint32_t>(pid)};
    // Some have ended by now, and some namespaces may not be entered.
    const KernelResult<Connection> connection = ConnectByPlace(place);
    if (connection.ok() && connection->cookie() == cookie) return std::optional(place);
  }
  return std::optional<NetnsPlace>();
}

KernelResult<std::vector<std::string>> LinuxKernel::ListNetns() {
  NETPROV_ASSIGN_OR_RETURN(std::vector<netns::NetnsDirectory::Entry> entries, directory_.List());
  std::vector<std::string> names;
  names.reserve(entries.size());
  for (netns::NetnsDirectory::Entry& entry : entries) names.push_back(std::move(entry.name));
  return names;
}

KernelResult<std::pair<Link, Link>> LinuxKernel::CreateVeth(const LinkSpec& a, const LinkSpec& b,
                                                            const std::string& alias) {
  // The request goes out from where `a` shall live, as the kernel checks its name where the socket is.
  NETPROV_ASSIGN_OR_RETURN(Connection at_a, Connect(a.netns));
  std::optional<Connection> at_b;
  if (b.netns != a.netns) {
    NETPROV_ASSIGN_OR_RETURN(at_b, Connect(b.netns));
  }
  netlink::VethRequest request{.end = ToNewLink(a), .peer = ToNewLink(b)};
  // veth_newlink() configures the peer before it joins the two, so the kernel refuses a peer that is up from birth
  // (ENOTCONN). It is set up with its alias.
  request.peer.up = false;
  if (at_b.has_value()) request.peer.netns_fd = b.netns.is_host() ? home_.get() : at_b->netns();

  netlink::Session& session_a = at_a.session();
  netlink::Session& session_b = at_b.has_value() ? at_b->session() : session_a;
  const netlink::Request new_veth = netlink::EncodeNewVeth(request);
  const netlink::Outcome created = session_a.ExecuteBatch(std::span(&new_veth, 1)).front();
  auto look_for_it = [&]() -> KernelResult<std::optional<Link>> {
    // Over sockets without late answers. Only our pair can have the group, no alias yet and a peer of the other name.
    NETPROV_ASSIGN_OR_RETURN(Connection again_a, Connect(a.netns));
    NETPROV_ASSIGN_OR_RETURN(Connection again_b, Connect(b.netns));
    NETPROV_ASSIGN_OR_RETURN(std::optional<Link> link, FindLinkAt(again_a.session(), a.name));
    NETPROV_ASSIGN_OR_RETURN(std::optional<Link> peer, FindLinkAt(again_b.session(), b.name));
    if (link.has_value() && (link->kind != "veth" || link->group != kOwnedGroup || !link->alias.empty() ||
                             !peer.has_value() || link->peer_ifindex != peer->ifindex)) {
      link.reset();
    }
    return link;
  };
  KernelResult<std::optional<Link>> born = std::optional<Link>();
  if (created.ok() && created.replies.size() == 1) {
    KernelResult<netlink::Link> link = netlink::DecodeLink(created.replies[0]);
    if (link.ok()) {
      born = std::optional(ToLink(*link));
    } else {
      born = std::move(link).error();
    }
  } else if (created.ok() || created.error->may_have_effect) {
    // The kernel is older than the echo (Linux 6.2), or an acknowledgement was lost.
    born = look_for_it();
  }
  if (!born.ok()) {
    born.error().may_have_effect = true;
    return std::move(born).error();
  }
  std::optional<Link> link_a = *std::move(born);
  if (!link_a.has_value()) {
    if (!created.ok()) {
      // Looked for, and not there.
      KernelError refused = *created.error;
      refused.may_have_effect = false;
      return refused;
    }
    return KernelError{.code = ENODEV, .operation = absl::StrCat("RTM_GETLINK ", a.name), .extack = {}};
  }

  const std::string alias_a = JoinAlias(alias, a.options.alias);
  auto tag = [&]() -> KernelResult<Link> {
    if (a.master == 0) {
      NETPROV_RETURN_IF_ERROR(session_a.Execute(netlink::EncodeSetLink(Index(link_a->ifindex), {.alias = alias_a})));
    } else {
      NETPROV_ASSIGN_OR_RETURN(*link_a, Finish(session_a, link_a->ifindex, {.alias = alias_a}, a));
    }
    netlink::LinkChange change{.alias = JoinAlias(alias, b.options.alias)};
    if (b.up) change.up = true;
    return Finish(session_b, link_a->peer_ifindex, change, b);
  };
  KernelResult<Link> link_b = tag();
  if (!link_b.ok()) return Unmade(session_a, link_a->ifindex, std::move(link_b).error());
  link_a->alias = alias;
  link_a->options.alias = a.options.alias;
  return std::pair(*std::move(link_a), *std::move(link_b));
}

KernelResult<Link> LinuxKernel::CreateDevice(const LinkSpec& spec, const DeviceOptions& options,
                                             const std::string& alias) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(spec.netns));
  netlink::Session& session = connection.session();
  const bool is_bridge = std::holds_alternative<netlink::BridgeInfo>(options);
  netlink::NewLink birth = ToNewLink(spec);
  // A bridge takes the smallest MTU of its ports, unless it was changed once (BROPT_MTU_SET_BY_USER), which being born
  // with it is not.
  if (is_bridge && spec.mtu.has_value()) birth.mtu = *spec.mtu > kSmallestMtu ? *spec.mtu - 1 : *spec.mtu + 1;
  // The kernel looks for what a device stands on where the request comes from.
  std::optional<Connection> at_lower;
  if (spec.lower.has_value() && spec.lower->netns != spec.netns) {
    NETPROV_ASSIGN_OR_RETURN(at_lower, Connect(spec.lower->netns));
    birth.netns_fd = spec.netns.is_host() ? home_.get() : connection.netns();
  }
  const netlink::Request new_link =
      netlink::EncodeNewLink(birth, ToLinkInfo(options, spec.lower.has_value() ? spec.lower->ifindex : 0));
  netlink::Session& birthplace = at_lower.has_value() ? at_lower->session() : session;
  const netlink::Outcome created = birthplace.ExecuteBatch(std::span(&new_link, 1)).front();
  if (!created.ok() && !created.error->may_have_effect) return *created.error;
  std::optional<Link> born;
  if (created.ok() && created.replies.size() == 1) {
    KernelResult<Link> link = ToLink(created.replies[0]);
    if (!link.ok()) {
      link.error().may_have_effect = true;
      return link;
    }
    born = *std::move(link);
  } else {
    // It was born elsewhere, the kernel is older than the echo (Linux 6.2), or an acknowledgement was lost.
    auto look_for_it = [&]() -> KernelResult<std::optional<Link>> {
      // Over a socket without late answers.
      NETPROV_ASSIGN_OR_RETURN(Connection again, Connect(spec.netns));
      return FindLinkAt(again.session(), spec.name);
    };
    KernelResult<std::optional<Link>> link = look_for_it();
    if (!link.ok()) {
      link.error().may_have_effect = true;
      return std::move(link).error();
    }
    born = *std::move(link);
    // Only ours can have the group and no alias yet.
    if (born.has_value() && (born->kind != KindOf(options) || born->group != kOwnedGroup || !born->alias.empty())) {
      born.reset();
    }
  }
  if (!born.has_value()) {
    if (created.ok()) return KernelError{.code = ENODEV, .operation = "RTM_GETLINK " + spec.name, .extack = {}};
    // Looked for, and not there.
    KernelError refused = *created.error;
    refused.may_have_effect = false;
    return refused;
  }
  netlink::LinkChange change{.alias = JoinAlias(alias, spec.options.alias)};
  if (is_bridge) {
    // A bridge takes the lowest hardware address of its ports, unless it was given one.
    change.mac = spec.mac.value_or(born->mac);
    change.mtu = spec.mtu;
  }
  KernelResult<Link> link = Finish(session, born->ifindex, change, spec, &options);
  if (!link.ok()) return Unmade(session, born->ifindex, std::move(link).error());
  return link;
}

KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> LinuxKernel::ListPortVlans(const NetnsRef& netns) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  std::map<uint32_t, std::vector<netlink::BridgeVlan>> vlans;
  NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Payload> payloads,
                           connection.session().Dump(netlink::EncodeDumpBridgeVlans()));
  for (const netlink::Payload& payload : payloads) {
    NETPROV_ASSIGN_OR_RETURN(netlink::BridgeVlans of_link, netlink::DecodeBridgeVlans(payload));
    if (of_link.master.has_value()) vlans[static_cast<uint32_t>(of_link.ifindex)] = std::move(of_link.vlans);
  }
  return vlans;
}

KernelResult<std::vector<FdbEntry>> LinuxKernel::ListFdb(const NetnsRef& netns, uint32_t ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  std::vector<netlink::FdbEntry> entries;
  NETPROV_RETURN_IF_ERROR(AddDump(connection.session(), netlink::EncodeDumpFdb(static_cast<int>(ifindex)),
                                  &netlink::DecodeFdbEntry, ENODEV, entries));
  return WithDestination(entries);
}

KernelResult<void> LinuxKernel::DeleteLink(const NetnsRef& netns, uint32_t ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  KernelResult<void> deleted = connection.session().Execute(netlink::EncodeDeleteLink(Index(ifindex)));
  if (deleted.ok() || !deleted.error().may_have_effect) return deleted;
  NETPROV_ASSIGN_OR_RETURN(std::optional<Link> left, FindLinkAt(connection.session(), Index(ifindex)));
  return left.has_value() ? deleted : KernelResult<void>();
}

KernelResult<void> LinuxKernel::SetLink(const NetnsRef& netns, uint32_t ifindex, const LinkSettings& settings) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  auto set = [&](const netlink::LinkChange& change) {
    return connection.session().Execute(netlink::EncodeSetLink(Index(ifindex), change));
  };
  NETPROV_RETURN_IF_ERROR(set({.up = settings.up,
                               .mac = settings.mac,
                               .mtu = settings.mtu,
                               .group = settings.group,
                               .alias = settings.alias,
                               .promiscuous = settings.promiscuous,
                               .all_multicast = settings.all_multicast,
                               .limits = settings.limits}));
  std::vector<netlink::Request> requests;
  for (const FdbEntry& entry : settings.lost_fdb) requests.push_back(DeletionOf(ifindex, entry));
  NETPROV_RETURN_IF_ERROR(ExecuteAll(connection.session(), requests, [](int code) { return code == ENOENT; }));
  requests.clear();
  if (settings.device.has_value()) AddDeviceRequests(ifindex, *settings.device, requests);
  if (settings.master.has_value()) {
    requests.push_back(netlink::EncodeSetLink(Index(ifindex), {.master = static_cast<int>(*settings.master)}));
  }
  AddPortRequests(ifindex, settings.port, requests);
  if (settings.no_vlans) requests.push_back(DeletionOfVlans(ifindex));
  NETPROV_RETURN_IF_ERROR(ExecuteAll(connection.session(), requests, ToleratesNothing));
  if (!settings.name.has_value()) return {};
  KernelResult<void> renamed = set({.name = settings.name});
  if (renamed.ok() || renamed.error().code != EBUSY) return renamed;
  // Before Linux 6.2, a link that is up keeps its name.
  NETPROV_RETURN_IF_ERROR(set({.up = false}));
  renamed = set({.name = settings.name});
  NETPROV_RETURN_IF_ERROR(set({.up = true}));
  return renamed;
}

KernelResult<void> LinuxKernel::Configure(const NetnsRef& netns, uint32_t ifindex,
                                          const std::vector<std::string>& alternative_names, const IpConfig& ip,
                                          bool anew) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return ConfigureLink(connection.session(), ifindex, alternative_names, ip, anew);
}

KernelResult<void> LinuxKernel::Unconfigure(const NetnsRef& netns, uint32_t ifindex,
                                            const std::vector<std::string>& alternative_names, const IpConfig& ip) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return UnconfigureLink(connection.session(), ifindex, alternative_names, ip);
}

KernelResult<void> LinuxKernel::Announce(const NetnsRef& netns, uint32_t ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  NETPROV_ASSIGN_OR_RETURN(const std::optional<Link> link, FindLinkAt(connection.session(), Index(ifindex)));
  if (!link.has_value()) return KernelError{.code = ENODEV, .operation = "RTM_GETLINK", .extack = {}};
  // A dot in the name is no separator.
  const std::string name = absl::StrReplaceAll(link->name, {{".", "/"}});
  KernelResult<void> written;
  auto write = [&] {
    written = netns::WriteSysctls({{absl::StrCat("net.ipv4.conf.", name, ".arp_notify"), "1"}});
    if (!written.ok()) return;
    written = netns::WriteSysctls({{absl::StrCat("net.ipv6.conf.", name, ".ndisc_notify"), "1"}});
    // A host without IPv6, or a link that it does not work on.
    if (!written.ok() && written.error().code == EOPNOTSUPP) written = {};
  };
  NETPROV_RETURN_IF_ERROR(RunIn(netns, write));
  if (!written.ok()) {
    written.error().may_have_effect = true;
    return written;
  }
  if (!link->up) return {};
  // The same one, of which the kernel tells as of another (NETDEV_CHANGEADDR).
  return connection.session().Execute(netlink::EncodeSetLink(Index(ifindex), {.mac = link->mac}));
}

KernelResult<uint32_t> LinuxKernel::Shape(const NetnsRef& netns, uint32_t ifindex, const ShapingSpec& wanted) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return ShapeLink(connection.session(), ifindex, wanted);
}

KernelResult<Shaping> LinuxKernel::FindShaping(const NetnsRef& netns, uint32_t ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return FindShapingOfLink(connection.session(), ifindex);
}

KernelResult<IpConfig> LinuxKernel::FindIpConfig(const NetnsRef& netns, uint32_t ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return FindIpConfigOfLink(connection.session(), ifindex);
}

KernelResult<std::vector<RouteSpec>> LinuxKernel::ListRoutesWithoutLink(const NetnsRef& netns) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return OwnRoutesWithoutLink(connection.session());
}

KernelResult<void> LinuxKernel::AddRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return AddRoutesWithoutLink(connection.session(), routes);
}

KernelResult<void> LinuxKernel::DeleteRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return DeleteRoutesWithoutLink(connection.session(), routes);
}

KernelResult<std::unique_ptr<netlink::Session>> LinuxKernel::ConnectToNetfilter(const NetnsRef& netns) const {
  KernelResult<std::unique_ptr<netlink::MnlTransport>> transport = KernelError{};
  NETPROV_RETURN_IF_ERROR(RunIn(netns, [&] {
    transport =
        netlink::MnlTransport::Open(netlink::MnlTransport::kDefaultTimeout, netlink::NetlinkProtocol::kNetfilter);
  }));
  if (!transport.ok()) return std::move(transport).error();
  return std::make_unique<netlink::Session>(*std::move(transport), netlink::SessionOptions{.statistics = &statistics_});
}

KernelResult<void> LinuxKernel::WithSettledNat(const NetnsRef& netns,
                                               const std::function<KernelResult<void>(uint32_t&)>& change) {
  uint32_t settled = netns.is_host() ? settled_nat_.load() : 0;
  KernelResult<void> changed = change(settled);
  // Of two at once the later one may be lost, which costs the next one a transaction more.
  if (netns.is_host()) settled_nat_ = settled;
  return changed;
}

KernelResult<void> LinuxKernel::AddNat(const NetnsRef& netns, const std::string& registry,
                                       const std::vector<netlink::NatElement>& elements) {
  NETPROV_ASSIGN_OR_RETURN(const std::unique_ptr<netlink::Session> session, ConnectToNetfilter(netns));
  return WithSettledNat(netns,
                        [&](uint32_t& settled) { return engine::AddNat(*session, registry, elements, settled); });
}

KernelResult<void> LinuxKernel::DeleteNat(const NetnsRef& netns, const std::string& registry,
                                          const std::vector<netlink::NatElement>& elements) {
  NETPROV_ASSIGN_OR_RETURN(const std::unique_ptr<netlink::Session> session, ConnectToNetfilter(netns));
  return WithSettledNat(netns,
                        [&](uint32_t& settled) { return engine::DeleteNat(*session, registry, elements, settled); });
}

KernelResult<std::vector<netlink::NatElement>> LinuxKernel::ListNat(const NetnsRef& netns,
                                                                    const std::string& registry) {
  NETPROV_ASSIGN_OR_RETURN(const std::unique_ptr<netlink::Session> session, ConnectToNetfilter(netns));
  return engine::ListNat(*session, registry);
}

KernelResult<std::vector<netlink::NatElement>> LinuxKernel::FindNat(const NetnsRef& netns, const std::string& registry,
                                                                    const std::vector<netlink::NatElement>& elements) {
  NETPROV_ASSIGN_OR_RETURN(const std::unique_ptr<netlink::Session> session, ConnectToNetfilter(netns));
  return engine::FindNat(*session, registry, elements);
}

KernelResult<std::unique_ptr<KernelWatch>> LinuxKernel::Watch() {
  auto open = [this](const NetnsRef& netns) -> KernelResult<UniqueFd> {
    NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
    return connection.TakeNetns();
  };
  return OpenLinuxWatch(directory_, std::move(open), statistics_);
}

KernelResult<std::optional<Link>> LinuxKernel::FindLink(const NetnsRef& netns, const std::string& name) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return FindLinkAt(connection.session(), name);
}

KernelResult<std::optional<Link>> LinuxKernel::FindLink(const NetnsRef& netns, uint32_t ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return FindLinkAt(connection.session(), Index(ifindex));
}

KernelResult<std::vector<Link>> LinuxKernel::ListLinks(const NetnsRef& netns) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  return DumpLinks(connection.session());
}

KernelResult<std::vector<ObservedLink>> LinuxKernel::ObserveLinks(const NetnsRef& netns,
                                                                  const std::optional<std::string>& name) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  std::vector<netlink::Payload> payloads;
  if (name.has_value()) {
    KernelResult<netlink::Payload> payload = connection.session().Get(netlink::EncodeGetLinkStatistics(*name));
    if (payload.ok()) {
      payloads.push_back(*std::move(payload));
    } else if (payload.error().code != ENODEV) {
      return std::move(payload).error();
    }
  } else {
    NETPROV_ASSIGN_OR_RETURN(payloads, connection.session().Dump(netlink::EncodeDumpLinkStatistics()));
  }
  std::vector<ObservedLink> links;
  links.reserve(payloads.size());
  for (const netlink::Payload& payload : payloads) {
    NETPROV_ASSIGN_OR_RETURN(ObservedLink link, ToObservedLink(payload));
    links.push_back(std::move(link));
  }
  return links;
}

KernelResult<std::vector<netlink::Address>> LinuxKernel::ListAddresses(const NetnsRef& netns,
                                                                       std::optional<netlink::IpFamily> family,
                                                                       std::optional<uint32_t> ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  std::vector<netlink::Address> addresses;
  // ENODEV: there is no such link.
  NETPROV_RETURN_IF_ERROR(AddDump(connection.session(), netlink::EncodeDumpAddresses(family, ToIndex(ifindex)),
                                  &netlink::DecodeAddress, ENODEV, addresses));
  return addresses;
}

KernelResult<std::vector<netlink::Route>> LinuxKernel::ListRoutes(const NetnsRef& netns,
                                                                  std::optional<netlink::IpFamily> family,
                                                                  std::optional<uint32_t> table) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  std::vector<netlink::Route> routes;
  for (const netlink::IpFamily each : {netlink::IpFamily::kIpv4, netlink::IpFamily::kIpv6}) {
    if (family.value_or(each) != each) continue;
    // ENOENT: the family has no such table.
    NETPROV_RETURN_IF_ERROR(
        AddDump(connection.session(), netlink::EncodeDumpRoutes(each, table), &netlink::DecodeRoute, ENOENT, routes));
  }
  return routes;
}

KernelResult<std::vector<netlink::Neighbour>> LinuxKernel::ListNeighbours(const NetnsRef& netns,
                                                                          std::optional<netlink::IpFamily> family,
                                                                          std::optional<uint32_t> ifindex) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  std::vector<netlink::Neighbour> neighbours;
  NETPROV_RETURN_IF_ERROR(
      AddDump(connection.session(),
              netlink::EncodeDumpNeighbours({.family = family, .ifindex = ToIndex(ifindex), .master = std::nullopt}),
              &netlink::DecodeNeighbour, ENODEV, neighbours));
  return neighbours;
}

KernelResult<std::string> LinuxKernel::FreeLinkName(const NetnsRef& netns, const std::string& pattern,
                                                    const std::vector<std::string>& taken) {
  NETPROV_ASSIGN_OR_RETURN(Connection connection, Connect(netns));
  for (int number = 0;; ++number) {
    std::string name = absl::StrReplaceAll(pattern, {{"%d", absl::StrCat(number)}});
    if (name.size() > kLongestLinkName) {
      return KernelError{.code = ENFILE, .operation = absl::StrCat("name ", pattern), .extack = {}};
    }
    if (std::find(taken.begin(), taken.end(), name) != taken.end()) continue;
    NETPROV_ASSIGN_OR_RETURN(std::optional<Link> link, FindLinkAt(connection.session(), name));
    if (!link.has_value()) return name;
  }
}

}  // namespace netprov::engine
