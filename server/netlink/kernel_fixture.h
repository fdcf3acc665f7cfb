// What tests of this layer against the real kernel share.
#ifndef NETPROV_SERVER_NETLINK_KERNEL_FIXTURE_H_
#define NETPROV_SERVER_NETLINK_KERNEL_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/session.h"

namespace netprov::netlink {

IpAddress Ip(std::string_view text);

// What a shell command prints in the current namespace, errors included.
std::string Shell(const std::string& command);

// What `ip ARGUMENTS` prints.
std::string RunIp(const std::string& arguments);

// Starts in a fresh namespace, `home_`, with a session in it, and with another, `away_`: as root, or as anybody who may
// make user namespaces.
class KernelTest : public testing::Test {
 protected:
  // The group of the links that Veth makes.
  static constexpr uint32_t kGroup = 7777;

  void SetUp() override;

  // A session in the current namespace.
  static std::unique_ptr<Session> Open();

  // Carries out what must succeed.
  static void Do(Session& session, const Request& request);

  // Carries out a request and returns the errno, or 0.
  static int Code(Session& session, const Request& request);

  // A link, or none where there is none.
  static std::optional<Link> Get(Session& session, const LinkRef& ref);

  // All that a dump brings, decoded.
  template <typename T>
  static std::vector<T> Dump(Session& session, const Request& request,
                             KernelResult<T> (*decode)(std::span<const std::byte>)) {
    std::vector<T> objects;
    KernelResult<std::vector<Payload>> dump = session.Dump(request);
    EXPECT_TRUE(dump.ok()) << dump.error().ToString();
    if (!dump.ok()) return objects;
    for (const Payload& payload : *dump) {
      KernelResult<T> object = decode(payload);
      EXPECT_TRUE(object.ok()) << object.error().ToString();
      if (object.ok()) objects.push_back(*object);
    }
    return objects;
  }

  // The names of the veths of a namespace.
  static std::vector<std::string> Names(Session& session);

  // A pair with an end `name` at home and another away, whose name has a `p` after it.
  VethRequest Veth(const std::string& name);

  UniqueFd away_fd_;
  std::unique_ptr<Session> home_;
  std::unique_ptr<Session> away_;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_KERNEL_FIXTURE_H_
