// The faults, boots and watches of FakeKernel, and the text of all that it has; its tables are in the files beside it.
#include "server/engine/fake_kernel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/tag.h"

namespace netprov::engine {

class FakeKernel::FakeWatch : public KernelWatch {
 public:
  explicit FakeWatch(FakeKernel& kernel) : kernel_(kernel) {}

  KernelResult<void> Track(const NetnsRef& netns) override {
    {
      std::lock_guard<std::mutex> lock(kernel_.mutex_);
      NETPROV_RETURN_IF_ERROR(kernel_.Enter(netns));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    tracked_[netns.cookie] = netns;
    return {};
  }

  std::vector<Hint> Wait(std::chrono::milliseconds timeout) override {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, timeout, [this] { return woken_ || !hints_.empty(); });
    woken_ = false;
    return std::exchange(hints_, {});
  }

  void Wake() override {
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = true;
    changed_.notify_all();
  }

  void Tell(Hint hint) {
    std::lock_guard<std::mutex> lock(mutex_);
    hints_.push_back(std::move(hint));
    changed_.notify_all();
  }

  void TellLink(bool of_host, uint64_t cookie, uint32_t ifindex) {
    Hint hint{.kind = Hint::Kind::kLink, .netns = {}, .ifindex = ifindex};
    if (!of_host) {
      std::lock_guard<std::mutex> lock(mutex_);
      auto found = tracked_.find(cookie);
      if (found == tracked_.end()) return;
      hint.netns = found->second;
    }
    Tell(std::move(hint));
  }

 private:
  FakeKernel& kernel_;
  std::mutex mutex_;  // taken after the kernel's
  std::condition_variable changed_;
  std::map<uint64_t, NetnsRef> tracked_;
  std::vector<Hint> hints_;
  bool woken_ = false;
};

FakeKernel::FakeKernel() { Boot(); }

KernelError FakeKernel::Fail(int code, std::string operation, std::string extack) {
  return {.code = code, .operation = std::move(operation), .extack = std::move(extack)};
}

std::optional<KernelError> FakeKernel::Ask(const std::string& operation) {
  Fault fault;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto next = fail_next_.begin(); next != fail_next_.end(); ++next) {
      if (next->first != operation) continue;
      KernelError error = next->second;
      fail_next_.erase(next);
      return error;
    }
    fault = fault_;
  }
  return fault == nullptr ? std::nullopt : fault(operation);
}

void FakeKernel::TellLink(uint64_t cookie, uint32_t ifindex) {
  for (const std::weak_ptr<FakeWatch>& weak : watches_) {
    if (auto watch = weak.lock()) watch->TellLink(cookie == host_cookie_, cookie, ifindex);
  }
}

void FakeKernel::TellName(const std::string& name) {
  for (const std::weak_ptr<FakeWatch>& weak : watches_) {
    if (auto watch = weak.lock()) {
      watch->Tell({.kind = Hint::Kind::kName, .netns = {.name = name, .cookie = 0}, .ifindex = 0});
    }
  }
}

KernelResult<std::unique_ptr<KernelWatch>> FakeKernel::Watch() {
  // What the caller owns is a handle, as the kernel must know whether the watch still lives.
  class Handle : public KernelWatch {
   public:
    explicit Handle(std::shared_ptr<FakeWatch> watch) : watch_(std::move(watch)) {}
    KernelResult<void> Track(const NetnsRef& netns) override { return watch_->Track(netns); }
    std::vector<Hint> Wait(std::chrono::milliseconds timeout) override { return watch_->Wait(timeout); }
    void Wake() override { watch_->Wake(); }

   private:
    std::shared_ptr<FakeWatch> watch_;
  };
  if (auto error = Ask("Watch"); error.has_value()) return *error;
  auto watch = std::make_shared<FakeWatch>(*this);
  std::lock_guard<std::mutex> lock(mutex_);
  watches_.push_back(watch);
  return std::unique_ptr<KernelWatch>(std::make_unique<Handle>(std::move(watch)));
}

void FakeKernel::Boot() {
  ++boots_;
  // The machine counts from the start again, so that a cookie of another boot may stand for another namespace, and a
  // number for another process.
  next_cookie_ = 1;
  next_pid_ = kFirstPid;
  namespaces_.clear();
  files_.clear();
  mounts_.clear();
  host_cookie_ = AddNetns("");
}

// ---- For tests

void FakeKernel::SetFaultForTest(Fault fault) {
  std::lock_guard<std::mutex> lock(mutex_);
  fault_ = std::move(fault);
}

void FakeKernel::SetBornForTest(std::function<void()> born) {
  std::lock_guard<std::mutex> lock(mutex_);
  born_ = std::move(born);
}

void FakeKernel::FailNextForTest(const std::string& operation, int code, const std::string& extack) {
  std::lock_guard<std::mutex> lock(mutex_);
  fail_next_.emplace_back(operation, Fail(code, operation, extack));
}

void FakeKernel::OverrunWatchesForTest() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const std::weak_ptr<FakeWatch>& weak : watches_) {
    if (auto watch = weak.lock()) watch->Tell({.kind = Hint::Kind::kEverything, .netns = {}, .ifindex = 0});
  }
}

void FakeKernel::RebootForTest() {
  std::lock_guard<std::mutex> lock(mutex_);
  Boot();
}

std::string FakeKernel::DumpForTest() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::string text;
  std::map<std::string, uint64_t> places = {{"(host)", host_cookie_}};
  for (const auto& [name, file] : files_) {
    if (file.cookie == 0) absl::StrAppend(&text, "file ", name, "\n");
    if (file.cookie != 0) places[name] = file.cookie;
  }
  int unnamed = 0;
  for (const auto& [cookie, netns] : namespaces_) {
    auto is_it = [of = cookie](const auto& item) { return item.second == of; };
    if (std::none_of(places.begin(), places.end(), is_it)) places[absl::StrCat("(unnamed ", ++unnamed, ")")] = cookie;
  }
  for (const auto& [name, cookie] : places) {
    absl::StrAppend(&text, "netns ", name, "\n");
    for (const auto& [sysctl, value] : namespaces_.at(cookie).sysctls) {
      if (value != DefaultSysctls().at(sysctl)) absl::StrAppend(&text, "  ", sysctl, " = ", value, "\n");
    }
    for (const auto& [ifindex, link] : namespaces_.at(cookie).links) {
      absl::StrAppend(&text, "  ", link.link.name, " ", link.link.mtu, " ", link.link.up ? "up" : "down", " ",
                      link.link.group, " ", JoinAlias(link.link.alias, link.link.options.alias), "\n");
      if (link.announcements > 0) absl::StrAppend(&text, "    announces\n");
      if (link.forwards_ipv4 != "0") absl::StrAppend(&text, "    forwards IPv4\n");
      if (link.forwards_ipv6 != "0") absl::StrAppend(&text, "    forwards IPv6\n");
      for (const std::string& other : link.link.alternative_names) absl::StrAppend(&text, "    altname ", other, "\n");
      if (auto bridge = namespaces_.at(cookie).links.find(link.link.master_ifindex);
          bridge != namespaces_.at(cookie).links.end()) {
        absl::StrAppend(&text, "    port of ", bridge->second.link.name, "\n");
      }
      if (link.bucket.has_value()) {
        absl::StrAppend(&text, "    tbf ", link.bucket->rate, " ", link.bucket->burst, " ", link.bucket->limit, "\n");
      }
      if (link.redirected_to != 0) absl::StrAppend(&text, "    redirected\n");
      for (const AddressSpec& address : link.ip.addresses) absl::StrAppend(&text, "    ", ToText(address), "\n");
      for (const NeighbourSpec& neighbour : link.ip.neighbours) {
        absl::StrAppend(&text, "    ", ToText(neighbour), "\n");
      }
      for (const RouteSpec& route : link.ip.routes) absl::StrAppend(&text, "    ", ToText(route), "\n");
    }
    for (const netlink::NatElement& element : namespaces_.at(cookie).nat) {
      absl::StrAppend(&text, "  nat ", ToString(element), " ", element.tag, "\n");
    }
    for (const RouteSpec& route : namespaces_.at(cookie).routes) absl::StrAppend(&text, "  ", ToText(route), "\n");
  }
  for (const auto& [name, files] : etc_) {
    absl::StrAppend(&text, "etc ", name, "\n");
    for (const auto& [file, content] : files) absl::StrAppend(&text, "  ", file, ":\n", content);
  }
  absl::StrAppend(&text, namespaces_.size(), " namespaces\n");
  return text;
}

// ---- Kernel

std::string FakeKernel::BootId() {
  std::lock_guard<std::mutex> lock(mutex_);
  return absl::StrCat("boot-", boots_);
}

}  // namespace netprov::engine
