#include "tests/testing/private_host.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"

namespace netprov::testing {
namespace {

std::string Failure(const std::string& what) { return absl::StrCat(what, ": ", strerrordesc_np(errno)); }

bool WriteFile(const char* path, const std::string& text) {
  UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// What the host has mounted there would show in /proc/self/mountinfo still, behind what is mounted over it.
std::string DetachMountsBelow(const std::string& prefix) {
  std::vector<std::string> points;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    if (absl::StartsWith(fields.at(4), prefix)) points.push_back(fields[4]);
  }
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    if (::umount2(point->c_str(), MNT_DETACH) == 0) continue;
    // They went with one below them; or this is not root, whose user namespace can detach nothing that it was given.
    if (errno != EINVAL && errno != ENOENT) return Failure(absl::StrCat("umount2(", *point, ")"));
  }
  return "";
}

// An /etc in which something can be made without a trace at the host's, which is not empty for that: a tmpfs with a
// link to each entry of the host's, but for /etc/netns.
std::string MakePrivateEtc() {
  namespace fs = std::filesystem;
  constexpr char kHosts[] = "/run/etc-of-the-host";
  std::error_code error;
  fs::create_directory(kHosts, error);
  if (::mount("/etc", kHosts, nullptr, MS_BIND | MS_REC, nullptr) != 0) return Failure("mount(/etc, MS_BIND)");
  if (::mount("etc", "/etc", "tmpfs", 0, "mode=0755") != 0) return Failure("mount(/etc)");
  for (const fs::directory_entry& entry : fs::directory_iterator(kHosts, error)) {
    const fs::path name = entry.path().filename();
    if (name == "netns") continue;
    // One that is relative leads out of /etc.
    const fs::path target = entry.is_symlink(error) ? fs::read_symlink(entry.path(), error) : entry.path();
    fs::create_symlink(target, "/etc" / name, error);
    if (error) return absl::StrCat("symlink(/etc/", name.string(), "): ", error.message());
  }
  return "";
}

}  // namespace

std::string EnterPrivateHost() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (uid != 0) {
    if (::unshare(CLONE_NEWUSER) != 0) return Failure("unshare(CLONE_NEWUSER)");
    if (!WriteFile("/proc/self/setgroups", "deny")) return Failure("/proc/self/setgroups");
    if (!WriteFile("/proc/self/uid_map", absl::StrCat("0 ", uid, " 1"))) return Failure("/proc/self/uid_map");
    if (!WriteFile("/proc/self/gid_map", absl::StrCat("0 ", gid, " 1"))) return Failure("/proc/self/gid_map");
  }
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return Failure("unshare(CLONE_NEWNET | CLONE_NEWNS)");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Failure("mount(/, MS_PRIVATE)");
  if (std::string failure = DetachMountsBelow("/run/"); !failure.empty()) return failure;
  if (::mount("run", "/run", "tmpfs", 0, "mode=0755") != 0) return Failure("mount(/run)");
  // Where the state directory is by default.
  if (::mount("state", "/var/lib", "tmpfs", 0, "mode=0755") != 0) return Failure("mount(/var/lib)");
  return MakePrivateEtc();
}

bool SkipKernelTests() {
  const char* skip = std::getenv("NETPROV_TEST_SKIP_KERNEL");
  return skip != nullptr && std::strcmp(skip, "1") == 0;
}

std::string Shell(const std::string& command) {
  std::FILE* pipe = ::popen(absl::StrCat("exec 2>&1; ", command).c_str(), "re");
  if (pipe == nullptr) {
    ADD_FAILURE() << "popen: " << strerrordesc_np(errno);
    return "";
  }
  std::string output;
  std::array<char, 4096> buffer;
  size_t size = 0;
  while ((size = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0) output.append(buffer.data(), size);
  const int status = ::pclose(pipe);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << command << "\n" << output;
  return output;
}

}  // namespace netprov::testing
