// Every kernel operation of every mutation fails once, and is the last one of a process that ends there: whatever it
// is, what makes or changes something has then left all as it was, and what deletes can be repeated, or is completed by
// the next start.
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"

namespace netprov::engine {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::MacAddress;
using ::testing::IsEmpty;

constexpr MacAddress kFirst = {{2, 0, 0, 0, 0, 1}};
constexpr MacAddress kSecond = {{2, 0, 0, 0, 0, 2}};

AddressSpec Address(const char* prefix) { return {.local = *IpPrefix::Parse(prefix), .peer = std::nullopt}; }

RouteSpec Blackhole(const char* destination) {
  RouteSpec route;
  route.destination = *IpPrefix::Parse(destination);
  route.type = RouteType::kBlackhole;
  return route;
}

RateLimit Limit(uint64_t rate) { return {.rate = rate, .burst = 20'000, .latency = absl::Milliseconds(50)}; }

// All that the kernel has, as far as it can be told.
struct Everything {
  std::string dump;
  std::vector<Link> links;
  std::vector<FdbEntry> fdb;
  std::vector<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> vlans;

  friend bool operator==(const Everything&, const Everything&) = default;
  friend void PrintTo(const Everything& everything, std::ostream* out) {
    *out << everything.dump << everything.links.size() << " links";
    for (const Link& link : everything.links) {
      *out << "\n"
           << link.ifindex << " " << link.name << " " << link.mac.ToString() << " " << link.mtu << " "
           << (link.up ? "up" : "down") << " port of " << link.master_ifindex
           << (link.options.promiscuous ? " promiscuous" : "") << " gso "
           << link.options.limits.gso_max_size.value_or(0);
    }
  }
};

class EngineFaultTest : public EngineTest {
 public:
  using EngineTest::CreateVeth;

  Engine& engine() { return *engine_; }

  // Whether a call succeeded; notes what went wrong.
  template <typename T>
  bool Ok(const EngineResult<T>& result) {
    error_ = result.ok() ? "" : result.error().message;
    return result.ok();
  }
  const std::string& error() const { return error_; }

  void MakeBlue() { ASSERT_TRUE(CreateNamespace("blue").ok()); }
  NetnsRef Blue() { return {.name = "blue", .cookie = (*kernel_.FindNetns("blue"))->cookie}; }

  bool CreateFullNamespace() { return Ok(engine_->CreateNamespace({.id = "blue", .spec = FullNamespace()})); }
  bool DeleteBlue() { return Ok(DeleteNamespace("blue")); }
  bool UpdateBlue(const NamespaceSpec& spec) {
    auto edit = [spec](Asked<NamespaceSpec> asked) {
      asked.spec = spec;
      return netprov::Result<Asked<NamespaceSpec>, std::vector<InvalidField>>(asked);
    };
    return Ok(engine_->UpdateNamespace({.context = {}, .id = "blue", .edit = edit}));
  }
  static NamespaceSpec FullNamespace() {
    return {.sysctls = {{"net.ipv4.ip_forward", "1"}},
            .dns = {.nameservers = {"10.0.0.53"},
                    .searches = {},
                    .options = {},
                    .hosts = {{.address = "10.0.0.5", .names = {"db"}}}}};
  }
  static NamespaceSpec OtherNamespace() {
    return {.sysctls = {{"net.ipv4.ip_forward", "0"}},
            .dns = {.nameservers = {"10.0.0.54"}, .searches = {}, .options = {}, .hosts = {}}};
  }

  bool MakeVeth(const VethSpec& spec) { return Ok(CreateVeth("v", spec)); }
  bool UnmakeVeth() { return Ok(DeleteVeth("v")); }
  bool UpdateVeth(const VethSpec& spec) {
    auto edit = [spec](Asked<VethSpec> asked) {
      asked.spec = spec;
      return netprov::Result<Asked<VethSpec>, std::vector<InvalidField>>(asked);
    };
    return Ok(engine_->UpdateVeth({.context = {}, .id = "v", .edit = edit, .bridges = {}, .ip_forwarding = true}));
  }
  // Something of everything that an end can have.
  static VethSpec FullPair() {
    VethSpec spec = HostTo("blue");
    spec.a.mtu = 1500;
    spec.a.config.ip.addresses = {Address("10.0.0.1/24")};
    spec.b.mac = kFirst;
    EndpointConfig& config = spec.b.config;
    config.options.alias = "to the lab";
    config.ip.addresses = {Address("10.0.0.2/24"), Address("2001:db8::2/64")};
    config.gateways = {*IpAddress::Parse("10.0.0.1")};
    config.ip.routes = {Blackhole("10.9.0.0/16")};
    config.ip.neighbours = {{.address = *IpAddress::Parse("10.0.0.9"), .mac = kSecond}};
    config.alternative_names = {"another"};
    config.announce = true;
    config.ingress_limit = Limit(10'000'000);
    config.egress_limit = Limit(20'000'000);
    config.masquerade = true;
    config.port_forwards = {{.host_port = 8080, .port = 80}};
    config.ip_forwarding = true;
    return spec;
  }
  // Another of everything.
  static VethSpec OtherPair() {
    VethSpec spec = FullPair();
    spec.a.mtu = 1400;
    spec.a.config.ip.addresses = {Address("10.0.1.1/24")};
    spec.b.mac = kSecond;
    EndpointConfig& config = spec.b.config;
    config.options.alias = "elsewhere";
    config.options.promiscuous = true;
    config.ip.addresses = {Address("10.0.1.2/24")};
    config.gateways = {*IpAddress::Parse("10.0.1.1")};
    config.ip.routes = {Blackhole("10.8.0.0/16")};
    config.ip.neighbours.clear();
    config.alternative_names = {"different"};
    config.ingress_limit = Limit(30'000'000);
    config.egress_limit.reset();
    config.port_forwards = {{.host_port = 8081, .port = 80}};
    return spec;
  }
  static VethSpec PlainPair() { return HostTo("blue"); }
  // The end inside is a port.
  static VethSpec Port() {
    VethSpec spec = PlainPair();
    spec.b.config.bridge = BridgeName("br");
    spec.b.config.port.settings.isolated = true;
    return spec;
  }
  static VethSpec AtPlace() {
    VethSpec spec = HostTo("blue");
    spec.a.place = NetnsPlace{.path = "/run/netns/foreign"};
    spec.a.config.ip.addresses = {Address("10.0.7.1/24")};
    return spec;
  }

  bool MakeDevice(const std::string& name, const DeviceSpec& spec) {
    return Ok(engine_->CreateDevice({.context = {}, .name = name, .spec = spec, .metadata = {}}));
  }
  bool UnmakeDevice(const std::string& name) { return Ok(engine_->DeleteDevice({.context = {}, .name = name})); }
  bool UpdateDevice(const std::string& name, const DeviceSpec& spec) {
    auto edit = [spec](Asked<DeviceSpec> asked) {
      asked.spec = spec;
      return netprov::Result<Asked<DeviceSpec>, std::vector<InvalidField>>(asked);
    };
    return Ok(engine_->UpdateDevice({.context = {}, .name = name, .edit = edit}));
  }
  static DeviceSpec FullDevice(DeviceOptions options) {
    DeviceSpec spec{
        .link = {.namespace_id = "blue", .interface_name = "d0"}, .options = std::move(options), .lower = {}};
    if (HasLower(spec.options)) spec.lower.interface_name = "theirs";
    spec.link.mac = kFirst;
    spec.link.mtu = 1400;
    spec.link.config.ip.addresses = {Address("10.0.0.2/24")};
    spec.link.config.alternative_names = {"another-d0"};
    return spec;
  }
  static DeviceSpec OtherDevice(DeviceOptions options) {
    DeviceSpec spec = FullDevice(std::move(options));
    // An ifb never takes another.
    if (!std::holds_alternative<netlink::IfbInfo>(spec.options)) spec.link.mac = kSecond;
    spec.link.mtu = 1300;
    spec.link.config.ip.addresses = {Address("10.0.1.2/24")};
    spec.link.config.alternative_names = {"different-d0"};
    return spec;
  }

  // What somebody else has.
  void AddForeign() {
    kernel_.AddForeignLinkForTest(kHost, "theirs");
    kernel_.AddForeignNetnsForTest("foreign");
  }

  Everything Look() {
    Everything everything{.dump = kernel_.DumpForTest(), .links = {}, .fdb = {}, .vlans = {}};
    std::vector<NetnsRef> all = {kHost};
    const auto names = kernel_.ListNetns();
    for (const std::string& name : *names) {
      const auto entry = kernel_.FindNetns(name);
      if (entry.ok() && entry->has_value()) all.push_back({.name = name, .cookie = (*entry)->cookie});
    }
    for (const NetnsRef& netns : all) {
      const auto links = kernel_.ListLinks(netns);
      if (!links.ok()) continue;
      for (const Link& link : *links) {
        everything.links.push_back(link);
        // One that holds an end to its limit is made again by what undoes that it was taken away.
        if (link.kind == "ifb" && absl::StartsWith(link.name, "ifb")) everything.links.back().ifindex = 0;
        if (link.kind == "ifb" && absl::StartsWith(link.name, "ifb")) everything.links.back().mac = {};
        if (link.kind != "vxlan") continue;
        const auto fdb = kernel_.ListFdb(netns, link.ifindex);
        everything.fdb.insert(everything.fdb.end(), fdb->begin(), fdb->end());
      }
      if (const auto vlans = kernel_.ListPortVlans(netns); vlans.ok()) everything.vlans.push_back(*vlans);
    }
    return everything;
  }

 protected:
  void SetUp() override {
    EngineTest::SetUp();
    AddForeign();
  }

 private:
  std::string error_;
};

// A mutation.
struct Case {
  std::string name;
  std::function<void(EngineFaultTest&)> prepare;
  std::function<bool(EngineFaultTest&)> call;    // whether it succeeded
  std::function<bool(EngineFaultTest&)> revert;  // to the state before; the same
  bool deletes = false;                          // halfway, it can't be taken back
};

void PrintTo(const Case& mutation, std::ostream* out) { *out << mutation.name; }
std::string NameOf(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

using Test = EngineFaultTest;

void MakeBlue(Test& test) { test.MakeBlue(); }

netlink::BridgeInfo Bridge(bool stp) {
  netlink::BridgeInfo info;
  info.stp = stp;
  info.priority = stp ? 7 : 8;
  return info;
}

VxlanOptions Vxlan(uint8_t ttl) {
  VxlanOptions options;
  options.info.vni = 42;
  options.info.ttl = ttl;
  options.info.remote = IpAddress::Parse(ttl == 5 ? "192.0.2.1" : "192.0.2.9");
  options.fdb = {{.mac = kSecond,
                  .destination = *IpAddress::Parse(ttl == 5 ? "192.0.2.2" : "192.0.2.3"),
                  .port = std::nullopt,
                  .vni = std::nullopt}};
  return options;
}

// The three of one kind of device. `options` and `other` are what it is made with and what it is changed to.
void AddDevice(const std::string& kind, const std::string& name, const DeviceOptions& options,
               const DeviceOptions& other, std::vector<Case>& cases) {
  const DeviceSpec full = Test::FullDevice(options);
  const DeviceSpec changed = Test::OtherDevice(other);
  auto make = [=](Test& test) { return test.MakeDevice(name, full); };
  auto unmake = [=](Test& test) { return test.UnmakeDevice(name); };
  auto prepare = [=](Test& test) {
    test.MakeBlue();
    ASSERT_TRUE(make(test)) << test.error();
  };
  cases.push_back({.name = "Create" + kind, .prepare = MakeBlue, .call = make, .revert = unmake});
  cases.push_back({.name = "Update" + kind,
                   .prepare = prepare,
                   .call = [=](Test& test) { return test.UpdateDevice(name, changed); },
                   .revert = [=](Test& test) { return test.UpdateDevice(name, full); }});
  cases.push_back({.name = "Delete" + kind, .prepare = prepare, .call = unmake, .revert = make, .deletes = true});
}

// The two of one kind of pair in the namespace `blue`.
void AddPair(const std::string& kind, const VethSpec& spec, const std::function<void(Test&)>& ahead,
             std::vector<Case>& cases) {
  auto make = [=](Test& test) { return test.MakeVeth(spec); };
  auto unmake = [](Test& test) { return test.UnmakeVeth(); };
  auto prepare = [=](Test& test) {
    ahead(test);
    ASSERT_TRUE(make(test)) << test.error();
  };
  cases.push_back({.name = "Create" + kind, .prepare = ahead, .call = make, .revert = unmake});
  cases.push_back({.name = "Delete" + kind, .prepare = prepare, .call = unmake, .revert = make, .deletes = true});
}

std::vector<Case> AllCases() {
  auto make_blue = [](Test& test) { return test.CreateFullNamespace(); };
  auto make_blue_first = [](Test& test) { ASSERT_TRUE(test.CreateFullNamespace()); };
  auto adopt = [](Test& test) {
    return test.Ok(test.engine().AdoptNamespace({.id = "foreign", .spec = Test::FullNamespace()}));
  };
  auto release = [](Test& test) { return test.Ok(test.engine().ReleaseNamespace({.id = "foreign"})); };
  // A namespace with something of everything in it.
  auto fill_blue = [](Test& test) {
    VethSpec port = Test::Port();
    port.a.interface_name = "h1";
    port.b.interface_name = "eth1";
    return test.CreateFullNamespace() && test.MakeDevice("bridges/br", Test::FullDevice(Bridge(true))) &&
           test.MakeVeth(Test::FullPair()) && test.Ok(test.CreateVeth("port", port));
  };
  std::vector<Case> cases = {
      {.name = "CreateNamespace",
       .prepare = [](Test&) {},
       .call = make_blue,
       .revert = [](Test& test) { return test.DeleteBlue(); }},
      {.name = "UpdateNamespace",
       .prepare = make_blue_first,
       .call = [](Test& test) { return test.UpdateBlue(Test::OtherNamespace()); },
       .revert = [](Test& test) { return test.UpdateBlue(Test::FullNamespace()); }},
      {.name = "DeleteNamespace",
       .prepare = [=](Test& test) { ASSERT_TRUE(fill_blue(test)) << test.error(); },
       .call = [](Test& test) { return test.DeleteBlue(); },
       .revert = fill_blue,
       .deletes = true},
      {.name = "AdoptNamespace", .prepare = [](Test&) {}, .call = adopt, .revert = release},
      {.name = "ReleaseNamespace",
       .prepare = [=](Test& test) { ASSERT_TRUE(adopt(test)) << test.error(); },
       .call = release,
       .revert = adopt,
       .deletes = true},
  };
  AddPair("Veth", Test::FullPair(), MakeBlue, cases);
  AddPair("VethAtPlace", Test::AtPlace(), MakeBlue, cases);
  auto with_bridge = [](Test& test) {
    test.MakeBlue();
    ASSERT_TRUE(test.MakeDevice("bridges/br", Test::FullDevice(Bridge(true))));
  };
  AddPair("Port", Test::Port(), with_bridge, cases);
  cases.push_back({.name = "UpdateVeth",
                   .prepare =
                       [](Test& test) {
                         test.MakeBlue();
                         ASSERT_TRUE(test.MakeVeth(Test::FullPair()));
                       },
                   .call = [](Test& test) { return test.UpdateVeth(Test::OtherPair()); },
                   .revert = [](Test& test) { return test.UpdateVeth(Test::FullPair()); }});
  auto join = [](Test& test) { return test.UpdateVeth(Test::Port()); };
  auto leave = [](Test& test) { return test.UpdateVeth(Test::PlainPair()); };
  auto with_pair_and_bridge = [=](Test& test) {
    with_bridge(test);
    ASSERT_TRUE(test.MakeVeth(Test::PlainPair()));
  };
  auto with_port = [=](Test& test) {
    with_bridge(test);
    ASSERT_TRUE(test.MakeVeth(Test::Port()));
  };
  cases.push_back({.name = "UpdateVethToPort", .prepare = with_pair_and_bridge, .call = join, .revert = leave});
  cases.push_back({.name = "UpdateVethToNoPort", .prepare = with_port, .call = leave, .revert = join});
  AddDevice("Bridge", "bridges/br", Bridge(true), Bridge(false), cases);
  AddDevice("Macvlan", "devices/d", netlink::MacvlanInfo{.lower = 0, .mode = netlink::MacvlanMode::kPrivate},
            netlink::MacvlanInfo{.lower = 0, .mode = netlink::MacvlanMode::kSource, .flags = 0, .sources = {kSecond}},
            cases);
  AddDevice("Vxlan", "devices/d", Vxlan(5), Vxlan(9), cases);
  const netlink::VlanInfo vlan{.lower = 0, .id = 7, .protocol = netlink::VlanProtocol::kDot1Ad};
  AddDevice("Vlan", "devices/d", vlan, vlan, cases);
  AddDevice("Ipvlan", "devices/d", netlink::IpvlanInfo{.lower = 0, .mode = netlink::IpvlanMode::kL3s, .flags = 2},
            netlink::IpvlanInfo{.lower = 0, .mode = netlink::IpvlanMode::kL2, .flags = 1}, cases);
  AddDevice("Dummy", "devices/d", netlink::DummyInfo(), netlink::DummyInfo(), cases);
  AddDevice("Ifb", "devices/d", netlink::IfbInfo(), netlink::IfbInfo(), cases);
  return cases;
}

// The end of the process, which nobody catches.
struct Death {};

class EveryOperationTest : public EngineFaultTest, public ::testing::WithParamInterface<Case> {
 protected:
  // Makes the call with the operation of that number failing, or being the one at which the process ends. Whether there
  // was one; `done`: whether the call succeeded.
  bool CallFailing(int point, bool dies, bool& done) {
    int operation = 0;
    bool failed = false;
    kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
      if (operation++ != point) return std::nullopt;
      failed = true;
      if (dies) throw Death();
      return KernelError{.code = EIO, .operation = name, .extack = {}, .may_have_effect = false};
    });
    done = false;
    try {
      done = GetParam().call(*this);
    } catch (const Death&) {
    }
    kernel_.SetFaultForTest(nullptr);
    return failed;
  }

  // What the registry knows of is as it was made.
  void ExpectAllIsWell() {
    for (const NamespaceRecord& record : registry_->ListNamespaces()) {
      const auto netns = engine_->GetNamespace(record.id);
      ASSERT_TRUE(netns.ok());
      EXPECT_EQ(netns->state, State::kReady) << record.id << ": " << ToText(netns->deviations);
    }
    for (const VethRecord& record : registry_->ListVeths("", SIZE_MAX)) {
      const auto veth = engine_->GetVeth(record.id);
      ASSERT_TRUE(veth.ok());
      EXPECT_EQ(veth->state, State::kReady) << record.id << ": " << ToText(veth->deviations);
    }
    for (const DeviceRecord& record : registry_->ListDevices()) {
      const auto device = engine_->GetDevice(record.name);
      ASSERT_TRUE(device.ok());
      EXPECT_EQ(device->state, State::kReady) << record.name << ": " << ToText(device->deviations);
    }
  }

  void TryEach(bool dies) {
    GetParam().prepare(*this);
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_TRUE(GetParam().call(*this)) << error();
    const Everything after = Look();
    // Once, as what stays of a call, such as forwarding, is then there.
    ASSERT_TRUE(GetParam().revert(*this)) << error();
    int failures = 0;
    for (int point = 0;; ++point) {
      SCOPED_TRACE(absl::StrCat("operation ", point));
      const Everything before = Look();
      bool done = false;
      const bool failed = CallFailing(point, dies, done);
      if (failed && dies) Restart();
      EXPECT_TRUE(failed || done) << error();
      failures += done ? 0 : 1;
      EXPECT_THAT(registry_->ListPending(), IsEmpty());
      if (!done && !GetParam().deletes) {
        EXPECT_EQ(Look(), before);
        ExpectAllIsWell();
      }
      // What was begun, a start completes, and a caller repeats.
      if (!done && GetParam().deletes && Look() != after) {
        EXPECT_TRUE(GetParam().call(*this)) << error();
      }
      if (GetParam().deletes) {
        EXPECT_EQ(Look(), after);
      }
      if (done || GetParam().deletes) {
        ASSERT_TRUE(GetParam().revert(*this)) << error();
      }
      ASSERT_FALSE(HasFailure());
      if (!failed) break;
    }
    EXPECT_GT(failures, 0) << "the fault was never injected";
  }
};

TEST_P(EveryOperationTest, Fails) { TryEach(/*dies=*/false); }

TEST_P(EveryOperationTest, IsTheLast) { TryEach(/*dies=*/true); }

INSTANTIATE_TEST_SUITE_P(Each, EveryOperationTest, ::testing::ValuesIn(AllCases()), NameOf);

}  // namespace
}  // namespace netprov::engine
