#include "server/engine/usage.h"

#include <algorithm>
#include <cstdint>
#include <variant>

#include "server/engine/address_translation.h"
#include "server/engine/objects.h"

namespace netprov::engine {
namespace {

int64_t Count(size_t number) { return static_cast<int64_t>(number); }

Usage UsageOf(const EndpointConfig& config) {
  return {.links = config.egress_limit.has_value() ? 1 : 0,
          .addresses = Count(config.ip.addresses.size()),
          .routes = Count(config.ip.routes.size() + config.gateways.size()),
          .nat_elements = Count(CountNatElements(config))};
}

}  // namespace

Usage UsageOf(const NamespaceRecord&) { return {.namespaces = 1}; }

Usage UsageOf(const VethRecord& record) {
  Usage usage{.links = 2};
  usage += UsageOf(record.spec.a.config);
  usage += UsageOf(record.spec.b.config);
  return usage;
}

Usage UsageOf(const DeviceRecord& record) {
  Usage usage{.links = 1};
  usage += UsageOf(record.spec.link.config);
  if (const auto* vxlan = std::get_if<VxlanOptions>(&record.spec.options)) usage.routes += Count(vxlan->fdb.size());
  return usage;
}

Usage UsageAfter(const Intent& intent) {
  if (intent.usage_after.has_value()) return *intent.usage_after;
  Usage usage;
  if (!IsDeletion(intent)) usage = VisitRecord(intent, [](const auto& record) { return UsageOf(record); });
  for (const NamespaceRecord& record : intent.new_namespaces) usage += UsageOf(record);
  return usage;
}

Usage Growth(const Usage& before, const Usage& after) {
  Usage growth;
  for (const CountedKind& kind : kCountedKinds) {
    growth.*kind.used = std::max<int64_t>(0, after.*kind.used - before.*kind.used);
  }
  return growth;
}

}  // namespace netprov::engine
