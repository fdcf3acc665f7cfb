#include "server/api/host.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

using Kind = engine::Finding::Kind;

TEST(HostTest, AReportBecomesAMessage) {
  engine::HostReport report{
      .time = absl::FromUnixSeconds(7), .at_start = true, .objects = 3, .registry_fault = "disk full", .findings = {}};
  report.Add(Kind::kOrphanRemoved, "namespaces/my net", "it had our tag");
  report.Add(Kind::kForeignTag, "links/\xff", "somebody's");
  const v1::HostReport proto = ToProto(report);
  EXPECT_EQ(proto.time().seconds(), 7);
  EXPECT_TRUE(proto.at_start());
  EXPECT_EQ(proto.objects(), 3);
  EXPECT_EQ(proto.registry_fault(), "disk full");
  ASSERT_EQ(proto.findings_size(), 2);
  EXPECT_EQ(proto.findings(0).kind(), v1::Finding::KIND_ORPHAN_REMOVED);
  EXPECT_EQ(proto.findings(0).resource(), "namespaces/my%20net");
  EXPECT_EQ(proto.findings(0).detail(), "it had our tag");
  EXPECT_EQ(proto.findings(1).resource(), "links/\\xff");
}

TEST(HostTest, EveryKindHasAName) {
  for (int kind = 0; kind <= static_cast<int>(Kind::kUnreadable); ++kind) {
    engine::HostReport report;
    report.Add(static_cast<Kind>(kind), "veths/v", "");
    EXPECT_EQ(ToProto(report).findings(0).kind(), kind + 1);
    EXPECT_EQ("KIND_" + NameOf(static_cast<Kind>(kind)), v1::Finding::Kind_Name(ToProto(report).findings(0).kind()));
  }
}

}  // namespace
}  // namespace netprov::api
