#include "server/engine/linux_netns_pool.h"

#include <pthread.h>

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "server/netlink/link.h"
#include "server/netlink/session.h"
#include "server/netns/netns.h"

namespace netprov::engine {
namespace {

// So many at least, within the time that one is kept, are a quick succession.
constexpr size_t kSuccession = 2;

}  // namespace

NetnsPool::NetnsPool(int home, const Options& options) : home_(home), options_(options) {
  if (options_.most == 0) return;
  try {
    thread_ = std::thread([this] {
      ::pthread_setname_np(::pthread_self(), "netns-pool");
      Run();
    });
  } catch (const std::system_error&) {
    // Without one, each is made when it is asked for.
  }
}

NetnsPool::~NetnsPool() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stops_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

KernelResult<NetnsPool::Made> NetnsPool::Make() const {
  KernelResult<std::unique_ptr<netlink::MnlTransport>> transport = KernelError{};
  NETPROV_ASSIGN_OR_RETURN(UniqueFd netns,
                           netns::MakeAnonymous(home_, [&transport] { transport = netlink::MnlTransport::Open(); }));
  if (!transport.ok()) return std::move(transport).error();
  return Made{.netns = std::move(netns), .transport = *std::move(transport)};
}

KernelResult<NetnsPool::Made> NetnsPool::Take() {
  if (!thread_.joinable()) {
    KernelResult<Made> made = Make();
    if (made.ok()) statistics_.made.Add();
    return made;
  }
  std::deque<Ready> lapsed;  // they end without the lock
  std::optional<Made> ready;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const Clock::time_point now = Clock::now();
    lapsed = TakeLapsed(now);
    ready = TakeReady();
    ++takes_;
    taken_.push_back(now);
    if (taken_.size() > std::max(options_.most, kSuccession)) taken_.pop_front();
  }
  const bool was_ready = ready.has_value();
  KernelResult<Made> made = was_ready ? KernelResult<Made>(*std::move(ready)) : Make();
  if (made.ok()) (was_ready ? statistics_.prepared : statistics_.made).Add();
  // Only now, as the next is not to be made with what this one needs.
  changed_.notify_one();
  if (made.ok()) return made;
  // Others may have taken the last that the machine had, for this.
  std::lock_guard<std::mutex> lock(mutex_);
  if (ready = TakeReady(); ready.has_value()) {
    statistics_.prepared.Add();
    return *std::move(ready);
  }
  return made;
}

std::optional<NetnsPool::Made> NetnsPool::TakeReady() {
  if (ready_.empty()) return std::nullopt;
  std::optional<Made> made = std::move(ready_.front().made);
  ready_.pop_front();
  statistics_.ready = ready_.size();
  return made;
}

std::deque<NetnsPool::Ready> NetnsPool::TakeLapsed(Clock::time_point now) {
  std::deque<Ready> lapsed;
  while (!ready_.empty() && now - ready_.front().since >= options_.keep) {
    lapsed.push_back(std::move(ready_.front()));
    ready_.pop_front();
  }
  statistics_.ready = ready_.size();
  return lapsed;
}

void NetnsPool::Discard() {
  std::deque<Ready> discarded;  // they end without the lock
  std::lock_guard<std::mutex> lock(mutex_);
  ++discards_;
  std::swap(discarded, ready_);
  statistics_.ready = 0;
}

void NetnsPool::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stops_) {
    const Clock::time_point now = Clock::now();
    while (!taken_.empty() && now - taken_.front() >= options_.keep) taken_.pop_front();
    if (std::deque<Ready> lapsed = TakeLapsed(now); !lapsed.empty()) {
      lock.unlock();
      lapsed.clear();
      lock.lock();
      continue;
    }
    const size_t wanted = taken_.size() < kSuccession ? 0 : std::min(taken_.size(), options_.most);
    if (ready_.size() >= wanted || gave_up_at_ == takes_) {
      if (ready_.empty()) {
        changed_.wait(lock);
      } else {
        changed_.wait_until(lock, ready_.front().since + options_.keep);
      }
      continue;
    }
    if (const Clock::time_point calm = taken_.back() + options_.pause; now < calm) {
      changed_.wait_until(lock, calm);
      continue;
    }
    const size_t takes = takes_;
    const size_t discards = discards_;
    lock.unlock();
    KernelResult<Made> made = Make();
    if (made.ok()) {
      netlink::Session session(*made->transport, {.statistics = options_.netlink_statistics});
      // Who takes it does so again, and hears of an error then.
      (void)session.Execute(netlink::EncodeSetLink("lo", {.up = true}));
    }
    lock.lock();
    if (!made.ok()) gave_up_at_ = takes;
    if (made.ok() && discards == discards_) ready_.push_back({.made = *std::move(made), .since = now});
    statistics_.ready = ready_.size();
  }
}

}  // namespace netprov::engine
