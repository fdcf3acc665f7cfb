// Neighbours and forwarding databases against the real kernel. `ip -j` and `bridge -j` are the witnesses.
#include <cerrno>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/link.h"
#include "server/netlink/neighbour.h"

namespace netprov::netlink {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST_F(KernelTest, NeighboursAreAddedListedAndDeleted) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  Do(*home_, EncodeNewVeth(Veth("w")));
  EXPECT_THAT(RunIp("link add br0 type bridge"), Eq(""));
  const int bridge = Get(*home_, "br0")->ifindex;
  Do(*home_, EncodeSetLink("w", {.master = bridge}));
  const int v = Get(*home_, "v")->ifindex;
  const int w = Get(*home_, "w")->ifindex;
  const MacAddress mac = {{2, 0, 0, 0, 0, 9}};
  const std::vector<Neighbour> wanted = {
      {.ifindex = v, .address = Ip("192.0.2.9"), .mac = mac, .protocol = 110},
      {.ifindex = v, .address = Ip("2001:db8::9"), .mac = mac, .flags = 0x80},
      {.ifindex = w, .address = Ip("192.0.2.9"), .mac = mac},
  };
  for (const Neighbour& neighbour : wanted) Do(*home_, EncodeNewNeighbour(neighbour));
  EXPECT_THAT(Code(*home_, EncodeNewNeighbour(wanted[0])), Eq(EEXIST));
  const Neighbour proxy = {.ifindex = v, .address = Ip("192.0.2.11"), .state = 0, .flags = 0x08};
  Do(*home_, EncodeNewNeighbour(proxy));

  auto dump = [&](const NeighbourFilter& filter) {
    return Dump(*home_, EncodeDumpNeighbours(filter), &DecodeNeighbour);
  };
  for (const Neighbour& neighbour : wanted) EXPECT_THAT(dump({}), Contains(neighbour));
  EXPECT_THAT(dump({.family = IpFamily::kIpv4}), UnorderedElementsAre(wanted[0], wanted[2]));
  EXPECT_THAT(dump({.family = IpFamily::kIpv4, .ifindex = v}), UnorderedElementsAre(wanted[0]));
  EXPECT_THAT(dump({.family = IpFamily::kIpv4, .master = bridge}), UnorderedElementsAre(wanted[2]));
  EXPECT_THAT(Dump(*home_, EncodeDumpProxies(IpFamily::kIpv4), &DecodeNeighbour), SizeIs(1));
  EXPECT_THAT(
      RunIp("-j neigh show dev v"),
      AllOf(HasSubstr(R"({"dst":"192.0.2.9","lladdr":"02:00:00:00:00:09","state":["PERMANENT"],"protocol":"110"})"),
            HasSubstr(R"({"dst":"2001:db8::9","lladdr":"02:00:00:00:00:09","router":null,"state":["PERMANENT"]})")));
  EXPECT_THAT(RunIp("-j neigh show proxy"), HasSubstr(R"("dst":"192.0.2.11","dev":"v")"));

  Neighbour changed = wanted[0];
  changed.mac = MacAddress{{2, 0, 0, 0, 0, 10}};
  Do(*home_, EncodeReplaceNeighbour(changed));
  EXPECT_THAT(dump({.family = IpFamily::kIpv4, .ifindex = v}), UnorderedElementsAre(changed));

  for (const Neighbour& neighbour : wanted) Do(*home_, EncodeDeleteNeighbour(neighbour));
  Do(*home_, EncodeDeleteNeighbour(proxy));
  EXPECT_THAT(Code(*home_, EncodeDeleteNeighbour(wanted[0])), Eq(ENOENT));
  EXPECT_THAT(dump({.family = IpFamily::kIpv4, .ifindex = v}), SizeIs(0));
}

TEST_F(KernelTest, ABridgesForwardingDatabaseIsChangedAndListed) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  EXPECT_THAT(RunIp("link add br0 type bridge"), Eq(""));
  const int bridge = Get(*home_, "br0")->ifindex;
  const int v = Get(*home_, "v")->ifindex;
  FdbEntry entry = {.ifindex = v, .mac = MacAddress{{2, 0, 0, 0, 0, 9}}, .flags = 0x04, .state = 0x40};
  EXPECT_THAT(Code(*home_, EncodeNewFdbEntry(entry)), Eq(EOPNOTSUPP));
  Do(*home_, EncodeSetLink("v", {.master = bridge}));
  Do(*home_, EncodeNewFdbEntry(entry));
  EXPECT_THAT(Code(*home_, EncodeNewFdbEntry(entry)), Eq(EEXIST));
  EXPECT_THAT(Shell("bridge -j fdb show br br0"),
              HasSubstr(R"({"mac":"02:00:00:00:00:09","ifname":"v","flags":[],"master":"br0","state":"static"})"));

  FdbEntry read = entry;
  read.master = bridge;
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(), &DecodeFdbEntry), Contains(read));
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(v), &DecodeFdbEntry), Contains(read));
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(std::nullopt, bridge), &DecodeFdbEntry), Contains(read));
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(bridge), &DecodeFdbEntry), Not(Contains(read)));

  entry.flags |= 0x40;
  Do(*home_, EncodeReplaceFdbEntry(entry));
  read.flags = 0x44;
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(v), &DecodeFdbEntry), Contains(read));
  // What is read is what can be deleted.
  Do(*home_, EncodeDeleteFdbEntry(read));
  EXPECT_THAT(Code(*home_, EncodeDeleteFdbEntry(entry)), Eq(ENOENT));

  const FdbEntry own = {.ifindex = bridge, .mac = entry.mac, .flags = 0x02};
  Do(*home_, EncodeNewFdbEntry(own));
  FdbEntry own_read = own;
  own_read.master = bridge;
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(bridge), &DecodeFdbEntry), Contains(own_read));
  Do(*home_, EncodeDeleteFdbEntry(own_read));
  EXPECT_THAT(Dump(*home_, EncodeDumpFdb(v), &DecodeFdbEntry), Not(Contains(read)));
}

TEST_F(KernelTest, AVxlansForwardingDatabaseIsChangedAndListed) {
  EXPECT_THAT(RunIp("link add vx type vxlan id 7 local 127.0.0.1 dstport 4789"), Eq(""));
  const int vx = Get(*home_, "vx")->ifindex;
  const int lo = Get(*home_, "lo")->ifindex;
  auto dump = [&] { return Dump(*home_, EncodeDumpFdb(vx), &DecodeFdbEntry); };
  const FdbEntry known = {.ifindex = vx,
                          .mac = MacAddress{{2, 0, 0, 0, 0, 9}},
                          .flags = 0x02,
                          .destination = Ip("127.0.0.2"),
                          .port = 4790,
                          .vni = 8,
                          .lower = lo};
  const FdbEntry any = {.ifindex = vx, .flags = 0x02, .destination = Ip("127.0.0.3")};
  FdbEntry further = any;
  further.destination = Ip("127.0.0.4");
  Do(*home_, EncodeNewFdbEntry(known));
  EXPECT_THAT(Code(*home_, EncodeNewFdbEntry(known)), Eq(EEXIST));
  Do(*home_, EncodeAppendFdbEntry(any));
  Do(*home_, EncodeAppendFdbEntry(further));
  Do(*home_, EncodeAppendFdbEntry(further));
  FdbEntry ignored = known;
  ignored.destination = Ip("127.0.0.9");
  Do(*home_, EncodeAppendFdbEntry(ignored));
  EXPECT_THAT(Code(*home_, EncodeReplaceFdbEntry(any)), Eq(EOPNOTSUPP));
  EXPECT_THAT(dump(), UnorderedElementsAre(known, any, further));
  EXPECT_THAT(Shell("bridge -j fdb show dev vx"),
              AllOf(HasSubstr(R"("dst":"127.0.0.2","port":4790,"vni":8,"viaIf":"lo")"), HasSubstr("127.0.0.3"),
                    HasSubstr("127.0.0.4")));

  FdbEntry changed = known;
  changed.destination = Ip("127.0.0.5");
  Do(*home_, EncodeReplaceFdbEntry(changed));
  Do(*home_, EncodeDeleteFdbEntry(further));
  EXPECT_THAT(dump(), UnorderedElementsAre(changed, any));
  Do(*home_, EncodeDeleteFdbEntry(changed));
  EXPECT_THAT(Code(*home_, EncodeDeleteFdbEntry(changed)), Eq(ENOENT));
  EXPECT_THAT(dump(), UnorderedElementsAre(any));
  EXPECT_THAT(Code(*home_, EncodeNewFdbEntry({.ifindex = lo, .mac = known.mac, .flags = 0x02})), Eq(EINVAL));
}

}  // namespace
}  // namespace netprov::netlink
