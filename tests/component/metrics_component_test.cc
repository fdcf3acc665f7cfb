// Metrics: what moves them, and that the documentation lists them all.
#include <prometheus/check_names.h>
#include <prometheus/text_serializer.h>
#include <spdlog/logger.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/statistics.h"
#include "server/engine/caretaker.h"
#include "server/engine/linux_netns_pool.h"
#include "server/metrics/collector.h"
#include "server/netlink/statistics.h"
#include "server/reloader.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;
using Type = prometheus::MetricType;

class MetricsTest : public ServerTest {
 protected:
  void Start(rpc::ServerOptions options = {}, bool serve = true) {
    StartServer(std::move(options), serve);
    caretaker_ = std::make_unique<engine::Caretaker>(engine(), kernel_, registry());
    std::vector<Reloader::Source> sources;
    for (const char* what : {"policy", "tls"}) {
      sources.push_back({.what = what, .paths = {}, .load = [this] { return loaded_; }});
    }
    reloader_ = std::make_unique<Reloader>(std::move(sources), MakeLog());
    collector_ = std::make_unique<metrics::Collector>(metrics::Collector::Sources{.server = &server(),
                                                                                  .registry = &registry(),
                                                                                  .caretaker = caretaker_.get(),
                                                                                  .netlink = &netlink_,
                                                                                  .pool = &pool_,
                                                                                  .reloader = reloader_.get(),
                                                                                  .failed_handshakes = &handshakes_});
  }
  void TearDown() override {
    collector_ = nullptr;
    caretaker_ = nullptr;
    StopServer();
  }

  // A sample by its labels, as in `kind=veths,condition=ready`, in any order; of a histogram, how much was observed.
  // -1: there is none.
  double Value(const std::string& name, const std::string& labels = "") const {
    const std::set<std::string> wanted = absl::StrSplit(labels, ',', absl::SkipEmpty());
    for (const prometheus::MetricFamily& family : collector_->Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& sample : family.metric) {
        std::set<std::string> has;
        for (const auto& label : sample.label) has.insert(absl::StrCat(label.name, "=", label.value));
        if (has != wanted) continue;
        if (family.type == Type::Histogram) return static_cast<double>(sample.histogram.sample_count);
        return family.type == Type::Counter ? sample.counter.value : sample.gauge.value;
      }
    }
    return -1;
  }

  // What the caretaker has to do, done.
  void Care() {
    for (;;) {
      engine::Caretaker::Due due = caretaker_->Wait(std::chrono::milliseconds(0));
      for (engine::Chore& chore : due.chores) chore.run();
      if (due.chores.empty()) return;
    }
  }

  netlink::Statistics netlink_;
  engine::NetnsPool::Statistics pool_;
  Counter handshakes_;
  absl::Status loaded_;
  std::unique_ptr<engine::Caretaker> caretaker_;
  std::unique_ptr<Reloader> reloader_;
  std::unique_ptr<metrics::Collector> collector_;
};

TEST_F(MetricsTest, CallsAreCountedByMethodCodeAndReason) {
  Start();
  EXPECT_EQ(Value("netprov_calls_total", "method=CreateNamespace,code=OK"), 0) << "so that a first one is an increase";
  EXPECT_EQ(Value("netprov_call_duration_seconds", "method=CreateNamespace"), -1);
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  EXPECT_EQ(client_->GetNamespace("red").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_EQ(client_->GetNamespace("Not an id").code, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Value("netprov_calls_total", "method=CreateNamespace,code=OK"), 1);
  EXPECT_EQ(Value("netprov_calls_total", "method=GetNamespace,code=NOT_FOUND"), 1);
  EXPECT_EQ(Value("netprov_calls_total", "method=GetNamespace,code=INVALID_ARGUMENT"), 1);
  EXPECT_EQ(Value("netprov_call_duration_seconds", "method=CreateNamespace"), 1);
  EXPECT_EQ(Value("netprov_call_duration_seconds", "method=GetNamespace"), 2);
  EXPECT_EQ(Value("netprov_call_errors_total", "reason=NAMESPACE_NOT_FOUND"), 1);
  EXPECT_EQ(Value("netprov_call_errors_total", "reason=INVALID_FIELD"), 1);
  EXPECT_EQ(Value("netprov_call_errors_total", "reason=VETH_NOT_FOUND"), 0);
  EXPECT_EQ(Value("netprov_queue_wait_seconds", "queue=changes"), 1);
  EXPECT_EQ(Value("netprov_queue_wait_seconds", "queue=reads"), 1);
  EXPECT_GE(Value("netprov_registry_transaction_seconds"), 2) << "the intent and the outcome";
  EXPECT_EQ(Value("netprov_connections_open", "transport=unix"), 1);
  EXPECT_EQ(Value("netprov_connections_open", "transport=tcp"), 0);
  EXPECT_EQ(Value("netprov_connections_accepted_total", "transport=unix"), 1);
}

TEST_F(MetricsTest, WhatIsUnderWayShowsAndHoldsUpNoCollection) {
  Gate reached;
  Gate go_on;
  Start({.workers = 1});
  BlockNext("CreateNetns", reached, go_on);
  std::thread first([this] { EXPECT_TRUE(client_->CreateNamespace("blue").ok()); });
  reached.Wait();
  std::thread second([this] { EXPECT_TRUE(client_->CreateNamespace("red").ok()); });
  while (server().waiting() == 0) std::this_thread::yield();
  EXPECT_EQ(Value("netprov_calls_active"), 2);
  EXPECT_EQ(Value("netprov_queue_length", "queue=changes"), 1);
  EXPECT_EQ(Value("netprov_queue_length", "queue=reads"), 0);
  EXPECT_EQ(Value("netprov_objects", "kind=namespaces,condition=ready"), 0);
  go_on.Open();
  first.join();
  second.join();
  EXPECT_EQ(Value("netprov_queue_length", "queue=changes"), 0);
  while (Value("netprov_calls_active") != 0) std::this_thread::yield();
}

TEST_F(MetricsTest, ObjectsAreCountedByKindAndCondition) {
  Start();
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  for (const char* id : {"v", "w"}) {
    v1::CreateVethRequest veth;
    veth.set_veth_id(id);
    veth.mutable_veth()->mutable_endpoint_a()->mutable_host();
    veth.mutable_veth()->mutable_endpoint_a()->set_interface_name(absl::StrCat("h", id));
    veth.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/blue");
    veth.mutable_veth()->mutable_endpoint_b()->set_interface_name(absl::StrCat("e", id));
    const auto made = client_->Create(veth);
    ASSERT_TRUE(made.ok()) << made.message;
  }
  v1::CreateBridgeRequest bridge;
  bridge.set_bridge_id("br0");
  bridge.mutable_bridge()->set_namespace_("namespaces/blue");
  const auto made = client_->Create(bridge);
  ASSERT_TRUE(made.ok()) << made.message;
  Care();
  EXPECT_EQ(Value("netprov_objects", "kind=namespaces,condition=ready"), 1);
  EXPECT_EQ(Value("netprov_objects", "kind=veths,condition=ready"), 2);
  EXPECT_EQ(Value("netprov_objects", "kind=bridges,condition=ready"), 1);
  EXPECT_EQ(Value("netprov_objects", "kind=devices,condition=ready"), 0);

  kernel_.SetLinkForTest({}, "hv", {.mtu = 1400});
  Care();
  EXPECT_EQ(Value("netprov_objects", "kind=veths,condition=ready"), 1);
  EXPECT_EQ(Value("netprov_objects", "kind=veths,condition=degraded"), 1);
  EXPECT_EQ(Value("netprov_objects", "kind=veths,condition=missing"), 0);
  EXPECT_EQ(Value("netprov_drifts_total"), 1);
  ASSERT_TRUE(client_->DeleteVeth("v").ok());
  ASSERT_TRUE(client_->DeleteBridge("br0").ok());
  EXPECT_EQ(Value("netprov_objects", "kind=veths,condition=ready"), 1);
  EXPECT_EQ(Value("netprov_objects", "kind=veths,condition=degraded"), 0);
  EXPECT_EQ(Value("netprov_objects", "kind=bridges,condition=ready"), 0);
}

TEST_F(MetricsTest, WhatTheLayersBelowCountIsShown) {
  Start();
  EXPECT_EQ(Value("netprov_recovery_objects"), -1);
  engine::HostReport report;
  report.objects = 7;
  report.Add(engine::Finding::Kind::kOrphanRemoved, "links/veth7", "gone");
  report.Add(engine::Finding::Kind::kOrphanRemoved, "links/veth8", "gone");
  collector_->SetRecovery(report, absl::Milliseconds(250));
  EXPECT_EQ(Value("netprov_recovery_objects"), 7);
  EXPECT_EQ(Value("netprov_recovery_duration_seconds"), 0.25);
  EXPECT_EQ(Value("netprov_recovery_findings", "kind=orphan_removed"), 2);
  EXPECT_EQ(Value("netprov_recovery_findings", "kind=unfinished"), 0);

  reloader_->ReloadAll();
  loaded_ = absl::InvalidArgumentError("broken");
  const double loaded_at = Value("netprov_last_load_timestamp_seconds", "what=policy");
  EXPECT_GT(loaded_at, 1e9);
  reloader_->ReloadAll();
  EXPECT_EQ(Value("netprov_reloads_total", "what=policy,result=ok"), 1);
  EXPECT_EQ(Value("netprov_reloads_total", "what=tls,result=failed"), 1);
  EXPECT_EQ(Value("netprov_last_load_timestamp_seconds", "what=policy"), loaded_at);

  netlink_.changes.Observe(std::chrono::milliseconds(90));
  netlink_.requests.Add(5);
  netlink_.interrupted_dumps.Add();
  netlink_.overrun.Add();
  netlink_.lost_news.Add();
  pool_.prepared.Add(3);
  pool_.ready = 2;
  handshakes_.Add();
  EXPECT_EQ(Value("netprov_netlink_round_trip_seconds", "kind=change"), 1);
  EXPECT_EQ(Value("netprov_netlink_requests_total"), 5);
  EXPECT_EQ(Value("netprov_netlink_dumps_interrupted_total"), 1);
  EXPECT_EQ(Value("netprov_netlink_answers_lost_total", "reason=overrun"), 1);
  EXPECT_EQ(Value("netprov_netlink_news_lost_total"), 1);
  EXPECT_EQ(Value("netprov_new_namespaces_total", "made=ahead"), 3);
  EXPECT_EQ(Value("netprov_prepared_namespaces"), 2);
  EXPECT_EQ(Value("netprov_tls_handshakes_failed_total", "by=openssl"), 1);
  EXPECT_EQ(Value("netprov_registry_writable"), 1);
  EXPECT_GT(Value("process_resident_memory_bytes"), 1e6);
  EXPECT_GE(Value("process_open_fds"), 3);
  EXPECT_GE(Value("process_max_fds"), Value("process_open_fds"));
  EXPECT_GT(Value("process_start_time_seconds"), 1e9);
  EXPECT_GE(Value("process_cpu_seconds_total"), 0);
}

TEST_F(MetricsTest, AHistogramIsCumulativeAndEndsWithAllThereIs) {
  Start();
  netlink_.dumps.Observe(std::chrono::microseconds(30));
  netlink_.dumps.Observe(std::chrono::hours(1));
  const std::string text = prometheus::TextSerializer().Serialize(collector_->Collect());
  for (const char* line : {"_bucket{kind=\"dump\",le=\"2.5e-05\"} 0\n", "_bucket{kind=\"dump\",le=\"5e-05\"} 1\n",
                           "_bucket{kind=\"dump\",le=\"10\"} 1\n", "_bucket{kind=\"dump\",le=\"+Inf\"} 2\n",
                           "_count{kind=\"dump\"} 2\n"}) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\nnetprov_netlink_round_trip_seconds", line)));
  }
}

TEST_F(MetricsTest, NothingThatCallersChoseIsInThem) {
  Start();
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("tenantname");
  request.set_request_id(kUuid1);
  request.mutable_namespace_()->mutable_metadata()->set_owner("ownername");
  (*request.mutable_namespace_()->mutable_metadata()->mutable_labels())["labelname"] = "labelvalue";
  const auto made = client_->Create(request, {.owner = "ownername"});
  ASSERT_TRUE(made.ok()) << made.message;
  EXPECT_FALSE(client_->GetNamespace("othername").ok());
  kernel_.RemoveForeignNetnsForTest("tenantname");
  Care();
  EXPECT_EQ(Value("netprov_objects", "kind=namespaces,condition=missing"), 1);
  const std::string text = prometheus::TextSerializer().Serialize(collector_->Collect());
  for (const std::string& secret :
       {std::string("tenantname"), std::string("othername"), std::string("ownername"), std::string("labelname"),
        std::string("labelvalue"), std::string(kUuid1), made.value.uid(), directory_, std::string("uid:")}) {
    EXPECT_THAT(text, Not(HasSubstr(secret)));
  }
}

// The rules of https://prometheus.io/docs/practices/naming/.
TEST_F(MetricsTest, NamesFollowTheConventions) {
  Start();
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  std::set<std::string> names;
  for (const prometheus::MetricFamily& family : collector_->Collect()) {
    SCOPED_TRACE(family.name);
    EXPECT_TRUE(names.insert(family.name).second) << "twice";
    EXPECT_TRUE(prometheus::CheckMetricName(family.name));
    EXPECT_TRUE(absl::StartsWith(family.name, "netprov_") || absl::StartsWith(family.name, "process_"));
    EXPECT_FALSE(family.help.empty());
    EXPECT_FALSE(absl::EndsWith(family.help, "."));
    EXPECT_EQ(absl::EndsWith(family.name, "_total"), family.type == Type::Counter);
    EXPECT_TRUE(family.type != Type::Histogram || absl::EndsWith(family.name, "_seconds"));
    for (const char* unit :
         {"_milliseconds", "_ms", "_us", "_ns", "_kilobytes", "_percent", "_count", "_sum", "_bucket"}) {
      EXPECT_FALSE(absl::EndsWith(family.name, unit));
    }
    std::set<std::vector<std::pair<std::string, std::string>>> samples;
    for (const prometheus::ClientMetric& sample : family.metric) {
      std::vector<std::pair<std::string, std::string>> labels;
      for (const auto& label : sample.label) {
        EXPECT_TRUE(prometheus::CheckLabelName(label.name)) << label.name;
        EXPECT_NE(label.name, "le");
        EXPECT_FALSE(label.value.empty()) << label.name;
        labels.emplace_back(label.name, label.value);
      }
      EXPECT_TRUE(samples.insert(labels).second) << "a sample twice";
    }
  }
}

std::string NameOf(Type type) {
  return type == Type::Counter ? "counter" : type == Type::Gauge ? "gauge" : type == Type::Histogram ? "histogram" : "";
}

TEST_F(MetricsTest, TheDocumentationListsAllOfThem) {
  std::vector<std::string> documented;
  std::ifstream file("docs/metrics.md");
  ASSERT_TRUE(file.is_open());
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "| `netprov_") && !absl::StartsWith(line, "| `process_")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    ASSERT_EQ(cells.size(), 6u) << line;
    auto plain = [](std::string cell) {
      cell.erase(std::remove(cell.begin(), cell.end(), '`'), cell.end());
      return std::string(absl::StripAsciiWhitespace(cell));
    };
    EXPECT_FALSE(plain(cells[4]).empty()) << line;
    documented.push_back(absl::StrCat(plain(cells[1]), " ", plain(cells[2]), " {", plain(cells[3]), "}"));
  }

  Start();
  collector_->SetRecovery({}, absl::ZeroDuration());
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  std::vector<std::string> collected;
  for (const prometheus::MetricFamily& family : collector_->Collect()) {
    std::vector<std::string> labels;
    if (!family.metric.empty()) {
      for (const auto& label : family.metric.front().label) labels.push_back(label.name);
    }
    collected.push_back(absl::StrCat(family.name, " ", NameOf(family.type), " {", absl::StrJoin(labels, ", "), "}"));
  }
  EXPECT_THAT(documented, UnorderedElementsAreArray(collected));
}

}  // namespace
}  // namespace netprov::testing
