// What netprov made, what it is about to do, and which requests it answered: on disk.
#ifndef NETPROV_SERVER_ENGINE_REGISTRY_H_
#define NETPROV_SERVER_ENGINE_REGISTRY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/result.h"
#include "server/engine/records.h"

struct sqlite3;
struct sqlite3_stmt;

namespace netprov::engine {

struct RegistryError {
  std::string message;
};

template <typename T>
using RegistryResult = netprov::Result<T, RegistryError>;

// The registry in an SQLite database (WAL, synchronous=NORMAL, locking_mode=EXCLUSIVE): a crash of the process loses
// nothing that was written; after a loss of power the database is sound, but may lack the last changes, which the
// kernel has lost too.
//
// Reads are answered from memory. Thread-safe. A write holds a lock of the registry's own, as SQLite has one writer.
class Registry {
 public:
  // How long the answers to request ids are kept.
  static constexpr absl::Duration kRequestRetention = absl::Hours(24);

  // Opens the database at `path`, or creates it with mode 0600. Its directory must exist. Fails on a database of a
  // newer schema, one that is damaged, or one that another process holds.
  static RegistryResult<std::unique_ptr<Registry>> Open(const std::string& path);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  std::optional<NamespaceRecord> FindNamespace(const std::string& id) const;
  // Ordered by id, bytewise.
  std::vector<NamespaceRecord> ListNamespaces() const;

  std::optional<VethRecord> FindVeth(const std::string& id) const;
  // Up to `limit` with ids greater than `after`, ordered by id, bytewise.
  std::vector<VethRecord> ListVeths(const std::string& after, size_t limit) const;
  // The pairs with an end in that namespace, ordered by id.
  std::vector<VethRecord> ListVethsOf(const std::string& namespace_id) const;

  // The answer to a request that succeeded within kRequestRetention.
  RegistryResult<std::optional<RequestRecord>> FindRequest(const std::string& request_id);

  // Writes an intent; returns what names it.
  RegistryResult<int64_t> Begin(const Intent& intent);

  // The intent is done: writes the outcome and forgets the intent, in one transaction.
  RegistryResult<void> Commit(int64_t sequence, const Outcome& outcome);

  // The intent was undone, or nothing of it was begun.
  RegistryResult<void> Abort(int64_t sequence) { return Commit(sequence, {}); }

  // What has no outcome, oldest first.
  RegistryResult<std::vector<PendingIntent>> ListPending();

 private:
  // A prepared statement, kept for the life of the database.
  struct StatementCloser {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, StatementCloser>;
  struct DatabaseCloser {
    void operator()(sqlite3* database) const;
  };

  Registry() = default;
  RegistryResult<void> Load();
  // Both with database_mutex_ held.
  RegistryResult<sqlite3_stmt*> Prepare(const char* sql);
  RegistryResult<void> WriteOutcome(int64_t sequence, const Outcome& outcome);

  std::unique_ptr<sqlite3, DatabaseCloser> database_;

  // Guards the statements. Taken before memory_mutex_.
  std::mutex database_mutex_;
  std::map<std::string, Statement> statements_;  // by their SQL
  int64_t commits_ = 0;

  mutable std::mutex memory_mutex_;  // never held during a system call
  std::map<std::string, NamespaceRecord> namespaces_;
  std::map<std::string, VethRecord> veths_;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_REGISTRY_H_
