#include "tests/simulation/linux_world.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
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
    const UniqueFd netns = Must(directory_.Open(place.name));
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
  testing::Shell(absl::StrCat("ip ", place.is_host() ? "" : "-n " + place.name, " link set ", name, " netns ",
                              to.is_host() ? absl::StrCat(::getpid()) : to.name));
}

std::string LinuxWorld::Witness(const Sighting& sighting) {
  // By place and name: alias, group and kind.
  std::vector<std::string> seen;
  std::vector<std::string> expected;
  auto see = [&](const std::string& place) {
    const std::string text =
        testing::Shell(absl::StrCat("ip -j -d ", place.empty() ? "" : "-n " + place, " link show"));
    for (const json& link : json::parse(text)) {
      if (link.empty()) continue;
      const std::string name = link.at("ifname");
      const std::string alias = link.value("ifalias", "");
      const std::string kind = link.value("linkinfo", json::object()).value("info_kind", "");
      const std::string named = link.value("group", "default");
      const std::string group = named == "default" ? std::string("0") : named;
      if (kind == "ifb") {
        seen.push_back(absl::StrCat(place, ":ifb ", name.substr(3, 1), " ", group, " ", UidIn(alias)));
        continue;
      }
      if (name == "lo" ? place.empty() : group == "0" && kind != "veth" && kind != "bridge") continue;
      seen.push_back(absl::StrCat(place, ":", name, " ", alias, " ", group, " ", kind));
    }
  };
  see("");
  for (const auto& [name, file] : sighting.files) {
    if (!file.is_netns) continue;
    see(name);
    expected.push_back(absl::StrCat(name, ":lo ", file.alias, " 0 "));
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
