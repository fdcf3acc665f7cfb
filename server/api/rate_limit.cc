#include "server/api/rate_limit.h"

#include <linux/if_ether.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/engine/shaping.h"

namespace netprov::api {
namespace {

constexpr uint32_t kUsualMtu = 1500;  // of a veth
constexpr uint64_t kLeastRate = 8000;
constexpr uint64_t kGreatestRate = 1'000'000'000'000;
constexpr absl::Duration kLeastLatency = absl::Milliseconds(1);
constexpr absl::Duration kGreatestLatency = absl::Seconds(10);
constexpr absl::Duration kUsualLatency = absl::Milliseconds(50);

// Some twenty packets of the usual MTU: TCP fills a link of 10 Mbit/s with it.
constexpr uint64_t kLeastUsualBurst = 32768;
// Of the longest tick of the kernel's clock (CONFIG_HZ=100), within which a timer may be late.
constexpr uint64_t kTicksPerSecond = 100;
constexpr uint64_t kBitsPerByte = 8;

// One packet.
uint64_t LeastBurst(std::optional<uint32_t> mtu) { return uint64_t{mtu.value_or(kUsualMtu)} + ETH_HLEN; }

uint32_t UsualBurst(uint64_t rate, std::optional<uint32_t> mtu) {
  return static_cast<uint32_t>(std::max({LeastBurst(mtu), kLeastUsualBurst, rate / kBitsPerByte / kTicksPerSecond}));
}

}  // namespace

engine::RateLimit ToRateLimit(const std::string& field, const v1::RateLimit& proto, std::optional<uint32_t> mtu,
                              Violations& violations) {
  if (proto.rate() < kLeastRate || proto.rate() > kGreatestRate) {
    violations.Add(field + ".rate", absl::StrCat("must be ", kLeastRate, " to ", kGreatestRate,
                                                 " bits a second, but is ", proto.rate()));
    return {};
  }
  engine::RateLimit limit{.rate = proto.rate(), .burst = proto.burst(), .latency = kUsualLatency};
  const uint64_t least = LeastBurst(mtu);
  const uint64_t greatest = std::min<uint64_t>(std::numeric_limits<uint32_t>::max(),
                                               proto.rate() / kBitsPerByte * (engine::kLongestFill - 1));
  if (proto.burst() == 0) {
    limit.burst = UsualBurst(proto.rate(), mtu);
  } else if (proto.burst() < least || proto.burst() > greatest) {
    violations.Add(field + ".burst", absl::StrCat("must be ", least, ", a packet of the MTU with its Ethernet header, ",
                                                  "to ", greatest, " bytes at this rate, but is ", proto.burst()));
  }
  if (proto.has_latency()) {
    limit.latency = absl::Seconds(proto.latency().seconds()) + absl::Nanoseconds(proto.latency().nanos());
    if (limit.latency < kLeastLatency || limit.latency > kGreatestLatency) {
      violations.Add(field + ".latency",
                     absl::StrCat("must be 1ms to 10s, but is ", absl::FormatDuration(limit.latency)));
    }
    // As the kernel is told.
    limit.latency = absl::Trunc(limit.latency, absl::Microseconds(1));
  }
  return limit;
}

v1::RateLimit ToProto(const engine::RateLimit& limit) {
  v1::RateLimit proto;
  proto.set_rate(limit.rate);
  proto.set_burst(limit.burst);
  absl::Duration rest;
  proto.mutable_latency()->set_seconds(absl::IDivDuration(limit.latency, absl::Seconds(1), &rest));
  proto.mutable_latency()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(rest)));
  return proto;
}

engine::RateLimit WithoutUsualBurst(engine::RateLimit limit, std::optional<uint32_t> mtu) {
  if (limit.burst == UsualBurst(limit.rate, mtu)) limit.burst = 0;
  return limit;
}

}  // namespace netprov::api
