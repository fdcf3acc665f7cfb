// NatTable by a script: what the real kernel does not do on demand. What it does is in nat_kernel_test.cc.
#include "server/netlink/nat_table.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/nat.h"
#include "server/netlink/nfnetlink.h"
#include "server/netlink/nft.h"
#include "server/netlink/scripted_transport.h"
#include "server/netlink/session.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const NatElement kElement = {.rule = Masquerade{.source = *IpAddress::Parse("10.0.0.2"), .ifindex = 7}, .tag = "t"};

ScriptedMessage Nft(uint16_t type, std::string_view payload, uint16_t flags = 0) {
  return {.type = static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), .flags = flags, .payload = FromHex(payload)};
}

class NatTableTest : public testing::Test {
 protected:
  enum class Table { kNone, kOurs, kTheirs };

  // The look at the table.
  void ExpectLook(Table table) {
    transport_.ExpectSend({EncodeGetNftGeneration()});
    transport_.Reply({Nft(NFT_MSG_NEWGEN, "00 00 00 00  08 00 01 00  00 00 00 09"), ScriptedAck()});
    transport_.ExpectSend({EncodeGetNftTable("netprov")});
    if (table == Table::kNone) return transport_.Reply({ScriptedAck(ENOENT)});
    transport_.Reply(
        {Nft(NFT_MSG_NEWTABLE, std::string("01 00 00 00  0c 00 01 00 6e 65 74 70 72 6f 76 00 10 00 06 00 ") +
                                   "00 0a 6e 65 74 70 72 6f 76 3a " + (table == Table::kOurs ? "72 00" : "73 00")),
         ScriptedAck()});
  }

  // A transaction of one request under the generation that ExpectLook gave.
  void ExpectTransaction(Request request, ScriptedMessage answer) {
    transport_.ExpectSend({EncodeBatchBegin(9), std::move(request), EncodeBatchEnd()});
    transport_.Reply({std::move(answer)});
  }

  // A dump of the table's rules, but for the first `missing`.
  void ExpectRules(size_t missing) {
    transport_.ExpectSend({EncodeDumpNftRules("netprov")});
    std::vector<ScriptedMessage> rules;
    for (const Request& request : EncodeEnsureNatTable("netprov:r")) {
      if (!request.operation.starts_with("NFT_MSG_NEWRULE ")) continue;
      ScriptedMessage rule = Nft(NFT_MSG_NEWRULE, "", NLM_F_MULTI);
      rule.payload.assign(request.message.begin() + NLMSG_HDRLEN, request.message.end());
      rules.push_back(std::move(rule));
    }
    rules.erase(rules.begin(), rules.begin() + static_cast<std::ptrdiff_t>(missing));
    rules.push_back(ScriptedDone());
    transport_.ReplyDatagram({.messages = std::move(rules)});
  }

  void ExpectEmptyDumps() {
    for (const Request& request : EncodeDumpNatElements()) {
      transport_.ExpectSend({request});
      transport_.Reply({ScriptedDone()});
    }
  }

  ScriptedTransport transport_;
  Session session_{transport_};
  NatTable table_{session_, "r"};
};

TEST_F(NatTableTest, AChangeIsTriedAgainWhereSomebodyWasFaster) {
  ExpectLook(Table::kOurs);
  ExpectTransaction(EncodeAddNatElement(kElement), ScriptedAck(ERESTART));
  ExpectLook(Table::kOurs);
  ExpectTransaction(EncodeAddNatElement(kElement), ScriptedAck(0, "", 1));
  EXPECT_TRUE(table_.AddElements(std::vector{kElement}).ok());
}

TEST_F(NatTableTest, AChangeStopsWhereTheTableBecameSomebodyElses) {
  ExpectLook(Table::kOurs);
  ExpectTransaction(EncodeDeleteNatElement(kElement), ScriptedAck(ERESTART));
  ExpectLook(Table::kTheirs);
  Result<void, TransactionError> deleted = table_.DeleteElements(std::vector{kElement});
  ASSERT_FALSE(deleted.ok());
  EXPECT_THAT(deleted.error().error.code, Eq(ENOENT));
  EXPECT_THAT(deleted.error().request, Eq(std::nullopt));
}

TEST_F(NatTableTest, AChangeIsGivenUpWhereOthersAreAlwaysFaster) {
  for (int i = 0; i < NatTable::kMaxTries; ++i) {
    ExpectLook(Table::kOurs);
    ExpectTransaction(EncodeAddNatElement(kElement), ScriptedAck(ERESTART));
  }
  Result<void, TransactionError> added = table_.AddElements(std::vector{kElement});
  ASSERT_FALSE(added.ok());
  EXPECT_THAT(added.error().error.code, Eq(EAGAIN));
  EXPECT_FALSE(added.error().error.may_have_effect);
}

TEST_F(NatTableTest, AKernelWithoutNftablesDoesNotSupportIt) {
  transport_.ExpectSend({EncodeGetNftGeneration()});
  transport_.Reply({ScriptedAck(EINVAL)});
  const KernelResult<void> ensured = table_.EnsureTable();
  ASSERT_FALSE(ensured.ok());
  EXPECT_THAT(ensured.error().code, Eq(EOPNOTSUPP));
  EXPECT_THAT(ensured.error().operation, Eq("NFT_MSG_GETGEN"));
}

TEST_F(NatTableTest, NoElementsAreNoTransaction) {
  EXPECT_TRUE(table_.AddElements({}).ok());
  EXPECT_TRUE(table_.DeleteElements({}).ok());
}

TEST_F(NatTableTest, AnElementOutOfRangeIsNotSent) {
  ExpectLook(Table::kOurs);
  NatElement wrong = kElement;
  std::get<Masquerade>(wrong.rule).ifindex = 0;
  Result<void, TransactionError> added = table_.AddElements(std::vector{kElement, wrong});
  ASSERT_FALSE(added.ok());
  EXPECT_THAT(added.error().error.code, Eq(EINVAL));
  EXPECT_THAT(added.error().request, Eq(1u));
}

TEST_F(NatTableTest, EnsureTableLeavesSomebodyElses) {
  ExpectLook(Table::kTheirs);
  KernelResult<void> made = table_.EnsureTable();
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error(), Eq(KernelError{.code = EEXIST, .operation = "table inet netprov is somebody else's"}));
}

TEST_F(NatTableTest, ATableThatNobodyChangedIsNotMadeAgain) {
  NatTable table(session_, "r", /*settled=*/9);
  ExpectLook(Table::kOurs);
  EXPECT_TRUE(table.EnsureTable().ok());
  // The look is good for the change too.
  ExpectTransaction(EncodeAddNatElement(kElement), ScriptedAck(0, "", 1));
  EXPECT_TRUE(table.AddElements(std::vector{kElement}).ok());
  EXPECT_THAT(table.settled(), Eq(10));
  // Others changed something by then, and the generation is not ours to count on.
  ExpectLook(Table::kOurs);
  ExpectTransaction(EncodeDeleteNatElement(kElement), ScriptedAck(0, "", 1));
  EXPECT_TRUE(table.DeleteElements(std::vector{kElement}).ok());
  EXPECT_THAT(table.settled(), Eq(10));
}

TEST_F(NatTableTest, ATableIsMadeAgainAtAnyOtherGeneration) {
  NatTable table(session_, "r", /*settled=*/8);
  ExpectLook(Table::kOurs);
  ExpectRules(/*missing=*/1);
  transport_.ExpectAnySend();
  const auto last = static_cast<uint32_t>(EncodeEnsureNatTable("netprov:r").size());
  transport_.Reply({ScriptedAck(0, "", last)});
  EXPECT_TRUE(table.EnsureTable().ok());
  EXPECT_THAT(table.settled(), Eq(10));
  // The next change is on the condition of what that led to.
  transport_.ExpectSend({EncodeBatchBegin(10), EncodeAddNatElement(kElement), EncodeBatchEnd()});
  transport_.Reply({ScriptedAck(ERESTART)});
  ExpectLook(Table::kOurs);
  ExpectTransaction(EncodeAddNatElement(kElement), ScriptedAck(0, "", 1));
  EXPECT_TRUE(table.AddElements(std::vector{kElement}).ok());
}

TEST_F(NatTableTest, EnsureTableChangesNothingThatIsAsItShouldBe) {
  ExpectLook(Table::kOurs);
  ExpectRules(/*missing=*/0);
  EXPECT_TRUE(table_.EnsureTable().ok());
}

TEST_F(NatTableTest, EnsureTableMakesRulesAnewOfWhichOneIsMissing) {
  ExpectLook(Table::kOurs);
  ExpectRules(/*missing=*/1);
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(ERESTART)});
  ExpectLook(Table::kTheirs);
  EXPECT_THAT(table_.EnsureTable().error().code, Eq(EEXIST));
}

TEST_F(NatTableTest, EnsureTableLooksAgainWhereSomebodyWasFaster) {
  ExpectLook(Table::kNone);
  transport_.ExpectAnySend();
  transport_.Reply({ScriptedAck(ERESTART)});
  ExpectLook(Table::kTheirs);
  EXPECT_THAT(table_.EnsureTable().error().code, Eq(EEXIST));
}

TEST_F(NatTableTest, WhatTheKernelLacksIsToldAsItIs) {
  transport_.ExpectSend({EncodeGetNftGeneration()});
  transport_.Reply({ScriptedAck(EOPNOTSUPP)});
  EXPECT_THAT(table_.EnsureTable().error().code, Eq(EOPNOTSUPP));
}

TEST_F(NatTableTest, ALostAnswerMayHaveHadItsEffect) {
  ExpectLook(Table::kOurs);
  transport_.ExpectAnySend();
  transport_.FailReceive(ENOBUFS);
  Result<void, TransactionError> added = table_.AddElements(std::vector{kElement});
  ASSERT_FALSE(added.ok());
  EXPECT_THAT(added.error().error.code, Eq(ENOBUFS));
  EXPECT_TRUE(added.error().error.may_have_effect);
}

TEST_F(NatTableTest, ATableThatGotAnElementMeanwhileIsNotDeleted) {
  ExpectLook(Table::kOurs);
  ExpectEmptyDumps();
  ExpectTransaction(EncodeDeleteNftTable("netprov"), ScriptedAck(ERESTART));
  ExpectLook(Table::kOurs);
  std::vector<Request> dumps = EncodeDumpNatElements();
  transport_.ExpectSend({dumps[0]});
  transport_.Reply({ScriptedDone()});
  transport_.ExpectSend({dumps[1]});
  const Request element = EncodeAddNatElement(
      {.rule = PortForward{.host_port = 1, .target = *IpAddress::Parse("10.0.0.2"), .target_port = 1}, .tag = {}});
  ScriptedMessage part = Nft(NFT_MSG_NEWSETELEM, "", NLM_F_MULTI);
  part.payload.assign(element.message.begin() + sizeof(nlmsghdr), element.message.end());
  transport_.Reply({part, ScriptedDone()});
  for (size_t i = 2; i < dumps.size(); ++i) {
    transport_.ExpectSend({dumps[i]});
    transport_.Reply({ScriptedDone()});
  }
  EXPECT_FALSE(table_.DeleteTableIfEmpty().value());
}

TEST_F(NatTableTest, ATableThatIsGoneMeanwhileIsDeleted) {
  ExpectLook(Table::kOurs);
  transport_.ExpectSend({EncodeDumpNatElements()[0]});
  transport_.Reply({ScriptedDone(ENOENT)});
  ExpectLook(Table::kNone);
  EXPECT_TRUE(table_.DeleteTableIfEmpty().value());
}

TEST_F(NatTableTest, AnInterruptedListIsReadAgain) {
  ExpectLook(Table::kOurs);
  const std::vector<Request> dumps = EncodeDumpNatElements();
  transport_.ExpectSend({dumps[0]});
  transport_.Reply({ScriptedDone(0, NLM_F_DUMP_INTR)});
  ExpectEmptyDumps();
  EXPECT_THAT(table_.ListElements().value(), IsEmpty());
}

TEST_F(NatTableTest, AMalformedAnswerIsAnError) {
  transport_.ExpectSend({EncodeGetNftGeneration()});
  transport_.Reply({Nft(NFT_MSG_NEWGEN, "00 00 00 00"), ScriptedAck()});
  EXPECT_THAT(table_.ListElements().error().code, Eq(EBADMSG));
}

}  // namespace
}  // namespace netprov::netlink
