// The machine that the tests run on, as a simulation's world.
#ifndef NETPROV_TESTS_SIMULATION_LINUX_WORLD_H_
#define NETPROV_TESTS_SIMULATION_LINUX_WORLD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "server/base/unique_fd.h"
#include "server/engine/linux_kernel.h"
#include "server/netns/netns_directory.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

// Over the kernel, with `ip` as the witness. The process must be in a private host (tests/testing/private_host.h).
// What fails that must not ends the process.
class LinuxWorld : public World {
 public:
  LinuxWorld();

  engine::Kernel& kernel() override { return *kernel_; }
  void AddNetns(const std::string& name) override;
  void RemoveNetns(const std::string& name) override;
  void AddFile(const std::string& name, bool empty) override;
  void RemoveFile(const std::string& name) override;
  void AddLink(const engine::NetnsRef& place, const std::string& name) override;
  void RenameLink(const engine::NetnsRef& place, const std::string& name, const std::string& new_name) override;
  void MoveLink(const engine::NetnsRef& place, const std::string& name, const engine::NetnsRef& to) override;
  void Bind(const std::string& path, uint32_t pid) override;
  void Unbind(const std::string& path) override;
  uint32_t StartProcess() override;
  void EndProcess(uint32_t pid) override;
  void Unshare(uint32_t pid) override;
  bool ForwardsAtBirth() override;
  bool HasVlans() override;
  Traits MissingKinds() override;
  bool CanReboot() const override { return false; }
  void Reboot() override {}
  std::string Unnamed(size_t) override { return ""; }
  std::string Witness(const Sighting& sighting) override;

  // Removes every name, and every link of the host's that can be removed.
  void Clear();

 private:
  std::optional<bool> forwards_at_birth_;
  std::optional<bool> has_vlans_;
  std::optional<Traits> missing_kinds_;
  // The links in the namespace that a place leads to go now, unless another way leads there: the kernel would take a
  // while to destroy them with it.
  void Leave(const engine::NetnsPlace& place);
  // A process of ours enters a new namespace.
  void Enter(uint32_t pid);
  // Calls `body` with a socket in the namespace.
  void Inside(const engine::NetnsRef& place, const std::function<void(int socket)>& body);

  // A process that is told through a socket to enter a new namespace, and ends with it.
  std::map<uint32_t, UniqueFd> processes_;  // by number
  std::set<std::string> paths_;

  UniqueFd home_;
  netns::NetnsDirectory directory_;
  std::unique_ptr<engine::LinuxKernel> kernel_;
};

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_LINUX_WORLD_H_
