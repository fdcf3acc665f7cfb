#include "server/confinement.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

// GCC says it by the first, clang by the second.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NETPROV_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NETPROV_SANITIZED 1
#endif
#endif

// Linux 6.11; the headers of Debian 12 are older.
#ifndef PIDFD_GET_NET_NAMESPACE
#define PIDFD_GET_NET_NAMESPACE _IO(0xFF, 4)
#endif

namespace netprov {
namespace {

#ifdef NETPROV_SANITIZED
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

// Each with what does not work without it.
constexpr cap_value_t kCapabilities[] = {
    CAP_NET_ADMIN,      // rtnetlink and nf_tables in any namespace; /proc/sys/net
    CAP_SYS_ADMIN,      // unshare(2), setns(2) and the mounts at /run/netns
    CAP_SYS_PTRACE,     // /proc/PID/ns/net and pidfds of processes with other users or more capabilities
    CAP_NET_BROADCAST,  // the kernel's news from inside of namespaces (NETLINK_LISTEN_ALL_NSID)
};

// A condition on an argument of a system call: after `mask`, it is `value`.
struct Condition {
  unsigned argument;
  uint64_t mask;
  uint64_t value;
};

constexpr uint64_t kWhole = UINT64_MAX;
// Of an argument of which the kernel takes 32 bits, whatever is in the others.
constexpr uint64_t kInt = UINT32_MAX;

// A system call that is allowed. Where there are conditions, all of them hold; a call that is listed twice is allowed
// either way.
struct Allowed {
  const char* name;
  std::vector<Condition> conditions = {};
};

constexpr uint64_t kNewNamespaces =
    CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWUTS;
constexpr uint64_t kSetIds = S_ISUID | S_ISGID;
constexpr uint64_t kSocketType = 0xf;  // the rest is SOCK_CLOEXEC and SOCK_NONBLOCK

// Sorted in each group. Names that an architecture has not, as open(2) on arm64, are left out there.
std::vector<Allowed> AllAllowed() {
  const auto self = static_cast<uint64_t>(::getpid());
  return {
      // Memory: malloc(3), stacks of threads, SQLite's index of the write-ahead log, libraries that getgrnam(3) loads.
      // None is both written and executed, nor made so later.
      {"brk"},
      {"madvise"},
      {"membarrier"},
      {"mmap", {{.argument = 2, .mask = PROT_EXEC, .value = 0}}},
      {"mmap", {{.argument = 2, .mask = PROT_WRITE, .value = 0}}},
      {"mprotect", {{.argument = 2, .mask = PROT_EXEC, .value = 0}}},
      {"mremap"},
      {"munmap"},

      // Threads, and no processes.
      {"clone", {{.argument = 0, .mask = CLONE_THREAD | kNewNamespaces, .value = CLONE_THREAD}}},
      {"exit"},
      {"exit_group"},
      {"futex"},
      {"get_robust_list"},
      {"prctl", {{.argument = 0, .mask = kInt, .value = PR_GET_NAME}}},
      {"prctl", {{.argument = 0, .mask = kInt, .value = PR_SET_NAME}}},
      {"rseq"},
      {"sched_getaffinity"},
      {"sched_getparam"},
      {"sched_getscheduler"},
      {"sched_yield"},
      {"set_robust_list"},
      {"set_tid_address"},

      // Signals: waiting for those that end it or make it read again, and abort(3), which signals this process alone.
      {"restart_syscall"},
      {"rt_sigaction"},
      {"rt_sigprocmask"},
      {"rt_sigreturn"},
      {"rt_sigtimedwait"},
      {"sigaltstack"},
      {"tgkill", {{.argument = 0, .mask = kInt, .value = self}}},

      // Time, also where the vDSO has none of it.
      {"clock_getres"},
      {"clock_gettime"},
      {"clock_nanosleep"},
      {"getcpu"},
      {"gettimeofday"},
      {"nanosleep"},
      {"time"},
      {"timerfd_create"},
      {"timerfd_settime"},

      // What it is, where it is, and what the machine has.
      {"getcwd"},
      {"getegid"},
      {"geteuid"},
      {"getgid"},
      {"getgroups"},
      {"getpid"},
      {"getppid"},
      {"getrandom"},
      {"getresgid"},
      {"getresuid"},
      {"getrlimit"},
      {"gettid"},
      {"getuid"},
      {"prlimit64", {{.argument = 2, .mask = kWhole, .value = 0}}},  // looks
      {"sysinfo"},
      {"umask"},
      {"uname"},

      // Files: the registry, /etc/netns, /proc, the policy, certificates, the log, users and groups. SQLite gives its
      // files the owner of the database, and the socket its group; nothing becomes setuid.
      {"access"},
      {"chmod", {{.argument = 1, .mask = kSetIds, .value = 0}}},
      {"chown"},
      {"close"},
      {"dup"},
      {"faccessat"},
      {"faccessat2"},
      {"fallocate"},
      {"fchmod", {{.argument = 1, .mask = kSetIds, .value = 0}}},
      {"fchmodat", {{.argument = 2, .mask = kSetIds, .value = 0}}},
      {"fchown"},
      {"fchownat"},
      {"fcntl"},
      {"fdatasync"},
      {"flock"},
      {"fstat"},
      {"fstatfs"},
      {"fsync"},
      {"ftruncate"},
      {"getdents64"},
      {"inotify_add_watch"},
      {"inotify_init1"},
      {"inotify_rm_watch"},
      {"lchown"},
      {"lseek"},
      {"lstat"},
      {"mkdir"},
      {"mkdirat"},
      {"newfstatat"},
      {"open"},
      {"openat"},
      {"openat2"},
      {"pread64"},
      {"preadv"},
      {"pwrite64"},
      {"pwritev"},
      {"read"},
      {"readlink"},
      {"readlinkat"},
      {"readv"},
      {"rename"},
      {"renameat"},
      {"renameat2"},
      {"rmdir"},
      {"stat"},
      {"statfs"},
      {"statx"},
      {"unlink"},
      {"unlinkat"},
      {"utimensat"},
      {"write"},
      {"writev"},

      // Whether an end is a terminal, how much there is to read, of which kind a namespace is, and a process's own.
      {"ioctl", {{.argument = 1, .mask = kInt, .value = FIONREAD}}},
      {"ioctl", {{.argument = 1, .mask = kInt, .value = NS_GET_NSTYPE}}},
      {"ioctl", {{.argument = 1, .mask = kInt, .value = PIDFD_GET_NET_NAMESPACE}}},
      {"ioctl", {{.argument = 1, .mask = kInt, .value = TCGETS}}},

      // Waiting, and waking who waits.
      {"epoll_create1"},
      {"epoll_ctl"},
      {"epoll_pwait"},
      {"epoll_wait"},
      {"eventfd2"},
      {"pipe2"},
      {"poll"},
      {"ppoll"},

      // Sockets: of callers, of rtnetlink and nf_tables, and those by which glibc looks up names and systemd is told.
      {"accept4"},
      {"bind"},
      {"connect"},
      {"getpeername"},
      {"getsockname"},
      {"getsockopt"},
      {"listen"},
      {"recvfrom"},
      {"recvmmsg"},
      {"recvmsg"},
      {"sendmmsg"},
      {"sendmsg"},
      {"sendto"},
      {"setsockopt"},
      {"shutdown"},
      {"socket", {{.argument = 0, .mask = kInt, .value = AF_UNIX}}},
      {"socket",
       {{.argument = 0, .mask = kInt, .value = AF_INET}, {.argument = 1, .mask = kSocketType, .value = SOCK_DGRAM}}},
      {"socket",
       {{.argument = 0, .mask = kInt, .value = AF_INET}, {.argument = 1, .mask = kSocketType, .value = SOCK_STREAM}}},
      {"socket",
       {{.argument = 0, .mask = kInt, .value = AF_INET6}, {.argument = 1, .mask = kSocketType, .value = SOCK_DGRAM}}},
      {"socket",
       {{.argument = 0, .mask = kInt, .value = AF_INET6}, {.argument = 1, .mask = kSocketType, .value = SOCK_STREAM}}},
      {"socket",
       {{.argument = 0, .mask = kInt, .value = AF_NETLINK}, {.argument = 2, .mask = kInt, .value = NETLINK_NETFILTER}}},
      {"socket",
       {{.argument = 0, .mask = kInt, .value = AF_NETLINK}, {.argument = 2, .mask = kInt, .value = NETLINK_ROUTE}}},
      {"socketpair", {{.argument = 0, .mask = kInt, .value = AF_UNIX}}},

      // Network namespaces, and their names: no other namespace, and of mounts only these.
      {"mount", {{.argument = 3, .mask = kWhole, .value = MS_BIND | MS_REC}}},
      {"mount", {{.argument = 3, .mask = kWhole, .value = MS_SHARED | MS_REC}}},
      {"move_mount", {{.argument = 4, .mask = kInt, .value = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH}}},
      {"open_tree", {{.argument = 2, .mask = kInt, .value = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH}}},
      {"pidfd_open"},
      {"setns", {{.argument = 1, .mask = kInt, .value = CLONE_NEWNET}}},
      {"umount2", {{.argument = 1, .mask = kInt, .value = MNT_DETACH}}},
      {"unshare", {{.argument = 0, .mask = kWhole, .value = CLONE_NEWNET}}},
  };
}

absl::Status Failed(const std::string& what, int code) {
  return absl::InternalError(absl::StrCat("cannot confine the process: ", what, ": ", strerrordesc_np(code)));
}

std::string NameOf(cap_value_t capability) {
  const std::unique_ptr<char, int (*)(void*)> name(::cap_to_name(capability), &::cap_free);
  return name != nullptr ? std::string(name.get()) : absl::StrCat(capability);
}

bool IsKept(cap_value_t capability) {
  return std::find(std::begin(kCapabilities), std::end(kCapabilities), capability) != std::end(kCapabilities);
}

// EINVAL: the kernel has no capability of this number. EPERM: no CAP_SETPCAP.
absl::Status DropFromBoundingSet() {
  constexpr cap_value_t kMost = 64;
  for (cap_value_t capability = 0; capability < kMost; ++capability) {
    if (IsKept(capability) || ::cap_drop_bound(capability) == 0) continue;
    if (errno == EINVAL || errno == EPERM) break;
    return Failed(absl::StrCat("prctl(PR_CAPBSET_DROP, ", NameOf(capability), ")"), errno);
  }
  return absl::OkStatus();
}

// Of what is permitted and effective, leaves what is kept, and of the rest nothing; ambient capabilities go with
// inheritable ones.
absl::StatusOr<std::vector<std::string>> DropFromOtherSets() {
  using Capabilities = std::unique_ptr<_cap_struct, int (*)(void*)>;
  const Capabilities now(::cap_get_proc(), &::cap_free);
  const Capabilities kept(::cap_init(), &::cap_free);
  if (now == nullptr || kept == nullptr) return Failed("capget", errno);
  std::vector<std::string> effective;
  for (const cap_value_t capability : kCapabilities) {
    for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE}) {
      cap_flag_value_t is_set = CAP_CLEAR;
      if (::cap_get_flag(now.get(), capability, flag, &is_set) != 0 || is_set != CAP_SET) continue;
      ::cap_set_flag(kept.get(), flag, 1, &capability, CAP_SET);
      if (flag == CAP_EFFECTIVE) effective.push_back(NameOf(capability));
    }
  }
  if (::cap_set_proc(kept.get()) != 0) return Failed("capset", errno);
  return effective;
}

// Errors come out where the socket is given to the group.
void JoinGroup(gid_t group) {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(0, ::getgroups(0, nullptr))));
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  if (count < 0) return;
  groups.resize(static_cast<size_t>(count));
  if (group == ::getegid() || std::find(groups.begin(), groups.end(), group) != groups.end()) return;
  groups.push_back(group);
  ::setgroups(groups.size(), groups.data());
}

// 0, or an errno.
int Allow(scmp_filter_ctx filter, const Allowed& allowed) {
  const int number = ::seccomp_syscall_resolve_name(allowed.name);
  if (number == __NR_SCMP_ERROR) return EINVAL;
  std::vector<scmp_arg_cmp> conditions;
  for (const Condition& condition : allowed.conditions) {
    conditions.push_back(
        {.arg = condition.argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = condition.mask, .datum_b = condition.value});
  }
  return -::seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, static_cast<unsigned>(conditions.size()),
                                   conditions.data());
}

}  // namespace

std::vector<std::string> KeptCapabilities() {
  std::vector<std::string> names;
  for (const cap_value_t capability : kCapabilities) names.push_back(NameOf(capability));
  return names;
}

std::vector<std::string> AllowedSystemCalls() {
  std::vector<std::string> names;
  for (const Allowed& allowed : AllAllowed()) {
    if (names.empty() || names.back() != allowed.name) names.emplace_back(allowed.name);
  }
  return names;
}

absl::StatusOr<std::vector<std::string>> DropPrivileges(std::optional<gid_t> group) {
  if (group.has_value()) JoinGroup(*group);
  // While CAP_SETPCAP is there.
  if (absl::Status dropped = DropFromBoundingSet(); !dropped.ok()) return dropped;
  absl::StatusOr<std::vector<std::string>> effective = DropFromOtherSets();
  if (!effective.ok()) return effective;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("prctl(PR_SET_NO_NEW_PRIVS)", errno);
  const rlimit none = {};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return Failed("setrlimit(RLIMIT_CORE)", errno);
  // LeakSanitizer looks at the process from another.
  if (!kIsSanitized && ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return Failed("prctl(PR_SET_DUMPABLE)", errno);
  return effective;
}

absl::StatusOr<bool> FilterSystemCalls() {
  if (kIsSanitized) return false;
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                &::seccomp_release);
  if (filter == nullptr) return Failed("seccomp_init", ENOMEM);
  const std::pair<scmp_filter_attr, uint32_t> attributes[] = {
      // Calls of another architecture, and what a tracer puts in the place of a call.
      {SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)},
      // A search in place of a walk past each.
      {SCMP_FLTATR_CTL_OPTIMIZE, 2},
      // All threads, and an error where that cannot be.
      {SCMP_FLTATR_CTL_TSYNC, 1},
  };
  for (const auto& [attribute, value] : attributes) {
    if (const int code = -::seccomp_attr_set(filter.get(), attribute, value); code != 0) {
      return Failed("seccomp_attr_set", code);
    }
  }
  for (const Allowed& allowed : AllAllowed()) {
    if (const int code = Allow(filter.get(), allowed); code != 0) {
      return Failed(absl::StrCat("seccomp_rule_add(", allowed.name, ")"), code);
    }
  }
  if (const int code = -::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0); code != 0) {
    return Failed("seccomp_rule_add(clone3)", code);
  }
  if (const int code = -::seccomp_load(filter.get()); code != 0) return Failed("seccomp", code);
  return true;
}

}  // namespace netprov
