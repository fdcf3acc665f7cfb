#include "server/netlink/qdisc.h"

#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// PSCHED_TICKS2NS(1) of Linux include/net/pkt_sched.h; /proc/net/psched has it as its second number.
constexpr uint64_t kTickNanoseconds = 64;
constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr uint64_t kMax32 = std::numeric_limits<uint32_t>::max();

// a * b / c, rounded down or up, at most 2^64 - 1. The product may be longer than 64 bits. `c` is not 0.
uint64_t MultiplyDivide(uint64_t a, uint64_t b, uint64_t c, bool up = false) {
  __extension__ using Wide = unsigned __int128;
  Wide result = (Wide{a} * b + (up ? c - 1 : 0)) / c;
  return static_cast<uint64_t>(std::min(result, Wide{std::numeric_limits<uint64_t>::max()}));
}

// How many ticks `bytes` take at `rate`, rounded up as tc does.
uint64_t BytesToTicks(uint64_t bytes, uint64_t rate) {
  const uint64_t divisor = rate > std::numeric_limits<uint64_t>::max() / kTickNanoseconds
                               ? std::numeric_limits<uint64_t>::max()
                               : rate * kTickNanoseconds;
  return MultiplyDivide(bytes, kNanosecondsPerSecond, divisor, /*up=*/true);
}

uint32_t TicksToBytes(uint64_t ticks, uint64_t rate) {
  return static_cast<uint32_t>(std::min(MultiplyDivide(ticks * kTickNanoseconds, rate, kNanosecondsPerSecond), kMax32));
}

// The name of each kind, and what it hangs at.
const char* KindOf(std::monostate) { return ""; }
const char* KindOf(const TokenBucket&) { return "tbf"; }
const char* KindOf(const Ingress&) { return "ingress"; }
const char* KindOf(const Clsact&) { return "clsact"; }

const char* KindOf(const Qdisc& qdisc) {
  return std::visit([](const auto& options) { return KindOf(options); }, qdisc.options);
}

MessageBuilder QdiscMessage(const char* name, uint16_t type, uint16_t flags, const Qdisc& qdisc) {
  MessageBuilder message(absl::StrCat(name, " ", KindOf(qdisc), " ifindex ", qdisc.ifindex), type, flags | NLM_F_ACK);
  if (qdisc.ifindex <= 0 || std::holds_alternative<std::monostate>(qdisc.options)) message.Fail(EINVAL);
  const bool root = std::holds_alternative<TokenBucket>(qdisc.options);
  tcmsg header = {};
  header.tcm_ifindex = qdisc.ifindex;
  header.tcm_parent = root ? TC_H_ROOT : TC_H_INGRESS;
  // The only one that ingress and clsact can have; the kernel chooses that of a root.
  header.tcm_handle = root ? 0 : TC_H_MAKE(TC_H_INGRESS, 0);
  message.PutHeader(header);
  message.PutString(TCA_KIND, KindOf(qdisc));
  return message;
}

void PutOptions(MessageBuilder& message, const TokenBucket& bucket) {
  const uint64_t ticks = bucket.rate == 0 ? 0 : BytesToTicks(bucket.burst, bucket.rate);
  if (bucket.rate == 0 || bucket.burst == 0 || bucket.limit == 0 || ticks > kMax32) message.Fail(EINVAL);
  tc_tbf_qopt parameters = {};
  parameters.rate.rate = static_cast<uint32_t>(std::min(bucket.rate, kMax32));
  // Without this the kernel wants a table of transmission times, which it has computed itself since Linux 3.9.
  parameters.rate.linklayer = TC_LINKLAYER_ETHERNET;
  parameters.rate.cell_align = -1;
  parameters.limit = bucket.limit;
  parameters.buffer = static_cast<uint32_t>(ticks);
  size_t options = message.BeginNest(TCA_OPTIONS);
  message.PutStruct(TCA_TBF_PARMS, parameters);
  // In bytes, which is exact, unlike the ticks.
  message.PutU32(TCA_TBF_BURST, bucket.burst);
  if (bucket.rate >= kMax32) message.PutU64(TCA_TBF_RATE64, bucket.rate);
  message.EndNest(options);
}

Request EncodeNew(uint16_t flags, const Qdisc& qdisc) {
  MessageBuilder message = QdiscMessage("RTM_NEWQDISC", RTM_NEWQDISC, flags | NLM_F_CREATE, qdisc);
  if (const auto* bucket = std::get_if<TokenBucket>(&qdisc.options)) PutOptions(message, *bucket);
  return std::move(message).Build();
}

KernelError Malformed(const std::string& what) {
  return {.code = EBADMSG, .operation = absl::StrCat("RTM_NEWQDISC reply: ", what), .extack = {}};
}

// None where it is malformed.
std::optional<TokenBucket> DecodeTokenBucket(std::span<const std::byte> attributes) {
  std::optional<tc_tbf_qopt> parameters;
  std::optional<uint64_t> rate;
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == TCA_TBF_PARMS) {
      parameters = attribute->Struct<tc_tbf_qopt>();
    } else if (attribute->type == TCA_TBF_RATE64) {
      rate = attribute->U64();
      if (!rate) return std::nullopt;
    }
  }
  if (reader.malformed() || !parameters) return std::nullopt;
  TokenBucket bucket;
  bucket.rate = rate.value_or(parameters->rate.rate);
  bucket.burst = TicksToBytes(parameters->buffer, bucket.rate);
  bucket.limit = parameters->limit;
  return bucket;
}

}  // namespace

uint32_t TokenBucketLimit(uint64_t rate, uint32_t burst, std::chrono::microseconds latency) {
  const uint64_t microseconds = static_cast<uint64_t>(std::max<int64_t>(latency.count(), 0));
  const uint64_t waiting = std::min(MultiplyDivide(rate, microseconds, 1'000'000), kMax32);
  return static_cast<uint32_t>(std::min(waiting + burst, kMax32));
}

Request EncodeNewQdisc(const Qdisc& qdisc) { return EncodeNew(NLM_F_EXCL, qdisc); }

Request EncodeReplaceQdisc(const Qdisc& qdisc) { return EncodeNew(NLM_F_REPLACE, qdisc); }

Request EncodeDeleteQdisc(const Qdisc& qdisc) { return QdiscMessage("RTM_DELQDISC", RTM_DELQDISC, 0, qdisc).Build(); }

Request EncodeDumpQdiscs() {
  MessageBuilder message("RTM_GETQDISC dump", RTM_GETQDISC, NLM_F_DUMP);
  message.PutHeader(tcmsg{});
  return std::move(message).Build();
}

KernelResult<Qdisc> DecodeQdisc(std::span<const std::byte> payload) {
  std::optional<tcmsg> header = TakeHeader<tcmsg>(payload);
  if (!header) return Malformed("no tcmsg");
  Qdisc qdisc;
  qdisc.ifindex = header->tcm_ifindex;
  qdisc.handle = header->tcm_handle;
  qdisc.parent = header->tcm_parent;
  if (qdisc.ifindex <= 0) return Malformed("no ifindex");

  std::span<const std::byte> options;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == TCA_KIND) {
      qdisc.kind = attribute->String().value_or("");
    } else if (attribute->type == TCA_OPTIONS) {
      options = attribute->payload;
    }
  }
  if (reader.malformed()) return Malformed("attributes cut short");
  if (qdisc.kind.empty()) return Malformed("no kind");
  if (qdisc.kind == "ingress") qdisc.options = Ingress{};
  if (qdisc.kind == "clsact") qdisc.options = Clsact{};
  if (qdisc.kind == "tbf") {
    std::optional<TokenBucket> bucket = DecodeTokenBucket(options);
    if (!bucket) return Malformed("options of a tbf");
    qdisc.options = *bucket;
  }
  return qdisc;
}

}  // namespace netprov::netlink
