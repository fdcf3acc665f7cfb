// What one more endpoint costs in the table of address translation, in a network namespace of its own: with few
// elements there, and with many.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/netlink/ip_address.h"
#include "server/netlink/mnl_transport.h"
#include "server/netlink/nat.h"
#include "server/netlink/nat_table.h"
#include "server/netlink/session.h"

namespace netprov::bench {
namespace {

using netlink::NatElement;
using Clock = std::chrono::steady_clock;

constexpr int kPresent = 10'000;
// In one transaction, below Session::kMaxTransactionRequests.
constexpr int kAtOnce = 1'000;

void Check(bool ok, const std::string& what) {
  if (ok) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

netlink::IpAddress Ip(const std::string& text) { return *netlink::IpAddress::Parse(text); }

NatElement Forward(int address, uint16_t port) {
  const std::string host = "10." + std::to_string(address / 65536) + "." + std::to_string(address / 256 % 256) + "." +
                           std::to_string(address % 256);
  return {.rule = netlink::PortForward{.protocol = netlink::TransportProtocol::kTcp,
                                       .host_address = Ip(host),
                                       .host_port = port,
                                       .target = Ip("192.0.2.1"),
                                       .target_port = 80},
          .tag = "netprov:11111111-2222-4333-8444-555555555555:11111111-2222-4333-8444-555555555555:veths/bench"};
}

void Add(netlink::NatTable& table, const std::vector<NatElement>& elements) {
  auto added = table.AddElements(elements);
  Check(added.ok(), added.ok() ? "" : added.error().error.ToString());
}

void Delete(netlink::NatTable& table, const std::vector<NatElement>& elements) {
  auto deleted = table.DeleteElements(elements);
  Check(deleted.ok(), deleted.ok() ? "" : deleted.error().error.ToString());
}

void Find(netlink::NatTable& table, const std::vector<NatElement>& elements, int count) {
  auto found = table.FindElements(elements);
  Check(found.ok(), found.ok() ? "" : found.error().ToString());
  Check(static_cast<int>(found->size()) == count, "FindElements");
}

void List(netlink::NatTable& table, int count) {
  auto listed = table.ListElements();
  Check(listed.ok(), listed.ok() ? "" : listed.error().ToString());
  Check(static_cast<int>(listed->size()) == count, "ListElements");
}

// Microseconds: the median and the 99th percentile.
std::pair<double, double> Measure(int times, const std::function<void()>& what, const std::function<void()>& undo) {
  std::vector<double> each;
  for (int i = 0; i < times; ++i) {
    const Clock::time_point start = Clock::now();
    what();
    each.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    undo();
  }
  std::sort(each.begin(), each.end());
  return {each[each.size() / 2], each[each.size() * 99 / 100]};
}

void Print(int present, const char* what, std::pair<double, double> figures) {
  std::printf("%6d present, %-36s median %8.1f us, p99 %8.1f us\n", present, what, figures.first, figures.second);
}

void MeasureWith(netlink::NatTable& table, int present, int times) {
  const std::vector<NatElement> one = {Forward(kPresent, 80)};
  std::vector<NatElement> range;
  for (int i = 0; i < netlink::kMaxForwardedPorts; ++i)
    range.push_back(Forward(kPresent, static_cast<uint16_t>(1 + i)));
  auto add = [&table](const std::vector<NatElement>& elements) { return [&] { Add(table, elements); }; };
  auto remove = [&table](const std::vector<NatElement>& elements) { return [&] { Delete(table, elements); }; };

  Print(present, "add one element", Measure(times, add(one), remove(one)));
  Add(table, one);
  Print(present, "delete one element", Measure(times, remove(one), add(one)));
  Print(present, "find one element",
        Measure(
            times, [&] { Find(table, one, 1); }, [] {}));
  Print(present, "list all",
        Measure(
            times / 20, [&] { List(table, present + 1); }, [] {}));
  Delete(table, one);
  Print(present, "add a range of 1,024 ports", Measure(times / 20, add(range), remove(range)));
}

int Run(int times) {
  Check(times >= 20, "usage: nat_bench [TIMES, at least 20]");
  Check(::unshare(CLONE_NEWNET) == 0, "this needs root: unshare(CLONE_NEWNET)");
  auto transport =
      netlink::MnlTransport::Open(netlink::MnlTransport::kDefaultTimeout, netlink::NetlinkProtocol::kNetfilter);
  Check(transport.ok(), transport.ok() ? "" : transport.error().ToString());
  netlink::Session session(std::move(transport).value());
  netlink::NatTable table(session, "bench");
  Check(table.EnsureTable().ok(), "EnsureTable");

  MeasureWith(table, 0, times);
  for (int i = 0; i < kPresent; i += kAtOnce) {
    std::vector<NatElement> some;
    for (int k = i; k < i + kAtOnce; ++k) some.push_back(Forward(k, 80));
    Add(table, some);
  }
  MeasureWith(table, kPresent, times);
  return 0;
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Run(argc > 1 ? std::atoi(argv[1]) : 1000); }
