// What the registry writes for one attach: a CreateNamespace and a CreateVeth, each with a request id.
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

  // Before and after the namespace is made.
  void BeginNamespace(engine::Registry& registry);
  void CommitNamespace(engine::Registry& registry);

  // Before and after the pair is made.
  void BeginVeth(engine::Registry& registry);
  void CommitVeth(engine::Registry& registry);

  // Forgets both.
  void Remove(engine::Registry& registry) const;

 private:
  engine::NamespaceRecord netns_;
  engine::VethRecord veth_;
  std::string namespace_request_;
  std::string veth_request_;
  int64_t sequence_ = 0;
};

}  // namespace netprov::bench

#endif  // NETPROV_TESTS_BENCH_ATTACH_RECORDS_H_
