#include "server/netlink/session.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/link.h"
#include "server/netlink/message.h"
#include "server/netlink/nfnetlink.h"
#include "server/netlink/nft.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Payload Bytes(std::string_view hex) { return FromHex(hex); }

ScriptedMessage Data(std::string_view hex, uint32_t answers = 0, uint16_t flags = 0) {
  return {.type = RTM_NEWLINK, .flags = flags, .answers = answers, .payload = FromHex(hex)};
}

// Part of a dump.
ScriptedMessage Part(std::string_view hex, uint16_t flags = 0) { return Data(hex, 0, NLM_F_MULTI | flags); }

Request Change() { return EncodeDeleteLink("veth0"); }

class SessionTest : public testing::Test {
 protected:
  ScriptedTransport transport_;
  Statistics statistics_;
  Session session_{transport_, {.statistics = &statistics_}};
};

TEST_F(SessionTest, ExecuteSendsAndWaitsForTheAcknowledgement) {
  transport_.ExpectSend({Change()});
  transport_.Reply({ScriptedAck()});
  EXPECT_TRUE(session_.Execute(Change()).ok());
}

TEST_F(SessionTest, ExecuteAsksForAnAcknowledgementWhereTheRequestDoesNot) {
  MessageBuilder message("RTM_DELLINK", RTM_DELLINK, 0);
  Request request = std::move(message).Build();
  transport_.ExpectSend({request}, NLM_F_ACK);
  transport_.Reply({ScriptedAck()});
  EXPECT_TRUE(session_.Execute(request).ok());
}

TEST_F(SessionTest, OwnsATransport) {
  auto transport = std::make_unique<ScriptedTransport>();
  transport->ExpectSend({Change()});
  transport->Reply({ScriptedAck()});
  Session session(std::move(transport));
  EXPECT_TRUE(session.Execute(Change()).ok());
  EXPECT_THAT(session.transport().port_id(), Eq(ScriptedTransport::kPortId));
}

TEST_F(SessionTest, RefusalCarriesErrnoOperationAndExtack) {
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(ERANGE, "IFNAME too long")});
  KernelResult<void> result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error(),
              Eq(KernelError{.code = ERANGE, .operation = "RTM_DELLINK veth0", .extack = "IFNAME too long"}));
  EXPECT_FALSE(result.error().may_have_effect);
}

TEST_F(SessionTest, ReadsExtackBehindARepeatedRequest) {
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedMessage{.type = NLMSG_ERROR, .flags = NLM_F_ACK_TLVS, .payload = FromHex(R"(
    ef ff ff ff                                         # -EEXIST
    17 00 00 00  10 00 05 06  01 00 00 00  00 00 00 00  # the request's header: 23 bytes
    01 02 03 04  05 06 07 00                            # its payload, padded
    08 00 02 00  24 00 00 00                            # NLMSGERR_ATTR_OFFS
    07 00 01 00  6e 6f 00 00                            # NLMSGERR_ATTR_MSG "no"
  )")}});
  KernelResult<void> result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(EEXIST));
  EXPECT_THAT(result.error().extack, Eq("no"));
}

TEST_F(SessionTest, MalformedExtackIsNoExtack) {
  for (const char* rest : {"ff 00 01 00  6e 6f 00 00", "08 00 01 00  6e 6f 6e 6f", "08", ""}) {
    transport_.ExpectAnySend();
    ScriptedMessage refusal{.type = NLMSG_ERROR, .flags = NLM_F_ACK_TLVS | NLM_F_CAPPED, .payload = {}};
    refusal.payload = FromHex(std::string("ef ff ff ff  10 00 00 00  10 00 05 06  01 00 00 00  00 00 00 00") + rest);
    transport_.Reply({refusal});
    KernelResult<void> result = session_.Execute(Change());
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().code, Eq(EEXIST)) << rest;
    EXPECT_THAT(result.error().extack, IsEmpty()) << rest;
  }
  // A repeated request that is longer than what came.
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedMessage{
      .type = NLMSG_ERROR,
      .flags = NLM_F_ACK_TLVS,
      .payload = FromHex("ef ff ff ff  ff ff ff ff  10 00 05 06  01 00 00 00  00 00 00 00  07 00 01 00 6e 6f 00 00")}});
  KernelResult<void> result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(EEXIST));
  EXPECT_THAT(result.error().extack, IsEmpty());
}

TEST_F(SessionTest, MalformedVerdictIsEbadmsg) {
  for (const char* payload :
       {"",                                                                  // Nothing.
        "ef ff ff",                                                          // An errno cut short.
        "ef ff ff ff  10 00 00 00",                                          // A header cut short.
        "01 00 00 00  10 00 00 00  10 00 05 06  01 00 00 00  00 00 00 00",   // A positive errno.
        "00 f0 ff ff  10 00 00 00  10 00 05 06  01 00 00 00  00 00 00 00",   // -4096 is none.
        "00 00 00 80  10 00 00 00  10 00 05 06  01 00 00 00  00 00 00 00"})  // The one without a negation.
  {
    transport_.ExpectAnySend();
    transport_.Reply({ScriptedMessage{.type = NLMSG_ERROR, .flags = NLM_F_CAPPED, .payload = FromHex(payload)}});
    KernelResult<void> result = session_.Execute(Change());
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().code, Eq(EBADMSG)) << payload;
    EXPECT_TRUE(result.error().may_have_effect);
  }
}

TEST_F(SessionTest, SkipsWrongSequencesPortsSendersAndTypes) {
  transport_.ExpectAnySend();
  ScriptedMessage wrong_port = ScriptedAck(EPERM);
  wrong_port.port_offset = 1;
  transport_.Reply({ScriptedAck(EPERM, {}, /*answers=*/1), ScriptedAck(EPERM, {}, /*answers=*/-1u), wrong_port});
  transport_.ReplyDatagram({.messages = {ScriptedAck(EPERM)}, .sender = 99});
  transport_.ReplyDatagram({.messages = {ScriptedAck(EPERM)}, .sender = 99, .truncated = true});
  transport_.Reply({ScriptedMessage{.type = NLMSG_NOOP}, ScriptedMessage{.type = RTM_NEWADDR}});
  transport_.Reply({ScriptedAck()});
  EXPECT_TRUE(session_.Execute(Change()).ok());
  EXPECT_THAT(transport_.receives(), Eq(5));
}

TEST_F(SessionTest, ALateAnswerIsNotTakenForTheNextOne) {
  transport_.ExpectAnySend();
  transport_.FailReceive(ETIMEDOUT);
  KernelResult<void> first = session_.Execute(Change());
  ASSERT_FALSE(first.ok());
  EXPECT_THAT(first.error().code, Eq(ETIMEDOUT));
  EXPECT_THAT(first.error().operation, Eq("RTM_DELLINK veth0"));
  EXPECT_TRUE(first.error().may_have_effect);
  uint32_t sequence = transport_.last_sequence();

  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(EPERM, {}, /*answers=*/-1u)});
  transport_.Reply({ScriptedAck()});
  EXPECT_TRUE(session_.Execute(Change()).ok());
  EXPECT_THAT(transport_.last_sequence(), Eq(sequence + 1));
}

TEST_F(SessionTest, LostAnswersAreErrorsThatLeaveTheOutcomeOpen) {
  transport_.ExpectAnySend();
  transport_.FailReceive(ENOBUFS);
  KernelResult<void> result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(ENOBUFS));
  EXPECT_TRUE(result.error().may_have_effect);

  transport_.ExpectAnySend();
  transport_.Reply({ScriptedMessage{.type = NLMSG_OVERRUN}});
  result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(ENOBUFS));

  transport_.ExpectAnySend();
  transport_.ReplyDatagram({.messages = {ScriptedAck()}, .truncated = true});
  result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(EMSGSIZE));
  EXPECT_TRUE(result.error().may_have_effect);

  transport_.ExpectAnySend();
  transport_.ReplyDatagram({.messages = {}, .tail = FromHex("ff ff ff ff 00 00")});
  result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(EBADMSG));
  EXPECT_TRUE(result.error().may_have_effect);
}

TEST_F(SessionTest, GoesOnAfterSignals) {
  transport_.FailSend(EINTR);
  transport_.FailSend(EINTR);
  transport_.ExpectSend({Change()});
  transport_.FailReceive(EINTR);
  transport_.FailReceive(EINTR);
  transport_.Reply({ScriptedAck()});
  EXPECT_TRUE(session_.Execute(Change()).ok());
}

TEST_F(SessionTest, AFailedSendIsTheErrorAndNothingIsAwaited) {
  transport_.FailSend(EPERM);
  KernelResult<void> result = session_.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error(), Eq(KernelError{.code = EPERM, .operation = "RTM_DELLINK veth0", .extack = {}}));
  EXPECT_THAT(transport_.receives(), Eq(0));
}

TEST_F(SessionTest, StrangersCannotKeepItWaiting) {
  std::chrono::steady_clock::time_point now;
  Session session(transport_, {.max_wait = std::chrono::seconds(10), .now = [&] {
                                 now += std::chrono::seconds(1);
                                 return now;
                               }});
  transport_.ExpectAnySend();
  // One tick starts the wait, and each look at the clock takes another.
  for (int i = 0; i < 9; ++i) transport_.ReplyDatagram({.messages = {ScriptedAck()}, .sender = 99});
  KernelResult<void> result = session.Execute(Change());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().code, Eq(ETIMEDOUT));
  EXPECT_THAT(transport_.receives(), Eq(9));
}

TEST_F(SessionTest, RequestsThatCouldNotBeBuiltAreNotSent) {
  EXPECT_THAT(session_.Execute(EncodeDeleteLink(0)).error().code, Eq(EINVAL));
  EXPECT_THAT(session_.Execute(EncodeDeleteLink(std::string(20000, 'x'))).error().code, Eq(EMSGSIZE));
  EXPECT_THAT(session_.Execute(Request{.operation = "none", .message = {}}).error().code, Eq(EINVAL));
  EXPECT_THAT(session_.Execute(EncodeDumpLinks()).error().code, Eq(EINVAL));
  EXPECT_THAT(session_.Dump(EncodeGetLink(1)).error().code, Eq(EINVAL));
  EXPECT_THAT(session_.Dump(Request{.operation = "none", .message = {}}).error().code, Eq(EINVAL));
}

TEST_F(SessionTest, GetGivesTheOneObject) {
  transport_.ExpectSend({EncodeGetLink(7)});
  transport_.Reply({Data("01 02 03 04 05")});
  transport_.Reply({ScriptedAck()});
  KernelResult<Payload> reply = session_.Get(EncodeGetLink(7));
  ASSERT_TRUE(reply.ok());
  EXPECT_THAT(*reply, Eq(Bytes("01 02 03 04 05")));

  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(ENODEV)});
  EXPECT_THAT(session_.Get(EncodeGetLink(7)).error(),
              Eq(KernelError{.code = ENODEV, .operation = "RTM_GETLINK ifindex 7", .extack = {}}));

  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck()});
  EXPECT_THAT(session_.Get(EncodeGetLink(7)).error().code, Eq(EBADMSG));

  transport_.ExpectAnySend();
  transport_.Reply({Data("01"), Data("02"), ScriptedAck()});
  EXPECT_THAT(session_.Get(EncodeGetLink(7)).error().code, Eq(EBADMSG));
}

TEST_F(SessionTest, BatchGoesInOneDatagramAndEachGetsItsOutcome) {
  const std::vector<Request> requests = {EncodeSetLink(1, {.up = true}), EncodeGetLink(1), EncodeDeleteLink("gone"),
                                         EncodeDeleteLink(0), EncodeGetLink(2)};
  // The fourth could not be built.
  transport_.ExpectSend({requests[0], requests[1], requests[2], requests[4]});
  transport_.Reply({ScriptedAck(0, {}, 0), Data("0a", 1)});
  transport_.Reply({ScriptedAck(0, {}, 1)});
  transport_.Reply({ScriptedAck(ENODEV, "no such link", 2)});
  transport_.Reply({Data("0b", 3)});
  transport_.Reply({ScriptedAck(0, {}, 3)});
  std::vector<Outcome> outcomes = session_.ExecuteBatch(requests);
  ASSERT_THAT(outcomes, SizeIs(5));
  EXPECT_TRUE(outcomes[0].ok());
  EXPECT_THAT(outcomes[0].replies, IsEmpty());
  EXPECT_TRUE(outcomes[1].ok());
  EXPECT_THAT(outcomes[1].replies, ElementsAre(Bytes("0a")));
  EXPECT_THAT(*outcomes[2].error,
              Eq(KernelError{.code = ENODEV, .operation = "RTM_DELLINK gone", .extack = "no such link"}));
  EXPECT_THAT(*outcomes[3].error, Eq(KernelError{.code = EINVAL, .operation = "RTM_DELLINK ifindex 0", .extack = {}}));
  EXPECT_TRUE(outcomes[4].ok());
  EXPECT_THAT(outcomes[4].replies, ElementsAre(Bytes("0b")));
}

TEST_F(SessionTest, BatchKeepsTheAnswersThatCameBeforeALoss) {
  const std::vector<Request> requests = {EncodeDeleteLink(1), EncodeDeleteLink(2), EncodeGetLink(3)};
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(EOPNOTSUPP, {}, 0), Data("0a", 2)});
  transport_.FailReceive(ENOBUFS);
  std::vector<Outcome> outcomes = session_.ExecuteBatch(requests);
  ASSERT_THAT(outcomes, SizeIs(3));
  EXPECT_THAT(outcomes[0].error->code, Eq(EOPNOTSUPP));
  EXPECT_THAT(
      *outcomes[1].error,
      Eq(KernelError{.code = ENOBUFS, .operation = "RTM_DELLINK ifindex 2", .extack = {}, .may_have_effect = true}));
  EXPECT_THAT(outcomes[2].error->code, Eq(ENOBUFS));
  EXPECT_THAT(outcomes[2].replies, IsEmpty());
}

TEST_F(SessionTest, BatchIgnoresASecondAnswerToOneRequest) {
  const std::vector<Request> requests = {EncodeDeleteLink(1), EncodeDeleteLink(2)};
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(0, {}, 0), ScriptedAck(EPERM, {}, 0), ScriptedAck(0, {}, 1)});
  for (const Outcome& outcome : session_.ExecuteBatch(requests)) EXPECT_TRUE(outcome.ok());
}

TEST_F(SessionTest, BatchHasLimits) {
  EXPECT_THAT(session_.ExecuteBatch({}), IsEmpty());

  std::vector<Request> many(Session::kMaxBatchRequests + 1, Change());
  for (const Outcome& outcome : session_.ExecuteBatch(many)) EXPECT_THAT(outcome.error->code, Eq(E2BIG));

  std::vector<Request> long_ones(5, EncodeSetLink(1, {.alias = std::string(15000, 'x')}));
  for (const Outcome& outcome : session_.ExecuteBatch(long_ones)) EXPECT_THAT(outcome.error->code, Eq(E2BIG));

  const std::vector<Request> with_dump = {Change(), EncodeDumpLinks()};
  for (const Outcome& outcome : session_.ExecuteBatch(with_dump)) EXPECT_THAT(outcome.error->code, Eq(EINVAL));

  many.pop_back();
  transport_.ExpectAnySend();
  ScriptedDatagram answers;
  for (uint32_t i = 0; i < many.size(); ++i) answers.messages.push_back(ScriptedAck(0, {}, i));
  transport_.ReplyDatagram(answers);
  for (const Outcome& outcome : session_.ExecuteBatch(many)) EXPECT_TRUE(outcome.ok());
}

TEST_F(SessionTest, DumpCollectsAllParts) {
  transport_.ExpectSend({EncodeDumpLinks()});
  transport_.Reply({Part("01"), Part("02 03")});
  transport_.Reply({Part("04")});
  transport_.Reply({ScriptedDone()});
  KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
  ASSERT_TRUE(dump.ok());
  EXPECT_THAT(*dump, ElementsAre(Bytes("01"), Bytes("02 03"), Bytes("04")));
}

// How many round trips there were.
uint64_t CountOf(const Histogram& histogram) {
  const Histogram::Snapshot snapshot = histogram.Read();
  return std::accumulate(snapshot.counts.begin(), snapshot.counts.end(), uint64_t{0});
}

TEST_F(SessionTest, CountsRoundTripsByTheirKind) {
  Statistics statistics;
  Session session(transport_, {.statistics = &statistics});
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck()});
  EXPECT_TRUE(session.Execute(Change()).ok());
  transport_.ExpectAnySend();
  transport_.Reply({Data("01"), ScriptedAck()});
  EXPECT_TRUE(session.Get(EncodeGetLink("veth0")).ok());
  // With one change, all of it is.
  const std::vector<Request> batch = {EncodeGetLink("veth0"), Change(), Change()};
  transport_.ExpectAnySend();
  transport_.Reply({Data("01"), ScriptedAck(0, "", 0), ScriptedAck(ENODEV, "", 1), ScriptedAck(0, "", 2)});
  EXPECT_EQ(session.ExecuteBatch(batch).size(), 3u);
  transport_.ExpectAnySend();
  transport_.Reply({Part("01", NLM_F_DUMP_INTR), ScriptedDone()});
  transport_.ExpectAnySend();
  transport_.Reply({Part("01"), ScriptedDone()});
  EXPECT_TRUE(session.Dump(EncodeDumpLinks()).ok());
  EXPECT_EQ(CountOf(statistics.changes), 2u);
  EXPECT_EQ(CountOf(statistics.gets), 1u);
  EXPECT_EQ(CountOf(statistics.dumps), 2u);
  EXPECT_EQ(CountOf(statistics.transactions), 0u);
  EXPECT_EQ(statistics.requests.value(), 1u + 1 + 3 + 2);
  EXPECT_EQ(statistics.interrupted_dumps.value(), 1u);
  // A refusal is an answer.
  EXPECT_EQ(statistics.late.value() + statistics.overrun.value() + statistics.truncated.value() +
                statistics.malformed.value() + statistics.other_losses.value(),
            0u);
}

TEST_F(SessionTest, CountsLostAnswersByWhatBecameOfThem) {
  Statistics statistics;
  Session session(transport_, {.statistics = &statistics});
  const std::pair<int, Counter Statistics::*> losses[] = {{ETIMEDOUT, &Statistics::late},
                                                          {ENOBUFS, &Statistics::overrun},
                                                          {EMSGSIZE, &Statistics::truncated},
                                                          {EBADMSG, &Statistics::malformed},
                                                          {EIO, &Statistics::other_losses}};
  for (const auto& [code, counter] : losses) {
    transport_.ExpectAnySend();
    transport_.FailReceive(code);
    EXPECT_FALSE(session.Execute(Change()).ok());
    EXPECT_EQ((statistics.*counter).value(), 1u) << code;
    transport_.ExpectAnySend();
    transport_.FailReceive(code);
    EXPECT_FALSE(session.Dump(EncodeDumpLinks()).ok());
    EXPECT_EQ((statistics.*counter).value(), 2u) << code;
  }
  // Of a dump that is read to its end all the same, once.
  transport_.ExpectAnySend();
  transport_.Reply({Part("01"), ScriptedMessage{.type = NLMSG_OVERRUN}, ScriptedDone()});
  EXPECT_FALSE(session.Dump(EncodeDumpLinks()).ok());
  EXPECT_EQ(statistics.overrun.value(), 3u);
  // What was not sent was not lost.
  transport_.FailSend(EIO);
  EXPECT_FALSE(session.Execute(Change()).ok());
  EXPECT_EQ(statistics.other_losses.value(), 2u);
}

TEST_F(SessionTest, AnInterruptedDumpIsTriedAgainAndNeverReturned) {
  // Marked in the middle, on the end, and by the errno of the end.
  transport_.ExpectAnySend();
  transport_.Reply({Part("01", NLM_F_DUMP_INTR), Part("02"), ScriptedDone()});
  transport_.ExpectAnySend();
  transport_.Reply({Part("03"), ScriptedDone(0, NLM_F_DUMP_INTR)});
  transport_.ExpectAnySend();
  transport_.Reply({Part("04"), ScriptedDone(EINTR)});
  transport_.ExpectAnySend();
  transport_.Reply({Part("05"), ScriptedDone()});
  KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
  ASSERT_TRUE(dump.ok());
  EXPECT_THAT(*dump, ElementsAre(Bytes("05")));
}

TEST_F(SessionTest, ADumpThatIsInterruptedTooOftenFails) {
  for (int i = 0; i < 16; ++i) {
    transport_.ExpectAnySend();
    transport_.Reply({Part("01", NLM_F_DUMP_INTR), ScriptedDone()});
  }
  KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
  ASSERT_FALSE(dump.ok());
  EXPECT_THAT(dump.error().code, Eq(EAGAIN));
  EXPECT_THAT(dump.error().operation, Eq("RTM_GETLINK dump (changes interrupted every try)"));
}

TEST_F(SessionTest, TheEndOfADumpCanCarryAnError) {
  transport_.ExpectAnySend();
  ScriptedMessage done = ScriptedDone(EOPNOTSUPP, NLM_F_ACK_TLVS);
  std::vector<std::byte> extack = FromHex("07 00 01 00  6e 6f 00 00");
  done.payload.insert(done.payload.end(), extack.begin(), extack.end());
  transport_.Reply({Part("01"), done});
  KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
  ASSERT_FALSE(dump.ok());
  EXPECT_THAT(dump.error(), Eq(KernelError{.code = EOPNOTSUPP, .operation = "RTM_GETLINK dump", .extack = "no"}));
}

TEST_F(SessionTest, ADumpCanBeRefused) {
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(EPERM, "no")});
  KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
  ASSERT_FALSE(dump.ok());
  EXPECT_THAT(dump.error(), Eq(KernelError{.code = EPERM, .operation = "RTM_GETLINK dump", .extack = "no"}));
}

TEST_F(SessionTest, AnAcknowledgementIsNotTheEndOfADump) {
  transport_.ExpectAnySend();
  transport_.Reply({Part("01"), ScriptedAck()});
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(EBADMSG));
}

TEST_F(SessionTest, AnEndWithoutErrnoIsSuccess) {
  transport_.ExpectAnySend();
  transport_.Reply({Part("01"), ScriptedMessage{.type = NLMSG_DONE, .flags = NLM_F_MULTI}});
  EXPECT_TRUE(session_.Dump(EncodeDumpLinks()).ok());

  transport_.ExpectAnySend();
  transport_.Reply({Part("01"), ScriptedMessage{.type = NLMSG_DONE, .flags = NLM_F_MULTI, .payload = FromHex("00")}});
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(EBADMSG));
}

TEST_F(SessionTest, ADumpThatLostAPartIsReadToItsEndAndFails) {
  transport_.ExpectAnySend();
  transport_.ReplyDatagram({.messages = {Part("01")}, .truncated = true});
  transport_.Reply({Part("02")});
  transport_.Reply({ScriptedDone()});
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(EMSGSIZE));

  transport_.ExpectAnySend();
  transport_.Reply({Part("01"), ScriptedMessage{.type = NLMSG_OVERRUN}});
  transport_.Reply({ScriptedDone()});
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(ENOBUFS));

  transport_.ExpectAnySend();
  transport_.ReplyDatagram({.messages = {Part("01")}, .tail = FromHex("01 02 03")});
  transport_.Reply({ScriptedDone()});
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(EBADMSG));

  // Without an end, the loss is still what is told.
  transport_.ExpectAnySend();
  transport_.ReplyDatagram({.messages = {Part("01")}, .truncated = true});
  transport_.FailReceive(ETIMEDOUT);
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(EMSGSIZE));
}

TEST_F(SessionTest, DumpPassesOnTransportErrors) {
  transport_.FailSend(ECONNREFUSED);
  EXPECT_THAT(session_.Dump(EncodeDumpLinks()).error().code, Eq(ECONNREFUSED));
  for (int code : {ETIMEDOUT, ENOBUFS}) {
    transport_.ExpectAnySend();
    transport_.Reply({Part("01")});
    transport_.FailReceive(code);
    KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
    ASSERT_FALSE(dump.ok());
    EXPECT_THAT(dump.error(), Eq(KernelError{.code = code, .operation = "RTM_GETLINK dump", .extack = {}}));
  }
}

TEST_F(SessionTest, DumpGoesOnAfterSignalsAndSkipsStrangers) {
  transport_.FailSend(EINTR);
  transport_.ExpectSend({EncodeDumpLinks()});
  transport_.FailReceive(EINTR);
  transport_.ReplyDatagram({.messages = {Part("63"), ScriptedDone()}, .sender = 99});
  ScriptedMessage wrong_port = Part("63");
  wrong_port.port_offset = 1;
  ScriptedMessage wrong_sequence = Part("63");
  wrong_sequence.answers = 1;
  transport_.Reply({wrong_port, wrong_sequence, Part("01"), ScriptedDone()});
  KernelResult<std::vector<Payload>> dump = session_.Dump(EncodeDumpLinks());
  ASSERT_TRUE(dump.ok());
  EXPECT_THAT(*dump, ElementsAre(Bytes("01")));
}

TEST_F(SessionTest, AllTriesOfADumpShareOneWait) {
  std::chrono::steady_clock::time_point now;
  Session session(transport_, {.max_wait = std::chrono::seconds(3), .now = [&] {
                                 now += std::chrono::seconds(1);
                                 return now;
                               }});
  for (int i = 0; i < 2; ++i) {
    transport_.ExpectAnySend();
    transport_.Reply({ScriptedDone(0, NLM_F_DUMP_INTR)});
  }
  transport_.ExpectAnySend();
  EXPECT_THAT(session.Dump(EncodeDumpLinks()).error().code, Eq(ETIMEDOUT));
}

// ---- Transactions.

Request Nft(std::string_view table) { return EncodeDeleteNftTable(table); }

Request Unacknowledged(Request request) {
  nlmsghdr header;
  std::memcpy(&header, request.message.data(), sizeof(header));
  header.nlmsg_flags &= ~NLM_F_ACK;
  std::memcpy(request.message.data(), &header, sizeof(header));
  return request;
}

class TransactionTest : public SessionTest {
 protected:
  std::vector<Request> requests_ = {Nft("a"), Nft("b"), Nft("c")};

  void ExpectSend(uint32_t generation = 0) {
    // One acknowledgement, of the last, is enough.
    transport_.ExpectSend(
        {EncodeBatchBegin(generation), Unacknowledged(Nft("a")), Unacknowledged(Nft("b")), Nft("c"), EncodeBatchEnd()});
  }

  // The error, or 0, and of which request.
  std::pair<int, std::optional<size_t>> Execute(uint32_t generation = 0) {
    Result<void, TransactionError> done = session_.ExecuteTransaction(requests_, generation);
    if (done.ok()) return {0, std::nullopt};
    may_have_effect_ = done.error().error.may_have_effect;
    operation_ = done.error().error.operation;
    return {done.error().error.code, done.error().request};
  }

  static std::pair<int, std::optional<size_t>> Of(int code, std::optional<size_t> request = std::nullopt) {
    return {code, request};
  }

  bool may_have_effect_ = false;
  std::string operation_;
};

TEST_F(TransactionTest, IsDoneWhereTheLastRequestIsAcknowledged) {
  ExpectSend();
  transport_.Reply({ScriptedAck(0, "", 3)});
  EXPECT_THAT(Execute(), Eq(Of(0)));
  EXPECT_EQ(CountOf(statistics_.transactions), 1u);
  EXPECT_EQ(statistics_.requests.value(), requests_.size());
  ExpectSend(7);
  // Kernels may acknowledge the others too.
  transport_.Reply({ScriptedAck(0, "", 0), ScriptedAck(0, "", 1), ScriptedAck(0, "", 2)});
  transport_.Reply({ScriptedAck(0, "", 3), ScriptedAck(0, "", 4)});
  EXPECT_THAT(Execute(7), Eq(Of(0)));
}

TEST_F(TransactionTest, ARefusalOfOneIsThatOfAll) {
  ExpectSend();
  transport_.Reply({ScriptedAck(ENOENT, "no such table", 2)});
  transport_.Reply({ScriptedAck(0, "", 3)});
  EXPECT_THAT(Execute(), Eq(Of(ENOENT, 1)));
  EXPECT_THAT(operation_, Eq("NFT_MSG_DELTABLE inet b"));
  EXPECT_FALSE(may_have_effect_);
}

TEST_F(TransactionTest, TheFirstRefusalCounts) {
  ExpectSend();
  transport_.Reply({ScriptedAck(EEXIST, "", 1), ScriptedAck(ENOENT, "", 2)});
  transport_.Reply({ScriptedAck(ENOENT, "", 3)});
  EXPECT_THAT(Execute(), Eq(Of(EEXIST, 0)));
}

TEST_F(TransactionTest, ARefusalOfTheWholeIsTheOnlyAnswer) {
  ExpectSend(7);
  transport_.Reply({ScriptedAck(ERESTART, "", 0)});
  EXPECT_THAT(Execute(7), Eq(Of(ERESTART)));
  EXPECT_THAT(operation_, Eq("nf_tables transaction"));
  EXPECT_THAT(transport_.receives(), Eq(1));
}

TEST_F(TransactionTest, ARefusalStandsWhereTheRestIsLost) {
  ExpectSend();
  transport_.Reply({ScriptedAck(ENOMEM, "", 1)});
  EXPECT_THAT(Execute(), Eq(Of(ENOMEM, 0)));
  EXPECT_FALSE(may_have_effect_);
}

TEST_F(TransactionTest, ALostAnswerMayHaveHadItsEffect) {
  for (const int code : {ETIMEDOUT, ENOBUFS}) {
    ExpectSend();
    transport_.FailReceive(code);
    EXPECT_THAT(Execute(), Eq(Of(code)));
    EXPECT_TRUE(may_have_effect_);
  }
  ExpectSend();
  transport_.ReplyDatagram({.messages = {ScriptedAck(0, "", 3)}, .truncated = true});
  EXPECT_THAT(Execute(), Eq(Of(EMSGSIZE)));
  EXPECT_TRUE(may_have_effect_);
  ExpectSend();
  transport_.ReplyDatagram({.messages = {}, .tail = FromHex("01 02 03")});
  EXPECT_THAT(Execute(), Eq(Of(EBADMSG)));
  EXPECT_TRUE(may_have_effect_);
  ExpectSend();
  transport_.Reply({ScriptedMessage{.type = NLMSG_OVERRUN, .answers = 1, .payload = {}}});
  EXPECT_THAT(Execute(), Eq(Of(ENOBUFS)));
  ExpectSend();
  transport_.Reply({ScriptedMessage{.type = NLMSG_ERROR, .answers = 3, .payload = FromHex("00 00")}});
  EXPECT_THAT(Execute(), Eq(Of(EBADMSG, 2)));
  EXPECT_TRUE(may_have_effect_);
}

TEST_F(TransactionTest, OthersAnswersAreSkipped) {
  ExpectSend();
  ScriptedMessage other_port = ScriptedAck(EPERM, "", 1);
  other_port.port_offset = 1;
  transport_.Reply({other_port, ScriptedAck(EPERM, "", 5), Data("00")});
  transport_.ReplyDatagram({.messages = {ScriptedAck(EPERM, "", 1)}, .sender = 99});
  transport_.Reply({ScriptedAck(0, "", 3)});
  EXPECT_THAT(Execute(), Eq(Of(0)));
}

TEST_F(TransactionTest, WhatCannotBeSentIsNot) {
  transport_.FailSend(EMSGSIZE);
  EXPECT_THAT(Execute(), Eq(Of(E2BIG)));
  transport_.FailSend(EPERM);
  EXPECT_THAT(Execute(), Eq(Of(EPERM)));
  EXPECT_FALSE(may_have_effect_);

  requests_ = {};
  EXPECT_THAT(Execute(), Eq(Of(EINVAL)));
  requests_ = {Nft("a"), EncodeGetNftTable("a")};
  EXPECT_THAT(Execute(), Eq(Of(EINVAL, 1)));
  requests_ = {Nft("a"), Change()};
  EXPECT_THAT(Execute(), Eq(Of(EINVAL, 1)));
  requests_ = {Nft(std::string_view("a\0b", 3))};
  EXPECT_THAT(Execute(), Eq(Of(EINVAL, 0)));
  requests_ = std::vector<Request>(Session::kMaxTransactionRequests + 1, Nft("a"));
  EXPECT_THAT(Execute(), Eq(Of(E2BIG)));
  requests_ = std::vector<Request>(600, Nft(std::string(2000, 'x')));
  EXPECT_THAT(Execute(), Eq(Of(E2BIG)));
}

TEST_F(SessionTest, GetsAndDumpsOfNftKnowTheirReplies) {
  auto reply = [](uint16_t type, uint16_t flags) {
    return ScriptedMessage{.type = static_cast<uint16_t>(0x0a00 | type), .flags = flags, .payload = Bytes("01 02")};
  };
  transport_.ExpectSend({EncodeGetNftTable("a")});
  // NEWTABLE, behind what is none.
  transport_.Reply({reply(3, 0), reply(0, 0), ScriptedAck()});
  EXPECT_THAT(session_.Get(EncodeGetNftTable("a")).value(), Eq(Bytes("01 02")));
  transport_.ExpectSend({EncodeGetNftGeneration()});
  transport_.Reply({reply(15, 0), ScriptedAck()});
  EXPECT_TRUE(session_.Get(EncodeGetNftGeneration()).ok());
  transport_.ExpectSend({EncodeDumpNftElements("a", "s")});
  transport_.Reply({reply(12, NLM_F_MULTI), reply(12, NLM_F_MULTI), ScriptedDone()});
  EXPECT_THAT(session_.Dump(EncodeDumpNftElements("a", "s")).value(), SizeIs(2));
}

}  // namespace
}  // namespace netprov::netlink
