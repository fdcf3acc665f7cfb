// What the registry writes for one attach: a CreateVeth that makes the namespace too, with a request id.
#ifndef NETPROV_TESTS_BENCH_ATTACH_RECORDS_H_
#define NETPROV_TESTS_BENCH_ATTACH_RECORDS_H_

#include <cstdint>
#include <string>

#include "server/engine/records.h"
#include "server/engine/registry.h"

namespace netprov::bench {

// The writes of one attach, in their order, each as the engine makes it. A failure ends the process.
class AttachRecords {
 public:
  explicit AttachRecords(const std::string& id);

  // Before and after the namespace and the pair are made.
  void Begin(engine::Registry& registry, const engine::Origin* origin = nullptr);
  void Commit(engine::Registry& registry);

  // Forgets both.
  void Remove(engine::Registry& registry) const;

 private:
  engine::NamespaceRecord netns_;
  engine::VethRecord veth_;
  std::string request_id_;
  int64_t sequence_ = 0;
};

}  // namespace netprov::bench

#endif  // NETPROV_TESTS_BENCH_ATTACH_RECORDS_H_
