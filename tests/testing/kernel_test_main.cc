// main() of every test that changes the kernel.
#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/private_host.h"

namespace {

class SkipAll : public ::testing::Environment {
 public:
  void SetUp() override { GTEST_SKIP() << "NETPROV_TEST_SKIP_KERNEL=1"; }
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (netprov::testing::SkipKernelTests()) {
    ::testing::AddGlobalTestEnvironment(new SkipAll);
  } else if (std::string failure = netprov::testing::EnterPrivateHost(); !failure.empty()) {
    std::fprintf(stderr, "This test needs namespaces of its own: root, or unprivileged user namespaces. %s\n",
                 failure.c_str());
    return 1;
  }
  return RUN_ALL_TESTS();
}
