#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/linux_kernel.h"
#include "tests/contract/kernel_contract.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

class LinuxWorld : public World {
 public:
  LinuxWorld() {
    auto kernel = engine::LinuxKernel::Open();
    if (!kernel.ok()) {
      ADD_FAILURE() << kernel.error().ToString();
      std::abort();
    }
    kernel_ = *std::move(kernel);
  }

  engine::Kernel& kernel() override { return *kernel_; }
  void AddForeignNetns(const std::string& name) override { Shell("ip netns add " + name); }
  void RemoveForeignNetns(const std::string& name) override { Shell("ip netns delete " + name); }
  void StartProcess(const engine::NetnsRef& netns) override {
    processes_.push_back(
        std::make_unique<Process>(std::vector<std::string>{"ip", "netns", "exec", netns.name, "sleep", "infinity"}));
    // Inside, and what it is to be.
    const std::string command = absl::StrCat("/proc/", processes_.back()->pid(), "/comm");
    while (Shell(absl::StrCat("cat ", command)) != "sleep\n") std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  uint32_t StartProcessInNewNetns() override {
    processes_.push_back(std::make_unique<Process>(
        std::vector<std::string>{"unshare", "-n", "sh", "-c", "echo inside >&2; exec sleep infinity"}));
    processes_.back()->WaitForLine("inside");
    return static_cast<uint32_t>(processes_.back()->pid());
  }
  void EndProcess(uint32_t pid) override {
    std::erase_if(processes_, [pid](const auto& process) { return static_cast<uint32_t>(process->pid()) == pid; });
  }
  std::string Mount(uint32_t pid) override {
    Shell(absl::StrCat("touch /run/place; mount --bind /proc/", pid, "/ns/net /run/place"));
    return "/run/place";
  }
  void Unmount(const std::string& path) override { Shell(absl::StrCat("umount -l ", path)); }
  std::string MakeFile() override {
    Shell("touch /run/file");
    return "/run/file";
  }
  std::string MakeLink() override {
    Shell("ln -sfn /proc/self/ns/net /run/link");
    return "/run/link";
  }
  void AddEtcFile(const std::string& name, const std::string& file, const std::string& text) override {
    Shell(absl::StrCat("mkdir -p /etc/netns/", name));
    std::ofstream(absl::StrCat("/etc/netns/", name, "/", file)) << text;
  }
  void AddStaleFile(const std::string& name, bool empty) override {
    std::ofstream(absl::StrCat("/run/netns/", name)) << (empty ? "" : "something");
  }

 private:
  std::unique_ptr<engine::LinuxKernel> kernel_;
  std::vector<std::unique_ptr<Process>> processes_;
};

std::unique_ptr<World> MakeLinuxWorld() { return std::make_unique<LinuxWorld>(); }

INSTANTIATE_TEST_SUITE_P(Linux, KernelContractTest, ::testing::Values(MakeLinuxWorld));
INSTANTIATE_TEST_SUITE_P(Linux, IpConfigContractTest, ::testing::Values(MakeLinuxWorld));
INSTANTIATE_TEST_SUITE_P(Linux, ShapingContractTest, ::testing::Values(MakeLinuxWorld));

}  // namespace
}  // namespace netprov::testing
