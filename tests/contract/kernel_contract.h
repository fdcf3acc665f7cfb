// What engine::Kernel promises, as tests that run on the fake and on the real kernel, so that the fake stays honest.
#ifndef NETPROV_TESTS_CONTRACT_KERNEL_CONTRACT_H_
#define NETPROV_TESTS_CONTRACT_KERNEL_CONTRACT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/kernel_error.h"
#include "server/engine/ip_config.h"
#include "server/engine/kernel.h"
#include "server/netlink/ip_address.h"

namespace netprov::testing {

inline const engine::NetnsRef kHost;

// The error's code, 0 after success.
template <typename T>
int CodeOf(const KernelResult<T>& result) {
  return result.ok() ? 0 : result.error().code;
}

inline netlink::IpAddress Ip(const char* text) { return *netlink::IpAddress::Parse(text); }
inline netlink::IpPrefix Prefix(const std::string& text) { return *netlink::IpPrefix::Parse(text); }

// A kernel, and what other programs do to the same machine.
class World {
 public:
  virtual ~World() = default;
  virtual engine::Kernel& kernel() = 0;
  // As `ip netns add` and `ip netns delete`.
  virtual void AddForeignNetns(const std::string& name) = 0;
  virtual void RemoveForeignNetns(const std::string& name) = 0;
  // As `ip netns exec NAME sleep infinity &`. It ends with the world.
  virtual void StartProcess(const engine::NetnsRef& netns) = 0;
  // As `unshare -n sleep infinity &`; returns its number. It ends with the world or before.
  virtual uint32_t StartProcessInNewNetns() = 0;
  // As `kill -9`, and waits for its end.
  virtual void EndProcess(uint32_t pid) = 0;
  // As `mount --bind /proc/PID/ns/net`, at a path that only this world has, and `umount`.
  virtual std::string Mount(uint32_t pid) = 0;
  virtual void Unmount(const std::string& path) = 0;
  // A file, and a symbolic link to a network namespace, that only this world has.
  virtual std::string MakeFile() = 0;
  virtual std::string MakeLink() = 0;
  // Writes /etc/netns/NAME/FILE, of somebody else.
  virtual void AddEtcFile(const std::string& name, const std::string& file, const std::string& text) = 0;
  // Puts a file at /run/netns that is no namespace.
  virtual void AddStaleFile(const std::string& name, bool empty) = 0;
};

using MakeWorld = std::function<std::unique_ptr<World>()>;

// The suite; a test binary instantiates it with its world. The world's host may have links, and has no names at
// /run/netns.
class KernelContractTest : public ::testing::TestWithParam<MakeWorld> {
 protected:
  std::unique_ptr<World> world_ = GetParam()();
  engine::Kernel& kernel_ = world_->kernel();

  void TearDown() override;
  // A namespace that is there.
  engine::NetnsRef MakeNetns(const std::string& name);
};

// With a pair from the host to a new namespace, of which the end in the host is shaped.
class ShapingContractTest : public KernelContractTest {
 protected:
  void SetUp() override;
  engine::Shaping Now() { return *kernel_.FindShaping({}, end_); }
  // Those of the host.
  std::vector<engine::Link> Ifbs();

  uint32_t end_ = 0;
  engine::ShapingSpec both_;  // one for each direction
};

// With a pair from the host to a new namespace, whose end in there is configured.
class IpConfigContractTest : public KernelContractTest {
 protected:
  void SetUp() override;
  // What of `ip` the end does not have.
  engine::IpConfig MissingOf(const engine::IpConfig& ip);

  engine::NetnsRef blue_;
  uint32_t host_end_ = 0;
  uint32_t end_ = 0;
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_CONTRACT_KERNEL_CONTRACT_H_
