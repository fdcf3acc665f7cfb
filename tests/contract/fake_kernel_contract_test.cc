#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "server/engine/fake_kernel.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

class FakeWorld : public World {
 public:
  engine::Kernel& kernel() override { return kernel_; }
  void AddForeignNetns(const std::string& name) override { kernel_.AddForeignNetnsForTest(name); }
  void RemoveForeignNetns(const std::string& name) override { kernel_.RemoveForeignNetnsForTest(name); }
  void StartProcess(const engine::NetnsRef& netns) override { kernel_.StartProcessForTest(netns, "sleep"); }
  uint32_t StartProcessInNewNetns() override { return kernel_.StartProcessInNewNetnsForTest("sleep"); }
  void EndProcess(uint32_t pid) override { kernel_.EndProcessForTest(pid); }
  std::string Mount(uint32_t pid) override {
    kernel_.MountForTest(pid, "/run/place");
    return "/run/place";
  }
  void Unmount(const std::string& path) override { kernel_.UnmountForTest(path); }
  std::string MakeFile() override {
    kernel_.AddOddPathForTest("/run/file", EMEDIUMTYPE);
    return "/run/file";
  }
  std::string MakeLink() override {
    kernel_.AddOddPathForTest("/run/link", ELOOP);
    return "/run/link";
  }
  void AddEtcFile(const std::string& name, const std::string& file, const std::string& text) override {
    kernel_.SetEtcFileForTest(name, file, text);
  }
  void AddStaleFile(const std::string& name, bool empty) override { kernel_.AddStaleFileForTest(name, empty); }

 private:
  engine::FakeKernel kernel_;
};

std::unique_ptr<World> MakeFakeWorld() { return std::make_unique<FakeWorld>(); }

INSTANTIATE_TEST_SUITE_P(Fake, KernelContractTest, ::testing::Values(MakeFakeWorld));
INSTANTIATE_TEST_SUITE_P(Fake, IpConfigContractTest, ::testing::Values(MakeFakeWorld));
INSTANTIATE_TEST_SUITE_P(Fake, ShapingContractTest, ::testing::Values(MakeFakeWorld));

}  // namespace
}  // namespace netprov::testing
