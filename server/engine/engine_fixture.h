// An engine over a fake kernel and a registry of its own, for tests.
#ifndef NETPROV_SERVER_ENGINE_ENGINE_FIXTURE_H_
#define NETPROV_SERVER_ENGINE_ENGINE_FIXTURE_H_

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/host_report.h"
#include "server/engine/registry.h"

namespace netprov::engine {

inline const NetnsRef kHost;

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // That of a test with a parameter has a slash.
    const std::string name =
        absl::StrReplaceAll(::testing::UnitTest::GetInstance()->current_test_info()->name(), {{"/", "-"}});
    path_ = absl::StrCat(::testing::TempDir(), "/engine-", name, "-", ::getpid());
    Restart();
  }

  // As after the end of the process, however it came.
  HostReport Restart() {
    engine_.reset();
    registry_.reset();
    auto registry = Registry::Open(path_);
    EXPECT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
    engine_ = std::make_unique<Engine>(kernel_, *registry_, [this] { return now_; });
    auto report = engine_->Recover();
    EXPECT_TRUE(report.ok());
    return *report;
  }

  EngineResult<Namespace> CreateNamespace(const std::string& id, CallContext context = {},
                                          bool allow_existing = false) {
    return engine_->CreateNamespace({.context = std::move(context), .id = id, .allow_existing = allow_existing});
  }
  EngineResult<void> DeleteNamespace(const std::string& id, CallContext context = {}, bool allow_missing = false) {
    return engine_->DeleteNamespace({.context = std::move(context), .id = id, .allow_missing = allow_missing});
  }
  EngineResult<Veth> CreateVeth(const std::string& id, VethSpec spec, CallContext context = {},
                                bool allow_existing = false) {
    return engine_->CreateVeth(
        {.context = std::move(context), .id = id, .spec = std::move(spec), .allow_existing = allow_existing});
  }
  EngineResult<void> DeleteVeth(const std::string& id, CallContext context = {}, bool allow_missing = false) {
    return engine_->DeleteVeth({.context = std::move(context), .id = id, .allow_missing = allow_missing});
  }
  // h0 in the host, eth0 in `netns`.
  static VethSpec HostTo(const std::string& netns) {
    return {.a = {.interface_name = "h0"}, .b = {.namespace_id = netns, .interface_name = "eth0"}};
  }
  // A namespace and a pair from the host to it.
  void MakeBlueWithVeth() {
    ASSERT_TRUE(CreateNamespace("blue").ok());
    auto veth = CreateVeth("v", HostTo("blue"));
    ASSERT_TRUE(veth.ok()) << veth.error().message;
  }

  std::string path_;
  absl::Duration now_ = absl::Hours(1);
  FakeKernel kernel_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Engine> engine_;
};

#define EXPECT_REFUSED(result, expected_reason)                                                    \
  do {                                                                                             \
    const auto& netprov_refused = (result);                                                        \
    ASSERT_FALSE(netprov_refused.ok());                                                            \
    EXPECT_EQ(netprov_refused.error().reason, expected_reason) << netprov_refused.error().message; \
  } while (false)

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ENGINE_FIXTURE_H_
