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
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"

namespace netprov::testing {
namespace {

std::string Failure(const std::string& what) { return absl::StrCat(what, ": ", strerrordesc_np(errno)); }

bool WriteFile(const char* path, const std::string& text) {
  UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
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
  if (::mount("run", "/run", "tmpfs", 0, "mode=0755") != 0) return Failure("mount(/run)");
  // Where the state directory is by default.
  if (::mount("state", "/var/lib", "tmpfs", 0, "mode=0755") != 0) return Failure("mount(/var/lib)");
  return "";
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
