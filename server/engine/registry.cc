#include "server/engine/registry.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/unique_fd.h"
#include "server/engine/record_json.h"

namespace netprov::engine {
namespace {

// Raised with every change of the tables; a database of a higher one is refused.
constexpr int kSchemaVersion = 1;

constexpr char kSchema[] = R"sql(
  CREATE TABLE namespaces (id TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE veths (id TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE intents (sequence INTEGER PRIMARY KEY, intent TEXT NOT NULL);
  -- In the order of their answers, so that a new one goes to the end, and the oldest are found at the beginning.
  CREATE TABLE requests (
    sequence INTEGER PRIMARY KEY, request_id BLOB NOT NULL UNIQUE, fingerprint BLOB NOT NULL, answer TEXT NOT NULL,
    answered INTEGER NOT NULL);
)sql";

// Old answers are removed every so many commits, so that no single call pays for many.
constexpr int64_t kCommitsPerPruning = 256;

// Runs prepared statements of one database; its owner's lock is held.
class Runner {
 public:
  Runner(sqlite3* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  ~Runner() {
    ::sqlite3_reset(statement_);
    ::sqlite3_clear_bindings(statement_);
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  Runner& Bind(absl::string_view text) {
    ::sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Runner& BindBlob(absl::string_view bytes) {
    ::sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Runner& Bind(int64_t number) {
    ::sqlite3_bind_int64(statement_, ++bound_, number);
    return *this;
  }

  // Whether there is a row; each call gives the next.
  RegistryResult<bool> Step() {
    switch (::sqlite3_step(statement_)) {
      case SQLITE_ROW:
        return true;
      case SQLITE_DONE:
        return false;
      default:
        return RegistryError{absl::StrCat("registry: ", ::sqlite3_errmsg(database_))};
    }
  }
  RegistryResult<void> Run() {
    NETPROV_RETURN_IF_ERROR(Step());
    return {};
  }

  std::string Text(int column) const {
    const void* bytes = ::sqlite3_column_blob(statement_, column);
    return std::string(static_cast<const char*>(bytes),
                       bytes == nullptr ? 0 : ::sqlite3_column_bytes(statement_, column));
  }
  int64_t Number(int column) const { return ::sqlite3_column_int64(statement_, column); }

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

RegistryResult<void> Execute(sqlite3* database, const char* sql) {
  if (::sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return RegistryError{absl::StrCat("registry: ", ::sqlite3_errmsg(database))};
}

}  // namespace

void Registry::StatementCloser::operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
void Registry::DatabaseCloser::operator()(sqlite3* database) const { ::sqlite3_close(database); }

// The statements must go before the database that they belong to.
Registry::~Registry() { statements_.clear(); }

RegistryResult<sqlite3_stmt*> Registry::Prepare(const char* sql) {
  Statement& statement = statements_[sql];
  if (statement == nullptr) {
    sqlite3_stmt* prepared = nullptr;
    if (::sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) != SQLITE_OK) {
      return RegistryError{absl::StrCat("registry: ", ::sqlite3_errmsg(database_.get()))};
    }
    statement.reset(prepared);
  }
  return statement.get();
}

// Declares `runner` for `sql`, or returns the error.
#define NETPROV_PREPARE(runner, sql)                                        \
  NETPROV_ASSIGN_OR_RETURN(sqlite3_stmt* runner##_statement, Prepare(sql)); \
  Runner runner(database_.get(), runner##_statement)

RegistryResult<std::unique_ptr<Registry>> Registry::Open(const std::string& path) {
  std::unique_ptr<Registry> registry(new Registry);
  {
    // SQLite would create the file by the umask; request ids and names are nobody else's business.
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.valid()) {
      return RegistryError{absl::StrCat("cannot open the registry ", path, ": ", strerrordesc_np(errno))};
    }
  }
  sqlite3* database = nullptr;
  const int opened = ::sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  registry->database_.reset(database);
  if (opened != SQLITE_OK) {
    return RegistryError{absl::StrCat("cannot open the registry ", path, ": ", ::sqlite3_errstr(opened))};
  }
  if (RegistryResult<void> loaded = registry->Load(); !loaded.ok()) {
    return RegistryError{absl::StrCat("cannot use the registry ", path, ": ", loaded.error().message)};
  }
  return registry;
}

RegistryResult<void> Registry::Load() {
  std::lock_guard<std::mutex> database_lock(database_mutex_);
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  NETPROV_RETURN_IF_ERROR(Execute(database_.get(), "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=NORMAL;"));
  {
    // SQLite answers with the mode that it keeps where it cannot have this one.
    NETPROV_PREPARE(set_mode, "PRAGMA journal_mode=WAL");
    NETPROV_RETURN_IF_ERROR(set_mode.Step());
    if (set_mode.Text(0) != "wal") return RegistryError{"SQLite cannot keep a write-ahead log there"};
  }
  int64_t version = 0;
  {
    NETPROV_PREPARE(get_version, "PRAGMA user_version");
    NETPROV_RETURN_IF_ERROR(get_version.Step());
    version = get_version.Number(0);
  }
  if (version > kSchemaVersion) {
    return RegistryError{
        absl::StrCat("it was written by a newer netprov (schema ", version, "; this one knows ", kSchemaVersion, ")")};
  }
  if (version == 0) {
    const std::string create =
        absl::StrCat("BEGIN IMMEDIATE;", kSchema, "PRAGMA user_version=", kSchemaVersion, "; COMMIT;");
    NETPROV_RETURN_IF_ERROR(Execute(database_.get(), create.c_str()));
  }
  {
    NETPROV_PREPARE(check, "PRAGMA quick_check(1)");
    NETPROV_RETURN_IF_ERROR(check.Step());
    if (check.Text(0) != "ok") return RegistryError{absl::StrCat("it is damaged: ", check.Text(0))};
  }
  NETPROV_PREPARE(read_namespaces, "SELECT record FROM namespaces");
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read_namespaces.Step());
    if (!more) break;
    std::optional<NamespaceRecord> record = NamespaceRecordFromJson(read_namespaces.Text(0));
    if (!record.has_value()) return RegistryError{absl::StrCat("unreadable namespace ", read_namespaces.Text(0))};
    namespaces_.emplace(record->id, *record);
  }
  NETPROV_PREPARE(read_veths, "SELECT record FROM veths");
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read_veths.Step());
    if (!more) break;
    std::optional<VethRecord> record = VethRecordFromJson(read_veths.Text(0));
    if (!record.has_value()) return RegistryError{absl::StrCat("unreadable veth ", read_veths.Text(0))};
    veths_.emplace(record->id, *record);
  }
  return {};
}

std::optional<NamespaceRecord> Registry::FindNamespace(const std::string& id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  auto found = namespaces_.find(id);
  if (found == namespaces_.end()) return std::nullopt;
  return found->second;
}

std::vector<NamespaceRecord> Registry::ListNamespaces() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<NamespaceRecord> records;
  records.reserve(namespaces_.size());
  for (const auto& [id, record] : namespaces_) records.push_back(record);
  return records;
}

std::optional<VethRecord> Registry::FindVeth(const std::string& id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  auto found = veths_.find(id);
  if (found == veths_.end()) return std::nullopt;
  return found->second;
}

std::vector<VethRecord> Registry::ListVeths(const std::string& after, size_t limit) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<VethRecord> records;
  for (auto next = veths_.upper_bound(after); next != veths_.end() && records.size() < limit; ++next) {
    records.push_back(next->second);
  }
  return records;
}

std::vector<VethRecord> Registry::ListVethsOf(const std::string& namespace_id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<VethRecord> records;
  for (const auto& [id, record] : veths_) {
    if (record.EndsIn(namespace_id)) records.push_back(record);
  }
  return records;
}

RegistryResult<std::optional<RequestRecord>> Registry::FindRequest(const std::string& request_id) {
  std::lock_guard<std::mutex> lock(database_mutex_);
  NETPROV_PREPARE(find, "SELECT fingerprint, answer FROM requests WHERE request_id = ? AND answered > ?");
  find.Bind(request_id).Bind(absl::ToUnixSeconds(absl::Now() - kRequestRetention));
  NETPROV_ASSIGN_OR_RETURN(bool found, find.Step());
  if (!found) return std::optional<RequestRecord>();
  std::optional<RequestRecord> record = AnswerFromJson(find.Text(1));
  if (!record.has_value()) return RegistryError{absl::StrCat("unreadable answer ", find.Text(1))};
  record->request_id = request_id;
  record->fingerprint = find.Text(0);
  return record;
}

RegistryResult<int64_t> Registry::Begin(const Intent& intent) {
  const std::string text = ToJson(intent);
  std::lock_guard<std::mutex> lock(database_mutex_);
  NETPROV_PREPARE(insert, "INSERT INTO intents (intent) VALUES (?)");
  NETPROV_RETURN_IF_ERROR(insert.Bind(text).Run());
  return ::sqlite3_last_insert_rowid(database_.get());
}

RegistryResult<void> Registry::WriteOutcome(int64_t sequence, const Outcome& outcome) {
  NETPROV_PREPARE(forget, "DELETE FROM intents WHERE sequence = ?");
  NETPROV_RETURN_IF_ERROR(forget.Bind(sequence).Run());
  if (const auto& record = outcome.remove_namespace; record.has_value()) {
    NETPROV_PREPARE(remove, "DELETE FROM namespaces WHERE id = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record->id).Bind(record->uid).Run());
  }
  for (const VethRecord& record : outcome.remove_veths) {
    NETPROV_PREPARE(remove, "DELETE FROM veths WHERE id = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record.id).Bind(record.uid).Run());
  }
  if (const auto& record = outcome.put_namespace; record.has_value()) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO namespaces (id, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record->id).Bind(record->uid).Bind(ToJson(*record)).Run());
  }
  if (const auto& record = outcome.put_veth; record.has_value()) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO veths (id, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record->id).Bind(record->uid).Bind(ToJson(*record)).Run());
  }
  const int64_t now = absl::ToUnixSeconds(absl::Now());
  if (const auto& record = outcome.request; record.has_value()) {
    NETPROV_PREPARE(put,
                    "INSERT OR REPLACE INTO requests (request_id, fingerprint, answer, answered) VALUES (?, ?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(
        put.Bind(record->request_id).BindBlob(record->fingerprint).Bind(AnswerToJson(*record)).Bind(now).Run());
  }
  if (++commits_ % kCommitsPerPruning == 0) {
    NETPROV_PREPARE(prune,
                    "DELETE FROM requests WHERE sequence IN (SELECT sequence FROM requests ORDER BY sequence LIMIT 1024) "
                    "AND answered <= ?");
    NETPROV_RETURN_IF_ERROR(prune.Bind(now - absl::ToInt64Seconds(kRequestRetention)).Run());
  }
  return {};
}

RegistryResult<void> Registry::Commit(int64_t sequence, const Outcome& outcome) {
  std::lock_guard<std::mutex> database_lock(database_mutex_);
  {
    NETPROV_PREPARE(begin, "BEGIN IMMEDIATE");
    NETPROV_RETURN_IF_ERROR(begin.Run());
  }
  RegistryResult<void> written = WriteOutcome(sequence, outcome);
  if (written.ok()) {
    NETPROV_PREPARE(commit, "COMMIT");
    written = commit.Run();
  }
  if (!written.ok()) {
    // Some errors have rolled back already (sqlite3_get_autocommit()), and this one then says so; neither changes the
    // outcome.
    (void)Execute(database_.get(), "ROLLBACK");
    return written;
  }

  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  if (const auto& record = outcome.remove_namespace; record.has_value()) {
    auto found = namespaces_.find(record->id);
    if (found != namespaces_.end() && found->second.uid == record->uid) namespaces_.erase(found);
  }
  for (const VethRecord& record : outcome.remove_veths) {
    auto found = veths_.find(record.id);
    if (found != veths_.end() && found->second.uid == record.uid) veths_.erase(found);
  }
  if (outcome.put_namespace.has_value()) namespaces_[outcome.put_namespace->id] = *outcome.put_namespace;
  if (outcome.put_veth.has_value()) veths_[outcome.put_veth->id] = *outcome.put_veth;
  return {};
}

RegistryResult<std::vector<PendingIntent>> Registry::ListPending() {
  std::lock_guard<std::mutex> lock(database_mutex_);
  NETPROV_PREPARE(read, "SELECT sequence, intent FROM intents ORDER BY sequence");
  std::vector<PendingIntent> pending;
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read.Step());
    if (!more) return pending;
    std::optional<Intent> intent = IntentFromJson(read.Text(1));
    if (!intent.has_value()) return RegistryError{absl::StrCat("unreadable intent ", read.Text(1))};
    pending.push_back({read.Number(0), *std::move(intent)});
  }
}

}  // namespace netprov::engine
