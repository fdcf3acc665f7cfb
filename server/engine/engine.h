// The engine: makes, reads and removes network stacks, each call one transaction.
#ifndef NETPROV_SERVER_ENGINE_ENGINE_H_
#define NETPROV_SERVER_ENGINE_ENGINE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/error.h"
#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "server/engine/plan.h"
#include "server/engine/registry.h"

namespace netprov::engine {

// What every mutation carries besides its subject.
struct CallContext {
  // Names the call; empty: it is not remembered.
  std::string request_id;

  // The whole request but for its request_id, in a canonical form: equal for equal requests, different for different
  // ones, also across methods. Read only with a request_id.
  std::string fingerprint;

  // Check everything, change nothing.
  bool validate_only = false;

  // Asked once, before the first change: true ends the call with Reason::kStopped. Null: never.
  std::function<bool()> stopped;
};

struct CreateNamespaceCall {
  CallContext context;
  std::string id;
  bool allow_existing = false;
};

struct DeleteNamespaceCall {
  CallContext context;
  std::string id;
  bool allow_missing = false;
};

struct CreateVethCall {
  CallContext context;
  std::string id;  // empty: the engine chooses one
  VethSpec spec;
  bool allow_existing = false;
};

struct DeleteVethCall {
  CallContext context;
  std::string id;
  bool allow_missing = false;
};

// One page of a list, ordered by id.
template <typename T>
struct Page {
  std::vector<T> items;
  bool more = false;  // whether something follows the last item
};

// What Recover() did at start, for the log.
struct RecoveryReport {
  int rolled_back = 0;                // creates that had not finished
  int completed = 0;                  // deletes that had not finished
  std::vector<std::string> failures;  // what could not be put right, one sentence each; tried again at the next start
};

// The engine over a kernel and a registry, both of which must outlive it.
//
// Threading: thread-safe, but it does not order calls. The caller must not run two calls at once whose keys (below)
// overlap; the executor of server/rpc sees to that. Reads need no keys. Every call blocks in the kernel for
// microseconds to tens of milliseconds.
//
// Crash safety: the intent is in the registry before the first change, the outcome after the last one. Recover() rolls
// back or completes what a crash left between.
class Engine {
 public:
  Engine(Kernel& kernel, Registry& registry) : kernel_(kernel), registry_(registry) {}

  // Must be called once, before anything else.
  EngineResult<RecoveryReport> Recover();

  EngineResult<Namespace> CreateNamespace(const CreateNamespaceCall& call);
  EngineResult<Namespace> GetNamespace(const std::string& id);
  // Up to `limit` namespaces with ids greater than `after`, bytewise.
  EngineResult<Page<Namespace>> ListNamespaces(const std::string& after, size_t limit);
  EngineResult<void> DeleteNamespace(const DeleteNamespaceCall& call);

  EngineResult<Veth> CreateVeth(const CreateVethCall& call);
  EngineResult<Veth> GetVeth(const std::string& id);
  // Up to `limit` pairs with ids greater than `after`, bytewise.
  EngineResult<Page<Veth>> ListVeths(const std::string& after, size_t limit);
  EngineResult<void> DeleteVeth(const DeleteVethCall& call);

  // The keys of a call: resource names of all that it may change or rely on, and its request id. Two calls that share a
  // key must run one after the other, in the order of their arrival. Sorted, without repetition.
  //
  // What a delete touches is known only by looking: if a namespace of the pair or a pair of the namespace has changed
  // between Keys() and the call, the other call's keys overlap in the pair's own name or in the namespace's, so the
  // outcome is still serial.
  std::vector<std::string> Keys(const CreateNamespaceCall& call) const;
  std::vector<std::string> Keys(const DeleteNamespaceCall& call) const;
  std::vector<std::string> Keys(const CreateVethCall& call) const;
  std::vector<std::string> Keys(const DeleteVethCall& call) const;

 private:
  // Every change goes through here: the intent is written, the plan runs, the outcome is written. On failure all is
  // undone.
  EngineResult<void> Transact(const std::string& object, const Intent& intent, Plan& plan,
                              const std::function<Outcome()>& outcome);

  // The answer that the call's request id had before, if any.
  EngineResult<std::optional<RequestRecord>> Replay(const CallContext& context, const std::string& object);
  // What to remember of a call; nothing without a request id.
  std::optional<RequestRecord> Answer(const CallContext& context, std::optional<Namespace> netns,
                                      std::optional<Veth> veth) const;
  // Remembers an answer that changed nothing.
  EngineResult<void> RecordAnswer(const CallContext& context, const std::string& object,
                                  std::optional<RequestRecord> answer);

  EngineResult<std::optional<NetnsEntry>> FindNetns(const std::string& id);
  // Whether the kernel still has the namespace under its name.
  bool IsThere(const NamespaceRecord& record, const std::optional<NetnsEntry>& entry);
  EngineResult<Namespace> Describe(const std::string& id, const std::optional<NamespaceRecord>& record);
  EngineResult<void> DeleteRecordedNamespace(const NamespaceRecord& record, std::optional<RequestRecord> answer);

  // The managed namespace that an end shall live in, as far as the registry knows. `field` is the end's, for errors.
  EngineResult<NetnsRef> Resolve(const EndpointSpec& spec, const std::string& field);
  // The same, and it is there.
  EngineResult<NetnsRef> ResolveByLooking(const EndpointSpec& spec, const std::string& field);
  // The same for an end that was made; where its namespace is forgotten, the reference matches none.
  NetnsRef RefOf(const std::string& namespace_id) const;
  // The link of an end, if it is where we put it and still leads to the other end.
  KernelResult<std::optional<Link>> FindEnd(const VethRecord& record, const Endpoint& end, const Endpoint& other);
  // Deletes a pair by whichever end is found.
  KernelResult<void> DeleteLinksOf(const VethRecord& record);
  EngineResult<Veth> Describe(const VethRecord& record);
  EngineResult<void> DeleteRecordedVeth(const VethRecord& record, std::optional<RequestRecord> answer);
  EngineResult<std::string> ChooseName(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                       const std::vector<std::string>& taken, const std::string& object);
  // `replaced` is what is left of a pair that makes room: its ends do not count.
  EngineResult<void> CheckNameIsFree(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                     const std::string& object, const std::optional<VethRecord>& replaced);

  // Removes what an unfinished create has left, if it is ours.
  EngineResult<void> RollBack(const NamespaceRecord& record);
  EngineResult<void> RollBack(const VethRecord& record);

  Kernel& kernel_;
  Registry& registry_;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ENGINE_H_
