// The engine: makes, reads and removes network stacks, each call one transaction.
#ifndef NETPROV_SERVER_ENGINE_ENGINE_H_
#define NETPROV_SERVER_ENGINE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/base/result.h"
#include "server/engine/error.h"
#include "server/engine/host_report.h"
#include "server/engine/inspection.h"
#include "server/engine/kernel.h"
#include "server/engine/lease_book.h"
#include "server/engine/link_difference.h"
#include "server/engine/objects.h"
#include "server/engine/plan.h"
#include "server/engine/quota.h"
#include "server/engine/registry.h"
#include "server/engine/tag.h"
#include "server/netlink/nat.h"
#include "server/netlink/route.h"

namespace netprov::engine {

// What every mutation carries besides its subject.
struct CallContext {
  // Names the call; empty: it is not remembered.
  std::string request_id;

  // The whole request but for its request_id, in a canonical form: equal for equal requests, different for different
  // ones, also across methods. Read only with a request_id.
  std::string fingerprint;

  // Who calls, by the name that policy and limits know; empty: nobody but the process itself.
  std::string caller;

  // How much there may be then, or kQuotaExceeded. What a creation makes counts for its caller, what an update adds for
  // who made the object; what is deleted counts no more. Nothing else that the engine does is ever too much.
  Allowance allowance;

  // Check everything, change nothing.
  bool validate_only = false;

  // Asked once, before the first change: true ends the call with Reason::kStopped. Null: never.
  std::function<bool()> stopped;

  // What Engine::Keys() said of the call when it came. Empty: no other call runs beside it.
  std::vector<std::string> keys;
};

struct CreateNamespaceCall {
  CallContext context;
  std::string id;
  NamespaceSpec spec;
  Metadata metadata;
  bool allow_existing = false;
};

struct DeleteNamespaceCall {
  CallContext context;
  std::string id;
  bool allow_missing = false;
  bool force = false;  // also with processes inside
};

struct AdoptNamespaceCall {
  CallContext context;
  std::string id;
  NamespaceSpec spec;
  Metadata metadata;  // not persistent: what others made in it can't be made again
  bool allow_existing = false;
};

struct ReleaseNamespaceCall {
  CallContext context;
  std::string id;
  bool allow_missing = false;  // also where it is there and not managed
};

struct CreateVethCall {
  CallContext context;
  std::string id;  // empty: the engine chooses one
  VethSpec spec;
  Metadata metadata;
  bool allow_existing = false;
  // Namespaces that the ends name and nobody has are made with the pair, with its metadata and else as by default.
  bool create_namespaces = false;
};

struct DeleteVethCall {
  CallContext context;
  std::string id;
  bool allow_missing = false;
};

struct CreateDeviceCall {
  CallContext context;
  std::string name;  // the resource name; without an id, as in `bridges/`, the engine chooses one
  DeviceSpec spec;
  Metadata metadata;
  bool allow_existing = false;
};

struct DeleteDeviceCall {
  CallContext context;
  std::string name;
  bool allow_missing = false;
};

// What an object is asked to be.
template <typename Spec>
struct Asked {
  Spec spec;
  Metadata metadata;
};

// Makes of what an object was asked to be what it shall be, or says what is wrong with that. What never changes must
// stay: where a link lives, its interface name and its queues.
template <typename Spec>
using Edit = std::function<netprov::Result<Asked<Spec>, std::vector<InvalidField>>(const Asked<Spec>& present)>;

struct UpdateNamespaceCall {
  CallContext context;
  std::string id;
  Edit<NamespaceSpec> edit;
};

struct UpdateVethCall {
  CallContext context;
  std::string id;
  Edit<VethSpec> edit;
  std::vector<std::string> bridges;  // the resource names of those that `edit` may bring in
  bool ip_forwarding = false;        // `edit` may ask for it
};

struct UpdateDeviceCall {
  CallContext context;
  std::string name;
  Edit<DeviceSpec> edit;
  std::vector<std::string> bridges;  // as of UpdateVethCall
};

// One page of a list, ordered by id.
template <typename T>
struct Page {
  std::vector<T> items;
  bool more = false;  // whether something follows the last item
};

// An object, to be told from a later one of the same name.
struct ObjectRef {
  std::string name;  // `namespaces/blue`, `veths/v1`, `bridges/br0`, `devices/m0`
  std::string uid;
};

// Deletes what an owner no longer needs. Made by Engine::PlanGarbage().
struct CollectGarbageCall {
  std::string owner;
  std::unordered_set<std::string> keep;                   // resource names
  std::vector<ObjectRef> doomed;                          // in the order of deletion
  std::vector<std::pair<std::string, std::string>> kept;  // names of the owner's that must stay, and why
  bool validate_only = false;
  std::function<bool()> stopped;  // asked before each deletion
};

// What CollectGarbage() did.
struct Garbage {
  std::vector<std::string> deleted;                           // or would be, with validate_only
  std::vector<std::pair<std::string, std::string>> failures;  // names, and why
};

// Made by Engine::PlanCheck().
struct CheckHostCall {
  // Look, and change nothing.
  bool validate_only = false;
  // The intents that were left unfinished when the call came.
  std::set<int64_t> unfinished;
  // Persistent objects that could not be made again after the last reboot, each after what it stands on.
  std::vector<ObjectRef> unrestored;
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
  Engine(Kernel& kernel, Registry& registry, LeaseBook::Clock clock = BootTime)
      : kernel_(kernel), registry_(registry), leases_(std::move(clock)) {}

  // Must be called once, before anything else: puts the host in order as CheckHost() does, makes persistent objects of
  // an earlier boot again, and begins every lease anew. Returns all findings, of which GetHostReport() has the first.
  EngineResult<HostReport> Recover();

  // Compares the registry with the kernel. Rolls back or completes what is unfinished, removes orphans and restores
  // what an earlier attempt could not, unless the call says to look only.
  EngineResult<HostReport> CheckHost(const CheckHostCall& call);
  CheckHostCall PlanCheck(bool validate_only) const;
  // The last report.
  HostReport GetHostReport() const;

  // Whether a call with that request id was answered (Registry::FindRequest()); one that can't be looked up was not.
  bool IsAnswered(const std::string& request_id) const;

  // What the objects of a creator (CallContext::caller) count for (usage.h).
  Usage UsedBy(const std::string& creator) const { return registry_.UsedBy(creator); }

  // What decides who may change a managed object, by its resource name; from the registry alone. nullopt: there is
  // none.
  std::optional<ObjectFacts> FactsOf(absl::string_view resource) const;

  EngineResult<Namespace> CreateNamespace(const CreateNamespaceCall& call);
  EngineResult<Namespace> GetNamespace(const std::string& id, bool with_inhabitants = false);
  // Up to `limit` namespaces with ids greater than `after`, bytewise.
  EngineResult<Page<Namespace>> ListNamespaces(const std::string& after, size_t limit);
  EngineResult<void> DeleteNamespace(const DeleteNamespaceCall& call);
  // An update changes what differs between what the object was asked to be and what it shall be. Where somebody else
  // changed something besides, that stays as it is. kInvalidChange; kObjectMissing, or of a namespace
  // kNamespaceMissing.
  EngineResult<Namespace> UpdateNamespace(const UpdateNamespaceCall& call);

  // Makes a namespace ours that somebody else made, with all that is in it. kNamespaceNotAdoptable; kNamespaceInUse:
  // pairs end in it by a place.
  EngineResult<Namespace> AdoptNamespace(const AdoptNamespaceCall& call);
  // Forgets a namespace, which stays. kNamespaceInUse: pairs or devices of ours are in it.
  EngineResult<void> ReleaseNamespace(const ReleaseNamespaceCall& call);

  EngineResult<Veth> CreateVeth(const CreateVethCall& call);
  EngineResult<Veth> GetVeth(const std::string& id);
  // Up to `limit` pairs with ids greater than `after`, bytewise.
  EngineResult<Page<Veth>> ListVeths(const std::string& after, size_t limit);
  EngineResult<void> DeleteVeth(const DeleteVethCall& call);
  EngineResult<Veth> UpdateVeth(const UpdateVethCall& call);

  EngineResult<Device> CreateDevice(const CreateDeviceCall& call);
  EngineResult<Device> GetDevice(const std::string& name);
  // Up to `limit` devices of a collection, as in `bridges/` or `devices/`, with names greater than `after`, bytewise.
  EngineResult<Page<Device>> ListDevices(const std::string& collection, const std::string& after, size_t limit);
  // kDeviceInUse: pairs or devices of ours are to be its ports.
  EngineResult<void> DeleteDevice(const DeleteDeviceCall& call);
  EngineResult<Device> UpdateDevice(const UpdateDeviceCall& call);

  // What a managed namespace or the host's has in the kernel, whoever made it. Up to `limit` items with ids greater
  // than `after`, bytewise: what is there from one page to the next is neither left out nor there twice. Each page
  // looks at all there is.
  EngineResult<Page<InspectedLink>> ListLinks(const LinkFilter& filter, const std::string& after, size_t limit);
  EngineResult<Page<InspectedAddress>> ListAddresses(const IpFilter& filter, const std::string& after, size_t limit);
  EngineResult<Page<InspectedRoute>> ListRoutes(const IpFilter& filter, const std::string& after, size_t limit);
  EngineResult<Page<InspectedNeighbour>> ListNeighbours(const IpFilter& filter, const std::string& after, size_t limit);

  // A sign of an owner's. Never blocks.
  LeaseBook::Renewal RenewLease(const std::string& owner) { return leases_.Renew(owner); }
  // What expires when; for who deletes it (DeleteExpired()).
  const LeaseBook& leases() const { return leases_; }

  // What of the owner's is to go where these resource names are to stay. Never blocks.
  CollectGarbageCall PlanGarbage(const std::string& owner, const std::vector<std::string>& keep) const;
  EngineResult<Garbage> CollectGarbage(const CollectGarbageCall& call);

  struct Expiry {
    bool deleted = false;
    std::string kept_because;  // one clause; empty where its owner was heard of meanwhile, or it is gone
  };
  // Deletes an object whose lease has ended, unless its owner was heard of meanwhile. A namespace in which a pair or a
  // device of another owner is, is kept; what is nobody's goes with it. A bridge that has ports is kept.
  EngineResult<Expiry> DeleteExpired(const ObjectRef& object);

  // How an object is now.
  struct Condition {
    State state = State::kReady;
    std::vector<Deviation> deviations;
    // Heal() is to put it right without being asked: it was to be healed, or it is persistent and was not made again
    // yet since the reboot.
    bool is_to_be_healed = false;

    friend bool operator==(const Condition&, const Condition&) = default;
  };
  // nullopt: it was deleted.
  EngineResult<std::optional<Condition>> Inspect(const ObjectRef& object);
  // Puts an object right that is kDegraded or kMissing: sets again what was changed, makes again what is gone, under
  // the same names, with the same uid and MAC addresses. Harmless where all is well.
  EngineResult<void> Heal(const ObjectRef& object);

  // The keys of a call: resource names of all that it may change or rely on, and its request id. Two calls that share a
  // key must run one after the other, in the order of their arrival. Sorted, without repetition.
  //
  // What a delete touches is known only by looking: if a namespace of the pair or a pair of the namespace has changed
  // between Keys() and the call, the other call's keys overlap in the pair's own name or in the namespace's, so the
  // outcome is still serial.
  std::vector<std::string> Keys(const CreateNamespaceCall& call) const;
  std::vector<std::string> Keys(const DeleteNamespaceCall& call) const;
  std::vector<std::string> Keys(const AdoptNamespaceCall& call) const;
  std::vector<std::string> Keys(const ReleaseNamespaceCall& call) const;
  std::vector<std::string> Keys(const CreateVethCall& call) const;
  std::vector<std::string> Keys(const DeleteVethCall& call) const;
  std::vector<std::string> Keys(const CreateDeviceCall& call) const;
  std::vector<std::string> Keys(const DeleteDeviceCall& call) const;
  std::vector<std::string> Keys(const UpdateNamespaceCall& call) const;
  std::vector<std::string> Keys(const UpdateVethCall& call) const;
  std::vector<std::string> Keys(const UpdateDeviceCall& call) const;
  std::vector<std::string> Keys(const CollectGarbageCall& call) const;
  std::vector<std::string> Keys(const CheckHostCall& call) const;
  // For DeleteExpired(), Inspect() and Heal().
  std::vector<std::string> Keys(const ObjectRef& object) const;

 private:
  // How often something is made that others delete as soon as it is there.
  static constexpr int kMostBirths = 3;
  // Somebody else may take a name between our looking for a free one and using it; so often in a row only on purpose.
  static constexpr int kMostNamingAttempts = 16;

  // Every change goes through here: the intent is written, the plan runs, the outcome is written. On failure all is
  // undone.
  EngineResult<void> Transact(const std::string& object, const Intent& intent, Plan& plan, const Allowance& allowance,
                              const std::function<Outcome()>& outcome);
  // The same for what is never too much.
  EngineResult<void> Transact(const std::string& object, const Intent& intent, Plan& plan,
                              const std::function<Outcome()>& outcome) {
    return Transact(object, intent, plan, {}, outcome);
  }
  // kQuotaExceeded where Transact() would refuse it now; for who only checks.
  EngineResult<void> ExpectRoom(const std::string& object, const Intent& intent, const Allowance& allowance) const;

  // The answer that the call's request id had before, if any.
  EngineResult<std::optional<RequestRecord>> Replay(const CallContext& context, const std::string& object);
  // What to remember of a call; nothing without a request id.
  std::optional<RequestRecord> Answer(const CallContext& context, std::optional<Namespace> netns,
                                      std::optional<Veth> veth, std::optional<Device> device = std::nullopt) const;
  // Remembers an answer that changed nothing.
  EngineResult<void> RecordAnswer(const CallContext& context, const std::string& object,
                                  std::optional<RequestRecord> answer);

  EngineResult<std::optional<NetnsEntry>> FindNetns(const std::string& id);
  std::string TagFor(const NamespaceRecord& record) const;
  std::string TagFor(const VethRecord& record) const;
  std::string TagFor(const DeviceRecord& record) const;
  // When the object's lease ends, by the host's clock.
  std::optional<absl::Time> ExpireTimeOf(const std::string& uid) const;
  // Whether a call that is under way makes or deletes a namespace of that name.
  bool IsInTheMaking(const std::string& id) const;
  // Whether the kernel still has the namespace under its name.
  bool IsThere(const NamespaceRecord& record, const std::optional<NetnsEntry>& entry) const;
  EngineResult<Namespace> Describe(const std::string& id, const std::optional<NamespaceRecord>& record);
  // One of ours, as a look at its name has shown it.
  EngineResult<Namespace> Describe(const NamespaceRecord& record, const std::optional<NetnsEntry>& entry);
  // The step that makes a namespace, whose cookie `record` has then; it must outlive the plan.
  void AddBirth(NamespaceRecord& record, Plan& plan);
  // What it is that has the name of a namespace, which could not be made for that.
  Error NameTaken(const std::string& id);
  // Whether that step failed since somebody has the name.
  static bool IsOfName(const Error& error, const std::string& id);
  // Makes a namespace as the record says, and writes the record with what the kernel chose.
  // `is_new`: its lease begins. `replaced` is a missing one of the same id, which goes then with its pairs.
  EngineResult<NamespaceRecord> MakeNamespace(NamespaceRecord record, const CallContext& context, bool is_new,
                                              const std::optional<NamespaceRecord>& replaced);
  // Steps that delete what is left of a namespace that is not there any more. What they refer to must outlive the plan.
  void AddStepsForRemains(const NamespaceRecord& record, const std::vector<VethRecord>& veths,
                          const std::optional<NetnsEntry>& entry, const std::function<KernelResult<void>()>& undo,
                          Plan& plan);
  // kNamespaceBusy: processes are inside.
  EngineResult<void> CheckIsVacant(const NamespaceRecord& record);
  // Whoever is inside.
  EngineResult<void> DeleteRecordedNamespace(const NamespaceRecord& record, std::optional<RequestRecord> answer);

  // The registered pairs and devices that are, or stand on a link, in that managed namespace, by their resource names.
  std::vector<std::string> UsersOf(const std::string& id) const;
  EngineResult<void> CheckIsAdoptable(const std::string& id, const NetnsEntry& entry);
  // Two calls may reach one namespace that is not managed by ways that share no key. So each claims it, from before its
  // last look at the registry to after its outcome: while pairs are on their way into it, it is not adopted; while it
  // is being adopted, no pair is made there and nobody else adopts it. Gives the claim back where it is destroyed;
  // null: nothing is to be claimed.
  using Claim = std::shared_ptr<void>;
  // kPlaceUnusable, also where it was adopted since it was looked at. `field` is the end's.
  EngineResult<Claim> ClaimForPair(const std::string& object, const NetnsRef& netns, const std::string& field);
  // kNamespaceInUse, kNamespaceNotAdoptable.
  EngineResult<Claim> ClaimForAdoption(const std::string& id, uint64_t cookie);
  // Makes it as it was before, as far as it is there.
  KernelResult<void> UndoAdoption(const NamespaceRecord& record);
  EngineResult<void> ReleaseRecordedNamespace(const NamespaceRecord& record, std::optional<RequestRecord> answer);

  // Its files at /etc/netns become those that `dns` says.
  KernelResult<void> WriteDns(const NamespaceRecord& record, const DnsSpec& dns);
  KernelResult<void> RemoveDns(const NamespaceRecord& record);
  // Looks whether the files that a record asks for can be written; they may be those of `former`, which it replaces.
  // Sets `owns_etc_directory`. kDnsFileNotManaged.
  EngineResult<void> PrepareDns(const std::optional<NamespaceRecord>& former, NamespaceRecord& record);
  // `record` must outlive the plan.
  void AddDnsStep(const NamespaceRecord& record, Plan& plan);
  void AddDnsRemoval(const NamespaceRecord& record, const std::function<KernelResult<void>()>& undo, Plan& plan);
  EngineResult<std::vector<Deviation>> FindDnsDeviations(const NamespaceRecord& record);
  EngineResult<void> ResetDns(const NamespaceRecord& record);
  void CollectOrphanFiles(bool look_only, HostReport& report);

  // A managed namespace that is there.
  EngineResult<NetnsRef> FindManaged(const std::string& id);
  // What `look` finds in a managed namespace, or with an empty id in the host's. `step` says what it does, for errors.
  template <typename Look>
  auto LookInto(const std::string& namespace_id, const char* step, Look look)
      -> EngineResult<std::decay_t<decltype(*look(NetnsRef()))>>;
  // The object that a link of the namespace belongs to, by its resource name; empty: to none of ours.
  std::string ObjectOfLink(const std::string& namespace_id, const Link& link) const;
  class ObjectsOfLinks;
  // The same for a route of kOwnedProtocol that belongs to no link.
  std::string ObjectOfRouteWithoutLink(const std::string& namespace_id, const netlink::Route& route) const;

  // The namespace that an end shall live in: a managed one as far as the registry knows, one at a place as it is now.
  // `field` is the end's, for errors.
  EngineResult<NetnsRef> Resolve(const EndpointSpec& spec, const std::string& field);
  // The same, and it is there.
  EngineResult<NetnsRef> ResolveByLooking(const EndpointSpec& spec, const std::string& field);
  EngineResult<NetnsRef> ResolvePlace(const NetnsPlace& place, const std::string& field);
  // Where an end that was made is to be made again. The number of a process may be another's by now.
  EngineResult<NetnsRef> ResolveAgain(const Endpoint& made, const std::string& field);
  // The same for an end that was made; where its namespace is forgotten, the reference matches none.
  NetnsRef RefOf(const VethRecord& record, const Endpoint& end) const;
  NetnsRef RefOf(const DeviceRecord& record) const;
  // The link of an end, if it is where we put it and still leads to the other end.
  KernelResult<std::optional<Link>> FindEnd(const VethRecord& record, const Endpoint& end, const Endpoint& other);
  // Deletes a pair by whichever end is found.
  KernelResult<void> DeleteLinksOf(const VethRecord& record);
  // An end with a place that leads to its namespace: by a process inside where its own leads elsewhere by now, if there
  // is one. Looks at each process of the machine then.
  KernelResult<Endpoint> ByAnyWay(const VethRecord& record, const Endpoint& end);
  // And the routes of its ends that belong to no link.
  KernelResult<void> DeleteRoutesWithoutLinkOf(const VethRecord& record);
  // Routes that belong to no link and, where an end of the pair is, are others' though the pair asked for them as well:
  // a later pair can only have been given one when this one had lost it (ExpectNoRoutesWithoutLink()). Of a creation
  // that failed, any other's claim is better.
  std::vector<RouteSpec> RoutesOfOthers(const VethRecord& record, const Endpoint& end) const;
  // A route that an end shall have, belongs to no link and has netprov's protocol already is another pair's or another
  // daemon's. That there is none when the intent is written is how recovery knows that what it finds is this pair's.
  // `leaving` are those of this pair that go first.
  EngineResult<void> ExpectNoRoutesWithoutLink(const std::string& object, const EndpointSpec& spec,
                                               const NetnsRef& netns, const std::vector<RouteSpec>& leaving = {});
  // Holds both ends of a pair that is there to the limits of `record.spec`, each at the other end, whatever they were
  // held to before, and notes the ifbs in the record. An end that has no limits and had none with `former` is left
  // alone. Idempotent, and a limit that stays or changes is never missing meanwhile. Where it fails, some of it may be
  // done; with both specs exchanged, the same undoes it.
  KernelResult<void> ApplyShaping(VethRecord& record, const VethSpec& former);
  // The step of a plan that makes the pair, which `record` is then; it must outlive the plan.
  void AddShapingStep(VethRecord& record, Plan& plan);
  // Deletes the ifbs of a pair; what else holds it to its limits goes with its links.
  KernelResult<void> DeleteShapersOf(const VethRecord& record);
  // Sets the limits of `veth`, which is there, to what they are, and adds how they differ.
  EngineResult<void> CompareLimits(const VethRecord& record, Veth& veth);
  // Of a pair that is there.
  EngineResult<void> HealLimits(const VethRecord& record);
  // The index of the link by which the packets of one end of a pair come in where the other end is: that one's, or its
  // bridge's. 0: it is not there.
  KernelResult<uint32_t> NatIfindex(const VethRecord& record, bool is_a, const NetnsRef& netns);
  // What is to be in the table of address translation for one end of a pair, where the other is (NatElements()).
  KernelResult<std::vector<netlink::NatElement>> NatOf(const VethRecord& record, bool is_a, const NetnsRef& netns);
  // Makes of the elements of a pair that is there those of `record.spec`, whatever they were. Idempotent. Where it
  // fails, some of it may be done; with the record as it was before, the same undoes it.
  KernelResult<void> ApplyNat(const VethRecord& record);
  // Deletes the elements of a pair, and the tables where they are empty then.
  KernelResult<void> DeleteNatOf(const VethRecord& record);
  // The steps of a plan that makes the pair, which `record` is then; it must outlive the plan.
  void AddNatSteps(const VethRecord& record, Plan& plan);
  // What a pair wants translated is nobody's where its ends are to be, but for those with these uids.
  // kPortForwardTaken; kKernel with EEXIST, as the kernel says it of an address that is another's on the same link.
  EngineResult<void> CheckNatIsFree(const std::string& object, const VethRecord& record, const NetnsRef& a,
                                    const NetnsRef& b, const std::vector<std::string>& uids);
  // Sets what of `veth`, which is there, is translated and forwarded to what is, and adds how that differs.
  EngineResult<void> CompareNat(const VethRecord& record, Veth& veth);
  // Of a pair that is there.
  EngineResult<void> HealNat(const VethRecord& record);
  // Fills in what of the settings of forwarding a pair changes with `ends`, those of its ends that are to get it, where
  // these ends are or are to be.
  EngineResult<void> FindForwarding(const std::string& object, const VethSpec& ends, const NetnsRef& a,
                                    const NetnsRef& b, Intent::Former& former);
  // Adds those of single links that are not as the whole of their family, which the kernel sets with it.
  EngineResult<void> FindLinkForwarding(const std::string& object, const NetnsRef& netns, Sysctls& changed);
  // The steps that switch it on; `record` and `former` must outlive the plan.
  void AddForwardingSteps(const VethRecord& record, const Intent::Former& former, Plan& plan);
  // Back to what was, unless another pair relies on it by now, and as far as nobody else has changed it since.
  KernelResult<void> RestoreForwarding(const VethRecord& record, const Intent::Former& former);
  KernelResult<void> RestoreSysctls(const NetnsRef& netns, const Sysctls& former);
  // The present values of `asked` in `object`, and of what the kernel changes with some of them though nobody asked for
  // it: what to go back to.
  EngineResult<Sysctls> FindFormerSysctls(const std::string& object, const NetnsRef& netns, const Sysctls& asked);
  // Goes back to them. Those of links that have gone since are passed over.
  KernelResult<void> PutSysctlsBack(const NetnsRef& netns, const Sysctls& former);
  // What of a pair does not go with its links: ifbs, and routes that belong to no link.
  KernelResult<void> DeleteRestOf(const VethRecord& record);
  // What an end should have and has not.
  struct Shortage {
    std::vector<std::string> alternative_names;
    IpConfig ip;
  };
  EngineResult<Shortage> FindShortage(const std::string& object, const NetnsRef& netns, const EndpointSpec& spec,
                                      const Link& link);
  static void AddShortage(const std::string& field, const Shortage& shortage, std::vector<Deviation>& deviations);
  // How a link differs from how it was made; `field` is the link's in its object.
  EngineResult<LinkDifference> FindDifference(const std::string& object, const std::string& field,
                                              const NetnsRef& netns, const Endpoint& made, const EndpointSpec& spec,
                                              const std::string& tag, const Link& link);
  // The ifindex of the bridge that a link in `netns` shall be a port of; 0: of none. Whether one of ours is there is
  // only known `by_looking`. kDeviceNotFound, kBridgeUnusable.
  EngineResult<uint32_t> ResolveBridge(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                       bool by_looking);
  bool IsRecordOf(const DeviceRecord& record, const NetnsRef& netns, const Link& link) const;
  EngineResult<uint32_t> ResolveForeignBridge(const EndpointSpec& spec, const NetnsRef& netns,
                                              const std::string& field);
  // Sets of what a link is to be a port, and as which, to what `link` is.
  static void ShowPort(const Link& link, const LinkDifference& difference, EndpointConfig& config);
  // The registered pairs and devices that are to be ports of a bridge, by their resource names, in order.
  std::vector<std::string> PortsOf(const DeviceRecord& bridge) const;
  // Adds to `plan` what comes after the birth of a link, which `made` is then; all of them must outlive it.
  void AddConfigStep(const EndpointSpec& spec, const LinkSpec& link, const Endpoint& made, Plan& plan);
  void AddAnnouncement(const EndpointSpec& spec, const LinkSpec& link, const Endpoint& made, Plan& plan);
  // And the routes that belong to no link.
  void AddConfigSteps(const VethRecord& record, const EndpointSpec& spec, const LinkSpec& link, const Endpoint& made,
                      Plan& plan);
  // Whether a call that is under way deletes the pair, or it is deleted.
  bool IsBeingDeleted(const VethRecord& record) const;
  // Deletes what was moved away, wherever a name leads to it.
  KernelResult<void> DeleteStrayLinks(const std::string& kind, const std::string& tag);
  EngineResult<Veth> Describe(const VethRecord& record);
  // Where an end of a new pair lives. If that is to be made with it, what it then is comes to `births`.
  EngineResult<NetnsRef> ResolveOrPlan(const CreateVethCall& call, const EndpointSpec& spec, const std::string& field,
                                       std::vector<NamespaceRecord>& births);
  // Makes a pair with the names that the record's ends have, in these namespaces, and writes the record with what the
  // kernel chose. `replaced` is a missing one of the same id, which goes then; `births` are namespaces that are made
  // with it.
  EngineResult<VethRecord> MakeVeth(VethRecord record, LinkSpec a, LinkSpec b, const CallContext& context, bool is_new,
                                    const std::optional<VethRecord>& replaced,
                                    std::vector<NamespaceRecord> births = {});
  EngineResult<void> DeleteRecordedVeth(const VethRecord& record, std::optional<RequestRecord> answer);
  // The link of a device, if it is where we put it.
  KernelResult<std::optional<Link>> FindLinkOf(const DeviceRecord& record);
  KernelResult<void> DeleteLinkOf(const DeviceRecord& record);
  // Sets what the device is to stand on, as it is now. kLowerNotFound: there is no such link.
  EngineResult<void> AddLower(const DeviceRecord& record, LinkSpec& link);
  // How a device differs from how it was made. `made` is how its link is to be; `now` gets its options, where the
  // kernel shows them.
  EngineResult<LinkDifference> FindDifference(const DeviceRecord& record, const Endpoint& made, const Link& link,
                                              DeviceOptions& now);
  // Adds to `now` those entries that were asked for and are there.
  EngineResult<void> LookAtFdb(const DeviceRecord& record, const Link& link, DeviceOptions& now);
  EngineResult<Device> Describe(const DeviceRecord& record);
  bool IsBeingDeleted(const DeviceRecord& record) const;
  // As MakeVeth().
  EngineResult<DeviceRecord> MakeDevice(DeviceRecord record, const LinkSpec& link, const CallContext& context,
                                        bool is_new, const std::optional<DeviceRecord>& replaced);
  EngineResult<void> DeleteRecordedDevice(const DeviceRecord& record, std::optional<RequestRecord> answer);
  EngineResult<void> CheckNameIsFree(const DeviceRecord& record, const NetnsRef& netns,
                                     const std::optional<DeviceRecord>& replaced);
  EngineResult<std::string> ChooseName(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                       const std::vector<std::string>& taken, const std::string& object);
  // Alternative names. A link of which `makes_room` holds does not count; null: each does.
  EngineResult<void> CheckOtherNamesAreFree(
      const EndpointSpec& spec, const NetnsRef& netns, const std::string& field, const std::string& object,
      const std::function<EngineResult<bool>(const Link& link)>& makes_room = nullptr);
  // Whether a link there is what is left of the pair, or of the device.
  EngineResult<bool> IsLeftOf(const VethRecord& replaced, const NetnsRef& netns, const Link& link);
  EngineResult<bool> IsLeftOf(const DeviceRecord& replaced, const std::string& namespace_id, const Link& link);
  // `replaced` is what is left of a pair that makes room: its ends do not count.
  EngineResult<void> CheckNameIsFree(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                     const std::string& object, const std::optional<VethRecord>& replaced);

  struct LinkTurn;
  // Makes of a link what it shall be, but for its routes that belong to no link, and, on the way there, for its end.
  // Where it fails, some of it may be done.
  KernelResult<Link> Turn(const LinkTurn& turn);
  // What leaves a trace when it is gone back on: last of all.
  KernelResult<Link> EndTurn(const LinkTurn& turn);
  KernelResult<Link> LookAt(const LinkTurn& turn);
  // The addresses, neighbours and routes that the link shall have and has not any more.
  KernelResult<void> BringBackLost(const LinkTurn& turn);
  // And back, with those routes; a link that is gone needs nothing.
  KernelResult<void> TurnBack(const LinkTurn& turn);
  // Checks what can be checked by looking, and adds what to go back to. `made` is what the link was, and `link` what it
  // is.
  EngineResult<void> PrepareTurn(const std::string& object, const std::string& tag, const Endpoint& made,
                                 const Link& link, LinkTurn& turn);
  // Makes `config` that of a port of the bridge with that index, whose ever it is, or of none.
  EngineResult<void> NameBridge(const std::string& object, const NetnsRef& netns, uint32_t ifindex,
                                EndpointConfig& config);
  // Whether the kernel does not let a device become what `turn` wants.
  static bool IsRefusedTurn(const DeviceOptions& options, const LinkTurn& turn, const Error& error);
  // Adds the steps. `turn` must outlive the plan.
  void AddTurn(LinkTurn& turn, Plan& plan);
  void AddEndOfTurn(LinkTurn& turn, Plan& plan);
  // Routes that belong to no link.
  KernelResult<void> AddMissingRoutes(const NetnsRef& netns, std::vector<RouteSpec> routes);
  // The ifindex of the bridge that a link in `netns` names: as it was made, or of one that is not ours as it is there
  // now; 0: none.
  KernelResult<uint32_t> BridgeIndex(const EndpointSpec& spec, const NetnsRef& netns);
  // Gives a port that loses its VLANs those that a new port of the bridge gets, if it still is one.
  KernelResult<void> SetDefaultVlans(const EndpointSpec& spec, const NetnsRef& netns, const Link& link,
                                     LinkSettings& settings);
  // Undoes what an update has left that could not be undone then: the next one starts from what is registered.
  // Whether nothing happens to the namespaces where an object lives until the call ends. Not so of an object that was
  // made since the call came: it came too early, and the object is none that it knows.
  static bool HoldsPlacesOf(const VethRecord& record, const CallContext& context);
  static bool HoldsPlacesOf(const DeviceRecord& record, const CallContext& context);
  EngineResult<void> FinishEarlierUpdate(const std::string& object, const std::string& uid);
  // Of an update that did not finish.
  EngineResult<void> RollBackUpdate(const Intent& intent);
  // The sign of an owner's that an update is, and another lease where it asks for one.
  void ChangeLease(const std::string& uid, const std::string& object, const Metadata& from, const Metadata& to);

  // Removes what an unfinished create has left, if it is ours.
  EngineResult<void> RollBack(const NamespaceRecord& record);
  // Never removes the namespace.
  EngineResult<void> RollBackAdoption(const NamespaceRecord& record);
  EngineResult<void> RollBack(const VethRecord& record);
  EngineResult<void> RollBackLinks(const VethRecord& record);
  // The creation of a pair with all that belongs to it.
  EngineResult<void> RollBackPair(const Intent& intent);
  // The settings of forwarding, of an intent to make or to update a pair.
  EngineResult<void> RollBackForwarding(const Intent& intent);
  EngineResult<void> RollBack(const DeviceRecord& record);

  // Each adds to the report what it finds.
  void FinishIntents(const std::vector<PendingIntent>& intents, bool look_only, HostReport& report);
  EngineResult<void> CollectOrphans(bool look_only, HostReport& report);
  // Removes a namespace whose tag is ours, with this uid.
  EngineResult<void> RemoveOrphan(const NetnsRef& netns, const std::string& uid);
  void ReportUnclaimedRoutes(const NetnsRef& netns, HostReport& report);
  EngineResult<void> CollectOrphanLinks(const NetnsRef& netns, bool look_only, HostReport& report);
  // `where` is the namespace, for a person.
  void CollectOrphanNat(const NetnsRef& netns, bool look_only, const std::string& where, HostReport& report);
  // Persistent objects of an earlier boot, each after what it stands on.
  std::vector<ObjectRef> Unrestored() const;
  void Restore(const std::vector<ObjectRef>& objects, HostReport& report);
  void CompareObjects(HostReport& report);
  // Whether the object that a tag of ours names is registered, or in the making.
  bool IsKnown(const Tag& tag) const;
  // Whether a call that is under way touches that resource, or a link of the name in `links/NAME`.
  bool IsUnderWay(const std::string& name) const;
  // The namespaces of this boot that may have links of ours but for the host's, each once: those that netprov manages,
  // and those at places of pairs, as far as the places lead there.
  std::vector<NetnsRef> NamespacesOfOurs() const;
  // Whether a registered pair has an end there, or a device its link.
  bool IsRegistered(const NetnsRef& netns, uint32_t ifindex) const;
  void Publish(HostReport report);

  // Why an object can't go as the owner's garbage: another's stands on it.
  std::optional<std::string> WhyNeeded(const ObjectRef& object, const std::string& owner,
                                       const std::unordered_set<std::string>& keep) const;
  // Deletes an object of any kind. Whether it was there.
  EngineResult<bool> DeleteObject(const ObjectRef& object);

  template <typename Record>
  bool IsToBeHealed(const Record& record) const;
  EngineResult<void> HealNamespace(const NamespaceRecord& record);
  // Sets again what was changed of one that is there.
  EngineResult<void> ResetNamespace(const NamespaceRecord& record, const NetnsEntry& entry);
  EngineResult<void> HealVeth(const VethRecord& record);
  EngineResult<void> HealDevice(const DeviceRecord& record);
  // Sets again what was changed of a link.
  EngineResult<void> Reset(const std::string& object, const NetnsRef& netns, const Endpoint& made,
                           const LinkDifference& difference);
  // Adds to a link what it should have and has not.
  EngineResult<void> Supply(const std::string& object, const NetnsRef& netns, const EndpointSpec& spec,
                            const Link& link);

  Kernel& kernel_;
  Registry& registry_;
  LeaseBook leases_;

  mutable std::mutex mutex_;
  std::set<int64_t> unfinished_;                   // intents that nobody works on any more
  std::multimap<uint64_t, std::string> entering_;  // pairs on their way into namespaces, by the cookies of these
  std::map<uint64_t, std::string> adopting_;       // ids of namespaces that are being adopted, by their cookies
  HostReport report_;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ENGINE_H_
