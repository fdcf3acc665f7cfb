#include "server/engine/registry.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/unique_fd.h"
#include "server/engine/record_json.h"
#include "server/engine/tag.h"
#include "server/engine/usage.h"

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

// Old answers are removed every so many commits, so that no single call pays for many.
constexpr int64_t kCommitsPerPruning = 256;

// And what was kept for calls that are in the audit log by now, so many rows at once.
constexpr size_t kAuditedAtOnce = 64;

// Pages of the write-ahead log: from how many on Checkpoint() has work to do, and from how many on a write has.
constexpr int kPagesWorthACheckpoint = 250;
constexpr int kPagesThatNeedACheckpoint = 4000;

bool IsBridge(absl::string_view device) { return absl::StartsWith(device, "bridges/"); }

size_t HashOf(const std::string& request_id) { return std::hash<std::string>()(request_id); }

bool IsStorageError(int code) {
  switch (code & 0xff) {  // the rest says more exactly which
    case SQLITE_CANTOPEN:
    case SQLITE_CORRUPT:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_NOTADB:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return true;
    default:
      return false;
  }
}

RegistryError ErrorOf(sqlite3* database) {
  std::string message = absl::StrCat("registry: ", ::sqlite3_errmsg(database));
  const int code = ::sqlite3_errcode(database);
  if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) {
    if (const int error = ::sqlite3_system_errno(database); error != 0) {
      absl::StrAppend(&message, " (", strerrordesc_np(error), ")");
    }
  }
  return {.message = std::move(message), .storage = IsStorageError(code)};
}

RegistryError Unreadable(absl::string_view table, absl::string_view row, absl::string_view text) {
  return {.message = absl::StrCat("table ", table, " has an unreadable record in row ", row, ": ", text),
          .storage = true};
}

// One run of a prepared statement; the lock of its owner is held. What is bound must live until the run is over, and
// each run binds all.
class Runner {
 public:
  Runner(sqlite3* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  ~Runner() { ::sqlite3_reset(statement_); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  Runner& Bind(absl::string_view text) {
    ::sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }
  Runner& BindBlob(absl::string_view bytes) {
    ::sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
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
        return ErrorOf(database_);
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
  bool IsNull(int column) const { return ::sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

}  // namespace

// An intent, an outcome, or neither: then it is a probe.
struct Registry::Operation {
  Operation(const Intent& begun, const Origin* of) : intent(&begun), intent_text(ToJson(begun)), statements(1) {
    if (of == nullptr) return;
    trace = {.call_id = of->call_id, .origin = of->text, .objects = {ObjectOf(begun)}};
    for (const NamespaceRecord& record : begun.new_namespaces) trace.objects.push_back(NamespaceName(record.id));
  }
  explicit Operation(const Outcome& committed, int64_t of) : outcome(&committed), sequence(of) {
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
  int64_t sequence = 0;       // the row of the journal
  TracedChange trace;         // of an intent; of its outcome objects and fate alone
  bool is_traced = false;     // of an outcome: its row stays
  bool is_audit_log = false;  // neither: the path in `intent_text` becomes the audit log's
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

void Registry::StatementCloser::operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
void Registry::DatabaseCloser::operator()(sqlite3* database) const { ::sqlite3_close(database); }

int64_t Registry::NewestSchema() { return kSchemaVersion; }

Registry::~Registry() {
  // So that the next start has not to look whether they are there.
  if (database_ != nullptr) (void)ForgetAudited();
}

RegistryResult<sqlite3_stmt*> Registry::Prepare(const char* sql) {
  Statement& statement = statements_[sql];
  if (statement == nullptr) {
    sqlite3_stmt* prepared = nullptr;
    if (::sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) != SQLITE_OK) {
      return ErrorOf(database_.get());
    }
    statement.reset(prepared);
  }
  return statement.get();
}

RegistryResult<void> Registry::Execute(const std::string& sql) {
  if (::sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return ErrorOf(database_.get());
}

// Declares `runner` for `sql`, or returns the error.
#define NETPROV_PREPARE(runner, sql)                                        \
  NETPROV_ASSIGN_OR_RETURN(sqlite3_stmt* runner##_statement, Prepare(sql)); \
  Runner runner(database_.get(), runner##_statement)

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
      if (!read_journal.IsNull(2)) answers_.emplace(HashOf(read_journal.Text(2)), sequence);
      continue;
    }
    std::optional<Intent> intent = IntentFromJson(read_journal.Text(1));
    if (!intent.has_value()) return Unreadable("journal", absl::StrCat(sequence), read_journal.Text(1));
    Reserve(sequence, ChargeOf(*intent));
    pending_.emplace(sequence, *std::move(intent));
  }
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

std::vector<VethRecord> Registry::ListVethsOf(const std::string& netns_key) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<VethRecord> records;
  for (auto end = ends_.lower_bound({netns_key, ""}); end != ends_.end() && end->first == netns_key; ++end) {
    records.push_back(veths_.at(end->second));
  }
  return records;
}

std::vector<VethRecord> Registry::ListVethsAtPlaces() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::set<std::string> ids;
  for (auto end = ends_.lower_bound({"/", ""}); end != ends_.end() && end->first[0] == '/'; ++end) {
    ids.insert(end->second);
  }
  std::vector<VethRecord> records;
  records.reserve(ids.size());
  for (const std::string& id : ids) records.push_back(veths_.at(id));
  return records;
}

std::optional<DeviceRecord> Registry::FindDevice(const std::string& name) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  auto found = devices_.find(name);
  if (found == devices_.end()) return std::nullopt;
  return found->second;
}

std::vector<DeviceRecord> Registry::ListDevices() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<DeviceRecord> records;
  records.reserve(devices_.size());
  for (const auto& [name, record] : devices_) records.push_back(record);
  return records;
}

std::vector<DeviceRecord> Registry::ListDevicesOf(const std::string& namespace_id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<DeviceRecord> records;
  for (const auto& [name, record] : devices_) {
    if (record.link.namespace_id == namespace_id) records.push_back(record);
  }
  return records;
}

void Registry::Put(const NamespaceRecord& record) {
  NamespaceRecord& present = namespaces_[record.id];
  if (!present.uid.empty()) Subtract(ChargeOf(present));
  Add(ChargeOf(record));
  uids_.erase(present.uid);
  uids_.insert(record.uid);
  present = record;
}

void Registry::Put(const DeviceRecord& record) {
  const auto [device, is_new] = devices_.try_emplace(record.name);
  if (is_new && IsBridge(record.name)) ++bridges_;
  DeviceRecord& present = device->second;
  if (!present.uid.empty()) Subtract(ChargeOf(present));
  Add(ChargeOf(record));
  uids_.erase(present.uid);
  uids_.insert(record.uid);
  present = record;
}

void Registry::Put(const VethRecord& record) {
  Remove(record.id);
  veths_.emplace(record.id, record);
  Add(ChargeOf(record));
  uids_.insert(record.uid);
  for (const Endpoint* end : {&record.a, &record.b}) ends_.emplace(end->netns_key(), record.id);
}

void Registry::Remove(const std::string& veth_id) {
  auto found = veths_.find(veth_id);
  if (found == veths_.end()) return;
  for (const Endpoint* end : {&found->second.a, &found->second.b}) ends_.erase({end->netns_key(), veth_id});
  uids_.erase(found->second.uid);
  Subtract(ChargeOf(found->second));
  veths_.erase(found);
}

void Registry::Add(const Charge& charge) {
  used_by_all_ += charge.total;
  if (charge.own != Usage()) used_[charge.creator] += charge.own;
}

void Registry::Subtract(const Charge& charge) {
  used_by_all_ -= charge.total;
  const auto used = used_.find(charge.creator);
  if (used == used_.end()) return;
  used->second -= charge.own;
  if (used->second == Usage()) used_.erase(used);
}

template <typename Record>
Registry::Charge Registry::ChargeOf(const Record& record) {
  const Usage usage = UsageOf(record);
  return {.creator = record.creator, .own = usage, .total = usage};
}

Registry::Charge Registry::ChargeOf(const Intent& intent) const {
  // The one that is there under the name: it is changed, made again, or another takes its place.
  Usage before;
  Usage before_of_all;
  const std::string& creator = CreatorOf(intent);
  auto look = [&](const auto& records, const std::string& name) {
    const auto found = records.find(name);
    if (found == records.end()) return;
    before_of_all = UsageOf(found->second);
    if (found->second.creator == creator) before = before_of_all;
  };
  look(namespaces_, intent.netns.id);
  look(veths_, intent.veth.id);
  look(devices_, intent.device.name);
  const Usage after = UsageAfter(intent);
  return {.creator = creator, .own = Growth(before, after), .total = Growth(before_of_all, after)};
}

std::optional<QuotaExcess> Registry::ExcessOf(const Charge& charge, const Allowance& allowance) const {
  auto look = [](const Quota& quota, const Usage& used, const Usage& growth) -> std::optional<QuotaExcess> {
    for (const CountedKind& kind : kCountedKinds) {
      const std::optional<int64_t>& most = quota.*kind.most;
      const int64_t added = growth.*kind.used;
      if (!most.has_value() || added == 0 || used.*kind.used + added <= *most) continue;
      return QuotaExcess{.quota = kind.name, .whose = "", .limit = *most, .usage = used.*kind.used, .added = added};
    }
    return std::nullopt;
  };
  // Of what is nobody's, nobody has too much.
  if (!charge.creator.empty()) {
    const auto used = used_.find(charge.creator);
    auto excess = look(allowance.own, used == used_.end() ? Usage() : used->second, charge.own);
    if (excess.has_value()) {
      excess->whose = charge.creator;
      return excess;
    }
  }
  auto excess = look(allowance.total, used_by_all_, charge.total);
  if (excess.has_value()) excess->quota = absl::StrCat("total.", excess->quota);
  return excess;
}

void Registry::Reserve(int64_t sequence, Charge charge) {
  if (charge.own == Usage() && charge.total == Usage()) return;
  Add(charge);
  reserved_.emplace(sequence, std::move(charge));
}

void Registry::Release(int64_t sequence) {
  const auto reserved = reserved_.find(sequence);
  if (reserved == reserved_.end()) return;
  Subtract(reserved->second);
  reserved_.erase(reserved);
}

std::optional<QuotaExcess> Registry::FindExcess(const Intent& intent, const Allowance& allowance) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return ExcessOf(ChargeOf(intent), allowance);
}

Usage Registry::UsedBy(const std::string& creator) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  const auto used = used_.find(creator);
  return used == used_.end() ? Usage() : used->second;
}

Usage Registry::UsedByAll() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return used_by_all_;
}

void Registry::RemoveDevice(std::map<std::string, DeviceRecord>::iterator device) {
  if (IsBridge(device->first)) --bridges_;
  Subtract(ChargeOf(device->second));
  uids_.erase(device->second.uid);
  devices_.erase(device);
}

RegistryResult<std::optional<RequestRecord>> Registry::FindRequest(const std::string& request_id) {
  // Nearly every request id is new.
  std::vector<int64_t> sequences;
  {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    auto [first, last] = answers_.equal_range(HashOf(request_id));
    for (; first != last; ++first) sequences.push_back(first->second);
  }
  // One that has been answered again since the first answer expired has the newer one.
  std::sort(sequences.rbegin(), sequences.rend());
  const int64_t oldest = absl::ToUnixSeconds(absl::Now() - kRequestRetention);
  for (int64_t sequence : sequences) {
    std::lock_guard<std::mutex> lock(database_mutex_);
    NETPROV_PREPARE(find,
                    "SELECT fingerprint, answer FROM journal WHERE sequence = ? AND request_id = ? AND answered > ?");
    NETPROV_ASSIGN_OR_RETURN(bool found, find.Bind(sequence).BindBlob(request_id).Bind(oldest).Step());
    if (!found) continue;
    std::optional<RequestRecord> record = AnswerFromJson(find.Text(1));
    if (!record.has_value()) return Unreadable("journal", absl::StrCat(sequence), find.Text(1));
    record->request_id = request_id;
    record->fingerprint = find.Text(0);
    return record;
  }
  return std::optional<RequestRecord>();
}

RegistryResult<int64_t> Registry::Begin(const Intent& intent, const Allowance& allowance, const Origin* origin) {
  const int64_t sequence = next_sequence_++;
  {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    Charge charge = ChargeOf(intent);
    if (std::optional<QuotaExcess> excess = ExcessOf(charge, allowance)) {
      return RegistryError{.message = "a quota is exceeded", .excess = std::move(excess)};
    }
    Reserve(sequence, std::move(charge));
  }
  Operation operation(intent, origin);
  operation.sequence = sequence;
  if (origin != nullptr && intent.kind == Intent::Kind::kDeleteNamespace) {
    std::vector<std::string>& objects = operation.trace.objects;
    for (const VethRecord& record : ListVethsOf(intent.netns.id)) objects.push_back(VethName(record.id));
    for (const DeviceRecord& record : ListDevicesOf(intent.netns.id)) objects.push_back(record.name);
  }
  if (RegistryResult<void> written = Write(operation); !written.ok()) {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    Release(sequence);
    return std::move(written).error();
  }
  return sequence;
}

RegistryResult<void> Registry::Commit(int64_t sequence, const Outcome& outcome) {
  Operation operation(outcome, sequence);
  if (operation.statements == 0) return {};
  if (sequence == 0 && outcome.request.has_value()) operation.sequence = next_sequence_++;
  operation.trace.fate = Fate::kDone;
  Trace(operation);
  return Write(operation);
}

RegistryResult<void> Registry::Abort(int64_t sequence, Fate fate) {
  const Outcome nothing;
  Operation operation(nothing, sequence);
  operation.trace.fate = fate;
  Trace(operation);
  return Write(operation);
}

void Registry::Trace(Operation& operation) const {
  std::vector<std::string>& objects = operation.trace.objects;
  {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    const auto found = traced_.find(operation.sequence);
    if (found == traced_.end()) return;
    objects = found->second.objects;
  }
  operation.is_traced = true;
  auto add = [&objects](std::string name) {
    if (!absl::c_linear_search(objects, name)) objects.push_back(std::move(name));
  };
  for (const NamespaceRecord& record : operation.outcome->put_namespaces) add(NamespaceName(record.id));
  if (const auto& record = operation.outcome->remove_namespace; record.has_value()) add(NamespaceName(record->id));
  for (const VethRecord& record : operation.outcome->remove_veths) add(VethName(record.id));
  for (const DeviceRecord& record : operation.outcome->remove_devices) add(record.name);
}

std::vector<TracedChange> Registry::ListTraced() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<TracedChange> changes;
  for (const auto& [sequence, change] : traced_) changes.push_back(change);
  return changes;
}

std::vector<TracedChange> Registry::ListTracedOf(const std::string& call_id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<TracedChange> changes;
  for (const auto& [sequence, change] : traced_) {
    if (change.call_id == call_id) changes.push_back(change);
  }
  return changes;
}

void Registry::MarkAudited(const std::string& call_id) {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::erase_if(traced_, [&](const auto& item) {
    if (item.second.call_id != call_id) return false;
    audited_.push_back(item.first);
    return true;
  });
}

std::string Registry::AuditLog() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return audit_log_;
}

RegistryResult<void> Registry::SetAuditLog(const std::string& path) {
  if (AuditLog() == path) return {};
  Operation operation;
  operation.is_audit_log = true;
  operation.intent_text = path;
  return Write(operation);
}

std::vector<PendingIntent> Registry::ListPending() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<PendingIntent> pending;
  for (const auto& [sequence, intent] : pending_) pending.push_back({sequence, intent});
  return pending;
}

bool Registry::HasUid(const std::string& uid) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return uids_.contains(uid);
}

std::optional<std::string> Registry::FindNamespaceId(const std::string& boot_id, uint64_t cookie) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  for (const auto& [id, record] : namespaces_) {
    if (record.cookie == cookie && record.boot_id == boot_id) return id;
  }
  return std::nullopt;
}

bool Registry::IsPending(const std::string& uid) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return std::any_of(pending_.begin(), pending_.end(), [&](const auto& item) { return IsOf(item.second, uid); });
}

std::optional<std::string> Registry::Fault() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return fault_;
}

Registry::Objects Registry::CountObjects() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return {.namespaces = namespaces_.size(),
          .veths = veths_.size(),
          .bridges = bridges_,
          .devices = devices_.size() - bridges_};
}

RegistryResult<void> Registry::Probe() {
  Operation probe;
  return Write(probe);
}

void Registry::FlushAudited() {
  std::lock_guard<std::mutex> lock(database_mutex_);
  // What can't be written now is there the next time.
  (void)ForgetAudited();
}

void Registry::Checkpoint() {
  std::lock_guard<std::mutex> lock(database_mutex_);
  if (log_pages_ >= kPagesWorthACheckpoint) MoveLogIntoDatabase();
}

RegistryResult<void> Registry::Write(Operation& operation) {
  std::unique_lock<std::mutex> queue_lock(queue_mutex_);
  queue_.push_back(&operation);
  operation.wake.wait(queue_lock, [&] { return operation.done || queue_.front() == &operation; });
  if (operation.done) return operation.result;
  std::vector<Operation*> batch(queue_.begin(), queue_.end());
  queue_lock.unlock();
  {
    std::lock_guard<std::mutex> database_lock(database_mutex_);
    if (batch.size() == 1 || !Transact(batch).ok()) {
      // What failed together may do alone, but for the one that is the reason.
      for (Operation* one : batch) one->result = Transact({&one, 1});
    }
    if (++commits_ % kCommitsPerPruning == 0) (void)Prune();
    if (AuditedRows() >= kAuditedAtOnce) (void)ForgetAudited();
    if (log_pages_ >= log_pages_to_checkpoint_) MoveLogIntoDatabase();
  }
  queue_lock.lock();
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(batch.size()));
  for (Operation* one : batch) {
    one->done = true;
    one->wake.notify_one();
  }
  if (!queue_.empty()) queue_.front()->wake.notify_one();
  return operation.result;
}

RegistryResult<void> Registry::Transact(absl::Span<Operation* const> batch) {
  RegistryResult<void> written = WriteInTransaction(batch);
  if (!written.ok()) {
    if (::sqlite3_get_autocommit(database_.get()) == 0) (void)Execute("ROLLBACK");
    // A commit whose sync failed is whole in the log, and would be there again after a crash, unless something else is
    // written in its place.
    if (written.error().storage) (void)WriteProbe();
  }
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  if (written.ok()) {
    fault_.reset();
    for (const Operation* operation : batch) Remember(*operation);
  } else if (written.error().storage) {
    if (!fault_.has_value()) statistics_.faults.Add();
    fault_ = written.error().message;
  }
  return written;
}

RegistryResult<void> Registry::WriteInTransaction(absl::Span<Operation* const> batch) {
  const ScopedTimer timer(&statistics_.transactions);
  if (batch.size() == 1 && batch[0]->statements == 1) return WriteOne(*batch[0]);
  {
    NETPROV_PREPARE(begin, "BEGIN IMMEDIATE");
    NETPROV_RETURN_IF_ERROR(begin.Run());
  }
  for (const Operation* operation : batch) NETPROV_RETURN_IF_ERROR(WriteOne(*operation));
  NETPROV_PREPARE(commit, "COMMIT");
  return commit.Run();
}

RegistryResult<void> Registry::WriteOne(const Operation& operation) {
  if (operation.intent != nullptr && !operation.trace.call_id.empty()) {
    NETPROV_PREPARE(insert, "INSERT INTO journal (sequence, intent, call_id, origin, object) VALUES (?, ?, ?, ?, ?)");
    return insert.Bind(operation.sequence)
        .Bind(operation.intent_text)
        .Bind(operation.trace.call_id)
        .Bind(operation.trace.origin)
        .Bind(absl::StrJoin(operation.trace.objects, "\n"))
        .Run();
  }
  if (operation.intent != nullptr) {
    NETPROV_PREPARE(insert, "INSERT INTO journal (sequence, intent) VALUES (?, ?)");
    return insert.Bind(operation.sequence).Bind(operation.intent_text).Run();
  }
  if (operation.is_audit_log) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO meta VALUES ('audit_log', ?)");
    return put.Bind(operation.intent_text).Run();
  }
  if (operation.outcome == nullptr) return WriteProbe();
  const Outcome& outcome = *operation.outcome;
  if (const auto& record = outcome.remove_namespace; record.has_value()) {
    NETPROV_PREPARE(remove, "DELETE FROM namespaces WHERE id = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record->id).Bind(record->uid).Run());
  }
  for (const VethRecord& record : outcome.remove_veths) {
    NETPROV_PREPARE(remove, "DELETE FROM veths WHERE id = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record.id).Bind(record.uid).Run());
  }
  for (const DeviceRecord& record : outcome.remove_devices) {
    NETPROV_PREPARE(remove, "DELETE FROM devices WHERE name = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record.name).Bind(record.uid).Run());
  }
  for (size_t i = 0; i < outcome.put_namespaces.size(); ++i) {
    const NamespaceRecord& record = outcome.put_namespaces[i];
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO namespaces (id, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record.id).Bind(record.uid).Bind(operation.namespace_texts[i]).Run());
  }
  if (const auto& record = outcome.put_veth; record.has_value()) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO veths (id, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record->id).Bind(record->uid).Bind(operation.veth_text).Run());
  }
  if (const auto& record = outcome.put_device; record.has_value()) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO devices (name, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record->name).Bind(record->uid).Bind(operation.device_text).Run());
  }
  if (const auto& record = outcome.request; record.has_value() && operation.is_traced) {
    NETPROV_PREPARE(answer,
                    "UPDATE journal SET intent = NULL, request_id = ?, fingerprint = ?, answer = ?, answered = ?, "
                    "fate = ?, object = ? WHERE sequence = ?");
    return answer.BindBlob(record->request_id)
        .BindBlob(record->fingerprint)
        .Bind(operation.answer_text)
        .Bind(absl::ToUnixSeconds(absl::Now()))
        .Bind(static_cast<int64_t>(operation.trace.fate))
        .Bind(absl::StrJoin(operation.trace.objects, "\n"))
        .Bind(operation.sequence)
        .Run();
  }
  if (const auto& record = outcome.request; record.has_value()) {
    NETPROV_PREPARE(answer,
                    "INSERT OR REPLACE INTO journal (sequence, request_id, fingerprint, answer, answered) "
                    "VALUES (?, ?, ?, ?, ?)");
    return answer.Bind(operation.sequence)
        .BindBlob(record->request_id)
        .BindBlob(record->fingerprint)
        .Bind(operation.answer_text)
        .Bind(absl::ToUnixSeconds(absl::Now()))
        .Run();
  }
  if (operation.sequence == 0) return {};
  if (operation.is_traced) {
    NETPROV_PREPARE(keep, "UPDATE journal SET intent = NULL, fate = ?, object = ? WHERE sequence = ?");
    return keep.Bind(static_cast<int64_t>(operation.trace.fate))
        .Bind(absl::StrJoin(operation.trace.objects, "\n"))
        .Bind(operation.sequence)
        .Run();
  }
  NETPROV_PREPARE(forget, "DELETE FROM journal WHERE sequence = ?");
  return forget.Bind(operation.sequence).Run();
}

RegistryResult<void> Registry::WriteProbe() {
  // SQLite leaves alone a page that would not change.
  NETPROV_PREPARE(probe, "INSERT INTO meta VALUES ('probe', 1) ON CONFLICT DO UPDATE SET value = value + 1");
  return probe.Run();
}

void Registry::Remember(const Operation& operation) {
  if (operation.intent != nullptr) pending_.emplace(operation.sequence, *operation.intent);
  if (operation.intent != nullptr && !operation.trace.call_id.empty()) traced_[operation.sequence] = operation.trace;
  if (operation.is_audit_log) audit_log_ = operation.intent_text;
  if (operation.outcome == nullptr) return;
  const Outcome& outcome = *operation.outcome;
  pending_.erase(operation.sequence);
  Release(operation.sequence);
  if (auto found = traced_.find(operation.sequence); found != traced_.end()) {
    found->second.fate = operation.trace.fate;
    found->second.objects = operation.trace.objects;
  }
  if (const auto& record = outcome.remove_namespace; record.has_value()) {
    auto found = namespaces_.find(record->id);
    if (found != namespaces_.end() && found->second.uid == record->uid) {
      Subtract(ChargeOf(found->second));
      uids_.erase(record->uid);
      namespaces_.erase(found);
    }
  }
  for (const VethRecord& record : outcome.remove_veths) {
    auto found = veths_.find(record.id);
    if (found != veths_.end() && found->second.uid == record.uid) Remove(record.id);
  }
  for (const DeviceRecord& record : outcome.remove_devices) {
    auto found = devices_.find(record.name);
    if (found != devices_.end() && found->second.uid == record.uid) RemoveDevice(found);
  }
  if (outcome.put_device.has_value()) Put(*outcome.put_device);
  for (const NamespaceRecord& record : outcome.put_namespaces) Put(record);
  if (outcome.put_veth.has_value()) Put(*outcome.put_veth);
  if (outcome.request.has_value()) answers_.emplace(HashOf(outcome.request->request_id), operation.sequence);
}

RegistryResult<void> Registry::Prune() {
  std::vector<std::pair<const size_t, int64_t>> removed;
  {
    NETPROV_PREPARE(prune,
                    "DELETE FROM journal WHERE sequence IN (SELECT sequence FROM journal ORDER BY sequence LIMIT 1024) "
                    "AND answered <= ? AND call_id IS NULL RETURNING request_id, sequence");
    prune.Bind(absl::ToUnixSeconds(absl::Now() - kRequestRetention));
    while (true) {
      NETPROV_ASSIGN_OR_RETURN(bool more, prune.Step());
      if (!more) break;
      removed.emplace_back(HashOf(prune.Text(0)), prune.Number(1));
    }
  }
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  for (const auto& one : removed) {
    auto [first, last] = answers_.equal_range(one.first);
    first = std::find(first, last, one);
    if (first != last) answers_.erase(first);
  }
  return {};
}

size_t Registry::AuditedRows() const {
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  return audited_.size();
}

RegistryResult<void> Registry::ForgetAudited() {
  std::vector<int64_t> sequences;
  {
    std::lock_guard<std::mutex> memory_lock(memory_mutex_);
    sequences.swap(audited_);
  }
  if (sequences.empty()) return {};
  RegistryResult<void> forgotten = ForgetAudited(sequences);
  if (forgotten.ok()) return {};
  if (::sqlite3_get_autocommit(database_.get()) == 0) (void)Execute("ROLLBACK");
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  audited_.insert(audited_.end(), sequences.begin(), sequences.end());
  return forgotten;
}

RegistryResult<void> Registry::ForgetAudited(const std::vector<int64_t>& sequences) {
  {
    NETPROV_PREPARE(begin, "BEGIN IMMEDIATE");
    NETPROV_RETURN_IF_ERROR(begin.Run());
  }
  for (const int64_t sequence : sequences) {
    // An intent that could not be undone outlives its call.
    NETPROV_PREPARE(clear,
                    "UPDATE journal SET call_id = NULL, origin = NULL, object = NULL, fate = NULL WHERE sequence = ? "
                    "AND (intent IS NOT NULL OR request_id IS NOT NULL)");
    NETPROV_RETURN_IF_ERROR(clear.Bind(sequence).Run());
    NETPROV_PREPARE(remove, "DELETE FROM journal WHERE sequence = ? AND intent IS NULL AND request_id IS NULL");
    NETPROV_RETURN_IF_ERROR(remove.Bind(sequence).Run());
  }
  NETPROV_PREPARE(commit, "COMMIT");
  return commit.Run();
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
