#include "tests/simulation/linux_world.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "server/engine/tag.h"
#include "server/netlink/link_info.h"
#include "server/netns/netns.h"
#include "tests/simulation/traits.h"
#include "tests/testing/private_host.h"

namespace netprov::simulation {
namespace {

using engine::Link;
using engine::NetnsRef;
using nlohmann::json;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "the simulated world is broken: %s\n", what.c_str());
  std::abort();
}

// The value of a system call or a kernel operation that must succeed.
void Must(int result, const char* what) {
  if (result < 0) Die(absl::StrCat(what, ": ", strerrordesc_np(errno)));
}
void Must(const KernelResult<void>& result) {
  if (!result.ok()) Die(result.error().ToString());
}
template <typename T>
T Must(KernelResult<T> result) {
  if (!result.ok()) Die(result.error().ToString());
  return *std::move(result);
}

// In the text of a tag.
std::string UidIn(const std::string& alias) {
  const std::optional<engine::Tag> tag = engine::ParseTag(alias);
  return tag.has_value() ? tag->uid : "";
}

std::string PathOf(const std::string& name) { return absl::StrCat(netns::NetnsDirectory::kPath, "/", name); }

// Of a namespace.
std::string FileOf(const engine::NetnsPlace& place) {
  return place.path.empty() ? absl::StrCat("/proc/", place.pid, "/ns/net") : place.path;
}

UniqueFd OpenFile(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Must(file.get(), path.c_str());
  return file;
}

// What `ip` is told, to see what is there: nothing at the host.
std::string Entering(const std::string& place) {
  if (place.empty()) return "";
  if (place[0] == '/') return absl::StrCat("nsenter --net=", place, " ");
  if (absl::StartsWith(place, "processes/")) return absl::StrCat("nsenter --net=/proc/", place.substr(10), "/ns/net ");
  return absl::StrCat("nsenter --net=", PathOf(place), " ");
}

// A process of one thread: enters a new namespace at each byte, and ends where there are no more.
[[noreturn]] void LiveInNamespaces(int socket) {
  char byte = 0;
  while (::read(socket, &byte, 1) == 1) {
    if (::unshare(CLONE_NEWNET) != 0 || ::write(socket, &byte, 1) != 1) break;
  }
  ::_exit(0);
}

void SetUp(int socket, ifreq request, bool up) {
  Must(::ioctl(socket, SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
  const int flags = static_cast<uint16_t>(request.ifr_flags);
  request.ifr_flags = static_cast<int16_t>(up ? flags | IFF_UP : flags & ~IFF_UP);
  Must(::ioctl(socket, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
}

}  // namespace

LinuxWorld::LinuxWorld() : home_(Must(netns::OpenCurrent())), kernel_(Must(engine::LinuxKernel::Open())) {}

void LinuxWorld::Inside(const NetnsRef& place, const std::function<void(int socket)>& body) {
  UniqueFd socket;
  auto open = [&] { socket = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); };
  if (place.is_host()) {
    open();
  } else {
    const UniqueFd netns = place.place.has_value() ? OpenFile(FileOf(*place.place)) : Must(directory_.Open(place.name));
    Must(netns::RunInside(netns.get(), home_.get(), open));
  }
  Must(socket.get(), "socket");
  body(socket.get());
}

void LinuxWorld::AddNetns(const std::string& name) {
  const UniqueFd made = Must(netns::MakeAnonymous(home_.get(), [] {}));
  Must(directory_.Publish(name, made.get()));
}

void LinuxWorld::RemoveNetns(const std::string& name) {
  auto entry = Must(kernel_->FindNetns(name));
  if (!entry.has_value()) return;
  // The kernel would take a while to destroy them with the namespace, and with them the host's ends.
  if (!entry->is_netns) return Must(directory_.RemoveFile(name));
  const NetnsRef netns{.name = name, .cookie = entry->cookie};
  Must(kernel_->DeleteLinksInside(netns));
  Must(kernel_->RemoveNetns(netns));
}

void LinuxWorld::AddFile(const std::string& name, bool empty) {
  std::ofstream file(PathOf(name));
  if (!empty) file << "something";
  if (!file.flush()) Die(PathOf(name));
}

void LinuxWorld::RemoveFile(const std::string& name) { Must(::unlink(PathOf(name).c_str()), "unlink"); }

void LinuxWorld::AddLink(const NetnsRef& place, const std::string& name) {
  Inside(place, [&](int socket) { Must(::ioctl(socket, SIOCBRADDBR, name.c_str()), "SIOCBRADDBR"); });
}

void LinuxWorld::RenameLink(const NetnsRef& place, const std::string& name, const std::string& new_name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  std::strncpy(request.ifr_newname, new_name.c_str(), IFNAMSIZ - 1);
  Inside(place, [&](int socket) {
    if (::ioctl(socket, SIOCSIFNAME, &request) == 0) return;
    if (errno != EBUSY) Must(-1, "SIOCSIFNAME");
    // Before Linux 6.2 a link must be down for it.
    ifreq named = request;
    SetUp(socket, named, false);
    Must(::ioctl(socket, SIOCSIFNAME, &request), "SIOCSIFNAME");
    std::strncpy(named.ifr_name, new_name.c_str(), IFNAMSIZ - 1);
    SetUp(socket, named, true);
  });
}

void LinuxWorld::MoveLink(const NetnsRef& place, const std::string& name, const NetnsRef& to) {
  // `ip` takes a namespace without a name by one of its processes.
  const std::string from = place.place.has_value() ? PlaceName(*place.place) : place.name;
  testing::Shell(
      absl::StrCat(Entering(from), "ip link set ", name, " netns ", to.is_host() ? absl::StrCat(::getpid()) : to.name));
}

void LinuxWorld::Leave(const engine::NetnsPlace& place) {
  const uint64_t cookie = Must(kernel_->FindPlace(place)).cookie;
  int ways = 0;
  auto count = [&](const engine::NetnsPlace& way) {
    const auto entry = kernel_->FindPlace(way);
    ways += entry.ok() && entry->cookie == cookie ? 1 : 0;
  };
  for (const std::string& path : paths_) count({.path = path, .pid = 0});
  for (const auto& [pid, socket] : processes_) count({.path = "", .pid = pid});
  if (ways == 1) Must(kernel_->DeleteLinksInside({.name = "", .cookie = cookie, .place = place}));
}

void LinuxWorld::Bind(const std::string& path, uint32_t pid) {
  const UniqueFd netns =
      pid == 0 ? Must(netns::MakeAnonymous(home_.get(), [] {})) : OpenFile(FileOf({.path = "", .pid = pid}));
  if (paths_.contains(path)) Unbind(path);
  const std::string directory = path.substr(0, path.rfind('/'));
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) Must(-1, "mkdir");
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  Must(file.get(), "open");
  const std::string source = absl::StrCat("/proc/self/fd/", netns.get());
  Must(::mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr), "mount");
  paths_.insert(path);
}

void LinuxWorld::Unbind(const std::string& path) {
  Leave({.path = path, .pid = 0});
  Must(::umount2(path.c_str(), MNT_DETACH), "umount");
  Must(::unlink(path.c_str()), "unlink");
  paths_.erase(path);
}

uint32_t LinuxWorld::StartProcess() {
  std::array<int, 2> ends{};
  Must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
  const pid_t pid = ::fork();
  Must(pid, "fork");
  if (pid == 0) {
    // What it kept open would live on with it, such as namespaces and the sockets of other processes.
    ::dup2(ends[1], 0);
    ::close_range(1, ~0U, 0);
    LiveInNamespaces(0);
  }
  ::close(ends[1]);
  const auto number = static_cast<uint32_t>(pid);
  processes_.emplace(number, UniqueFd(ends[0]));
  Enter(number);
  return number;
}

void LinuxWorld::Enter(uint32_t pid) {
  const int socket = processes_.at(pid).get();
  char byte = 0;
  Must(::write(socket, &byte, 1) == 1 && ::read(socket, &byte, 1) == 1 ? 0 : -1, "enter a new namespace");
}

void LinuxWorld::EndProcess(uint32_t pid) {
  Leave({.path = "", .pid = pid});
  processes_.erase(pid);
  Must(::waitpid(static_cast<pid_t>(pid), nullptr, 0), "waitpid");
}

void LinuxWorld::Unshare(uint32_t pid) {
  Leave({.path = "", .pid = pid});
  Enter(pid);
}

std::string LinuxWorld::Witness(const Sighting& sighting) {
  // By place and name: alias, group and kind.
  std::vector<std::string> seen;
  std::vector<std::string> expected;
  auto see = [&](const std::string& place) {
    const std::string text = testing::Shell(absl::StrCat(Entering(place), "ip -j -d link show"));
    for (const json& link : json::parse(text)) {
      if (link.empty()) continue;
      const std::string name = link.at("ifname");
      const std::string alias = link.value("ifalias", "");
      const std::string kind = link.value("linkinfo", json::object()).value("info_kind", "");
      const std::string named = link.value("group", "default");
      const std::string group = named == "default" ? std::string("0") : named;
      if (IsShaper(kind, name)) {
        seen.push_back(absl::StrCat(place, ":ifb ", name.substr(3, 1), " ", group, " ", UidIn(alias)));
        continue;
      }
      const bool has_no_name = place.empty() || sighting.ways.contains(place);
      if (name == "lo" ? has_no_name : group == "0" && kind != "veth" && kind != "bridge") continue;
      seen.push_back(absl::StrCat(place, ":", name, " ", alias, " ", group, " ", kind));
    }
  };
  see("");
  for (const auto& [name, file] : sighting.files) {
    if (!file.is_netns) continue;
    see(name);
    expected.push_back(absl::StrCat(name, ":lo ", file.alias, " 0 "));
  }
  for (const auto& [way, place] : sighting.ways) {
    if (way == place) see(place);
  }
  for (const auto& [where, link] : sighting.links) {
    expected.push_back(absl::StrCat(where.first, ":", where.second, " ", link.alias, " ", link.group, " ", link.kind));
  }
  for (const auto& [name, place] : sighting.places) {
    for (const auto& [uid, shapers] : place.shapers) {
      for (const std::string& shaper : shapers) {
        expected.push_back(absl::StrCat(name, ":", shaper, " ", engine::kOwnedGroup, " ", uid));
      }
    }
  }
  std::sort(seen.begin(), seen.end());
  std::sort(expected.begin(), expected.end());
  if (seen == expected) return "";
  return absl::StrCat("ip sees\n  ", absl::StrJoin(seen, "\n  "), "\nand not\n  ", absl::StrJoin(expected, "\n  "));
}

bool LinuxWorld::ForwardsAtBirth() {
  if (!forwards_at_birth_.has_value()) {
    constexpr char kNew[] = "new";
    AddNetns(kNew);
    const NetnsRef netns{.name = kNew, .cookie = Must(kernel_->FindNetns(kNew))->cookie};
    forwards_at_birth_ = Must(kernel_->FindSysctls(netns, {{kForwardingSysctl, ""}})).at(kForwardingSysctl) == "1";
    RemoveNetns(kNew);
  }
  return *forwards_at_birth_;
}

Traits LinuxWorld::MissingKinds() {
  if (!missing_kinds_.has_value()) {
    missing_kinds_.emplace();
    const Link bridge = Must(kernel_->CreateDevice({.netns = {}, .name = "br"}, netlink::BridgeInfo(), ""));
    const std::vector<engine::DeviceOptions> all = {netlink::DummyInfo(), netlink::IfbInfo(), netlink::MacvlanInfo(),
                                                    netlink::IpvlanInfo(), netlink::VlanInfo{.id = 1}};
    for (const engine::DeviceOptions& options : all) {
      engine::LinkSpec link{.netns = {}, .name = "new"};
      if (engine::HasLower(options)) link.lower = {.netns = {}, .ifindex = bridge.ifindex};
      auto made = kernel_->CreateDevice(link, options, "");
      if (!made.ok() && made.error().code == EOPNOTSUPP) {
        missing_kinds_->insert(engine::KindOf(options));
      } else {
        Must(kernel_->DeleteLink({}, Must(std::move(made)).ifindex));
      }
    }
    Clear();
  }
  return *missing_kinds_;
}

bool LinuxWorld::HasVlans() {
  if (!has_vlans_.has_value()) {
    const Link bridge = Must(kernel_->CreateDevice({.netns = {}, .name = "br"}, netlink::BridgeInfo(), ""));
    const auto ends =
        Must(kernel_->CreateVeth({.netns = {}, .name = "port", .master = bridge.ifindex}, {.name = "end"}, ""));
    has_vlans_ = !Must(kernel_->ListPortVlans({}))[ends.first.ifindex].empty();
    Clear();
  }
  return *has_vlans_;
}

void LinuxWorld::Clear() {
  while (!paths_.empty()) Unbind(std::string(*paths_.begin()));
  while (!processes_.empty()) EndProcess(processes_.begin()->first);
  for (const std::string& name : Must(kernel_->ListNetns())) {
    auto entry = Must(kernel_->FindNetns(name));
    if (entry.has_value() && !entry->is_netns) {
      RemoveFile(name);
    } else {
      RemoveNetns(name);
    }
  }
  for (const Link& link : Must(kernel_->ListLinks({}))) {
    const bool is_made_here = link.group == engine::kOwnedGroup || link.kind == "veth" || link.kind == "bridge";
    if (is_made_here) (void)kernel_->DeleteLink({}, link.ifindex);
  }
  const std::vector<engine::RouteSpec> routes = Must(kernel_->ListRoutesWithoutLink({}));
  if (!routes.empty()) Must(kernel_->DeleteRoutes({}, routes));
  for (const std::string& name : Must(kernel_->ListEtc())) {
    for (const auto& [file, text] : Must(kernel_->FindEtcFiles(name)).files) {
      Must(kernel_->SetEtcFiles(name, text.substr(0, text.find('\n')), {}, /*owns_directory=*/true));
    }
  }
  const bool forwards = ForwardsAtBirth();
  Must(kernel_->SetSysctls({}, {{kForwardingSysctl, forwards ? "1" : "0"}}));
}

}  // namespace netprov::simulation
