// How the registry's own files speak to SQLite.
#ifndef NETPROV_SERVER_ENGINE_REGISTRY_STATEMENT_H_
#define NETPROV_SERVER_ENGINE_REGISTRY_STATEMENT_H_

#include <sqlite3.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/engine/registry.h"

namespace netprov::engine {

// Of a code of SQLite's: whether it is RegistryError::storage.
bool IsStorageError(int code);
// What failed last.
RegistryError ErrorOf(sqlite3* database);
RegistryError Unreadable(absl::string_view table, absl::string_view row, absl::string_view text);

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

// Declares `runner` for `sql`, or returns the error.
#define NETPROV_PREPARE(runner, sql)                                        \
  NETPROV_ASSIGN_OR_RETURN(sqlite3_stmt* runner##_statement, Prepare(sql)); \
  Runner runner(database_.get(), runner##_statement)

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_REGISTRY_STATEMENT_H_
