#include "server/netlink/kernel_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "gmock/gmock.h"
#include "server/netlink/mnl_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;

bool WriteFile(const char* path, std::string_view text) {
  UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

UniqueFd OpenNetns() { return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

}  // namespace

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

std::string Shell(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return "popen failed";
  char buffer[4096];
  while (size_t size = std::fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, size);
  ::pclose(pipe);
  return output;
}

std::string RunIp(const std::string& arguments) { return Shell("ip " + arguments); }

void KernelTest::SetUp() {
  if (std::getenv("NETPROV_TEST_SKIP_KERNEL") != nullptr) GTEST_SKIP() << "NETPROV_TEST_SKIP_KERNEL is set";
  if (::unshare(CLONE_NEWNET) != 0) {
    // As in a user namespace of its own, in which the test is root, and so are the commands that it runs.
    const std::string uid_map = "0 " + std::to_string(::geteuid()) + " 1";
    const std::string gid_map = "0 " + std::to_string(::getegid()) + " 1";
    ASSERT_EQ(::unshare(CLONE_NEWUSER | CLONE_NEWNET), 0) << ErrnoError("unshare").ToString();
    ASSERT_TRUE(WriteFile("/proc/self/setgroups", "deny"));
    ASSERT_TRUE(WriteFile("/proc/self/uid_map", uid_map));
    ASSERT_TRUE(WriteFile("/proc/self/gid_map", gid_map));
  }
  UniqueFd away = OpenNetns();
  away_ = Open();
  ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << ErrnoError("unshare").ToString();
  home_ = Open();
  away_fd_ = std::move(away);
  ASSERT_TRUE(away_fd_.valid());
  ASSERT_TRUE(home_ != nullptr && away_ != nullptr);
}

std::unique_ptr<Session> KernelTest::Open() {
  KernelResult<std::unique_ptr<MnlTransport>> transport = MnlTransport::Open();
  if (!transport.ok()) {
    ADD_FAILURE() << transport.error().ToString();
    return nullptr;
  }
  return std::make_unique<Session>(std::move(transport).value());
}

void KernelTest::Do(Session& session, const Request& request) {
  KernelResult<void> result = session.Execute(request);
  EXPECT_TRUE(result.ok()) << result.error().ToString();
}

int KernelTest::Code(Session& session, const Request& request) {
  KernelResult<void> result = session.Execute(request);
  return result.ok() ? 0 : result.error().code;
}

std::optional<Link> KernelTest::Get(Session& session, const LinkRef& ref) {
  KernelResult<Payload> payload = session.Get(EncodeGetLink(ref));
  if (!payload.ok()) {
    EXPECT_THAT(payload.error().code, Eq(ENODEV)) << payload.error().ToString();
    return std::nullopt;
  }
  KernelResult<Link> link = DecodeLink(*payload);
  EXPECT_TRUE(link.ok()) << link.error().ToString();
  return link.ok() ? std::optional(*link) : std::nullopt;
}

std::vector<std::string> KernelTest::Names(Session& session) {
  std::vector<std::string> names;
  for (const Link& link : Dump(session, EncodeDumpLinks(), &DecodeLink)) {
    if (link.kind == "veth") names.push_back(link.name);
  }
  return names;
}

VethRequest KernelTest::Veth(const std::string& name) {
  VethRequest veth;
  veth.end = {.name = name, .group = kGroup, .up = true};
  veth.peer = {.name = name + "p", .group = kGroup, .netns_fd = away_fd_.get()};
  return veth;
}

}  // namespace netprov::netlink
