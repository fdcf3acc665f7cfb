#include "server/engine/engine.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/address_translation.h"
#include "server/engine/error.h"
#include "server/engine/origin.h"
#include "server/engine/plan.h"

namespace netprov::engine {
namespace {

std::vector<std::string> SortedKeys(std::vector<std::string> keys, const CallContext& context) {
  if (!context.request_id.empty()) keys.push_back(absl::StrCat("requests/", context.request_id));
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

// The place of a namespace that is to be: a pair may be on its way there.
std::string PlaceOfName(const std::string& id) { return PlaceName({.path = "/run/netns/" + id}); }

// Of a spec's ends, or of a record's.
template <typename End>
void AddNamespaceKeys(const End& a, const End& b, std::vector<std::string>& keys) {
  for (const End* end : {&a, &b}) {
    if (!end->namespace_id.empty()) keys.push_back(NamespaceName(end->namespace_id));
    if (end->place.has_value()) keys.push_back(PlaceName(*end->place));
  }
}

// Of the bridge that a link is to be a port of. One that is not ours has none: nothing of ours changes it.
void AddBridgeKey(const EndpointSpec& link, std::vector<std::string>& keys) {
  if (!link.config.bridge.empty()) keys.push_back(link.config.bridge);
}

// Of two that switch forwarding on in the host's namespace, which has no key, the second waits for the first.
void AddForwardingKey(const VethSpec& spec, std::vector<std::string>& keys) {
  const bool a_wants = spec.a.config.ip_forwarding && spec.b.is_at_host();
  const bool b_wants = spec.b.config.ip_forwarding && spec.a.is_at_host();
  if (a_wants || b_wants) keys.push_back(kHostForwardingKey);
}

}  // namespace

EngineResult<std::optional<RequestRecord>> Engine::Replay(const CallContext& context, const std::string& object) {
  if (context.request_id.empty() || context.validate_only) return std::optional<RequestRecord>();
  RegistryResult<std::optional<RequestRecord>> answered = registry_.FindRequest(context.request_id);
  if (!answered.ok()) return RegistryFailure(object, answered.error().message);
  if (answered->has_value() && (*answered)->fingerprint != context.fingerprint) return RequestIdReused(object);
  return *std::move(answered);
}

std::optional<RequestRecord> Engine::Answer(const CallContext& context, std::optional<Namespace> netns,
                                            std::optional<Veth> veth, std::optional<Device> device) const {
  if (context.request_id.empty()) return std::nullopt;
  return RequestRecord{.request_id = context.request_id,
                       .fingerprint = context.fingerprint,
                       .netns = std::move(netns),
                       .veth = std::move(veth),
                       .device = std::move(device)};
}

EngineResult<void> Engine::RecordAnswer(const CallContext& context, const std::string& object,
                                        std::optional<RequestRecord> answer) {
  if (context.request_id.empty()) return {};
  constexpr int64_t kNoIntent = 0;
  RegistryResult<void> written = registry_.Commit(kNoIntent, {.request = std::move(answer)});
  if (!written.ok()) return RegistryFailure(object, written.error().message);
  return {};
}

EngineResult<void> Engine::Transact(const std::string& object, const Intent& intent, Plan& plan,
                                    const Allowance& allowance, const std::function<Outcome()>& outcome) {
  RegistryResult<int64_t> sequence = registry_.Begin(intent, allowance, OriginScope::Current());
  if (!sequence.ok() && sequence.error().excess.has_value()) return QuotaExceeded(object, *sequence.error().excess);
  if (!sequence.ok()) return RegistryFailure(object, sequence.error().message);
  // What a creation has left stays intended, and recovery tries again. A deletion is not completed behind its caller's
  // back: others may build on what is left until then. What it has done shows as missing, and it can be repeated.
  auto fail = [&](Error error, std::vector<std::string> residue) -> Error {
    bool withdrawn = false;
    if (residue.empty() || IsDeletion(intent)) {
      RegistryResult<void> aborted = registry_.Abort(*sequence);
      withdrawn = aborted.ok();
      // An intent that stays is residue too, as recovery acts on it.
      if (!withdrawn) {
        residue.push_back(absl::StrCat("the intent could not be withdrawn: ", aborted.error().message));
      }
    }
    if (!withdrawn) {
      std::lock_guard<std::mutex> lock(mutex_);
      unfinished_.insert(*sequence);
    }
    if (residue.empty()) return error;
    Error rollback = RollbackFailure(object, error.message, residue);
    rollback.step = error.step;
    rollback.kernel = error.kernel;
    return rollback;
  };
  if (auto ran = plan.Run(); !ran.ok()) {
    return fail(KernelFailure(object, ran.error().step, ran.error().error), ran.error().residue);
  }
  RegistryResult<void> written = registry_.Commit(*sequence, outcome());
  if (written.ok()) return {};
  return fail(RegistryFailure(object, written.error().message), plan.Undo());
}

EngineResult<void> Engine::ExpectRoom(const std::string& object, const Intent& intent,
                                      const Allowance& allowance) const {
  const std::optional<QuotaExcess> excess = registry_.FindExcess(intent, allowance);
  if (excess.has_value()) return QuotaExceeded(object, *excess);
  return {};
}

std::optional<absl::Time> Engine::ExpireTimeOf(const std::string& uid) const {
  const std::optional<absl::Duration> remaining = leases_.Remaining(uid);
  if (!remaining.has_value()) return std::nullopt;
  return absl::Now() + *remaining;
}

std::vector<std::string> Engine::Keys(const CreateNamespaceCall& call) const {
  return SortedKeys({NamespaceName(call.id), PlaceOfName(call.id)}, call.context);
}

std::vector<std::string> Engine::Keys(const DeleteNamespaceCall& call) const {
  std::vector<std::string> keys = {NamespaceName(call.id)};
  for (const VethRecord& veth : registry_.ListVethsOf(call.id)) keys.push_back(VethName(veth.id));
  for (const DeviceRecord& device : registry_.ListDevicesOf(call.id)) keys.push_back(device.name);
  return SortedKeys(std::move(keys), call.context);
}

std::vector<std::string> Engine::Keys(const AdoptNamespaceCall& call) const {
  return SortedKeys({NamespaceName(call.id), PlaceOfName(call.id)}, call.context);
}

std::vector<std::string> Engine::Keys(const ReleaseNamespaceCall& call) const {
  return SortedKeys({NamespaceName(call.id)}, call.context);
}

std::vector<std::string> Engine::Keys(const CreateVethCall& call) const {
  std::vector<std::string> keys;
  if (!call.id.empty()) keys.push_back(VethName(call.id));
  AddNamespaceKeys(call.spec.a, call.spec.b, keys);
  // In the host's namespace, which has no key, of two that want one name the second waits for the first.
  for (const EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
    if (end->is_at_host()) keys.push_back("links/" + end->interface_name);
    AddBridgeKey(*end, keys);
    if (call.create_namespaces && !end->namespace_id.empty()) keys.push_back(PlaceOfName(end->namespace_id));
  }
  AddForwardingKey(call.spec, keys);
  return SortedKeys(std::move(keys), call.context);
}

std::vector<std::string> Engine::Keys(const DeleteVethCall& call) const {
  std::vector<std::string> keys = {VethName(call.id)};
  if (std::optional<VethRecord> record = registry_.FindVeth(call.id); record.has_value()) {
    AddNamespaceKeys(record->a, record->b, keys);
    for (const EndpointSpec* end : {&record->spec.a, &record->spec.b}) {
      AddBridgeKey(*end, keys);
    }
    AddForwardingKey(record->spec, keys);
  }
  return SortedKeys(std::move(keys), call.context);
}

static bool Holds(const CallContext& context, const std::vector<std::string>& places) {
  return context.keys.empty() ||
         absl::c_all_of(places, [&](const std::string& place) { return absl::c_linear_search(context.keys, place); });
}

bool Engine::HoldsPlacesOf(const VethRecord& record, const CallContext& context) {
  std::vector<std::string> places;
  AddNamespaceKeys(record.a, record.b, places);
  return Holds(context, places);
}

bool Engine::HoldsPlacesOf(const DeviceRecord& record, const CallContext& context) {
  std::vector<std::string> places;
  for (const std::string& id : {record.link.namespace_id, record.spec.lower.namespace_id}) {
    if (!id.empty()) places.push_back(NamespaceName(id));
  }
  return Holds(context, places);
}

std::vector<std::string> Engine::Keys(const UpdateNamespaceCall& call) const {
  return SortedKeys({NamespaceName(call.id)}, call.context);
}

std::vector<std::string> Engine::Keys(const UpdateVethCall& call) const {
  std::vector<std::string> keys = Keys(DeleteVethCall{.context = call.context, .id = call.id});
  keys.insert(keys.end(), call.bridges.begin(), call.bridges.end());
  if (call.ip_forwarding) keys.push_back(kHostForwardingKey);
  return SortedKeys(std::move(keys), call.context);
}

std::vector<std::string> Engine::Keys(const UpdateDeviceCall& call) const {
  std::vector<std::string> keys = Keys(DeleteDeviceCall{.context = call.context, .name = call.name});
  keys.insert(keys.end(), call.bridges.begin(), call.bridges.end());
  return SortedKeys(std::move(keys), call.context);
}

std::vector<std::string> Engine::Keys(const CreateDeviceCall& call) const {
  const EndpointSpec& link = call.spec.link;
  std::vector<std::string> keys;
  if (!absl::EndsWith(call.name, "/")) keys.push_back(call.name);
  keys.push_back(link.is_at_host() ? "links/" + link.interface_name : NamespaceName(link.namespace_id));
  if (!call.spec.lower.namespace_id.empty()) keys.push_back(NamespaceName(call.spec.lower.namespace_id));
  AddBridgeKey(link, keys);
  return SortedKeys(std::move(keys), call.context);
}

std::vector<std::string> Engine::Keys(const DeleteDeviceCall& call) const {
  std::vector<std::string> keys = {call.name};
  if (const std::optional<DeviceRecord> record = registry_.FindDevice(call.name); record.has_value()) {
    if (!record->link.namespace_id.empty()) keys.push_back(NamespaceName(record->link.namespace_id));
    // It may have to be made again on what is there.
    if (!record->spec.lower.namespace_id.empty()) keys.push_back(NamespaceName(record->spec.lower.namespace_id));
    AddBridgeKey(record->spec.link, keys);
  }
  return SortedKeys(std::move(keys), call.context);
}

bool Engine::IsAnswered(const std::string& request_id) const {
  if (request_id.empty()) return false;
  const RegistryResult<std::optional<RequestRecord>> answer = registry_.FindRequest(request_id);
  return answer.ok() && answer->has_value();
}

std::optional<ObjectFacts> Engine::FactsOf(absl::string_view resource) const {
  auto facts_of_end = [](const EndpointSpec& end, ObjectFacts& facts) {
    facts.is_at_host |= end.is_at_host();
    facts.has_path |= end.place.has_value() && !end.place->path.empty();
    facts.has_pid |= end.place.has_value() && end.place->pid != 0;
  };
  if (const auto id = NamespaceIdIn(resource); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    if (!record.has_value()) return std::nullopt;
    return ObjectFacts{.labels = record->metadata.labels};
  }
  if (const auto id = VethIdIn(resource); id.has_value()) {
    const std::optional<VethRecord> record = registry_.FindVeth(*id);
    if (!record.has_value()) return std::nullopt;
    ObjectFacts facts{.labels = record->metadata.labels};
    facts_of_end(record->spec.a, facts);
    facts_of_end(record->spec.b, facts);
    return facts;
  }
  const std::optional<DeviceRecord> record = registry_.FindDevice(std::string(resource));
  if (!record.has_value()) return std::nullopt;
  ObjectFacts facts{.labels = record->metadata.labels};
  facts_of_end(record->spec.link, facts);
  facts.is_at_host |= HasLower(record->spec.options) && record->spec.lower.namespace_id.empty();
  return facts;
}

}  // namespace netprov::engine
