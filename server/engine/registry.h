// What netprov made, what it is about to do, and which requests it answered: on disk.
#ifndef NETPROV_SERVER_ENGINE_REGISTRY_H_
#define NETPROV_SERVER_ENGINE_REGISTRY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/result.h"
#include "server/base/statistics.h"
#include "server/engine/origin.h"
#include "server/engine/quota.h"
#include "server/engine/records.h"

struct sqlite3;
struct sqlite3_stmt;

namespace netprov::engine {

struct RegistryError {
  std::string message;
  // The disk is full, read-only or failing, or what is on it is damaged: nothing that the caller could do otherwise.
  bool storage = false;
  // It was not written because it would be too much. Neither the disk's nor the database's fault.
  std::optional<QuotaExcess> excess = std::nullopt;
};

template <typename T>
using RegistryResult = netprov::Result<T, RegistryError>;

// What a write survives once its call has returned. The database is sound after anything.
enum class Durability {
  // Any end of the process. After a loss of power the last changes may be missing; the kernel has lost its side too.
  kProcess,
  // A loss of power too: each write waits for the disk, and shares that wait with those that come meanwhile.
  kPower,
};

struct RegistryOptions {
  Durability durability = Durability::kProcess;
};

// The registry in an SQLite database (WAL, locking_mode=EXCLUSIVE, synchronous=NORMAL or FULL by the durability).
//
// Reads are answered from memory and never wait for the disk, but for FindRequest() of an id that was answered.
// Thread-safe. SQLite has one writer: of the threads that come while one writes, the first then writes for all, in one
// transaction. One write that fails does not fail another.
//
// After a failed write, memory and disk are as before it. A write that fails for the disk's sake also sets Fault().
class Registry {
 public:
  // How long the answers to request ids are kept.
  static constexpr absl::Duration kRequestRetention = absl::Hours(24);

  // The newest schema that it knows: what Open() brings a database to.
  static int64_t NewestSchema();

  // Opens the database at `path`, or creates it with mode 0600. Its directory must exist. One of an older schema is
  // brought up to date. Fails on a database of a newer schema, one that is damaged (a record that cannot be read is
  // named by its table and row), or one that another process holds.
  static RegistryResult<std::unique_ptr<Registry>> Open(const std::string& path, const RegistryOptions& options = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // A UUID, made with the database.
  const std::string& id() const { return id_; }

  std::optional<NamespaceRecord> FindNamespace(const std::string& id) const;
  // Ordered by id, bytewise.
  std::vector<NamespaceRecord> ListNamespaces() const;

  std::optional<VethRecord> FindVeth(const std::string& id) const;
  // Up to `limit` with ids greater than `after`, ordered by id, bytewise.
  std::vector<VethRecord> ListVeths(const std::string& after, size_t limit) const;
  // The pairs with an end in the namespace with that key (NetnsKey()), ordered by id. The cookie in a key is of one
  // boot, the records are of any.
  std::vector<VethRecord> ListVethsOf(const std::string& netns_key) const;
  // The pairs with an end in a namespace to which a place leads.
  std::vector<VethRecord> ListVethsAtPlaces() const;

  std::optional<DeviceRecord> FindDevice(const std::string& name) const;
  // All of them, or those in a namespace, ordered by name, bytewise.
  std::vector<DeviceRecord> ListDevices() const;
  std::vector<DeviceRecord> ListDevicesOf(const std::string& namespace_id) const;

  // The answer to a request that succeeded within kRequestRetention.
  RegistryResult<std::optional<RequestRecord>> FindRequest(const std::string& request_id);

  // Writes an intent; returns what names it, a number above 0. What it adds counts as used from before it is written
  // until its outcome, so that of two that come at once not both take what is left for one; where that would be more
  // than `allowance` has room for, nothing is written. With an origin, the change is traced: its row stays, after the
  // outcome too, until MarkAudited(). It names all that the intent may make, change or remove, as it is registered now.
  RegistryResult<int64_t> Begin(const Intent& intent, const Allowance& allowance = {}, const Origin* origin = nullptr);
  // Why Begin() would refuse it now.
  std::optional<QuotaExcess> FindExcess(const Intent& intent, const Allowance& allowance) const;

  // The intent is done: writes the outcome and forgets the intent, in one transaction. A `sequence` of 0 is no
  // intent's.
  RegistryResult<void> Commit(int64_t sequence, const Outcome& outcome);

  // The intent was undone, or nothing of it was begun; or recovery has seen to it, and how.
  RegistryResult<void> Abort(int64_t sequence, Fate fate = Fate::kUndone);

  // The changes whose calls may have no line in the audit log yet, in the order of their beginnings: of calls that are
  // under way, and, after a start, of those that were when the process before ended.
  std::vector<TracedChange> ListTraced() const;
  std::vector<TracedChange> ListTracedOf(const std::string& call_id) const;
  // The call's line is in the audit log: what is kept for its sake goes with a later write, and with the registry.
  // Never blocks.
  void MarkAudited(const std::string& call_id);

  // The path of the audit log that the host's daemon writes, for whoever serves from the same state; empty: none.
  std::string AuditLog() const;
  RegistryResult<void> SetAuditLog(const std::string& path);

  // What has no outcome, oldest first.
  std::vector<PendingIntent> ListPending() const;

  // What the objects of a creator count for, or those of all, and what intents without an outcome add to that. Of an
  // object that takes the place of a missing one, and of one that changes, that is what it has more of.
  Usage UsedBy(const std::string& creator) const;
  Usage UsedByAll() const;

  // Whether an object with that uid is registered.
  bool HasUid(const std::string& uid) const;
  // The id of the namespace of that boot with that cookie; nullopt: there is none.
  std::optional<std::string> FindNamespaceId(const std::string& boot_id, uint64_t cookie) const;

  // Whether an intent of the object with that uid has no outcome yet. It gives way to its record in one moment, so who
  // looks for both asks for the intent first.
  bool IsPending(const std::string& uid) const;

  // Why writes fail now, one sentence; nullopt: they work. The next write that succeeds clears it.
  std::optional<std::string> Fault() const;

  struct Statistics {
    Histogram transactions;  // each write of the database, of one operation or of several that came together
    Counter faults;          // times that Fault() began
  };
  const Statistics& statistics() const { return statistics_; }

  // How many objects there are.
  struct Objects {
    size_t namespaces = 0;
    size_t veths = 0;
    size_t bridges = 0;
    size_t devices = 0;  // other ones
  };
  Objects CountObjects() const;

  // A small write, to find out whether a fault has passed.
  RegistryResult<void> Probe();

  // Forgets at once what is kept for the sake of calls that are in the audit log (MarkAudited()): whoever starts next
  // may not find their lines any more, and need not. Otherwise that happens for many at a time, in the course of
  // writes.
  void FlushAudited();

  // Moves what has gathered in the write-ahead log into the database, if it is much; that takes milliseconds. For a
  // thread that nobody waits for, about each second. Otherwise it happens within a write, later and rarely.
  void Checkpoint();

 private:
  // A prepared statement, kept for the life of the database.
  struct StatementCloser {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, StatementCloser>;
  struct DatabaseCloser {
    void operator()(sqlite3* database) const;
  };
  // One write, and the thread that waits for it.
  struct Operation;
  // What an object or an intent counts for.
  struct Charge {
    std::string creator;
    Usage own;    // among what is the creator's
    Usage total;  // among all; less of one that takes the place of another creator's
  };

  Registry() = default;
  RegistryResult<void> Load(Durability durability);
  RegistryResult<void> LoadRecords();

  // Returns when it is on disk, or has failed.
  RegistryResult<void> Write(Operation& operation);

  // These with database_mutex_ held.
  RegistryResult<sqlite3_stmt*> Prepare(const char* sql);
  RegistryResult<void> Execute(const std::string& sql);
  RegistryResult<void> Transact(absl::Span<Operation* const> batch);
  RegistryResult<void> WriteInTransaction(absl::Span<Operation* const> batch);
  RegistryResult<void> WriteOne(const Operation& operation);
  RegistryResult<void> WriteProbe();
  RegistryResult<void> Prune();
  // Forgets what was kept for the sake of calls that are in the audit log.
  RegistryResult<void> ForgetAudited();
  RegistryResult<void> ForgetAudited(const std::vector<int64_t>& sequences);
  void MoveLogIntoDatabase();

  // TracedChange::objects of an intent. For Begin(): later, some of them may be gone.
  std::vector<std::string> ObjectsOf(const Intent& intent) const;
  // Whether what is registered in the intent's namespace goes when it is done.
  bool TakesContents(const Intent& intent) const;
  // Whether somebody asks what became of an intent.
  bool IsTraced(int64_t sequence) const;
  size_t AuditedRows() const;

  // With memory_mutex_ held.
  void Remember(const Operation& operation);
  void Put(const NamespaceRecord& record);
  void Put(const VethRecord& record);
  void Put(const DeviceRecord& record);
  void Remove(const std::string& veth_id);
  void AddAnswer(const std::string& request_id, int64_t sequence);
  template <typename Record>
  static Charge ChargeOf(const Record& record);
  Charge ChargeOf(const Intent& intent) const;
  std::optional<QuotaExcess> ExcessOf(const Charge& charge, const Allowance& allowance) const;
  void Reserve(int64_t sequence, Charge charge);
  void Release(int64_t sequence);
  void Add(const Charge& charge);
  void Subtract(const Charge& charge);
  void RemoveDevice(std::map<std::string, DeviceRecord>::iterator device);

  std::string id_;
  std::unique_ptr<sqlite3, DatabaseCloser> database_;
  std::atomic<int64_t> next_sequence_ = 1;

  // The mutexes are taken in this order. The first in the queue writes for all that it finds there.
  std::mutex queue_mutex_;
  std::deque<Operation*> queue_;

  // Guards the database.
  std::mutex database_mutex_;
  std::unordered_map<const char*, Statement> statements_;  // by their SQL, a literal
  int64_t commits_ = 0;
  int log_pages_ = 0;                // in the write-ahead log
  int log_pages_to_checkpoint_ = 0;  // when a write must see to it
  Statistics statistics_;

  mutable std::mutex memory_mutex_;  // never held during a system call
  std::map<std::string, NamespaceRecord> namespaces_;
  std::map<std::string, VethRecord> veths_;
  std::set<std::pair<std::string, std::string>> ends_;  // the keys of namespaces that pairs end in, and the pairs' ids
  std::map<std::string, DeviceRecord> devices_;         // by resource name
  size_t bridges_ = 0;                                  // of them
  std::unordered_set<std::string> uids_;                // of all of them
  std::map<int64_t, Intent> pending_;                   // by sequence
  std::unordered_multimap<size_t, int64_t> answers_;    // sequences by the hash of the request id
  std::unordered_map<std::string, Usage> used_;         // by creator, of those who have anything
  Usage used_by_all_;
  std::map<int64_t, Charge> reserved_;      // what of that is an intent's, by its sequence
  std::map<int64_t, TracedChange> traced_;  // by sequence
  std::vector<int64_t> audited_;            // of rows that were traced, and need not be any more
  std::string audit_log_;
  std::optional<std::string> fault_;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_REGISTRY_H_
