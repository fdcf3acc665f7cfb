#include "tests/e2e/mutation_fixture.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "tests/e2e/audit_lines.h"
#include "tests/e2e/requests.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;

// Less than the minute after which the daemon looks at everything, so that it has to notice.
constexpr std::chrono::seconds kPatience(40);

}  // namespace

std::string NewRequestId() {
  static int64_t calls = 0;
  return absl::StrFormat("00000000-0000-4000-8000-%012x", ++calls);
}

void MutationTest::SetUp() {
  // Foreign to netprov, and to be left alone.
  Shell("ip netns add foreign && ip -n foreign link add f0 type veth peer name f1");
  inside_place_ = std::make_unique<Process>(std::vector<std::string>{
      "unshare", "--net", "sh", "-c",
      absl::StrCat("echo $$ >", kInsidePlace, "; touch ", kPlace, "; mount --bind /proc/$$/ns/net ", kPlace,
                   "; echo here >&2; exec sleep infinity")});
  inside_place_->WaitForLine("here");
  StartDaemon();
  ExpectOk(client_->CreateNamespace("kept"));
  ExpectOk(client_->Create(VethRequest("kept", "kept0", "kept", "kept1")));
  GetParam().prepare(*client_);
  before_ = Picture();
  Arm();
  if (GetParam().puts_right && GetParam().arm != nullptr) {
    ASSERT_NE(Picture(), before_);
  }
  ExpectOk(Call(NewRequestId()));
  after_ = Picture();
  ASSERT_EQ(before_ == after_, GetParam().puts_right) << before_ << after_;
  Revert();
  ASSERT_EQ(Picture(), before_);
  allowed_ = {before_, after_};
  if (GetParam().steps.empty()) return;
  for (const auto& step : GetParam().steps) {
    step(*client_);
    allowed_.insert(Picture());
  }
  ASSERT_EQ(Picture(), after_);
  Revert();
}

void MutationTest::Arm() {
  logged_ = daemon_->log().size();
  if (GetParam().arm != nullptr) GetParam().arm(*client_);
  audited_ = AuditLines().size();
}

Answer MutationTest::Call(const std::string& request_id) {
  Answer answer = GetParam().call(*client_, request_id);
  return GetParam().done.empty() ? answer : AwaitDone();
}

Answer MutationTest::AwaitDone() {
  const std::string& done = GetParam().done;
  auto is_end = [&done](absl::string_view line) {
    if (absl::StrContains(line, done)) return true;
    // A pair can't be healed before its namespace is, which it says, and waits.
    return absl::StrContains(line, "_failed resource=") && !absl::StrContains(line, "removed or replaced by somebody");
  };
  const std::optional<std::string> line = daemon_->NextLine(logged_, is_end, kPatience);
  Answer answer;
  if (!line.has_value()) {
    ADD_FAILURE() << "the log does not say '" << done << "':\n" << daemon_->log();
    answer.code = absl::StatusCode::kDeadlineExceeded;
  } else if (line->empty()) {
    answer.code = absl::StatusCode::kUnavailable;
  } else if (!absl::StrContains(*line, done)) {
    answer.code = absl::StatusCode::kUnknown;
    answer.message = *line;
  }
  return answer;
}

Answer MutationTest::Repeat(const std::string& request_id) {
  if (GetParam().await == nullptr) return Call(request_id);
  GetParam().await(*client_);
  return {};
}

std::string MutationTest::Found() {
  if (GetParam().puts_right && GetParam().await != nullptr) GetParam().await(*client_);
  std::string found = Picture();
  // What the daemon does by itself may come between the parts of one look.
  while (GetParam().await != nullptr && !allowed_.contains(found)) {
    std::string again = Picture();
    if (again == found) break;
    found = std::move(again);
  }
  return found;
}

void MutationTest::TearDown() {
  // What failures have left to do is done at a start, and changes nothing for those who went on.
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  StartDaemon();
  EXPECT_EQ(Picture(), before_);
  Reply<v1::ListNamespacesResponse> namespaces = client_->List(v1::ListNamespacesRequest());
  ExpectOk(namespaces);
  for (const v1::Namespace& netns : namespaces.value.namespaces()) {
    const std::string id = netns.name().substr(11);
    if (netns.managed()) ExpectOk(netns.adopted() ? client_->ReleaseNamespace(id) : client_->DeleteNamespace(id));
  }
  // What is in a namespace went with it.
  Reply<v1::ListBridgesResponse> bridges = client_->List(v1::ListBridgesRequest());
  ExpectOk(bridges);
  for (const v1::Bridge& bridge : bridges.value.bridges()) {
    v1::DeleteBridgeRequest request;
    request.set_name(bridge.name());
    ExpectOk(client_->Delete(request));
  }
  EXPECT_EQ(Shell("ls /run/netns"), "foreign\n");
  EXPECT_EQ(Shell("[ ! -e /etc/netns ] || ls -A /etc/netns"), "");
  EXPECT_EQ(Shell("ip -o link show type veth"), "");
  EXPECT_EQ(Shell("ip -o link show type ifb"), "");
  EXPECT_EQ(Shell("ip -o link show type bridge"), "");
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  inside_place_ = nullptr;
  Shell(absl::StrCat("ip netns delete foreign; umount ", kPlace, " && rm ", kPlace, " ", kInsidePlace));
}

void MutationTest::StartDaemon() {
  client_ = nullptr;
  Start(OneThread(GetParam().prepared));
  EXPECT_THAT(daemon_->WaitForLine("event=recovered "), HasSubstr(" unfinished=0"));
  client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
}

bool MutationTest::WasReady(const std::vector<SystemCall>& calls) {
  return std::none_of(calls.begin(), calls.end(),
                      [](const SystemCall& call) { return call.name == GetParam().unready; });
}

bool MutationTest::Survived() {
  // Asked as a client would: a process whose death is under way is there still.
  TestClient another(absl::StrCat("unix:", kSocket));
  if (another.List(v1::ListVethsRequest()).ok()) return true;
  daemon_->Wait();
  return false;
}

}  // namespace netprov::testing
