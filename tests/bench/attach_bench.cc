// One namespace and one veth pair into it: netprov over its unix socket, in one call and in two, the kernel's floor,
// and the tutorial's `ip` commands, interleaved in one run. Prints medians and ratios; what they should be is in
// docs/performance.md.
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

// ---- `ip`, without a shell in between.

void Ip(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid = -1;
  Check(::posix_spawnp(&pid, "ip", nullptr, nullptr, pointers.data(), environ) == 0, "posix_spawnp(ip)");
  int status = 0;
  Check(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, "ip");
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

  std::vector<Subject> subjects(10);
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
