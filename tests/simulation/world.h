// The machine of a simulation, and what other programs do to it behind the engine's back.
#ifndef NETPROV_TESTS_SIMULATION_WORLD_H_
#define NETPROV_TESTS_SIMULATION_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "server/engine/kernel.h"
#include "tests/simulation/traits.h"

namespace netprov::simulation {

// What is seen of the machine, through its Kernel interface and past the engine.
struct Sighting {
  struct File {
    bool is_netns = false;
    std::string alias;  // of the loopback link
    bool up = false;    // the same
  };
  struct Link : engine::Link {
    Traits ip;
    Traits limits;
    Words port_words;
    Words device_words;
    Traits fdb;
  };
  // What else a namespace has.
  struct Place {
    std::map<std::string, Traits> nat;      // by the uid of the pair that it is for
    std::map<std::string, Traits> shapers;  // the same
    Traits routes;                          // netprov's that belong to no link
    bool forwards = false;
    engine::Sysctls sysctls;  // those of UsualSysctls() that are not as there
  };
  std::map<std::string, File> files;
  std::map<std::pair<std::string, std::string>, Link> links;  // by place and name; without `lo` and ifbs
  std::map<std::string, Place> places;
  std::map<std::string, std::string> ways;  // by path or number of a process (PlaceName()): the name of the place there
  std::map<std::string, std::map<std::string, std::string>> etc;  // at /etc/netns, by name and file: what is in it

  std::string ToString() const;
};

// A machine. Names at /run/netns are plain words; a place is such a name, or the PlaceName() of the first way into one
// that has none, or empty for the host's namespace.
class World {
 public:
  virtual ~World() = default;

  virtual engine::Kernel& kernel() = 0;

  // `ip netns add`, if the name is free.
  virtual void AddNetns(const std::string& name) = 0;
  // `ip netns delete`, also of a namespace that the engine made. Its links and their other ends are gone on return.
  virtual void RemoveNetns(const std::string& name) = 0;
  // A file that is no namespace.
  virtual void AddFile(const std::string& name, bool empty) = 0;
  virtual void RemoveFile(const std::string& name) = 0;
  // A link that has no peer, in a namespace that exists.
  virtual void AddLink(const engine::NetnsRef& place, const std::string& name) = 0;
  virtual void RenameLink(const engine::NetnsRef& place, const std::string& name, const std::string& new_name) = 0;

  // `ip link set NAME netns TO`, where the name is free.
  virtual void MoveLink(const engine::NetnsRef& place, const std::string& name, const engine::NetnsRef& to) = 0;

  // A new namespace, or that of a process, is at a path; it may be in another's place.
  virtual void Bind(const std::string& path, uint32_t pid) = 0;
  virtual void Unbind(const std::string& path) = 0;
  // A process in a new namespace; its number.
  virtual uint32_t StartProcess() = 0;
  virtual void EndProcess(uint32_t pid) = 0;
  // It enters a new namespace by itself.
  virtual void Unshare(uint32_t pid) = 0;

  // Whether a new namespace forwards IPv4, as the kernel takes it from the first one.
  virtual bool ForwardsAtBirth() = 0;

  // Whether its bridges know VLANs.
  virtual bool HasVlans() = 0;

  // The kinds of devices that its kernel has not.
  virtual Traits MissingKinds() = 0;

  virtual bool CanReboot() const = 0;
  virtual void Reboot() = 0;

  // What exists that the Kernel interface does not show, such as a namespace without a name; empty: nothing.
  // `named` is the number of namespaces that have a name.
  virtual std::string Unnamed(size_t named) = 0;

  // Whether somebody else sees the same as the Kernel interface; what is different, empty: nothing.
  virtual std::string Witness(const Sighting& sighting) = 0;
};

// Over a FakeKernel.
std::unique_ptr<World> MakeFakeWorld();

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_WORLD_H_
