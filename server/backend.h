// What stands under the services: the engine over this machine, with its state.
#ifndef NETPROV_SERVER_BACKEND_H_
#define NETPROV_SERVER_BACKEND_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/unique_fd.h"
#include "server/engine/caretaker.h"
#include "server/engine/engine.h"
#include "server/engine/linux_kernel.h"
#include "server/engine/registry.h"
#include "server/state_lock.h"

namespace netprov {

// The engine over the kernel and the registry STATE_DIR/registry.db, under the lock of the state directory. The same
// for the daemon and for a command that serves itself.
class Backend {
 public:
  // Takes the lock, then opens registry and kernel. The caller must still let the engine recover. Errors, each one
  // sentence: those of StateLock::Take(); UNAVAILABLE for a registry that can't be opened; PERMISSION_DENIED or
  // UNAVAILABLE for the kernel; FAILED_PRECONDITION for a command in another network namespace than the state is about.
  // `prepared_netns`: how many namespaces are made ahead at most (NetnsPool). `lock`: the descriptor of a lock that a
  // daemon handed over (StateLock::TakeOver()); left out, it is taken.
  static absl::StatusOr<std::unique_ptr<Backend>> Open(const StateLock::Options& options,
                                                       const engine::RegistryOptions& registry_options = {},
                                                       size_t prepared_netns = 0, UniqueFd lock = UniqueFd());

  // Whether the kernel can be used at all, without any of the state: PERMISSION_DENIED or UNAVAILABLE as above.
  static absl::Status CheckKernel();

  const StateLock& lock() const { return *lock_; }
  engine::Engine& engine() { return engine_; }
  engine::Registry& registry() { return *registry_; }
  const engine::LinuxKernel& kernel() const { return *kernel_; }
  // For a server that stays.
  engine::Caretaker& caretaker() { return caretaker_; }

 private:
  Backend(std::unique_ptr<StateLock> lock, std::unique_ptr<engine::Registry> registry,
          std::unique_ptr<engine::LinuxKernel> kernel)
      : lock_(std::move(lock)),
        registry_(std::move(registry)),
        kernel_(std::move(kernel)),
        engine_(*kernel_, *registry_),
        caretaker_(engine_, *kernel_, *registry_) {}

  // In the order of their use: the lock is let go last.
  std::unique_ptr<StateLock> lock_;
  std::unique_ptr<engine::Registry> registry_;
  std::unique_ptr<engine::LinuxKernel> kernel_;
  engine::Engine engine_;
  engine::Caretaker caretaker_;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_BACKEND_H_
