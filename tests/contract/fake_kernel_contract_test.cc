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
  void AddStaleFile(const std::string& name, bool empty) override { kernel_.AddStaleFileForTest(name, empty); }

 private:
  engine::FakeKernel kernel_;
};

std::unique_ptr<World> MakeFakeWorld() { return std::make_unique<FakeWorld>(); }

INSTANTIATE_TEST_SUITE_P(Fake, KernelContractTest, ::testing::Values(MakeFakeWorld));
INSTANTIATE_TEST_SUITE_P(Fake, IpConfigContractTest, ::testing::Values(MakeFakeWorld));

}  // namespace
}  // namespace netprov::testing
