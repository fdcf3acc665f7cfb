#include "server/take_over.h"

#include <fcntl.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kSchema = 7;
constexpr uid_t kNobody = 65534;

std::string NewDirectory() {
  std::string path = "/tmp/take_over_test.XXXXXX";
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  return path;
}

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Runs on a thread that is of another user.
void AsNobody(const std::function<void()>& act) {
  std::thread([&] {
    // Of this thread alone; setresuid(3) is of the process.
    ASSERT_EQ(::syscall(SYS_setresuid, -1, kNobody, -1), 0);
    act();
  }).join();
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

UniqueFd ConnectTo(const std::string& path, int type) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un address = AddressOf(path);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

std::string Hear(const UniqueFd& fd) {
  std::array<char, 4096> text;
  const ssize_t size = ::recv(fd.get(), text.data(), text.size(), 0);
  return std::string(text.data(), size > 0 ? size : 0);
}

void Say(const UniqueFd& fd, const std::string& text, const std::vector<int>& descriptors = {}) {
  iovec part = {.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(64 * sizeof(int))> control = {};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  EXPECT_EQ(::sendmsg(fd.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

class TakeOverTest : public ::testing::Test {
 protected:
  TakeOverTest() : directory_(NewDirectory()), state_(directory_ + "/state"), socket_(directory_ + "/netprovd.sock") {
    EXPECT_EQ(::mkdir(state_.c_str(), 0700), 0);
    lock_ = UniqueFd(::open((state_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_EQ(::flock(lock_.get(), LOCK_EX | LOCK_NB), 0);
  }
  ~TakeOverTest() override {
    listener_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::shared_ptr<spdlog::logger> Log() {
    return std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_));
  }

  // A daemon that serves a unix socket and one of TCP.
  void Serve(absl::Duration patience = absl::Hours(1)) {
    sockets_.push_back(*rpc::ListenUnix(socket_, std::nullopt));
    sockets_.push_back(std::move(rpc::ListenTcp("127.0.0.1:0")->front()));
    tcp_ = sockets_.back().address;
    StartListener(patience);
  }
  void StartListener(absl::Duration patience = absl::Hours(1)) {
    auto listener = SuccessorListener::Start({.state_dir = state_,
                                              .sockets = &sockets_,
                                              .lock = lock_.get(),
                                              .schema = kSchema,
                                              .on_taken = [this] { taken_.set_value(); },
                                              .log = Log(),
                                              .patience = patience});
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }
  // It ends, as the daemon does.
  void End() {
    is_taken_.wait();
    EXPECT_TRUE(listener_->is_taken());
    EXPECT_EQ(listener_->Stop(), ::getpid());
    sockets_.clear();
    lock_.Reset();
    listener_.reset();
  }

  TakeOverOptions Options() {
    return {.state_dir = state_, .addresses = {.socket_path = socket_, .tcp = {tcp_}}, .schema = kSchema, .log = Log()};
  }
  std::string WhyNot(const TakeOverOptions& options) {
    const auto taken = TakeOver(options);
    EXPECT_FALSE(taken.ok());
    return std::string(taken.status().message());
  }

  // What a predecessor leads to that answers the hello with that, after `before`.
  absl::Status OfAnswer(
      const std::string& answer, const std::vector<int>& descriptors = {},
      const std::function<void()>& before = [] {}) {
    const std::string path = state_ + "/take-over.sock";
    ::unlink(path.c_str());
    const UniqueFd listening(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const sockaddr_un address = AddressOf(path);
    EXPECT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listening.get(), 1), 0);
    auto result = std::async(std::launch::async, [this] { return TakeOver(Options()).status(); });
    UniqueFd connection(::accept(listening.get(), nullptr, nullptr));
    EXPECT_EQ(Hear(connection), "netprov-take-over 1\nhello\n");
    before();
    Say(connection, answer, descriptors);
    connection.Reset();
    return result.get();
  }

  const std::string directory_;
  const std::string state_;
  const std::string socket_;
  std::ostringstream log_;
  std::vector<rpc::ListeningSocket> sockets_;
  std::string tcp_;
  UniqueFd lock_;
  std::promise<void> taken_;
  const std::shared_future<void> is_taken_ = taken_.get_future().share();
  std::unique_ptr<SuccessorListener> listener_;
};

TEST_F(TakeOverTest, SocketsAndLockAreTheSuccessorsOnceTheOtherHasEnded) {
  Serve();
  auto result = std::async(std::launch::async, [this] { return TakeOver(Options()); });
  is_taken_.wait();
  EXPECT_EQ(result.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout) << "it has not ended";
  // Nobody accepts it now, and it is not refused.
  const UniqueFd client = ConnectTo(socket_, SOCK_STREAM);
  End();
  auto taken = result.get();
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_TRUE(taken->has_value());
  EXPECT_EQ((*taken)->pid, ::getpid());
  ASSERT_THAT((*taken)->sockets, SizeIs(2));
  EXPECT_EQ((*taken)->sockets[0].address, socket_);
  EXPECT_EQ((*taken)->sockets[1].address, tcp_);
  EXPECT_TRUE((*taken)->sockets[0].is_own) << "the file is its to remove";
  EXPECT_TRUE(Exists(socket_));
  const UniqueFd accepted(::accept((*taken)->sockets[0].fd.get(), nullptr, nullptr));
  EXPECT_TRUE(accepted.valid());
  for (const rpc::ListeningSocket& socket : (*taken)->sockets) {
    EXPECT_EQ(::fcntl(socket.fd.get(), F_GETFD), FD_CLOEXEC);
  }
  // The lock was never free.
  const UniqueFd other(::open((state_ + "/lock").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NE(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  (*taken)->lock.Reset();
  EXPECT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_FALSE(Exists(state_ + "/take-over.sock"));
}

TEST_F(TakeOverTest, OnlyWhatIsAskedForIsListenedOnAfterwards) {
  Serve();
  sockets_.push_back(*rpc::ListenUnix(directory_ + "/given.sock", std::nullopt));
  sockets_.back().is_own = false;
  TakeOverOptions options = Options();
  options.addresses = {.socket_path = directory_ + "/new.sock", .tcp = {"127.0.0.1:0"}};
  auto result = std::async(std::launch::async, [&] { return TakeOver(options); });
  End();
  auto taken = result.get();
  ASSERT_TRUE(taken.ok() && taken->has_value()) << taken.status();
  std::vector<std::string> names;
  for (const rpc::ListeningSocket& socket : (*taken)->sockets) names.push_back(socket.Name());
  EXPECT_THAT(names, ElementsAre(absl::StrCat("unix:", directory_, "/new.sock"), tcp_,
                                 absl::StrCat("unix:", directory_, "/given.sock")));
  EXPECT_FALSE((*taken)->sockets.back().is_own);
  EXPECT_FALSE(Exists(socket_)) << "nobody listens there any more";
}

TEST_F(TakeOverTest, WhereNobodyWaitsThereIsNothingToTakeOver) {
  auto is_nobody = [this] {
    const auto taken = TakeOver(Options());
    return taken.ok() && !taken->has_value();
  };
  EXPECT_TRUE(is_nobody());
  TakeOverOptions elsewhere = Options();
  elsewhere.state_dir = directory_ + "/none";
  const auto taken = TakeOver(elsewhere);
  EXPECT_TRUE(taken.ok() && !taken->has_value());
  // As a killed one leaves it.
  {
    const UniqueFd left(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const sockaddr_un address = AddressOf(state_ + "/take-over.sock");
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_TRUE(is_nobody());
  Serve();
  struct stat file = {};
  ASSERT_EQ(::stat((state_ + "/take-over.sock").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0600u);
  EXPECT_EQ(listener_->Stop(), std::nullopt);
  EXPECT_FALSE(Exists(state_ + "/take-over.sock"));
  EXPECT_TRUE(is_nobody());
}

TEST_F(TakeOverTest, APathThatIsTooLongForASocketIsNone) {
  const std::string deep = state_ + "/" + std::string(200, 'd');
  ASSERT_EQ(::mkdir(deep.c_str(), 0700), 0);
  auto listener = SuccessorListener::Start({.state_dir = deep,
                                            .sockets = &sockets_,
                                            .lock = lock_.get(),
                                            .schema = kSchema,
                                            .on_taken = [this] { taken_.set_value(); },
                                            .log = Log()});
  ASSERT_TRUE(listener.ok()) << listener.status();
  TakeOverOptions options = Options();
  options.state_dir = deep;
  options.addresses = {};
  auto result = std::async(std::launch::async, [&] { return TakeOver(options); });
  is_taken_.wait();
  listener->reset();
  const auto taken = result.get();
  EXPECT_TRUE(taken.ok() && taken->has_value()) << taken.status();
}

// Each of these leaves it waiting for the next.
TEST_F(TakeOverTest, WhoHangsUpOrSpeaksOtherwiseTakesNothing) {
  Serve();
  const std::string path = state_ + "/take-over.sock";
  auto answer = [&](const std::string& text) {
    const UniqueFd client = ConnectTo(path, SOCK_SEQPACKET);
    Say(client, text);
    return Hear(client);
  };
  EXPECT_EQ(answer("netprov-take-over 2\nhello\n"),
            "netprov-take-over 1\nerror=it speaks version 2 of the hand-over, and this one version 1\n");
  const std::string no_sense = "netprov-take-over 1\nerror=it does not speak as netprovd does\n";
  EXPECT_EQ(answer("hello"), no_sense);
  EXPECT_EQ(answer("netprov-take-over 1"), no_sense) << "cut short";
  EXPECT_EQ(answer("netprov-take-over x\nhello\n"), no_sense);
  EXPECT_EQ(answer("netprov-take-over 1\ngo\n"), "netprov-take-over 1\nerror=it does not begin with hello\n");
  EXPECT_EQ(answer(std::string(100 << 10, 'x')), "");
  ConnectTo(path, SOCK_SEQPACKET).Reset();
  EXPECT_THAT(answer("netprov-take-over 1\nhello\n"), HasSubstr("\nschema=7\nown=unix:")) << "and hangs up";
  {
    const UniqueFd client = ConnectTo(path, SOCK_SEQPACKET);
    Say(client, "netprov-take-over 1\nhello\n");
    Hear(client);
    Say(client, "netprov-take-over 1\nstop\n");
    EXPECT_EQ(Hear(client), "netprov-take-over 1\nerror=it does not say go\n");
  }
  EXPECT_FALSE(listener_->is_taken());
  auto result = std::async(std::launch::async, [this] { return TakeOver(Options()); });
  End();
  const auto taken = result.get();
  EXPECT_TRUE(taken.ok() && taken->has_value()) << taken.status();
  EXPECT_THAT(log_.str(), HasSubstr("event=take_over_failed reason=\"closed the connection\""));
}

TEST_F(TakeOverTest, WhoSaysNothingIsNotWaitedForForever) {
  Serve(/*patience=*/absl::ZeroDuration());
  const UniqueFd client = ConnectTo(state_ + "/take-over.sock", SOCK_SEQPACKET);
  EXPECT_EQ(Hear(client), "");
  EXPECT_EQ(listener_->Stop(), std::nullopt);
  EXPECT_THAT(log_.str(), HasSubstr("event=take_over_failed reason=\"said nothing for 0\""));
}

TEST_F(TakeOverTest, AnEndDoesNotWaitForASuccessorThatHesitates) {
  Serve();
  const UniqueFd client = ConnectTo(state_ + "/take-over.sock", SOCK_SEQPACKET);
  Say(client, "netprov-take-over 1\nhello\n");
  EXPECT_THAT(Hear(client), HasSubstr("schema=7"));
  EXPECT_EQ(listener_->Stop(), std::nullopt);
  EXPECT_EQ(Hear(client), "") << "it says go to nobody";
}

TEST_F(TakeOverTest, ASuccessorThatIsStoppedDoesNotWaitForTheEnd) {
  Serve();
  const UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  TakeOverOptions options = Options();
  options.stop = stop.get();
  auto result = std::async(std::launch::async, [&options] { return TakeOver(options); });
  is_taken_.wait();
  EXPECT_EQ(result.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  ASSERT_EQ(::eventfd_write(stop.get(), 1), 0);
  const auto taken = result.get();
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr("nobody serves"));
  EXPECT_FALSE(Exists(socket_)) << "nobody listens there any more";
  End();
}

TEST_F(TakeOverTest, OneThatIsStoppedBeforeTakesNothing) {
  Serve();
  const UniqueFd stop(::eventfd(1, EFD_CLOEXEC));
  TakeOverOptions options = Options();
  options.stop = stop.get();
  EXPECT_THAT(WhyNot(options), HasSubstr("stopped before"));
  EXPECT_FALSE(listener_->is_taken());
  EXPECT_TRUE(Exists(socket_));
}

TEST_F(TakeOverTest, ADaemonThatOffersWhatIsNotUnderstoodServesOn) {
  Serve();
  listener_.reset();
  const UniqueFd plain(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int unix_fd = sockets_[0].fd.get();
  const int lock = lock_.get();
  const std::string own = absl::StrCat("netprov-take-over 1\nschema=7\nown=unix:", socket_, "\n");
  EXPECT_THAT(std::string(OfAnswer("netprov-take-over 2\nfds=3\n").message()),
              HasSubstr("speaks version 2 of the hand-over, and this one version 1: stop it and start this one"));
  EXPECT_THAT(std::string(OfAnswer("good day").message()), HasSubstr("does not speak as netprovd does"));
  EXPECT_THAT(std::string(OfAnswer("netprov-take-over 1\nerror=not today\n").message()),
              HasSubstr("which refuses: not today"));
  EXPECT_THAT(std::string(OfAnswer(own, {}).message()), HasSubstr("offers what is not understood")) << "no descriptors";
  EXPECT_THAT(std::string(OfAnswer(own, {unix_fd}).message()), HasSubstr("no schema or no lock"));
  EXPECT_THAT(std::string(OfAnswer(own, {unix_fd, lock, lock}).message()), HasSubstr("no schema or no lock"));
  EXPECT_THAT(std::string(OfAnswer("netprov-take-over 1\n", {lock}).message()), HasSubstr("no schema or no lock"));
  EXPECT_THAT(std::string(OfAnswer(own, {plain.get(), lock}).message()), HasSubstr("no stream socket that listens"));
  EXPECT_THAT(std::string(OfAnswer(own, {sockets_[1].fd.get(), lock}).message()), HasSubstr("calls a socket unix:"));
  EXPECT_THAT(std::string(OfAnswer(own + "port=7\n", {unix_fd, lock}).message()), HasSubstr("not understood"));
  EXPECT_THAT(std::string(OfAnswer(std::string(100 << 10, 'x')).message()),
              HasSubstr("more than this process can take"));
  const absl::Status newer =
      OfAnswer(absl::StrCat("netprov-take-over 1\nschema=8\nown=unix:", socket_, "\n"), {unix_fd, lock});
  EXPECT_EQ(newer.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(newer.message()), HasSubstr("newer netprov (schema 8 of the registry; this one knows 7)"));
  // One that dies before it lets go has handed nothing over.
  const absl::Status died = OfAnswer(absl::StrCat(own, "own=", tcp_, "\n"), {unix_fd, sockets_[1].fd.get(), lock});
  EXPECT_TRUE(died.ok()) << died;
  EXPECT_TRUE(Exists(socket_));
}

TEST_F(TakeOverTest, WhereTooFewDescriptorsAreLeftNothingIsTaken) {
  Serve();
  listener_.reset();
  rlimit files = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  const absl::Status status = OfAnswer(absl::StrCat("netprov-take-over 1\nschema=7\nown=unix:", socket_, "\n"),
                                       {sockets_[0].fd.get(), lock_.get()}, [&files] {
                                         // No more than are open already.
                                         const rlimit few = {.rlim_cur = 3, .rlim_max = files.rlim_max};
                                         EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
                                       });
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_THAT(std::string(status.message()), HasSubstr("RLIMIT_NOFILE"));
}

TEST_F(TakeOverTest, AnAddressThatCannotBeServedIsFoundBefore) {
  Serve();
  const auto elsewhere = rpc::ListenTcp("127.0.0.1:0");
  TakeOverOptions options = Options();
  options.addresses.tcp.push_back(elsewhere->front().address);
  EXPECT_THAT(WhyNot(options), HasSubstr("Address already in use"));
  options = Options();
  options.addresses.tcp.push_back("0.0.0.0:0");
  options.addresses.tcp_reach = rpc::ListenAddresses::Reach::kThisHost;
  EXPECT_THAT(WhyNot(options), HasSubstr("without TLS"));
  EXPECT_EQ(listener_->Stop(), std::nullopt);
  EXPECT_TRUE(Exists(socket_));
}

TEST_F(TakeOverTest, OnlyRootAndItsOwnUserMayTakePart) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Serve();
  // As if the modes did not keep others away.
  const std::string path = state_ + "/take-over.sock";
  for (const std::string& opened : {directory_, state_}) ASSERT_EQ(::chmod(opened.c_str(), 0777), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  AsNobody([&] {
    const UniqueFd client = ConnectTo(path, SOCK_SEQPACKET);
    EXPECT_EQ(Hear(client), "") << "not even an answer";
  });
  EXPECT_EQ(listener_->Stop(), std::nullopt);
  EXPECT_THAT(log_.str(), HasSubstr("neither root nor the daemon's user"));

  UniqueFd stranger;
  AsNobody([&] {
    stranger = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const sockaddr_un address = AddressOf(path);
    ASSERT_EQ(::bind(stranger.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(stranger.get(), 1), 0);
  });
  EXPECT_THAT(WhyNot(Options()), HasSubstr("neither root nor this user"));
}

}  // namespace
}  // namespace netprov
