#include "tests/simulation/registry_faults.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "server/base/unique_fd.h"

namespace netprov::simulation {
namespace {

std::function<bool()>& MayCommit() {
  static std::function<bool()> may_commit;
  return may_commit;
}

int Commit(void*) { return MayCommit() == nullptr || MayCommit()() ? 0 : 1; }

int Attach(sqlite3* database, const char**, const sqlite3_api_routines*) {
  ::sqlite3_commit_hook(database, Commit, nullptr);
  return SQLITE_OK;
}

// False if there is no such file.
bool CopyFile(const std::string& from, const std::string& to) {
  UniqueFd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in.valid()) return false;
  UniqueFd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  struct stat status {};
  if (!out.valid() || ::fstat(in.get(), &status) != 0 ||
      ::sendfile(out.get(), in.get(), nullptr, static_cast<size_t>(status.st_size)) != status.st_size) {
    std::perror(to.c_str());
    std::abort();
  }
  return true;
}

}  // namespace

void InterceptCommits(std::function<bool()> may_commit) {
  MayCommit() = std::move(may_commit);
  ::sqlite3_auto_extension(reinterpret_cast<void (*)()>(Attach));
}

void CopyDatabase(const std::string& from, const std::string& to) {
  if (!CopyFile(from, to)) std::abort();
  if (!CopyFile(from + "-wal", to + "-wal")) ::unlink((to + "-wal").c_str());
}

}  // namespace netprov::simulation
