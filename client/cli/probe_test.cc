#include "client/cli/probe.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

class ProbeTest : public ::testing::Test {
 protected:
  ProbeTest() {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    path_ = directory_ + "/s";
  }
  ~ProbeTest() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  // A socket that is bound to path_.
  int Bind(int type) {
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0) << std::strerror(errno);
    return fd;
  }

  std::string directory_ = "/tmp/probeXXXXXX";
  std::string path_;
};

TEST_F(ProbeTest, SomebodyListens) {
  const int fd = Bind(SOCK_STREAM);
  ASSERT_EQ(listen(fd, 0), 0);
  EXPECT_EQ(IsListening(path_).value(), true);
  EXPECT_EQ(IsListening(path_).value(), true) << "also with a full backlog";
  EXPECT_EQ(IsListening(path_).value(), true);
  close(fd);
}

TEST_F(ProbeTest, NoSuchFile) { EXPECT_EQ(IsListening(path_).value(), false); }

TEST_F(ProbeTest, NoSuchDirectory) { EXPECT_EQ(IsListening("/nowhere/at/all").value(), false); }

TEST_F(ProbeTest, SocketOfAProcessThatHasEnded) {
  close(Bind(SOCK_STREAM));
  EXPECT_EQ(IsListening(path_).value(), false);
}

TEST_F(ProbeTest, FileThatIsNoSocket) {
  std::ofstream(path_) << "x";
  EXPECT_EQ(IsListening(path_).value(), false) << "connect(2) says ECONNREFUSED for it, too";
}

TEST_F(ProbeTest, SocketOfAnotherType) {
  const int fd = Bind(SOCK_DGRAM);
  const absl::StatusOr<bool> listening = IsListening(path_);
  EXPECT_TRUE(absl::IsFailedPrecondition(listening.status())) << listening.status();
  close(fd);
}

TEST_F(ProbeTest, ForbiddenSocketIsAnError) {
  if (geteuid() == 0) {
    // Root may connect to anything, so somebody else has to try.
    const pid_t child = fork();
    if (child == 0) {
      const int fd = Bind(SOCK_STREAM);
      const bool ready = listen(fd, 1) == 0 && chmod(path_.c_str(), 0) == 0 && chmod(directory_.c_str(), 0755) == 0 &&
                         setgid(65534) == 0 && setuid(65534) == 0;
      _exit(ready && absl::IsPermissionDenied(IsListening(path_).status()) ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  } else {
    const int fd = Bind(SOCK_STREAM);
    ASSERT_EQ(listen(fd, 1), 0);
    ASSERT_EQ(chmod(path_.c_str(), 0), 0);
    EXPECT_TRUE(absl::IsPermissionDenied(IsListening(path_).status()));
    close(fd);
  }
}

TEST_F(ProbeTest, PathThatIsTooLongIsAnError) {
  EXPECT_TRUE(absl::IsFailedPrecondition(IsListening("/" + std::string(107, 'a')).status()));
}

}  // namespace
}  // namespace netprov::cli
