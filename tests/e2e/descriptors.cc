#include "tests/e2e/descriptors.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"

namespace netprov::testing {

using ::testing::IsEmpty;

std::vector<std::string> OpenDescriptors(pid_t daemon) {
  const std::string process = absl::StrCat("/proc/", daemon);
  std::set<std::string> connections;
  std::ifstream unix_sockets(process + "/net/unix");
  std::string line;
  while (std::getline(unix_sockets, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (fields.size() > 6) connections.insert(absl::StrCat("socket:[", fields[6], "]"));
  }
  std::vector<std::string> descriptors;
  for (const auto& descriptor : std::filesystem::directory_iterator(process + "/fd")) {
    std::error_code closed_since;
    const std::string target = std::filesystem::read_symlink(descriptor.path(), closed_since).string();
    if (!target.empty() && !connections.contains(target)) descriptors.push_back(target);
  }
  std::sort(descriptors.begin(), descriptors.end());
  return descriptors;
}

void ExpectNoneBesides(const std::vector<std::string>& before, pid_t daemon) {
  const auto deadline = std::chrono::steady_clock::now() + kDeadline;
  std::vector<std::string> leaked;
  do {
    leaked.clear();
    const std::vector<std::string> now = OpenDescriptors(daemon);
    std::set_difference(now.begin(), now.end(), before.begin(), before.end(), std::back_inserter(leaked));
  } while (!leaked.empty() && std::chrono::steady_clock::now() < deadline);
  EXPECT_THAT(leaked, IsEmpty());
}

}  // namespace netprov::testing
