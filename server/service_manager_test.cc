#include "server/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"

namespace netprov {
namespace {

using ::testing::HasSubstr;

// The service manager's end.
class ServiceManagerTest : public ::testing::Test {
 protected:
  ServiceManagerTest() {
    char directory[] = "/tmp/service_manager_test.XXXXXX";
    directory_ = ::mkdtemp(directory);
    const std::string path = directory_ + "/notify";
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  ~ServiceManagerTest() override {
    ::unsetenv("NOTIFY_SOCKET");
    std::filesystem::remove_all(directory_);
  }

  std::string Receive() {
    char text[512] = {};
    const ssize_t size = ::recv(socket_.get(), text, sizeof(text), 0);
    return std::string(text, size > 0 ? size : 0);
  }
  bool IsSilent() {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT) < 0;
  }

  std::string directory_;
  UniqueFd socket_;
};

TEST_F(ServiceManagerTest, SaysHowItIs) {
  ServiceManager manager([] { return true; });
  manager.Ready("2 objects");
  EXPECT_EQ(Receive(), "READY=1\nSTATUS=2 objects");
  manager.Reloading();
  EXPECT_THAT(Receive(), HasSubstr("RELOADING=1\nMONOTONIC_USEC="));
  manager.Ready("again");
  EXPECT_THAT(Receive(), HasSubstr("READY=1"));
  manager.Stopping();
  EXPECT_EQ(Receive(), "STOPPING=1");
  EXPECT_TRUE(IsSilent());
}

TEST_F(ServiceManagerTest, NamesTheProcessThatGoesOn) {
  ServiceManager manager([] { return true; });
  manager.Ready("");
  Receive();
  manager.HandedOver(4711);
  EXPECT_EQ(Receive(), "MAINPID=4711");
  EXPECT_TRUE(IsSilent()) << "the service does not stop";
}

TEST_F(ServiceManagerTest, IsAliveAsLongAsItGetsOn) {
  ::setenv("WATCHDOG_USEC", "2000", 1);
  std::atomic<int> asked = 0;
  std::atomic<bool> is_alive = true;
  ServiceManager manager([&] {
    ++asked;
    return is_alive.load();
  });
  manager.Ready("");
  EXPECT_THAT(Receive(), HasSubstr("READY=1"));
  EXPECT_EQ(Receive(), "WATCHDOG=1");
  EXPECT_EQ(Receive(), "WATCHDOG=1");
  is_alive = false;
  const int before = asked;
  while (asked < before + 3) ::usleep(100);
  // What was sent until then.
  while (!IsSilent()) {
  }
  const int later = asked;
  while (asked < later + 3) ::usleep(100);
  EXPECT_TRUE(IsSilent());
  manager.Stopping();
  EXPECT_EQ(Receive(), "STOPPING=1");
}

TEST_F(ServiceManagerTest, AWatchdogOfAnotherProcessIsNotItsConcern) {
  ::setenv("WATCHDOG_USEC", "1000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  ServiceManager manager([] {
    ADD_FAILURE() << "asked";
    return true;
  });
  manager.Ready("");
  EXPECT_THAT(Receive(), HasSubstr("READY=1"));
  manager.Stopping();
  EXPECT_EQ(Receive(), "STOPPING=1");
}

TEST_F(ServiceManagerTest, NobodyNeedBeThere) {
  ::unsetenv("NOTIFY_SOCKET");
  ServiceManager manager([] { return true; });
  manager.Ready("x");
  manager.Reloading();
  manager.Stopping();
  EXPECT_TRUE(IsSilent());
}

}  // namespace
}  // namespace netprov
