// The namespaces of FakeKernel: their names and other ways in, what lives in them, sysctls, and files at /etc/netns.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/engine/fake_kernel.h"

namespace netprov::engine {
namespace {

constexpr absl::string_view kNetnsDirectory = "/run/netns/";

bool IsFileName(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && !absl::StrContains(name, '/') &&
         !absl::StrContains(name, '\0');
}

// What the kernel makes of numbers, and prints; nullopt: it is none.
std::optional<std::string> AsNumbers(const std::string& value) {
  std::vector<std::string> numbers;
  for (absl::string_view word : absl::StrSplit(value, ' ')) {
    int32_t number = 0;
    if (!absl::SimpleAtoi(word, &number)) return std::nullopt;
    numbers.push_back(absl::StrCat(number));
  }
  return absl::StrJoin(numbers, " ");
}

}  // namespace

const Sysctls& FakeKernel::DefaultSysctls() {
  static const auto* const sysctls = new Sysctls{{"net.core.somaxconn", "4096"},
                                                 {"net.ipv4.conf.all.accept_redirects", "1"},
                                                 {"net.ipv4.conf.all.rp_filter", "0"},
                                                 {kForwardsByDefault[0], "0"},
                                                 {"net.ipv4.ip_forward", "0"},
                                                 {"net.ipv4.ip_local_port_range", "32768 60999"},
                                                 {"net.ipv6.conf.all.disable_ipv6", "0"},
                                                 {"net.ipv6.conf.all.forwarding", "0"},
                                                 {kForwardsByDefault[1], "0"}};
  return *sysctls;
}

uint64_t FakeKernel::AddNetns(const std::string& alias) {
  const uint64_t cookie = next_cookie_++;
  FakeNetns& netns = namespaces_[cookie];
  const uint32_t ifindex = netns.next_ifindex++;
  netns.links[ifindex].link = {.ifindex = ifindex, .name = "lo", .mtu = 65536, .up = true, .alias = alias};
  netns.sysctls = DefaultSysctls();
  return cookie;
}

void FakeKernel::DestroyNetns(uint64_t cookie) {
  std::vector<uint32_t> indexes;
  for (const auto& [ifindex, link] : namespaces_[cookie].links) indexes.push_back(ifindex);
  for (uint32_t ifindex : indexes) DeleteLinkAndPeer(cookie, ifindex);
  for (const auto& [where, index] : StandingOn(cookie, 0)) DeleteLinkAndPeer(where, index);
  namespaces_.erase(cookie);
}

KernelResult<FakeKernel::FakeNetns*> FakeKernel::Enter(const NetnsRef& netns) {
  if (netns.is_host()) return &namespaces_[host_cookie_];
  if (netns.place.has_value()) {
    const KernelResult<uint64_t> cookie = LookAt(*netns.place);
    if (cookie.ok() && *cookie == netns.cookie) return &namespaces_[*cookie];
    if (!cookie.ok() && cookie.error().code == ENOENT) return cookie.error();
    return Fail(ESTALE, absl::StrCat("open(", PlaceName(*netns.place), ")"));
  }
  auto file = files_.find(netns.name);
  if (file == files_.end()) return Fail(ENOENT, absl::StrCat("open(/run/netns/", netns.name, ")"));
  // A file that is no namespace has no cookie, which a reference to a namespace that nobody knows has neither.
  if (file->second.cookie == 0 || file->second.cookie != netns.cookie) {
    return Fail(ESTALE, absl::StrCat("open(/run/netns/", netns.name, ")"));
  }
  return &namespaces_[netns.cookie];
}

KernelResult<uint64_t> FakeKernel::LookAt(const NetnsPlace& place) const {
  const std::string operation = absl::StrCat("open(", PlaceName(place), ")");
  if (!place.path.empty()) {
    const auto mount = mounts_.find(place.path);
    if (mount != mounts_.end()) return mount->second;
    if (const auto odd = odd_paths_.find(place.path); odd != odd_paths_.end()) {
      return Fail(odd->second, operation, odd->second == ELOOP ? "a link is not followed" : "");
    }
    const auto file = absl::StartsWith(place.path, kNetnsDirectory)
                          ? files_.find(place.path.substr(kNetnsDirectory.size()))
                          : files_.end();
    if (file == files_.end()) return Fail(ENOENT, operation);
    if (file->second.cookie == 0) return Fail(EMEDIUMTYPE, operation);
    return file->second.cookie;
  }
  for (const auto& [cookie, netns] : namespaces_) {
    for (const Process& process : netns.processes) {
      if (static_cast<uint32_t>(process.pid) == place.pid) return cookie;
    }
  }
  return Fail(ESRCH, operation);
}

void FakeKernel::DestroyIfUnused(uint64_t cookie) {
  auto has_name = [cookie](const auto& item) { return item.second.cookie == cookie; };
  auto is_mounted = [cookie](const auto& item) { return item.second == cookie; };
  const bool is_used = cookie == host_cookie_ || !namespaces_[cookie].processes.empty() ||
                       std::any_of(files_.begin(), files_.end(), has_name) ||
                       std::any_of(mounts_.begin(), mounts_.end(), is_mounted);
  if (!is_used) DestroyNetns(cookie);
}

std::optional<Process> FakeKernel::TakeProcess(uint32_t pid) {
  const KernelResult<uint64_t> cookie = LookAt({.path = "", .pid = pid});
  if (!cookie.ok()) return std::nullopt;
  std::vector<Process>& processes = namespaces_[*cookie].processes;
  const auto found = std::find_if(processes.begin(), processes.end(),
                                  [pid](const Process& process) { return static_cast<uint32_t>(process.pid) == pid; });
  Process process = *found;
  processes.erase(found);
  DestroyIfUnused(*cookie);
  return process;
}

std::string* FakeKernel::FindSysctl(const std::string& name, FakeNetns& netns) {
  if (auto setting = netns.sysctls.find(name); setting != netns.sysctls.end()) return &setting->second;
  for (auto& [ifindex, link] : netns.links) {
    const std::string of_link =
        absl::StrCat(".conf.", absl::StrReplaceAll(link.link.name, {{".", "/"}}), ".forwarding");
    if (name == absl::StrCat("net.ipv4", of_link)) return &link.forwards_ipv4;
    if (name == absl::StrCat("net.ipv6", of_link)) return &link.forwards_ipv6;
  }
  return nullptr;
}

void FakeKernel::WriteSysctl(const std::string& name, const std::string& value, FakeNetns& netns) {
  std::string* const setting = FindSysctl(name, netns);
  if (setting == nullptr || *setting == value) return;
  *setting = value;
  const bool is_ipv4 = name == "net.ipv4.ip_forward";
  if (!is_ipv4 && name != "net.ipv6.conf.all.forwarding") return;
  netns.sysctls[kForwardsByDefault[is_ipv4 ? 0 : 1]] = value;
  for (auto& [ifindex, link] : netns.links) (is_ipv4 ? link.forwards_ipv4 : link.forwards_ipv6) = value;
  if (is_ipv4) netns.sysctls["net.ipv4.conf.all.accept_redirects"] = absl::StrCat(value == "0" ? 1 : 0);
}

KernelResult<void> FakeKernel::Write(const Sysctls& sysctls, FakeNetns& netns) {
  for (const auto& [name, value] : sysctls) {
    const std::string operation = absl::StrCat("sysctl ", name);
    if (FindSysctl(name, netns) == nullptr) return Fail(EOPNOTSUPP, operation, "the kernel does not have it");
    const std::optional<std::string> kept = AsNumbers(value);
    if (!kept.has_value()) return Fail(EINVAL, operation);
    WriteSysctl(name, *kept, netns);
    if (*kept != value) return Fail(EINVAL, operation, absl::StrCat("it reads '", *kept, "'"));
  }
  // Some change others.
  for (const auto& [name, value] : sysctls) WriteSysctl(name, value, netns);
  return {};
}

// ---- For tests

void FakeKernel::AddForeignNetnsForTest(const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  files_[name].cookie = AddNetns("");
  TellName(name);
}

void FakeKernel::RemoveForeignNetnsForTest(const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (files_[name].cookie != 0) DestroyNetns(files_[name].cookie);
  files_.erase(name);
  TellName(name);
}

void FakeKernel::AddStaleFileForTest(const std::string& name, bool empty) {
  std::lock_guard<std::mutex> lock(mutex_);
  files_[name] = {.cookie = 0, .empty = empty};
  TellName(name);
}

void FakeKernel::SetSysctlForTest(const NetnsRef& netns, const std::string& name, const std::string& value) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (inside.ok()) WriteSysctl(name, value, **inside);
}

void FakeKernel::SetEtcFileForTest(const std::string& name, const std::string& file,
                                   const std::optional<std::string>& text) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (text.has_value()) {
    etc_[name][file] = *text;
  } else {
    etc_[name].erase(file);
  }
}

uint32_t FakeKernel::StartProcessForTest(const NetnsRef& netns, const std::string& command) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return 0;
  (*inside)->processes.push_back({.pid = next_pid_, .command = command});
  return static_cast<uint32_t>(next_pid_++);
}

uint32_t FakeKernel::StartProcessInNewNetnsForTest(const std::string& command) {
  std::lock_guard<std::mutex> lock(mutex_);
  namespaces_[AddNetns("")].processes.push_back({.pid = next_pid_, .command = command});
  return static_cast<uint32_t>(next_pid_++);
}

void FakeKernel::EndProcessForTest(uint32_t pid) {
  std::lock_guard<std::mutex> lock(mutex_);
  TakeProcess(pid);
}

void FakeKernel::UnshareForTest(uint32_t pid) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::optional<Process> process = TakeProcess(pid);
  if (process.has_value()) namespaces_[AddNetns("")].processes.push_back(*std::move(process));
}

void FakeKernel::MountForTest(uint32_t pid, const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  const KernelResult<uint64_t> cookie = LookAt({.path = "", .pid = pid});
  if (!cookie.ok()) return;
  if (absl::StartsWith(path, kNetnsDirectory)) {
    files_[path.substr(kNetnsDirectory.size())] = {.cookie = *cookie, .empty = true};
  } else {
    mounts_[path] = *cookie;
  }
}

void FakeKernel::UnmountForTest(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto mount = mounts_.find(path);
  if (mount == mounts_.end()) return;
  const uint64_t cookie = mount->second;
  mounts_.erase(mount);
  DestroyIfUnused(cookie);
}

void FakeKernel::AddOddPathForTest(const std::string& path, int code) {
  std::lock_guard<std::mutex> lock(mutex_);
  odd_paths_[path] = code;
}

// ---- Kernel

KernelResult<uint64_t> FakeKernel::CreateNetns(const std::string& name, const std::string& alias,
                                               const Sysctls& sysctls) {
  if (auto error = Ask("CreateNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "CreateNetns");
  FakeNetns trial{.sysctls = DefaultSysctls()};
  NETPROV_RETURN_IF_ERROR(Write(sysctls, trial));
  if (alias.size() > kLongestAlias) return Fail(ERANGE, "RTM_SETLINK lo");
  if (files_.contains(name)) return Fail(EEXIST, absl::StrCat("open(/run/netns/", name, ")"));
  const uint64_t cookie = AddNetns(alias);
  namespaces_[cookie].sysctls = std::move(trial.sysctls);
  files_[name].cookie = cookie;
  TellName(name);
  return cookie;
}

KernelResult<void> FakeKernel::RemoveNetns(const NetnsRef& netns) {
  if (auto error = Ask("RemoveNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) {
    if (inside.error().code == ENOENT) return {};
    return std::move(inside).error();
  }
  files_.erase(netns.name);
  DestroyNetns(netns.cookie);
  TellName(netns.name);
  return {};
}

KernelResult<void> FakeKernel::RemoveStaleNetnsFile(const std::string& name) {
  if (auto error = Ask("RemoveStaleNetnsFile"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  auto file = files_.find(name);
  if (file == files_.end()) return {};
  if (file->second.cookie != 0 || !file->second.empty) return Fail(EMEDIUMTYPE, "RemoveStaleNetnsFile");
  files_.erase(file);
  return {};
}

KernelResult<std::optional<NetnsEntry>> FakeKernel::FindNetns(const std::string& name) {
  if (auto error = Ask("FindNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "FindNetns");
  auto file = files_.find(name);
  if (file == files_.end()) return std::optional<NetnsEntry>();
  NetnsEntry entry{.name = name, .is_netns = file->second.cookie != 0, .cookie = file->second.cookie};
  if (entry.is_netns) {
    const Link& loopback = namespaces_[entry.cookie].links[kLoopbackIndex].link;
    entry.loopback_up = loopback.up;
    entry.loopback_alias = loopback.alias;
  }
  return std::optional(std::move(entry));
}

KernelResult<PlaceEntry> FakeKernel::FindPlace(const NetnsPlace& place) {
  if (auto error = Ask("FindPlace"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(const uint64_t cookie, LookAt(place));
  return PlaceEntry{.cookie = cookie, .is_host = cookie == host_cookie_};
}

KernelResult<std::optional<NetnsPlace>> FakeKernel::FindWayIn(uint64_t cookie) {
  if (auto error = Ask("FindWayIn"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  const auto netns = namespaces_.find(cookie);
  if (netns == namespaces_.end() || netns->second.processes.empty()) return std::optional<NetnsPlace>();
  return std::optional(NetnsPlace{.path = "", .pid = static_cast<uint32_t>(netns->second.processes.front().pid)});
}

KernelResult<std::vector<std::string>> FakeKernel::ListNetns() {
  if (auto error = Ask("ListNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, file] : files_) names.push_back(name);
  return names;
}

KernelResult<Inhabitants> FakeKernel::FindInhabitants(const NetnsRef& netns, size_t most) {
  if (auto error = Ask("FindInhabitants"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  Inhabitants inhabitants{.count = inside->processes.size(), .first = inside->processes};
  if (inhabitants.first.size() > most) inhabitants.first.resize(most);
  return inhabitants;
}

KernelResult<Sysctls> FakeKernel::FindSysctls(const NetnsRef& netns, const Sysctls& wanted) {
  if (auto error = Ask("FindSysctls"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  Sysctls found;
  for (const auto& [name, value] : wanted) {
    if (const std::string* now = FindSysctl(name, *inside); now != nullptr) found.emplace(name, *now);
  }
  return found;
}

KernelResult<void> FakeKernel::SetSysctls(const NetnsRef& netns, const Sysctls& sysctls) {
  if (auto error = Ask("SetSysctls"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  return Write(sysctls, *inside);
}

KernelResult<void> FakeKernel::SetEtcFiles(const std::string& name, const std::string& mark, const EtcFiles& files,
                                           bool owns_directory) {
  if (auto error = Ask("SetEtcFiles"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "SetEtcFiles");
  EtcFiles now;
  if (const auto there = etc_.find(name); there != etc_.end()) {
    now = there->second;
  } else if (files.empty()) {
    return {};
  }
  std::erase_if(now, [&mark](const auto& file) { return absl::StartsWith(file.second, mark + "\n"); });
  for (const auto& [file, text] : files) {
    if (!now.emplace(file, text).second) return Fail(EMEDIUMTYPE, absl::StrCat("write(/etc/netns/", name, ")"));
  }
  etc_[name] = std::move(now);
  if (files.empty() && owns_directory && etc_[name].empty()) etc_.erase(name);
  return {};
}

KernelResult<EtcEntry> FakeKernel::FindEtcFiles(const std::string& name) {
  if (auto error = Ask("FindEtcFiles"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "FindEtcFiles");
  const auto there = etc_.find(name);
  if (there == etc_.end()) return EtcEntry();
  return EtcEntry{.exists = true, .files = there->second};
}

KernelResult<std::vector<std::string>> FakeKernel::ListEtc() {
  if (auto error = Ask("ListEtc"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, files] : etc_) names.push_back(name);
  return names;
}

}  // namespace netprov::engine
