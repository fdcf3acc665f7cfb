#include "tests/bench/attach_records.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/time/clock.h"
#include "server/engine/tag.h"
#include "server/netlink/mac_address.h"

namespace netprov::bench {
namespace {

using engine::Intent;
using engine::Registry;
using engine::RequestRecord;

constexpr char kBootId[] = "3f1c9a52-6c7b-4f3e-9d53-0f5b4d1c2a77";

std::string Fingerprint() { return std::string(32, 'f'); }

template <typename T>
T Need(engine::RegistryResult<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

void Need(const engine::RegistryResult<void>& result) {
  if (result.ok()) return;
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

void LookFor(const std::string& request_id, Registry& registry) {
  if (!Need(registry.FindRequest(request_id)).has_value()) return;
  std::fprintf(stderr, "a new request id was answered before\n");
  std::exit(1);
}

}  // namespace

AttachRecords::AttachRecords(const std::string& id)
    : netns_{.id = id, .uid = engine::NewUid(), .create_time = absl::Now(), .boot_id = kBootId, .cookie = 4711},
      veth_{.id = id,
            .uid = engine::NewUid(),
            .create_time = absl::Now(),
            .boot_id = kBootId,
            .spec = {.a = {.interface_name = "host0"}, .b = {.namespace_id = id, .interface_name = "veth0"}},
            .a = {.interface_name = "host0",
                  .mac = netlink::MacAddress::Parse("02:00:00:00:00:01"),
                  .mtu = 1500,
                  .up = true,
                  .ifindex = 7},
            .b = {.namespace_id = id,
                  .interface_name = "veth0",
                  .mac = netlink::MacAddress::Parse("02:00:00:00:00:02"),
                  .mtu = 1500,
                  .up = true,
                  .ifindex = 2}},
      request_id_(engine::NewUid()) {}

void AttachRecords::Begin(Registry& registry, const engine::Origin* origin) {
  LookFor(request_id_, registry);
  sequence_ = Need(registry.Begin({.kind = Intent::Kind::kCreateVeth,
                                   .netns = {},
                                   .veth = veth_,
                                   .device = {},
                                   .new_namespaces = {netns_},
                                   .request = {}},
                                  {}, origin));
}

void AttachRecords::Commit(Registry& registry) {
  RequestRecord answer{.request_id = request_id_, .fingerprint = Fingerprint(), .netns = {}, .veth = veth_.ToVeth()};
  Need(registry.Commit(sequence_, {.put_namespaces = {netns_}, .put_veth = veth_, .request = std::move(answer)}));
}

void AttachRecords::Remove(Registry& registry) const {
  constexpr int64_t kNoIntent = 0;
  Need(registry.Commit(kNoIntent, {.remove_namespace = netns_, .remove_veths = {veth_}}));
}

}  // namespace netprov::bench
