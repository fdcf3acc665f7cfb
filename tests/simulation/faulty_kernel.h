// A kernel whose operations fail, and whose user dies, wherever a plan says so.
#ifndef NETPROV_TESTS_SIMULATION_FAULTY_KERNEL_H_
#define NETPROV_TESTS_SIMULATION_FAULTY_KERNEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/kernel.h"
#include "tests/simulation/turns.h"

namespace netprov::simulation {

// What becomes of one operation.
struct Fate {
  enum class Kind {
    kSucceed,      // as the kernel below says
    kFail,         // refused with `error`, nothing changed
    kFailLeaving,  // a CreateVeth or CreateDevice that fails and leaves its link, which LinuxKernel says when the undo
                   // fails too
    kCrashBefore,  // the process dies before it
    kCrashInside,  // it dies half way, where the operation has a half way; else as kCrashAfter
    kCrashAfter,   // it dies before it learns that the operation took effect
  };
  Kind kind = Kind::kSucceed;
  int error = 0;
};

// Decides and watches. Both methods are called on the thread of the operation, and may yield or throw Crash.
class Plot {
 public:
  virtual ~Plot() = default;
  virtual Fate Before(const char* operation) = 0;
  virtual void After(const char* operation) = 0;
};

// Every operation of `kernel`, with the fate that `plot` gives it.
class FaultyKernel : public engine::Kernel {
 public:
  // `leave_file` makes an empty file of a name at /run/netns, as a process leaves it that dies while it makes or
  // removes a namespace.
  FaultyKernel(engine::Kernel& kernel, Plot& plot, std::function<void(const std::string&)> leave_file)
      : kernel_(kernel), plot_(plot), leave_file_(std::move(leave_file)) {}

  std::string BootId() override { return kernel_.BootId(); }
  KernelResult<uint64_t> CreateNetns(const std::string& name, const std::string& alias,
                                     const engine::Sysctls& sysctls) override;
  KernelResult<engine::Sysctls> FindSysctls(const engine::NetnsRef& netns, const engine::Sysctls& wanted) override;
  KernelResult<void> SetSysctls(const engine::NetnsRef& netns, const engine::Sysctls& sysctls) override;
  KernelResult<engine::Inhabitants> FindInhabitants(const engine::NetnsRef& netns, size_t most) override;
  KernelResult<void> DeleteLinksInside(const engine::NetnsRef& netns) override;
  KernelResult<void> RemoveNetns(const engine::NetnsRef& netns) override;
  KernelResult<void> RemoveStaleNetnsFile(const std::string& name) override;
  KernelResult<std::optional<engine::NetnsEntry>> FindNetns(const std::string& name) override;
  KernelResult<engine::PlaceEntry> FindPlace(const engine::NetnsPlace& place) override;
  KernelResult<std::optional<engine::NetnsPlace>> FindWayIn(uint64_t cookie) override;
  KernelResult<std::vector<std::string>> ListNetns() override;
  KernelResult<void> SetEtcFiles(const std::string& name, const std::string& mark, const engine::EtcFiles& files,
                                 bool owns_directory) override;
  KernelResult<engine::EtcEntry> FindEtcFiles(const std::string& name) override;
  KernelResult<std::vector<std::string>> ListEtc() override;
  KernelResult<std::pair<engine::Link, engine::Link>> CreateVeth(const engine::LinkSpec& a, const engine::LinkSpec& b,
                                                                 const std::string& alias) override;
  KernelResult<engine::Link> CreateDevice(const engine::LinkSpec& link, const engine::DeviceOptions& options,
                                          const std::string& alias) override;
  KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> ListPortVlans(
      const engine::NetnsRef& netns) override;
  KernelResult<std::vector<engine::FdbEntry>> ListFdb(const engine::NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<void> DeleteLink(const engine::NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<void> SetLink(const engine::NetnsRef& netns, uint32_t ifindex,
                             const engine::LinkSettings& settings) override;
  KernelResult<std::optional<engine::Link>> FindLink(const engine::NetnsRef& netns, const std::string& name) override;
  KernelResult<std::optional<engine::Link>> FindLink(const engine::NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<std::vector<engine::Link>> ListLinks(const engine::NetnsRef& netns) override;
  KernelResult<std::vector<engine::ObservedLink>> ObserveLinks(const engine::NetnsRef& netns,
                                                               const std::optional<std::string>& name) override;
  KernelResult<std::vector<netlink::Address>> ListAddresses(const engine::NetnsRef& netns,
                                                            std::optional<netlink::IpFamily> family,
                                                            std::optional<uint32_t> ifindex) override;
  KernelResult<std::vector<netlink::Route>> ListRoutes(const engine::NetnsRef& netns,
                                                       std::optional<netlink::IpFamily> family,
                                                       std::optional<uint32_t> table) override;
  KernelResult<std::vector<netlink::Neighbour>> ListNeighbours(const engine::NetnsRef& netns,
                                                               std::optional<netlink::IpFamily> family,
                                                               std::optional<uint32_t> ifindex) override;
  KernelResult<std::string> FreeLinkName(const engine::NetnsRef& netns, const std::string& pattern,
                                         const std::vector<std::string>& taken) override;
  KernelResult<void> Configure(const engine::NetnsRef& netns, uint32_t ifindex,
                               const std::vector<std::string>& alternative_names, const engine::IpConfig& ip,
                               bool anew) override;
  KernelResult<void> Unconfigure(const engine::NetnsRef& netns, uint32_t ifindex,
                                 const std::vector<std::string>& alternative_names,
                                 const engine::IpConfig& ip) override;
  KernelResult<void> Announce(const engine::NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<uint32_t> Shape(const engine::NetnsRef& netns, uint32_t ifindex,
                               const engine::ShapingSpec& wanted) override;
  KernelResult<engine::Shaping> FindShaping(const engine::NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<engine::IpConfig> FindIpConfig(const engine::NetnsRef& netns, uint32_t ifindex) override;
  KernelResult<std::vector<engine::RouteSpec>> ListRoutesWithoutLink(const engine::NetnsRef& netns) override;
  KernelResult<void> AddRoutes(const engine::NetnsRef& netns, const std::vector<engine::RouteSpec>& routes) override;
  KernelResult<void> DeleteRoutes(const engine::NetnsRef& netns, const std::vector<engine::RouteSpec>& routes) override;
  KernelResult<void> AddNat(const engine::NetnsRef& netns, const std::string& registry,
                            const std::vector<netlink::NatElement>& elements) override;
  KernelResult<void> DeleteNat(const engine::NetnsRef& netns, const std::string& registry,
                               const std::vector<netlink::NatElement>& elements) override;
  KernelResult<std::vector<netlink::NatElement>> ListNat(const engine::NetnsRef& netns,
                                                         const std::string& registry) override;
  KernelResult<std::vector<netlink::NatElement>> FindNat(const engine::NetnsRef& netns, const std::string& registry,
                                                         const std::vector<netlink::NatElement>& elements) override;
  KernelResult<std::unique_ptr<engine::KernelWatch>> Watch() override { return kernel_.Watch(); }

 private:
  // `half` does as much of the operation as a process has done that dies within it; null: there is nothing between.
  template <typename Run>
  auto Around(const char* operation, Run run, const std::function<void()>& half = nullptr) -> decltype(run());

  engine::Kernel& kernel_;
  Plot& plot_;
  std::function<void(const std::string&)> leave_file_;
};

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_FAULTY_KERNEL_H_
