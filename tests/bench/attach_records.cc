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
      namespace_request_(engine::NewUid()),
      veth_request_(engine::NewUid()) {}

void AttachRecords::BeginNamespace(Registry& registry) {
  LookFor(namespace_request_, registry);
  sequence_ =
      Need(registry.Begin({.kind = Intent::Kind::kCreateNamespace, .netns = netns_, .veth = {}, .request = {}}));
}

void AttachRecords::CommitNamespace(Registry& registry) {
  RequestRecord answer{
      .request_id = namespace_request_, .fingerprint = Fingerprint(), .netns = netns_.ToNamespace(), .veth = {}};
  Need(registry.Commit(sequence_, {.put_namespace = netns_, .request = std::move(answer)}));
}

void AttachRecords::BeginVeth(Registry& registry) {
  LookFor(veth_request_, registry);
  sequence_ = Need(registry.Begin({.kind = Intent::Kind::kCreateVeth, .netns = {}, .veth = veth_, .request = {}}));
}

void AttachRecords::CommitVeth(Registry& registry) {
  RequestRecord answer{.request_id = veth_request_, .fingerprint = Fingerprint(), .netns = {}, .veth = veth_.ToVeth()};
  Need(registry.Commit(sequence_, {.put_veth = veth_, .request = std::move(answer)}));
}

void AttachRecords::Remove(Registry& registry) const {
  constexpr int64_t kNoIntent = 0;
  Need(registry.Commit(kNoIntent, {.remove_namespace = netns_, .remove_veths = {veth_}}));
}

}  // namespace netprov::bench
