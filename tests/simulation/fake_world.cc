#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/engine/fake_kernel.h"
#include "tests/simulation/turns.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {
namespace {

class FakeWorld : public World {
 public:
  FakeWorld() {
    kernel_.SetBornForTest([] { Turn::Yield(); });
  }

  engine::Kernel& kernel() override { return kernel_; }

  void AddNetns(const std::string& name) override { kernel_.AddForeignNetnsForTest(name); }
  void RemoveNetns(const std::string& name) override { kernel_.RemoveForeignNetnsForTest(name); }
  void AddFile(const std::string& name, bool empty) override { kernel_.AddStaleFileForTest(name, empty); }
  void RemoveFile(const std::string& name) override { kernel_.RemoveForeignNetnsForTest(name); }
  void AddLink(const engine::NetnsRef& place, const std::string& name) override {
    kernel_.AddForeignLinkForTest(place, name);
  }
  void RenameLink(const engine::NetnsRef& place, const std::string& name, const std::string& new_name) override {
    kernel_.RenameLinkForTest(place, name, new_name);
  }

  void MoveLink(const engine::NetnsRef& place, const std::string& name, const engine::NetnsRef& to) override {
    kernel_.MoveLinkForTest(place, name, to);
  }

  void Bind(const std::string& path, uint32_t pid) override {
    kernel_.UnmountForTest(path);
    const uint32_t of = pid == 0 ? kernel_.StartProcessInNewNetnsForTest("pause") : pid;
    kernel_.MountForTest(of, path);
    if (pid == 0) kernel_.EndProcessForTest(of);
  }
  void Unbind(const std::string& path) override { kernel_.UnmountForTest(path); }
  uint32_t StartProcess() override { return kernel_.StartProcessInNewNetnsForTest("sleep"); }
  void EndProcess(uint32_t pid) override { kernel_.EndProcessForTest(pid); }
  void Unshare(uint32_t pid) override { kernel_.UnshareForTest(pid); }

  bool ForwardsAtBirth() override { return false; }

  bool HasVlans() override { return true; }

  Traits MissingKinds() override { return {}; }

  bool CanReboot() const override { return true; }
  void Reboot() override { kernel_.RebootForTest(); }

  std::string Unnamed(size_t named) override {
    const std::string dump = kernel_.DumpForTest();
    if (absl::EndsWith(dump, absl::StrCat("\n", named + 1, " namespaces\n"))) return "";
    return absl::StrCat("a namespace without a name:\n", dump);
  }

  std::string Witness(const Sighting&) override { return ""; }

 private:
  engine::FakeKernel kernel_;
};

}  // namespace

std::unique_ptr<World> MakeFakeWorld() { return std::make_unique<FakeWorld>(); }

}  // namespace netprov::simulation
