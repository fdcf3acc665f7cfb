// What is written at once.
#ifndef NETPROV_SERVER_ENGINE_REGISTRY_OPERATION_H_
#define NETPROV_SERVER_ENGINE_REGISTRY_OPERATION_H_

#include <condition_variable>
#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/record_json.h"
#include "server/engine/registry.h"

namespace netprov::engine {

// An intent, an outcome, or neither: then it is a probe.
struct Registry::Operation {
  Operation(const Intent& begun, int64_t its_sequence)
      : intent(&begun), sequence(its_sequence), intent_text(ToJson(begun)), statements(1) {}
  Operation(const Outcome& committed, int64_t of, Fate its_fate) : outcome(&committed), sequence(of), fate(its_fate) {
    for (const NamespaceRecord& record : outcome->put_namespaces) namespace_texts.push_back(ToJson(record));
    if (outcome->put_veth.has_value()) veth_text = ToJson(*outcome->put_veth);
    if (outcome->put_device.has_value()) device_text = ToJson(*outcome->put_device);
    if (outcome->request.has_value()) answer_text = AnswerToJson(*outcome->request);
    statements = (sequence != 0 || outcome->request.has_value() ? 1 : 0) + (outcome->put_veth.has_value() ? 1 : 0) +
                 (outcome->put_device.has_value() ? 1 : 0) + (outcome->remove_namespace.has_value() ? 1 : 0) +
                 static_cast<int>(outcome->put_namespaces.size() + outcome->remove_veths.size() +
                                  outcome->remove_devices.size());
  }
  Operation() : statements(1) {}

  const Intent* intent = nullptr;
  const Outcome* outcome = nullptr;
  int64_t sequence = 0;           // the row of the journal
  TracedChange trace;             // of an intent that somebody asks about
  Fate fate = Fate::kUnfinished;  // of an outcome
  bool is_traced = false;         // of an outcome: its row stays
  bool is_audit_log = false;      // neither: the path in `intent_text` becomes the audit log's
  std::string intent_text;
  std::vector<std::string> namespace_texts;
  std::string veth_text;
  std::string device_text;
  std::string answer_text;
  int statements;  // one is a transaction by itself

  // Guarded by queue_mutex_.
  std::condition_variable wake;  // it is done, or first in the queue
  bool done = false;

  RegistryResult<void> result;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_REGISTRY_OPERATION_H_
