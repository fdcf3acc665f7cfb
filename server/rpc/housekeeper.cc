#include "server/rpc/housekeeper.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/call_log.h"

namespace netprov::rpc {
namespace {

// How long a fault of the disk may go unnoticed, and new namespaces unwatched.
constexpr std::chrono::milliseconds kPeriod(500);

spdlog::level::level_enum LevelOf(engine::Notice::Level level) {
  switch (level) {
    case engine::Notice::Level::kInfo:
      return spdlog::level::info;
    case engine::Notice::Level::kWarning:
      return spdlog::level::warn;
    case engine::Notice::Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

Housekeeper::Housekeeper(engine::Caretaker& caretaker, engine::Registry& registry, CallRunner& runner,
                         const Options& options)
    : caretaker_(caretaker), registry_(registry), runner_(runner), options_(options), thread_([this] { Run(); }) {}

Housekeeper::~Housekeeper() { Stop(); }

void Housekeeper::Stop() {
  if (stopping_.exchange(true)) return;
  caretaker_.Wake();
  thread_.join();
}

void Housekeeper::Run() {
  while (!stopping_) {
    WatchDisk();
    engine::Caretaker::Due due = caretaker_.Wait(kPeriod);
    Log(due.notices);
    for (engine::Chore& chore : due.chores) {
      const std::vector<std::string> keys = chore.keys;
      // One that the full queue refuses comes again.
      runner_.Submit(keys, [this, chore = std::move(chore)] {
        if (!stopping_) Log(Do(chore));
      });
    }
  }
}

std::vector<engine::Notice> Housekeeper::Do(const engine::Chore& chore) {
  if (options_.auditor == nullptr) return chore.run();
  const audit::Call call = options_.auditor->BeginChore(chore);
  std::vector<engine::Notice> notices;
  {
    const engine::OriginScope scope(Auditor::OriginOf(call));
    notices = chore.run();
  }
  options_.auditor->EndChore(call, notices);
  return notices;
}

void Housekeeper::WatchDisk() {
  registry_.Checkpoint();
  std::optional<std::string> fault = registry_.Fault();
  if (fault.has_value() && registry_.Probe().ok()) fault.reset();
  Tell("registry", fault, registry_is_writable_);
  if (options_.auditor != nullptr) Tell("audit", options_.auditor->Check(), audit_log_is_writable_);
}

void Housekeeper::Tell(const char* what, const std::optional<std::string>& fault, bool& is_writable) {
  if (is_writable == !fault.has_value()) return;
  is_writable = !fault.has_value();
  // Before the line, so that who waits for it finds health as it says.
  options_.on_writable(registry_is_writable_ && audit_log_is_writable_);
  if (is_writable) {
    options_.log->warn(absl::StrCat("event=", what, "_writable"));
  } else {
    options_.log->error(absl::StrCat("event=", what, "_fault detail=", LogfmtValue(*fault)));
  }
}

void Housekeeper::Log(const std::vector<engine::Notice>& notices) const {
  for (const engine::Notice& notice : notices) {
    std::string line = absl::StrCat("event=", notice.event);
    if (!notice.resource.empty()) absl::StrAppend(&line, " resource=", LogfmtValue(notice.resource));
    if (!notice.detail.empty()) absl::StrAppend(&line, " detail=", LogfmtValue(notice.detail));
    options_.log->log(LevelOf(notice.level), line);
  }
}

}  // namespace netprov::rpc
