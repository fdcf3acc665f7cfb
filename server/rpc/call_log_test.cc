#include "server/rpc/call_log.h"

#include <string>

#include "gtest/gtest.h"
#include "server/api/errors.h"

namespace netprov::rpc {
namespace {

TEST(LogfmtValueTest, QuotesWhatIsNoWord) {
  EXPECT_EQ(LogfmtValue("veths/v1"), "veths/v1");
  EXPECT_EQ(LogfmtValue(""), "\"\"");
  EXPECT_EQ(LogfmtValue("a b"), "\"a b\"");
  EXPECT_EQ(LogfmtValue("a=b"), "\"a=b\"");
  // A backslash at the end must not swallow the quote.
  EXPECT_EQ(LogfmtValue("a b\\"), "\"a b\\\\\"");
  EXPECT_EQ(LogfmtValue("a\"b"), "\"a\\\"b\"");
}

TEST(LogfmtValueTest, StaysOneLineOfAscii) {
  EXPECT_EQ(LogfmtValue("x\nmethod=Forged code=OK"), "\"x\\\\x0amethod=Forged code=OK\"");
  EXPECT_EQ(LogfmtValue("\x1b[31m"), "\"\\\\x1b[31m\"");
  EXPECT_EQ(LogfmtValue("\xc2\x9b\xff"), "\"\\\\xc2\\\\x9b\\\\xff\"");
  EXPECT_LE(LogfmtValue(std::string(1000000, 'x')).size(), 256u);
}

TEST(FormatCallTest, ShowsWhatIsKnown) {
  EXPECT_EQ(FormatCall({.method = "ListVeths",
                        .resource = "",
                        .status = absl::OkStatus(),
                        .duration = absl::Microseconds(912),
                        .queued = absl::Microseconds(14),
                        .caller = "uid:1000",
                        .peer = "pid:42",
                        .request_id = ""}),
            "method=ListVeths code=OK duration_us=912 queue_us=14 caller=uid:1000 peer=pid:42");
  EXPECT_EQ(FormatCall({.method = "CreateVeth",
                        .resource = "veths/v 1",
                        .status = api::QueueFull(),
                        .duration = absl::Microseconds(9),
                        .queued = absl::ZeroDuration(),
                        .peer = "127.0.0.1:50000",
                        .request_id = "8f14e45f-ceea-467f-a0e6-90ab5d3c1f52",
                        .validate_only = true}),
            "method=CreateVeth resource=\"veths/v 1\" code=UNAVAILABLE reason=QUEUE_FULL duration_us=9 queue_us=0 "
            "peer=127.0.0.1:50000 request_id=8f14e45f-ceea-467f-a0e6-90ab5d3c1f52 validate_only=true "
            "error=\"too many calls are waiting\"");
}

}  // namespace
}  // namespace netprov::rpc
