#include "server/metrics/exposer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "server/metrics/families.h"

namespace netprov::metrics {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Longer than anything takes that does not hang.
constexpr timeval kPatience = {.tv_sec = 10, .tv_usec = 0};

// One family, and how often it was collected.
class OneFamily : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    ++collections;
    Families families;
    families.Counter("things_total", "Things").Sample({{"kind", "a \"quoted\" one"}}, 3);
    return families.Take();
  }
  mutable std::atomic<int> collections = 0;
};

class ExposerTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }

  void Start() {
    auto exposer = Exposer::Start("127.0.0.1:0", family_);
    ASSERT_TRUE(exposer.ok()) << exposer.status();
    exposer_ = *std::move(exposer);
    ASSERT_EQ(exposer_->addresses().size(), 1u);
    const std::string address = exposer_->addresses()[0];
    ASSERT_THAT(address, StartsWith("127.0.0.1:"));
    ASSERT_TRUE(absl::SimpleAtoi(address.substr(address.find(':') + 1), &port_));
  }

  UniqueFd Connect() const {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  static void Send(const UniqueFd& fd, const std::string& text) {
    ASSERT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // All that comes until the end; `(error)` at the end where that is no orderly one.
  static std::string ReadAll(const UniqueFd& fd) {
    std::string text;
    char buffer[4096];
    for (;;) {
      const ssize_t size = ::recv(fd.get(), buffer, sizeof(buffer), 0);
      if (size == 0) return text;
      if (size < 0) return text + "(error)";
      text.append(buffer, static_cast<size_t>(size));
    }
  }
  std::string Ask(const std::string& request) const {
    const UniqueFd fd = Connect();
    Send(fd, request);
    return ReadAll(fd);
  }

  OneFamily family_;
  int port_ = 0;
  std::unique_ptr<Exposer> exposer_;
};

constexpr char kGet[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr char kBody[] =
    "# HELP things_total Things\n# TYPE things_total counter\nthings_total{kind=\"a \\\"quoted\\\" one\"} 3\n";

TEST_F(ExposerTest, AGetIsAnsweredInTheTextFormat) {
  EXPECT_EQ(Ask(kGet), absl::StrCat("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
                                    "Content-Length: ", sizeof(kBody) - 1, "\r\nConnection: close\r\n\r\n", kBody));
  EXPECT_EQ(family_.collections, 1);
  EXPECT_THAT(Ask("GET /metrics?name[]=x HTTP/1.0\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 200"), EndsWith(kBody)));
}

TEST_F(ExposerTest, NothingElseIsServedAndNothingIsCollectedForIt) {
  for (const char* method : {"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "get"}) {
    EXPECT_THAT(Ask(absl::StrCat(method, " /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")),
                AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("\r\nAllow: GET\r\n")))
        << method;
  }
  for (const char* path : {"/", "/metrics/", "/metricsx", "/../metrics", "//metrics", "/etc/passwd"}) {
    EXPECT_THAT(Ask(absl::StrCat("GET ", path, " HTTP/1.1\r\n\r\n")), StartsWith("HTTP/1.1 404 ")) << path;
  }
  for (const char* line :
       {"", "GET /metrics", "GET /metrics HTTP/2.0", "GET  /metrics HTTP/1.1", "GET metrics HTTP/1.1",
        "GET http://localhost/metrics HTTP/1.1", "\x16\x03\x01", " /metrics HTTP/1.1", "GET /metrics HTTP/1.1 x"}) {
    EXPECT_THAT(Ask(absl::StrCat(line, "\r\n\r\n")), StartsWith("HTTP/1.1 400 ")) << line;
  }
  EXPECT_EQ(family_.collections, 0);
}

TEST_F(ExposerTest, ARequestHasALimit) {
  const std::string head = "GET /metrics HTTP/1.1\r\nX: ";
  const std::string longest =
      head + std::string(Exposer::kLongestRequest - head.size() - std::string("\r\n\r\n").size(), 'x');
  EXPECT_THAT(Ask(longest + "\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Ask(longest + "x\r\n\r\n"), StartsWith("HTTP/1.1 431 "));
  // One that never ends is refused too, and what follows is not kept.
  EXPECT_THAT(Ask(longest + std::string(100'000, 'x')), StartsWith("HTTP/1.1 431 "));
}

TEST_F(ExposerTest, ARequestMayComeInPieces) {
  const UniqueFd fd = Connect();
  for (const char c : std::string(kGet)) Send(fd, std::string(1, c));
  EXPECT_THAT(ReadAll(fd), EndsWith(kBody));
}

TEST_F(ExposerTest, WhoSaysNothingKeepsNobodyWaiting) {
  std::vector<UniqueFd> silent;
  for (size_t i = 0; i < 3 * Exposer::kMostConnections; ++i) silent.push_back(Connect());
  EXPECT_THAT(Ask(kGet), EndsWith(kBody));
  // The oldest gave way.
  char byte = 0;
  EXPECT_LE(::recv(silent.front().get(), &byte, 1, 0), 0);
  // The last may still ask.
  Send(silent.back(), kGet);
  EXPECT_THAT(ReadAll(silent.back()), EndsWith(kBody));
}

TEST_F(ExposerTest, APeerThatLeavesEarlyHarmsNobody) {
  for (const char* said : {"", "GET /metr", kGet}) {
    UniqueFd fd = Connect();
    Send(fd, said);
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }
  EXPECT_THAT(Ask(kGet), EndsWith(kBody));
}

TEST_F(ExposerTest, ItsEndClosesWhatIsOpenAndFreesTheAddress) {
  const UniqueFd open = Connect();
  EXPECT_THAT(Ask(kGet), EndsWith(kBody));
  const std::string address = exposer_->addresses()[0];
  exposer_ = nullptr;
  char byte = 0;
  EXPECT_LE(::recv(open.get(), &byte, 1, 0), 0);
  auto again = Exposer::Start(address, family_);
  EXPECT_TRUE(again.ok()) << again.status();
}

TEST_F(ExposerTest, AnAddressThatIsTakenIsAnErrorThatNamesIt) {
  const std::string address = exposer_->addresses()[0];
  const auto second = Exposer::Start(address, family_);
  ASSERT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), AllOf(HasSubstr(address), HasSubstr("in use")));
}

}  // namespace
}  // namespace netprov::metrics
