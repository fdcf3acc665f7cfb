#include "tests/component/fixture.h"

#include <spdlog/sinks/base_sink.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/logging.h"

namespace netprov::testing {
namespace {

std::string NewDirectory() {
  // Short, as the path of a socket must be.
  std::string path = "/tmp/netprov_XXXXXX";
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  return path;
}

// Hands lines on.
class Sink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit Sink(LogLines& lines) : lines_(lines) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    lines_.Add(std::string(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}

 private:
  LogLines& lines_;
};

}  // namespace

void Gate::Open() {
  std::lock_guard<std::mutex> lock(mutex_);
  open_ = true;
  changed_.notify_all();
}

void Gate::Wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, kDeadline, [this] { return open_; })) << "nobody opened the gate";
}

void LogLines::Add(std::string line) {
  std::lock_guard<std::mutex> lock(mutex_);
  lines_.push_back(std::move(line));
  added_.notify_all();
}

bool LogLines::WaitFor(const std::vector<std::string>& parts) {
  auto matches = [&](const std::string& line) {
    for (const std::string& part : parts) {
      if (!absl::StrContains(line, part)) return false;
    }
    return true;
  };
  std::unique_lock<std::mutex> lock(mutex_);
  return added_.wait_for(lock, kDeadline, [&] {
    for (const std::string& line : lines_) {
      if (matches(line)) return true;
    }
    return false;
  });
}

std::vector<std::string> LogLines::All() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return lines_;
}

ServerTest::ServerTest() : directory_(NewDirectory()), socket_path_(directory_ + "/run/s.sock") {
  // As the daemon does: what is wrong with a request is told to its sender.
  google::protobuf::SetLogHandler(nullptr);
}

ServerTest::~ServerTest() {
  StopServer();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::shared_ptr<spdlog::logger> ServerTest::MakeLog() {
  return std::make_shared<spdlog::logger>("test", std::make_shared<Sink>(log_));
}

void ServerTest::StartServer(rpc::ServerOptions options, bool serve) {
  auto registry = engine::Registry::Open(directory_ + "/registry.db");
  ASSERT_TRUE(registry.ok()) << registry.error().message;
  registry_ = *std::move(registry);
  engine_ = std::make_unique<engine::Engine>(kernel_, *registry_);
  if (!audit_path_.empty()) {
    auto auditor = rpc::Auditor::Open(audit_path_, /*durable=*/false, *registry_);
    ASSERT_TRUE(auditor.ok()) << auditor.status();
    auditor_ = *std::move(auditor);
    options.auditor = auditor_.get();
  }
  options.socket_path = socket_path_;
  options.log = MakeLog();
  auto server = rpc::Server::Start(*engine_, std::move(options));
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  if (serve) {
    const auto report = engine_->Recover();
    ASSERT_TRUE(report.ok());
    if (auditor_ != nullptr) auditor_->Recover(*report);
    server_->Serve();
  }
  client_ = std::make_unique<TestClient>(target());
}

void ServerTest::StopServer() {
  client_.reset();
  if (server_ != nullptr) server_->Shutdown(absl::FromChrono(kDeadline));
  server_.reset();
  engine_.reset();
  auditor_.reset();
  registry_.reset();
}

void ServerTest::BlockNext(const std::string& operation, Gate& reached, Gate& go_on) {
  auto used = std::make_shared<std::atomic<bool>>(false);
  kernel_.SetFaultForTest([=, &reached, &go_on](const std::string& name) -> std::optional<KernelError> {
    if (name == operation && !used->exchange(true)) {
      reached.Open();
      go_on.Wait();
    }
    return std::nullopt;
  });
}

}  // namespace netprov::testing
