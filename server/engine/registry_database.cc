// The database of the registry: its schemas, and how it is opened, read and kept small.
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/unique_fd.h"
#include "server/engine/record_json.h"
#include "server/engine/registry.h"
#include "server/engine/registry_statement.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

// What makes a schema of the one before; the first makes it of an empty database. A database of a later schema is
// refused.
constexpr std::array kMigrations = {
    R"sql(
      CREATE TABLE namespaces (id TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE veths (id TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE intents (sequence INTEGER PRIMARY KEY, intent TEXT NOT NULL);
      CREATE TABLE requests (
        sequence INTEGER PRIMARY KEY, request_id BLOB NOT NULL UNIQUE, fingerprint BLOB NOT NULL, answer TEXT NOT NULL,
        answered INTEGER NOT NULL);
    )sql",
    R"sql(
      CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
      -- A row is an intent, which becomes the answer to the request that it served, or goes. So the answers are in the
      -- order of their calls: a new one goes to the end, and the oldest are found at the beginning. They are found by
      -- request id in memory, which saves a page of an index with each write.
      CREATE TABLE journal (
        sequence INTEGER PRIMARY KEY, intent TEXT, request_id BLOB, fingerprint BLOB, answer TEXT, answered INTEGER);
      INSERT INTO journal (request_id, fingerprint, answer, answered)
        SELECT request_id, fingerprint, answer, answered FROM requests ORDER BY sequence;
      INSERT INTO journal (intent) SELECT intent FROM intents ORDER BY sequence;
      DROP TABLE intents;
      DROP TABLE requests;
    )sql",
    R"sql(
      CREATE TABLE devices (name TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
    )sql",
    R"sql(
      -- Of a row whose call may have no line in the audit log yet; else NULL, and the row goes where it has neither an
      -- intent nor an answer.
      ALTER TABLE journal ADD COLUMN call_id TEXT;
      ALTER TABLE journal ADD COLUMN origin TEXT;
      ALTER TABLE journal ADD COLUMN object TEXT;
      ALTER TABLE journal ADD COLUMN fate INTEGER;
    )sql",
};
constexpr int64_t kSchemaVersion = kMigrations.size();

// Pages of the write-ahead log: from how many on Checkpoint() has work to do, and from how many on a write has.
constexpr int kPagesWorthACheckpoint = 250;
constexpr int kPagesThatNeedACheckpoint = 4000;

}  // namespace

void Registry::DatabaseCloser::operator()(sqlite3* database) const { ::sqlite3_close(database); }

int64_t Registry::NewestSchema() { return kSchemaVersion; }

RegistryResult<std::unique_ptr<Registry>> Registry::Open(const std::string& path, const RegistryOptions& options) {
  std::unique_ptr<Registry> registry(new Registry);
  {
    // SQLite would create the file by the umask; request ids and names are nobody else's business.
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    struct stat status = {};
    if (!file.valid() || ::fstat(file.get(), &status) != 0) {
      return RegistryError{.message = absl::StrCat("cannot open the registry ", path, ": ", strerrordesc_np(errno)),
                           .storage = true};
    }
    // SQLite would throw away what is in the log of an empty database. It is never empty by the time it has one.
    struct stat log_status = {};
    if (status.st_size == 0 && ::stat((path + "-wal").c_str(), &log_status) == 0 && log_status.st_size != 0) {
      return RegistryError{
          .message = absl::StrCat("cannot use the registry ", path, ": it is empty, but its log is not"),
          .storage = true};
    }
  }
  sqlite3* database = nullptr;
  const int opened = ::sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  registry->database_.reset(database);
  if (opened != SQLITE_OK) {
    return RegistryError{.message = absl::StrCat("cannot open the registry ", path, ": ", ::sqlite3_errstr(opened)),
                         .storage = IsStorageError(opened)};
  }
  if (RegistryResult<void> loaded = registry->Load(options.durability); !loaded.ok()) {
    return RegistryError{.message = absl::StrCat("cannot use the registry ", path, ": ", loaded.error().message),
                         .storage = loaded.error().storage};
  }
  return registry;
}

// Nobody else has the registry yet, so no lock is taken.
RegistryResult<void> Registry::Load(Durability durability) {
  // Debian's SQLite overwrites with zeros what it deletes, which costs pages.
  NETPROV_RETURN_IF_ERROR(
      Execute(absl::StrCat("PRAGMA locking_mode=EXCLUSIVE; PRAGMA secure_delete=OFF; PRAGMA synchronous=",
                           durability == Durability::kPower ? "FULL" : "NORMAL")));
  {
    // SQLite answers with the mode that it keeps where it cannot have this one.
    NETPROV_PREPARE(set_mode, "PRAGMA journal_mode=WAL");
    NETPROV_RETURN_IF_ERROR(set_mode.Step());
    if (set_mode.Text(0) != "wal") return RegistryError{"SQLite cannot keep a write-ahead log there"};
  }
  // This takes the place of SQLite's own checkpoint within a commit.
  log_pages_to_checkpoint_ = kPagesThatNeedACheckpoint;
  ::sqlite3_wal_hook(
      database_.get(),
      [](void* log_pages, sqlite3*, const char*, int pages) {
        *static_cast<int*>(log_pages) = pages;
        return SQLITE_OK;
      },
      &log_pages_);
  int64_t version = 0;
  {
    NETPROV_PREPARE(get_version, "PRAGMA user_version");
    NETPROV_RETURN_IF_ERROR(get_version.Step());
    version = get_version.Number(0);
  }
  if (version < 0 || version > kSchemaVersion) {
    return RegistryError{
        absl::StrCat("it was written by a newer netprov (schema ", version, "; this one knows ", kSchemaVersion, ")")};
  }
  {
    NETPROV_PREPARE(check, "PRAGMA quick_check(1)");
    NETPROV_RETURN_IF_ERROR(check.Step());
    if (check.Text(0) != "ok") {
      return RegistryError{.message = absl::StrCat("it is damaged: ", check.Text(0)), .storage = true};
    }
  }
  if (version < kSchemaVersion) {
    std::string sql = "BEGIN IMMEDIATE;";
    for (; version < kSchemaVersion; ++version) absl::StrAppend(&sql, kMigrations[version]);
    absl::StrAppend(&sql, "INSERT OR IGNORE INTO meta VALUES ('id', '", NewUid(), "');",
                    "PRAGMA user_version=", version, "; COMMIT;");
    NETPROV_RETURN_IF_ERROR(Execute(sql));
  }
  return LoadRecords();
}

RegistryResult<void> Registry::LoadRecords() {
  {
    NETPROV_PREPARE(read, "SELECT value FROM meta WHERE name = 'id'");
    NETPROV_ASSIGN_OR_RETURN(bool found, read.Step());
    if (!found) return RegistryError{.message = "table meta has no row id", .storage = true};
    id_ = read.Text(0);
  }
  {
    NETPROV_PREPARE(read, "SELECT value FROM meta WHERE name = 'audit_log'");
    NETPROV_ASSIGN_OR_RETURN(bool found, read.Step());
    if (found) audit_log_ = read.Text(0);
  }
  NETPROV_PREPARE(read_namespaces, "SELECT id, record FROM namespaces");
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read_namespaces.Step());
    if (!more) break;
    std::optional<NamespaceRecord> record = NamespaceRecordFromJson(read_namespaces.Text(1));
    if (!record.has_value() || record->id != read_namespaces.Text(0)) {
      return Unreadable("namespaces", read_namespaces.Text(0), read_namespaces.Text(1));
    }
    Put(*record);
  }
  NETPROV_PREPARE(read_veths, "SELECT id, record FROM veths");
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read_veths.Step());
    if (!more) break;
    std::optional<VethRecord> record = VethRecordFromJson(read_veths.Text(1));
    if (!record.has_value() || record->id != read_veths.Text(0)) {
      return Unreadable("veths", read_veths.Text(0), read_veths.Text(1));
    }
    Put(*record);
  }
  NETPROV_PREPARE(read_devices, "SELECT name, record FROM devices");
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read_devices.Step());
    if (!more) break;
    std::optional<DeviceRecord> record = DeviceRecordFromJson(read_devices.Text(1));
    if (!record.has_value() || record->name != read_devices.Text(0)) {
      return Unreadable("devices", read_devices.Text(0), read_devices.Text(1));
    }
    Put(*record);
  }
  NETPROV_PREPARE(read_journal,
                  "SELECT sequence, intent, request_id, call_id, origin, object, fate FROM journal ORDER BY sequence");
  while (true) {
    NETPROV_ASSIGN_OR_RETURN(bool more, read_journal.Step());
    if (!more) return {};
    const int64_t sequence = read_journal.Number(0);
    next_sequence_ = sequence + 1;
    if (!read_journal.IsNull(3)) {
      const auto fate = static_cast<Fate>(read_journal.Number(6));
      traced_[sequence] = {read_journal.Text(3), read_journal.Text(4), absl::StrSplit(read_journal.Text(5), '\n'),
                           fate};
    }
    if (read_journal.IsNull(1)) {
      if (!read_journal.IsNull(2)) AddAnswer(read_journal.Text(2), sequence);
      continue;
    }
    std::optional<Intent> intent = IntentFromJson(read_journal.Text(1));
    if (!intent.has_value()) return Unreadable("journal", absl::StrCat(sequence), read_journal.Text(1));
    Reserve(sequence, ChargeOf(*intent));
    pending_.emplace(sequence, *std::move(intent));
  }
}

void Registry::Checkpoint() {
  std::lock_guard<std::mutex> lock(database_mutex_);
  if (log_pages_ >= kPagesWorthACheckpoint) MoveLogIntoDatabase();
}

void Registry::MoveLogIntoDatabase() {
  int pages = 0;
  int moved = 0;
  const int done = ::sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
  if (done == SQLITE_OK && moved == pages) {
    log_pages_ = 0;
    log_pages_to_checkpoint_ = kPagesThatNeedACheckpoint;
  } else {
    // The log goes on growing, which is no fault yet.
    log_pages_to_checkpoint_ = log_pages_ + kPagesThatNeedACheckpoint;
  }
}

}  // namespace netprov::engine
