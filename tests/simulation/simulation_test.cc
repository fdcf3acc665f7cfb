// Many histories over the fake kernel, and whether the simulation would notice if something were broken.
#include "tests/simulation/simulation.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/simulation/delegating_kernel.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {
namespace {

using engine::Kernel;
using engine::NetnsEntry;
using engine::NetnsRef;

// How many histories, from which seed on: BUILD.bazel.
constexpr uint64_t kFirstSeed = NETPROV_SIMULATION_FIRST_SEED;
constexpr uint64_t kSeeds = NETPROV_SIMULATION_SEEDS;
constexpr int kParts = 10;

class SimulationTest : public ::testing::TestWithParam<int> {};

TEST_P(SimulationTest, EveryHistoryKeepsThePromises) {
  const uint64_t from = kFirstSeed + kSeeds / kParts * GetParam();
  Statistics statistics;
  for (uint64_t seed = from; seed < from + kSeeds / kParts; ++seed) {
    const Report report = Simulate(seed, {}, *MakeFakeWorld());
    statistics.Add(report.statistics);
    if (report.failure.empty()) continue;
    const Report again = Simulate(seed, {.verbose = true}, *MakeFakeWorld());
    FAIL() << "seed " << seed << "; again: bazel run //tests/simulation:simulate -- --seed=" << seed << " --verbose\n"
           << (again.failure.empty() ? "It did not fail a second time.\n" + report.failure : again.log);
  }
  std::printf("%s", statistics.ToString().c_str());
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest, ::testing::Range(0, kParts));

TEST(HarnessTest, TheSameSeedIsTheSameHistory) {
  for (uint64_t seed = kFirstSeed; seed < kFirstSeed + 20; ++seed) {
    const std::string log = Simulate(seed, {.verbose = true}, *MakeFakeWorld()).log;
    EXPECT_EQ(Simulate(seed, {.verbose = true}, *MakeFakeWorld()).log, log) << seed;
  }
}

TEST(HarnessTest, EveryKindOfTroubleHappens) {
  Statistics statistics;
  for (uint64_t seed = 0; seed < 1500; ++seed) statistics.Add(Simulate(seed, {}, *MakeFakeWorld()).statistics);
  for (const char* what : {"act",
                           "answer: exists, and differs",
                           "answer: nothing leads there",
                           "answer: that place can't be used",
                           "answer: exists, and matches",
                           "check, look only",
                           "check: finished something",
                           "check: found something unfinished",
                           "crash",
                           "death: after CreateNetns",
                           "error: SetLink",
                           "death: after CreateVeth",
                           "death: inside CreateDevice",
                           "death: after RemoveNetns",
                           "death: after a write of the registry",
                           "death: before a write of the registry",
                           "death: inside CreateNetns",
                           "death: inside Configure",
                           "death: inside CreateVeth",
                           "device: healed dummy",
                           "device: healed ifb",
                           "device: made dummy",
                           "device: made ifb",
                           "device: made ipvlan",
                           "device: made macvlan",
                           "device: made vlan",
                           "device: made vxlan",
                           "device: refused macvlan",
                           "device: refused vlan",
                           "device: refused vxlan",
                           "device: updated dummy",
                           "device: updated ifb",
                           "device: updated ipvlan",
                           "device: updated macvlan",
                           "device: updated vlan",
                           "device: updated vxlan",
                           "drift: admin state",
                           "drift: alias",
                           "drift: DNS files",
                           "drift: lo admin state",
                           "drift: lo alias",
                           "drift: lost addresses, neighbors and routes",
                           "drift: lost forwarding",
                           "drift: lost ifb",
                           "drift: lost limits",
                           "drift: lost route without a link",
                           "drift: lost translation",
                           "drift: lost forwarding database",
                           "drift: mac",
                           "drift: moved",
                           "drift: mtu",
                           "drift: of a link of kind dummy",
                           "drift: of a link of kind ifb",
                           "drift: of a link of kind ipvlan",
                           "drift: of a link of kind macvlan",
                           "drift: of a link of kind vlan",
                           "drift: of a link of kind vxlan",
                           "drift: options of a bridge",
                           "drift: options of a port",
                           "drift: sysctl",
                           "end: at a path",
                           "end: at a process",
                           "error: CreateVeth, leaving its link",
                           "error: FindPlace",
                           "error: CreateDevice, leaving its link",
                           "error: AddNat",
                           "error: AddRoutes",
                           "error: Configure",
                           "error: DeleteLink",
                           "error: RemoveNetns",
                           "error: SetEtcFiles",
                           "error: SetSysctls",
                           "error: Shape",
                           "error: Unconfigure",
                           "error: registry",
                           "expiry: deleted namespaces",
                           "expiry: deleted bridges",
                           "expiry: deleted devices",
                           "expiry: deleted veths",
                           "expiry: kept namespaces",
                           "expiry: kept bridges",
                           "garbage: deleted namespaces",
                           "garbage: deleted bridges",
                           "garbage: deleted devices",
                           "garbage: deleted veths",
                           "garbage: kept namespaces",
                           "garbage: kept bridges",
                           "garbage: would delete namespaces",
                           "garbage: would delete veths",
                           "not restored: namespaces",
                           "not restored: veths",
                           "not restored: bridges",
                           "not restored: devices",
                           "overlap",
                           "reboot",
                           "recovery failed",
                           "renewed",
                           "renewed nothing",
                           "restored: namespaces",
                           "restored: veths",
                           "restored: bridges",
                           "restored: devices",
                           "stop",
                           "tended: degraded namespaces, healed",
                           "tended: degraded veths, healed",
                           "tended: degraded bridges, healed",
                           "tended: degraded devices, healed",
                           "tended: missing namespaces, healed",
                           "tended: missing namespaces, not healed",
                           "tended: missing veths, healed",
                           "tended: missing veths, not healed",
                           "tended: missing bridges, healed",
                           "tended: missing bridges, not healed",
                           "tended: missing devices, healed",
                           "tended: missing devices, not healed",
                           "time passes",
                           "update: done namespaces",
                           "update: done veths",
                           "update: done bridges",
                           "update: done devices",
                           "update: failed namespaces",
                           "update: failed veths",
                           "update: failed bridges",
                           "update: failed devices",
                           "update: invalid namespaces",
                           "update: invalid veths",
                           "update: missing veths",
                           "update: missing bridges",
                           "update: missing devices",
                           "update: not undone veths",
                           "update: not undone bridges",
                           "update: would be done veths",
                           "way: a path",
                           "way: a path is gone",
                           "way: a path of a process's",
                           "way: a process",
                           "way: a process ends",
                           "way: a process goes elsewhere"}) {
    EXPECT_GT(statistics.counts[what], 0) << what;
  }
}

// Kernels that do not do what they say.

class ForgetsDeletions : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> DeleteLink(const NetnsRef&, uint32_t) override { return {}; }
};

class LeaksAPairWhereItRefuses : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<std::pair<engine::Link, engine::Link>> CreateVeth(const engine::LinkSpec& a, const engine::LinkSpec& b,
                                                                 const std::string& alias) override {
    auto made = DelegatingKernel::CreateVeth(a, b, alias);
    if (!made.ok() && made.error().code == EEXIST) {
      (void)DelegatingKernel::CreateVeth({.name = "leak0"}, {.name = "leak1"}, alias);
    }
    return made;
  }
};

class RemovesWhateverHasTheName : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<std::optional<NetnsEntry>> FindNetns(const std::string& name) override {
    auto entry = DelegatingKernel::FindNetns(name);
    if (!entry.ok() || !entry->has_value()) return entry;
    auto [known, is_new] = first_.try_emplace(name, (*entry)->cookie);
    if ((*entry)->is_netns) (*entry)->cookie = known->second;
    return entry;
  }
  KernelResult<void> RemoveNetns(const NetnsRef& netns) override {
    auto now = DelegatingKernel::FindNetns(netns.name);
    if (!now.ok() || !now->has_value()) return {};
    return DelegatingKernel::RemoveNetns({.name = netns.name, .cookie = (*now)->cookie});
  }

 private:
  std::map<std::string, uint64_t> first_;
};

class ForgetsTheAlias : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<uint64_t> CreateNetns(const std::string& name, const std::string&,
                                     const engine::Sysctls& sysctls) override {
    return DelegatingKernel::CreateNetns(name, "", sysctls);
  }
};

class NumbersFromOne : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<std::string> FreeLinkName(const NetnsRef& netns, const std::string& pattern,
                                         const std::vector<std::string>& taken) override {
    std::vector<std::string> more = taken;
    more.push_back("veth0");
    return DelegatingKernel::FreeLinkName(netns, pattern, more);
  }
};

// Nothing is put right.
class ForgetsSettings : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> SetLink(const NetnsRef&, uint32_t, const engine::LinkSettings&) override { return {}; }
};

class ForgetsTheMtu : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> SetLink(const NetnsRef& netns, uint32_t ifindex, const engine::LinkSettings& settings) override {
    engine::LinkSettings less = settings;
    less.mtu.reset();
    return DelegatingKernel::SetLink(netns, ifindex, less);
  }
};

class ForgetsPorts : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> SetLink(const NetnsRef& netns, uint32_t ifindex, const engine::LinkSettings& settings) override {
    engine::LinkSettings less = settings;
    less.master.reset();
    less.port = {};
    return DelegatingKernel::SetLink(netns, ifindex, less);
  }
};

class ForgetsRates : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<uint32_t> Shape(const NetnsRef&, uint32_t, const engine::ShapingSpec&) override { return 0U; }
};

// What is translated stays when its pair goes.
class ForgetsTranslations : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> DeleteNat(const NetnsRef&, const std::string&, const std::vector<netlink::NatElement>&) override {
    return {};
  }
};

class ForgetsAddresses : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> Unconfigure(const NetnsRef&, uint32_t, const std::vector<std::string>&,
                                 const engine::IpConfig&) override {
    return {};
  }
};

class ForgetsRoutes : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> DeleteRoutes(const NetnsRef&, const std::vector<engine::RouteSpec>&) override { return {}; }
};

class ForgetsSysctls : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> SetSysctls(const NetnsRef&, const engine::Sysctls&) override { return {}; }
};

class ForgetsFiles : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<void> SetEtcFiles(const std::string& name, const std::string& mark, const engine::EtcFiles& files,
                                 bool owns_directory) override {
    if (files.empty()) return {};
    return DelegatingKernel::SetEtcFiles(name, mark, files, owns_directory);
  }
};

// Says of a place where it led at first.
class RemembersPlaces : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<engine::PlaceEntry> FindPlace(const engine::NetnsPlace& place) override {
    auto entry = DelegatingKernel::FindPlace(place);
    if (!entry.ok()) return entry;
    return first_.try_emplace(PlaceName(place), *entry).first->second;
  }

 private:
  std::map<std::string, engine::PlaceEntry> first_;
};

// A pair that is made again would have other addresses.
class ChoosesTheAddress : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  KernelResult<std::pair<engine::Link, engine::Link>> CreateVeth(const engine::LinkSpec& a, const engine::LinkSpec& b,
                                                                 const std::string& alias) override {
    engine::LinkSpec any = b;
    any.mac.reset();
    return DelegatingKernel::CreateVeth(a, any, alias);
  }
};

// Never notices that the host was started again.
class BootsOnce : public DelegatingKernel {
 public:
  using DelegatingKernel::DelegatingKernel;
  std::string BootId() override { return "boot-1"; }
};

// A clock that does not tell the time.

TEST(BrokenClockTest, IsNoticed) {
  const Options stands{.clock = [](const absl::Duration&) { return [] { return absl::ZeroDuration(); }; }};
  const Options lags{.clock = [](const absl::Duration& now) {
    return [&now] { return now - absl::Seconds(now > absl::Seconds(20)); };
  }};
  for (const Options* options : {&stands, &lags}) {
    uint64_t seed = 0;
    constexpr uint64_t kEnough = 500;
    while (seed < kEnough && Simulate(seed, *options, *MakeFakeWorld()).failure.empty()) ++seed;
    EXPECT_LT(seed, kEnough) << "no history has shown it";
  }
}

template <typename Broken>
std::unique_ptr<Kernel> Wrap(Kernel& kernel) {
  return std::make_unique<Broken>(kernel);
}

struct BrokenKernel {
  const char* name;
  std::unique_ptr<Kernel> (*wrap)(Kernel&);
};

class BrokenKernelTest : public ::testing::TestWithParam<BrokenKernel> {};

TEST_P(BrokenKernelTest, IsNoticed) {
  constexpr uint64_t kEnough = 2000;
  for (uint64_t seed = 0; seed < kEnough; ++seed) {
    if (!Simulate(seed, {.wrap = GetParam().wrap}, *MakeFakeWorld()).failure.empty()) return;
  }
  FAIL() << "no history of " << kEnough << " has shown it";
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenKernelTest,
    ::testing::Values(
        BrokenKernel{"ForgetsDeletions", Wrap<ForgetsDeletions>},
        BrokenKernel{"LeaksAPairWhereItRefuses", Wrap<LeaksAPairWhereItRefuses>},
        BrokenKernel{"RemovesWhateverHasTheName", Wrap<RemovesWhateverHasTheName>},
        BrokenKernel{"ForgetsTheAlias", Wrap<ForgetsTheAlias>}, BrokenKernel{"NumbersFromOne", Wrap<NumbersFromOne>},
        BrokenKernel{"ForgetsSettings", Wrap<ForgetsSettings>}, BrokenKernel{"ForgetsTheMtu", Wrap<ForgetsTheMtu>},
        BrokenKernel{"ForgetsPorts", Wrap<ForgetsPorts>}, BrokenKernel{"ForgetsRates", Wrap<ForgetsRates>},
        BrokenKernel{"ForgetsTranslations", Wrap<ForgetsTranslations>},
        BrokenKernel{"ForgetsAddresses", Wrap<ForgetsAddresses>}, BrokenKernel{"ForgetsRoutes", Wrap<ForgetsRoutes>},
        BrokenKernel{"ForgetsSysctls", Wrap<ForgetsSysctls>}, BrokenKernel{"ForgetsFiles", Wrap<ForgetsFiles>},
        BrokenKernel{"RemembersPlaces", Wrap<RemembersPlaces>},
        BrokenKernel{"ChoosesTheAddress", Wrap<ChoosesTheAddress>}, BrokenKernel{"BootsOnce", Wrap<BootsOnce>}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace netprov::simulation
