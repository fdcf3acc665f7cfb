#include "server/engine/linux_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/netlink/link_monitor.h"
#include "server/netlink/mnl_transport.h"
#include "server/netlink/nsid.h"
#include "server/netlink/session.h"
#include "server/netns/directory_monitor.h"

namespace netprov::engine {
namespace {

// What follows on a hint is gathered for so long before it is read. A call changes a namespace in a dozen steps, of
// which the kernel tells one by one: reading each as it comes would wake a thread for each, beside the very call.
constexpr std::chrono::milliseconds kGathering(50);

Hint Everything() { return {.kind = Hint::Kind::kEverything, .netns = {}, .ifindex = 0}; }

class LinuxWatch : public KernelWatch {
 public:
  LinuxWatch(std::unique_ptr<netlink::LinkMonitor> links, std::unique_ptr<netns::DirectoryMonitor> names, UniqueFd wake,
             std::unique_ptr<netlink::MnlTransport> transport, std::string path,
             std::function<KernelResult<UniqueFd>(const NetnsRef&)> open, netlink::Statistics& statistics,
             std::function<std::chrono::steady_clock::time_point()> clock)
      : links_(std::move(links)),
        names_(std::move(names)),
        wake_(std::move(wake)),
        statistics_(statistics),
        session_(std::move(transport), {.statistics = &statistics}),
        path_(std::move(path)),
        open_(std::move(open)),
        clock_(std::move(clock)) {}

  KernelResult<void> Track(const NetnsRef& netns) override {
    NETPROV_ASSIGN_OR_RETURN(const UniqueFd fd, open_(netns));
    KernelResult<void> given = session_.Execute(netlink::EncodeNewNsid(fd.get()));
    if (!given.ok() && given.error().code != EEXIST) return given;
    NETPROV_ASSIGN_OR_RETURN(netlink::Payload reply, session_.Get(netlink::EncodeGetNsid(fd.get())));
    NETPROV_ASSIGN_OR_RETURN(const int nsid, netlink::DecodeNsid(reply));
    // A number is free again once its namespace is gone, so a later one takes the place of an earlier.
    tracked_[nsid] = netns;
    return {};
  }

  std::vector<Hint> Wait(std::chrono::milliseconds timeout) override {
    if (names_ == nullptr) {
      KernelResult<std::unique_ptr<netns::DirectoryMonitor>> names = netns::DirectoryMonitor::Open(path_);
      if (names.ok()) names_ = *std::move(names);
    }
    const auto gathered_for = clock_() - last_read_;
    if (gathered_for < kGathering) {
      const auto rest = std::chrono::ceil<std::chrono::milliseconds>(kGathering - gathered_for);
      pollfd woken{.fd = wake_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&woken, 1, static_cast<int>(std::min(rest, timeout).count())) > 0) {
        Acknowledge();
        return {};
      }
      if (timeout <= rest) return {};
      timeout -= rest;
    }
    std::array<pollfd, 3> polled = {
        pollfd{.fd = wake_.get(), .events = POLLIN, .revents = 0},
        pollfd{.fd = links_->fd(), .events = POLLIN, .revents = 0},
        // poll(2) passes over -1.
        pollfd{.fd = names_ == nullptr ? -1 : names_->fd(), .events = POLLIN, .revents = 0}};
    if (::poll(polled.data(), polled.size(), static_cast<int>(timeout.count())) <= 0) return {};
    if (polled[0].revents != 0) Acknowledge();
    std::vector<Hint> hints;
    if (polled[1].revents != 0 || polled[2].revents != 0) last_read_ = clock_();
    if (polled[1].revents != 0) AddLinks(hints);
    if (polled[2].revents != 0) AddNames(hints);
    return hints;
  }

  void Wake() override {
    const uint64_t once = 1;
    (void)!::write(wake_.get(), &once, sizeof(once));
  }

 private:
  // That somebody called Wake().
  void Acknowledge() {
    uint64_t times = 0;
    (void)!::read(wake_.get(), &times, sizeof(times));
  }

  void AddLinks(std::vector<Hint>& hints) {
    KernelResult<netlink::LinkMonitor::News> news = links_->Read();
    if (!news.ok() || news->lost) {
      statistics_.lost_news.Add();
      return hints.push_back(Everything());
    }
    for (const netlink::LinkEvent& event : news->events) {
      Hint hint{.kind = Hint::Kind::kLink, .netns = {}, .ifindex = static_cast<uint32_t>(event.ifindex)};
      if (event.nsid.has_value()) {
        auto found = tracked_.find(*event.nsid);
        if (found == tracked_.end()) continue;
        hint.netns = found->second;
      }
      hints.push_back(std::move(hint));
    }
  }

  void AddNames(std::vector<Hint>& hints) {
    KernelResult<netns::DirectoryMonitor::News> news = names_->Read();
    if (!news.ok() || news->lost) {
      // The directory itself may have gone, and the monitor with it; the next one is of the one that is there now.
      names_ = nullptr;
      return hints.push_back(Everything());
    }
    for (std::string& name : news->names) {
      hints.push_back({.kind = Hint::Kind::kName, .netns = {.name = std::move(name), .cookie = 0}, .ifindex = 0});
    }
  }

  std::unique_ptr<netlink::LinkMonitor> links_;
  std::unique_ptr<netns::DirectoryMonitor> names_;  // null: to be opened again
  UniqueFd wake_;
  netlink::Statistics& statistics_;
  netlink::Session session_;
  const std::string path_;  // of the directory of names
  std::function<KernelResult<UniqueFd>(const NetnsRef&)> open_;
  std::function<std::chrono::steady_clock::time_point()> clock_;
  std::map<int, NetnsRef> tracked_;  // by nsid
  std::chrono::steady_clock::time_point last_read_;
};

}  // namespace

KernelResult<std::unique_ptr<KernelWatch>> OpenLinuxWatch(
    const netns::NetnsDirectory& directory, std::function<KernelResult<UniqueFd>(const NetnsRef&)> open,
    netlink::Statistics& statistics, std::function<std::chrono::steady_clock::time_point()> clock) {
  NETPROV_ASSIGN_OR_RETURN(auto links, netlink::LinkMonitor::Open());
  NETPROV_ASSIGN_OR_RETURN(auto names, netns::DirectoryMonitor::Open(directory.path()));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError("eventfd");
  NETPROV_ASSIGN_OR_RETURN(auto transport, netlink::MnlTransport::Open());
  return std::unique_ptr<KernelWatch>(std::make_unique<LinuxWatch>(std::move(links), std::move(names), std::move(wake),
                                                                   std::move(transport), directory.path(),
                                                                   std::move(open), statistics, std::move(clock)));
}

}  // namespace netprov::engine
