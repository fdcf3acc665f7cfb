#include "tests/e2e/points.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace netprov::testing {
namespace {

// How often a point is tried that is not reached: one that may not be there any more, and one that is. The latter's
// number is shifted by what comes ahead of it, such as pages of the registry.
constexpr int kFewTries = 3;
constexpr int kMostTries = 12;

// System calls that leave nothing, and why. `with` is what the line must have besides the name; empty: it may be any.
struct Harmless {
  std::vector<const char*> names;
  const char* with;
  const char* why;
};

const std::vector<Harmless>& AllHarmless() {
  static const auto* const all = new std::vector<Harmless>{
      {{"read", "readv", "pread64", "recvmsg", "recvfrom"},
       "",
       "takes what the kernel holds for a descriptor of this process, which goes with it"},
      {{"access", "faccessat2", "fstat", "fstatfs", "getdents64", "newfstatat", "readlink", "readlinkat", "stat",
        "statfs", "statx"},
       "",
       "looks"},
      {{"capget",         "clock_getres",       "clock_gettime", "getgroups", "getegid",   "geteuid",
        "getgid",         "getpeername",        "getpid",        "getppid",   "getrandom", "getrlimit",
        "getsockname",    "getsockopt",         "gettid",        "getuid",    "prlimit64", "sched_getaffinity",
        "sched_getparam", "sched_getscheduler", "sysinfo",       "uname"},
       "",
       "asks the kernel for what it knows of the process or the machine; the only limits that are set are its own"},
      {{"brk", "madvise", "mmap", "mprotect", "mremap", "munmap"},
       "",
       "the memory of this process. What it shares is SQLite's index of the write-ahead log, which the next one that "
       "opens the registry makes anew"},
      {{"clock_nanosleep", "epoll_pwait", "epoll_wait", "futex", "nanosleep", "poll", "ppoll", "restart_syscall",
        "rt_sigtimedwait", "sched_yield"},
       "",
       "waits, or wakes another thread, which is killed too; what that does is in the points of its own"},
      {{"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rseq", "set_robust_list", "set_tid_address", "sigaltstack"},
       "",
       "how this process takes signals and ends"},
      {{"close", "dup", "epoll_create1", "epoll_ctl", "eventfd2", "inotify_add_watch", "inotify_init1", "lseek",
        "pidfd_open", "pipe2", "setsockopt", "socket", "timerfd_create", "timerfd_settime"},
       "",
       "descriptors of this process, and what they are told, go with it; death closes what is open"},
      {{"bind"}, "AF_NETLINK", "the address of a netlink socket goes with it"},
      {{"setns"}, "", "where this thread is"},
      {{"fcntl"}, "F_SETLK", "locks go with who holds them"},
      {{"fcntl"}, "F_GETLK", "looks"},
      {{"fcntl"}, "F_GETFL", "looks"},
      {{"fcntl"}, "F_GETFD", "looks"},
      {{"fcntl"}, "F_SETFD", "a descriptor of this process"},
      {{"fcntl"}, "F_DUPFD", "a descriptor of this process"},
      {{"flock"}, "", "locks go with who holds them"},
      {{"arch_prctl", "clone", "clone3", "execve", "umask"}, "", "this process and its threads"},
      {{"capset", "prctl", "seccomp", "setgroups"}, "", "what this process and its threads may do"},
      {{"ioctl"}, "TCGETS", "looks"},
      {{"ioctl"}, "NS_GET_", "looks"},
      {{"ioctl"}, "pidfd", "gives a descriptor of a namespace"},
      {{"ioctl"}, "FIONREAD", "looks"},
      {{"write"}, "<anon_inode:[eventfd]>", "wakes another thread, which is killed too"},
      {{"fdatasync", "fsync"},
       "",
       "what was written is in the kernel's memory, from which all read; only a loss of power tells the difference"},
  };
  return *all;
}

// Requests of rtnetlink and nf_tables that ask, by the name that strace gives them, and by the number where their
// socket is in a namespace of which strace does not know the protocols. A dump may give a namespace a number in
// another, by which the kernel names it there; nothing is kept by that number.
struct Question {
  const char* name;
  int number;
};
constexpr Question kQuestions[] = {
    {"RTM_GETLINK", RTM_GETLINK},
    {"RTM_GETADDR", RTM_GETADDR},
    {"RTM_GETROUTE", RTM_GETROUTE},
    {"RTM_GETNEIGH", RTM_GETNEIGH},
    {"RTM_GETQDISC", RTM_GETQDISC},
    {"RTM_GETTFILTER", RTM_GETTFILTER},
    {"RTM_GETNSID", RTM_GETNSID},
    {"NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETGEN", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN},
    {"NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETTABLE", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE},
    {"NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETRULE", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE},
    {"NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETSET", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSET},
    {"NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETSETELEM", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM},
};

bool Asks(const std::string& message) {
  return std::any_of(std::begin(kQuestions), std::end(kQuestions), [&](const Question& question) {
    return message == question.name || message == absl::StrFormat("%#x /* NLMSG_??? */", question.number);
  });
}

// Whether it sends messages, and each of them asks.
bool IsQuestion(const SystemCall& call) {
  const std::vector<std::string> messages = MessagesOf(call);
  return !messages.empty() && std::all_of(messages.begin(), messages.end(), Asks);
}

// Whether it opens a file that is there, and leaves it as it is.
bool OnlyOpens(const SystemCall& call) {
  if (call.name != "openat" && call.name != "openat2") return false;
  return absl::StrContains(call.line, "O_") && !absl::StrContains(call.line, "O_CREAT") &&
         !absl::StrContains(call.line, "O_TRUNC") && !absl::StrContains(call.line, "O_TMPFILE");
}

// Whether the kernel does not do it now and makes it again, as where a setting of the network is written while somebody
// else holds the lock of rtnetlink: strace counts it each time.
bool IsRestarted(const SystemCall& call) { return absl::StrContains(call.line, ") = ? ERESTART"); }

bool IsOfRegistry(const SystemCall& call) {
  const absl::string_view line = call.line;
  return absl::StrContains(line.substr(0, line.find('>')), "</var/lib/netprov/") && !IsOfAuditLog(call);
}

// What a call does and to what, without what differs from run to run: the kinds of messages that are sent, the paths
// that are named. `write <pipe:[]`, `sendto RTM_NEWLINK`, `unlink "/etc/netns/blue/hosts"`.
std::string ActOf(const SystemCall& call) {
  static const std::set<std::string> with_content = {"pwrite64", "pwritev", "sendmsg", "sendto", "write", "writev"};
  const absl::string_view line = call.line;
  std::string paths;
  if (const size_t open = line.find('<'); open != line.npos) {
    absl::StrAppend(&paths, " ", line.substr(open, line.find('>', open) + 1 - open));
  }
  if (!with_content.contains(call.name)) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, '"');
    for (size_t i = 1; i < parts.size(); i += 2) absl::StrAppend(&paths, " \"", parts[i], "\"");
  }
  // The draft of a file at /etc/netns has a hash of the object's uid in its name: `.hosts.0123456789abcdef.netprov`.
  constexpr size_t kHashDigits = 16;
  for (size_t begin = 0, end = 0; begin < paths.size(); begin = end + 1) {
    end = begin;
    while (end < paths.size() && absl::ascii_isxdigit(paths[end])) ++end;
    if (end - begin < kHashDigits) continue;
    paths.erase(begin, end - begin);
    end = begin;
  }
  std::erase_if(paths, [](char c) { return absl::ascii_isdigit(c); });
  return absl::StrCat(call.name, " ", absl::StrJoin(MessagesOf(call), " "), paths);
}

}  // namespace

bool IsOfAuditLog(const SystemCall& call) {
  const absl::string_view line = call.line;
  return absl::StrContains(line.substr(0, line.find('>')), "</var/lib/netprov/audit.log");
}

std::vector<std::string> MessagesOf(const SystemCall& call) {
  constexpr absl::string_view kType = "nlmsg_type=";
  std::vector<std::string> types;
  const absl::string_view line = call.line;
  for (size_t at = line.find(kType); at != line.npos; at = line.find(kType, at)) {
    at += kType.size();
    types.emplace_back(line.substr(at, line.find(',', at) - at));
  }
  return types;
}

bool LeavesNothing(const SystemCall& call) {
  if (IsQuestion(call) || OnlyOpens(call)) return true;
  const std::vector<Harmless>& all = AllHarmless();
  return std::any_of(all.begin(), all.end(), [&](const Harmless& harmless) {
    const auto& names = harmless.names;
    return std::find(names.begin(), names.end(), call.name) != names.end() &&
           absl::StrContains(call.line, harmless.with);
  });
}

std::vector<Point> PointsIn(const std::vector<SystemCall>& calls, bool every, size_t skipped) {
  std::map<std::pair<std::string, std::string>, int> counts;  // by thread and name
  std::map<std::pair<std::string, std::string>, int> acts;    // by thread and what is done
  std::set<std::string> known;
  std::vector<Point> points;
  for (size_t i = 0; i < calls.size(); ++i) {
    const SystemCall& call = calls[i];
    const int n = ++counts[{call.thread, call.name}];
    if (IsRestarted(call)) continue;
    if (!every && LeavesNothing(call)) continue;
    const std::string act = every ? call.name : ActOf(call);
    Point point{.name = call.name,
                .n = n,
                .what = absl::StrCat(act, " #", ++acts[{call.thread, act}]),
                .is_of_registry = IsOfRegistry(call),
                .is_of_audit_log = IsOfAuditLog(call)};
    if (i >= skipped && known.insert(point.what).second) points.push_back(std::move(point));
  }
  return points;
}

std::vector<SystemCall> CallsOfStart(std::vector<SystemCall> calls, size_t& ahead) {
  auto is_listen = [](const SystemCall& call) { return call.name == "listen"; };
  auto is_look = [](const SystemCall& call) {
    return call.name == "getdents64" && absl::StrContains(call.line, "/run/netns");
  };
  // glibc asks for clone3(2), and then for clone(2), as the daemon's filter knows no other.
  auto is_birth = [](const SystemCall& call) { return call.name == "clone3" || call.name == "clone"; };
  auto is_born = [&](const SystemCall& call) { return is_birth(call) && !absl::StrContains(call.line, "ENOSYS"); };
  // The socket has its thread before the recovery begins.
  auto begin = std::find_if(calls.begin(), calls.end(), is_listen);
  begin = std::find_if(begin, calls.end(), is_born);
  const auto look = std::find_if(begin, calls.end(), is_look);
  EXPECT_TRUE(look != calls.end()) << "it does not look at the names";
  ahead = std::min<size_t>(begin - calls.begin() + 1, calls.size());
  calls.erase(std::find_if(look, calls.end(), is_birth), calls.end());
  return calls;
}

void ReachAll(const std::function<std::vector<Point>()>& record, const std::function<bool(const Point& point)>& attempt,
              Share share) {
  struct Tries {
    int missed = 0;  // 0: it was reached
    bool counts = true;
  };
  std::map<std::string, Tries> all;
  for (bool more = true; more;) {
    more = false;
    for (const Point& point : record()) {
      const auto [known, is_new] = all.emplace(point.what, Tries{.counts = !point.is_of_registry});
      Tries& tries = known->second;
      const int most = share == Share::kAll && tries.counts ? kMostTries : kFewTries;
      const bool is_through = !is_new && (tries.missed == 0 || tries.missed == most);
      if (is_through) continue;
      more = true;
      ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                   absl::StrCat(point.what, ", which is ", point.name, " number ", point.n));
      tries.missed = attempt(point) ? 0 : tries.missed + 1;
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_TRUE(share == Share::kAny || !all.empty()) << "there was no point";
  size_t counted = 0;
  std::vector<std::string> missed;
  for (const auto& [what, tries] : all) {
    // What the same thread did by chance when it was watched, such as a look that nobody called for, does not come
    // again, and so was not tried as often as what does.
    if (!tries.counts || (tries.missed > 0 && tries.missed < kFewTries)) continue;
    ++counted;
    if (tries.missed > 0) missed.push_back(what);
  }
  EXPECT_GE((counted - missed.size()) * 100, counted * static_cast<size_t>(share))
      << "of " << counted << " points were never reached: " << absl::StrJoin(missed, ", ");
}

bool IsExhaustive() { return std::getenv("NETPROV_EVERY_CALL") != nullptr; }

Share ShareOfRun() { return IsExhaustive() ? Share::kMost : Share::kAll; }

}  // namespace netprov::testing
