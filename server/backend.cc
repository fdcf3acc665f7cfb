#include "server/backend.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace netprov {
namespace {

// STATE_DIR/host names the network namespace that `the host` is in the registry: its links mean nothing in another. A
// daemon is where its administrator put it, and says so there. A command may run anywhere, also inside a namespace that
// it made itself.
absl::Status CheckHost(const StateLock::Options& options, engine::LinuxKernel& kernel) {
  const KernelResult<uint64_t> cookie = kernel.HostCookie();
  if (!cookie.ok()) return absl::UnavailableError(cookie.error().ToString());
  const std::string boot = kernel.BootId() + " ";
  const std::string here = absl::StrCat(boot, *cookie);
  const std::string path = absl::StrCat(options.state_dir, "/host");
  std::string there;
  std::getline(std::ifstream(path), there);
  if (there == here) return absl::OkStatus();
  if (options.kind == StateLock::Kind::kCommand && absl::StartsWith(there, boot)) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.state_dir,
                     " belongs to another network namespace of this machine, so this one cannot be served with it: run "
                     "the command there, or name a daemon with --endpoint"));
  }
  std::ofstream file(path);
  file << here << "\n" << std::flush;
  if (!file.good()) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<engine::LinuxKernel>> OpenKernel(size_t prepared_netns) {
  auto kernel = engine::LinuxKernel::Open({.most = prepared_netns});
  if (kernel.ok()) return *std::move(kernel);
  const KernelError& error = kernel.error();
  const std::string message = absl::StrCat("cannot use the kernel: ", error.ToString());
  if (error.code != EPERM && error.code != EACCES) return absl::UnavailableError(message);
  return absl::PermissionDeniedError(absl::StrCat(message, "; CAP_SYS_ADMIN and CAP_NET_ADMIN are needed"));
}

}  // namespace

absl::Status Backend::CheckKernel() { return OpenKernel(0).status(); }

absl::StatusOr<std::unique_ptr<Backend>> Backend::Open(const StateLock::Options& options,
                                                       const engine::RegistryOptions& registry_options,
                                                       size_t prepared_netns, UniqueFd lock_file) {
  absl::StatusOr<std::unique_ptr<StateLock>> lock =
      lock_file.valid() ? StateLock::TakeOver(std::move(lock_file), options) : StateLock::Take(options);
  if (!lock.ok()) return lock.status();
  const std::string path = absl::StrCat(options.state_dir, "/registry.db");
  auto registry = engine::Registry::Open(path, registry_options);
  // It names the registry.
  if (!registry.ok()) return absl::UnavailableError(registry.error().message);
  absl::StatusOr<std::unique_ptr<engine::LinuxKernel>> kernel = OpenKernel(prepared_netns);
  if (!kernel.ok()) return kernel.status();
  if (absl::Status host = CheckHost(options, **kernel); !host.ok()) return host;
  return std::unique_ptr<Backend>(new Backend(*std::move(lock), *std::move(registry), *std::move(kernel)));
}

}  // namespace netprov
