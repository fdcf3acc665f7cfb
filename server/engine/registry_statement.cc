#include "server/engine/registry_statement.h"

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace netprov::engine {

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

void Registry::StatementCloser::operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }

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

}  // namespace netprov::engine
