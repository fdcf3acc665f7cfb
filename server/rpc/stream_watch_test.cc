#include "server/rpc/stream_watch.h"

#include <cstdint>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// As gRPC 1.51.1 says it.
constexpr char kServers[] =
    R"({"end":true,"server":[{"data":{"callsFailed":"30","callsStarted":"340","callsSucceeded":"10",)"
    R"("lastCallStartedTimestamp":"2026-11-30T07:55:33.565276010Z","trace":{"creationTimestamp":)"
    R"("2026-11-30T07:55:30.173552142Z","events":[{"description":"Server created","severity":"CT_INFO","timestamp":)"
    R"("2026-11-30T07:55:30.173551070Z"}],"numEventsLogged":"1"}},"ref":{"serverId":"1"}},{"data":{"trace":)"
    R"({"creationTimestamp":"2026-11-30T07:55:30.173552142Z","events":[{"description":"Server created","severity":)"
    R"("CT_INFO","timestamp":"2026-11-30T07:55:30.173551070Z"}],"numEventsLogged":"1"}},"ref":{"serverId":"7"}}]})";
constexpr char kSockets[] = R"({"end":true,"socketRef":[{"name":"chttp2 ipv4:127.0.0.1:42420","socketId":"2"},)"
                            R"({"name":"chttp2 ipv6:%5B::1%5D:55758","socketId":"3"}]})";
constexpr char kSocket[] =
    R"({"socket":{"data":{"lastMessageReceivedTimestamp":"2026-11-30T07:55:31.761404311Z","lastMessageSentTimestamp":)"
    R"("2026-11-30T07:55:33.565534810Z","lastRemoteStreamCreatedTimestamp":"2026-11-30T07:55:33.565275800Z",)"
    R"("messagesReceived":"10","messagesSent":"10","streamsFailed":"20","streamsStarted":"340",)"
    R"("streamsSucceeded":"19"},"local":{"tcpip_address":{"ip_address":"fwAAAQ==","port":7555}},"ref":{"name":)"
    R"("chttp2 ipv4:127.0.0.1:42420","socketId":"2"},"remote":{"tcpip_address":{"ip_address":"fwAAAQ==",)"
    R"("port":42420}}}})";
constexpr char kNewSocket[] =
    R"({"socket":{"data":{},"local":{"tcpip_address":{"ip_address":"AAAAAAAAAAAAAAAAAAAAAQ==","port":7555}},"ref":)"
    R"({"name":"chttp2 ipv6:%5B::1%5D:55758","socketId":"3"},"remote":{"tcpip_address":{"ip_address":)"
    R"("AAAAAAAAAAAAAAAAAAAAAQ==","port":55758}}}})";

constexpr char kTlsSocket[] =
    R"({"socket":{"data":{"lastRemoteStreamCreatedTimestamp":"2026-11-30T08:05:44.301172280Z","streamsStarted":)"
    R"("163"},"local":{"tcpip_address":{"ip_address":"fwAAAQ==","port":7001}},"ref":{"name":)"
    R"("chttp2 ipv4:127.0.0.1:57318","socketId":"2"},"remote":{"tcpip_address":{"ip_address":"fwAAAQ==",)"
    R"("port":57318}},"security":{"tls":{"remote_certificate":"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="}}}})";

TEST(StreamWatchTextTest, ServersHaveNumbersAndCalls) {
  EXPECT_THAT(ServersIn(kServers),
              ElementsAre(ServerCalls{.id = 1, .started = 340, .ended = 40}, ServerCalls{.id = 7, .started = 0}));
  EXPECT_THAT(ServersIn(R"({"end":true})"), IsEmpty());
}

TEST(StreamWatchTextTest, SocketsHaveNumbers) {
  EXPECT_THAT(SocketsIn(kSockets), ElementsAre(2, 3));
  EXPECT_THAT(SocketsIn(R"({"end":true,"socketRef":[]})"), IsEmpty());
}

TEST(StreamWatchTextTest, ASocketHasAPeerAndCounts) {
  EXPECT_EQ(StreamsIn(kSocket), (Streams{.from = "127.0.0.1:42420", .started = 340, .ended = 39, .requests = 10}));
  EXPECT_EQ(StreamsIn(kTlsSocket), (Streams{.from = "127.0.0.1:57318", .started = 163}));
  EXPECT_EQ(StreamsIn(kNewSocket), Streams{.from = "[::1]:55758"});
}

TEST(StreamWatchTextTest, AUnixSocketHasNoPeer) {
  EXPECT_EQ(StreamsIn(R"({"socket":{"data":{"streamsStarted":"1"},"remote":{"uds_address":{"filename":""}}}})"),
            Streams{.started = 1});
  EXPECT_EQ(StreamsIn(R"({"socket":{"data":{"streamsStarted":"1"},"remote":{"other_address":{"name":"unix:"}}}})"),
            Streams{.started = 1});
}

TEST(StreamWatchTextTest, WhatIsNotAsItShouldBeIsNothing) {
  for (const char* text :
       {"", "{", "null", "1", "[]", "{}", R"({"server":1})", R"({"socketRef":null})", R"({"socket":[]})",
        R"({"socket":{"data":{"streamsStarted":1},"remote":{"tcpip_address":{"ip_address":"fwAAAQ=="}}}})",
        R"({"socket":{"data":{"streamsStarted":"x"},"remote":{"tcpip_address":{"ip_address":"fwAA","port":1}}}})",
        R"({"socket":{"data":7,"remote":{"tcpip_address":{"ip_address":"?","port":1}}}})"}) {
    EXPECT_EQ(StreamsIn(text), Streams{}) << text;
  }
  EXPECT_THAT(ServersIn("nothing"), IsEmpty());
  EXPECT_THAT(SocketsIn("nothing"), IsEmpty());
}

constexpr int64_t kMost = 256;
constexpr absl::Duration kPeriod = kStreamWatchPeriod;

Streams Of(int64_t started, int64_t ended, int64_t requests) {
  return {.from = "10.0.0.1:1", .started = started, .ended = ended, .requests = requests};
}

TEST(StreamWatchRuleTest, CallsWithTheirRequestsAreFine) {
  EXPECT_FALSE(AreTooMany({}, Of(100'000, 100'000, 100'000), kPeriod, kMost));
  EXPECT_FALSE(AreTooMany({}, Of(100'000, 99'744, 99'900), kPeriod, kMost));
  // As of a stream of reflection, which has many.
  EXPECT_FALSE(AreTooMany(Of(1, 0, 1), Of(1, 0, 5'000), kPeriod, kMost));
}

TEST(StreamWatchRuleTest, WhatAConnectionMayHaveAndOnceMoreWhatItGaveUpIsFine) {
  EXPECT_FALSE(AreTooMany({}, Of(256, 0, 0), kPeriod, kMost));
  EXPECT_FALSE(AreTooMany(Of(512, 256, 256), Of(768, 256, 512), kPeriod, kMost));
}

TEST(StreamWatchRuleTest, StreamsWithoutARequestAreTooMany) {
  EXPECT_TRUE(AreTooMany({}, Of(257, 0, 0), kPeriod, kMost));
  EXPECT_TRUE(AreTooMany(Of(1'000, 1'000, 1'000), Of(1'257, 1'257, 1'000), kPeriod, kMost)) << "they were reset";
  EXPECT_FALSE(AreTooMany(Of(5'000, 5'000, 0), Of(5'256, 5'256, 0), kPeriod, kMost)) << "those of before are over";
}

TEST(StreamWatchRuleTest, MoreMayComeInALongerTime) {
  EXPECT_FALSE(AreTooMany({}, Of(512, 512, 0), 2 * kPeriod, kMost));
  EXPECT_TRUE(AreTooMany({}, Of(513, 513, 0), 2 * kPeriod, kMost));
  EXPECT_FALSE(AreTooMany({}, Of(256, 256, 0), absl::ZeroDuration(), kMost)) << "not less in a shorter one";
}

// So slow that no period has too many, or beside requests that count for others (of one stream with many).
TEST(StreamWatchRuleTest, OpenOnesAreTooManyHoweverTheyCame) {
  EXPECT_FALSE(AreTooMany(Of(511, 0, 0), Of(512, 0, 0), kPeriod, kMost));
  EXPECT_TRUE(AreTooMany(Of(512, 0, 0), Of(513, 0, 0), kPeriod, kMost));
  EXPECT_TRUE(AreTooMany(Of(100, 0, 100), Of(613, 100, 613), absl::Hours(1), kMost));
}

TEST(StreamWatchRuleTest, ACallWaitsForItsRequestWhileItIsOpen) {
  EXPECT_EQ(WaitingIn(Of(10, 0, 0), 0), 10);
  EXPECT_EQ(WaitingIn(Of(10, 0, 10), 0), 0);
  EXPECT_EQ(WaitingIn(Of(10, 10, 0), 0), 0) << "they are over";
  EXPECT_EQ(WaitingIn(Of(10, 5, 0), 5), 5) << "no request came of five that were over before";
  EXPECT_EQ(WaitingIn(Of(10, 8, 4), 2), 2) << "no more than are open";
  EXPECT_EQ(EndedInVain(Of(10, 8, 4)), 4);
  EXPECT_EQ(EndedInVain(Of(10, 4, 8)), 0);
  EXPECT_EQ(WaitingIn(Of(1, 0, 5'000), 0), 0) << "a stream with many requests";
}

TEST(StreamWatchRuleTest, WhereTheMostWaitIsHungUpOnFirst) {
  EXPECT_THAT(WhereTooManyWait({}, 128), IsEmpty());
  EXPECT_THAT(WhereTooManyWait({{1, 64}, {2, 64}, {3, 0}}, 128), IsEmpty());
  EXPECT_THAT(WhereTooManyWait({{1, 1}, {2, 64}, {3, 64}, {4, 0}}, 128), ElementsAre(3));
  EXPECT_THAT(WhereTooManyWait({{1, 2}, {2, 250}, {3, 256}}, 128), ElementsAre(3, 2));
}

}  // namespace
}  // namespace netprov::rpc
