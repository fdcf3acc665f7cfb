#include "server/netlink/message.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Optional;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.

TEST(MessageBuilderTest, WritesHeaderAttributesAndNests) {
  MessageBuilder message("RTM_TEST thing", 0x1234, NLM_F_ACK);
  message.PutHeader(rtgenmsg{.rtgen_family = 7});
  message.PutU8(1, 0xab);
  message.PutU16(2, 0xabcd);
  message.PutU32(3, 0xdeadbeef);
  message.PutU64(8, 0x1122334455667788);
  message.PutBe32(10, 0x01020304);
  message.PutStruct(9, rtgenmsg{.rtgen_family = 7});
  message.PutString(4, "abc");
  size_t outer = message.BeginNest(5);
  size_t inner = message.BeginNest(6);
  message.PutBytes(7, FromHex("01 02 03 04 05"));
  message.EndNest(inner);
  message.EndNest(outer);
  Request request = std::move(message).Build();

  EXPECT_THAT(request.operation, Eq("RTM_TEST thing"));
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(R"(
    64 00 00 00  34 12 05 00  # 100 bytes, type, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00  # sequence and port are the session's
    07 00 00 00               # the family header, padded
    05 00 01 00  ab 00 00 00  # u8, padded
    06 00 02 00  cd ab 00 00  # u16, padded
    08 00 03 00  ef be ad de  # u32
    0c 00 08 00  88 77 66 55  44 33 22 11  # u64
    08 00 0a 00  01 02 03 04  # u32 in network order
    05 00 09 00  07 00 00 00  # struct, padded
    08 00 04 00  61 62 63 00  # string with its NUL
    14 00 05 80               # nest of 20 bytes, NLA_F_NESTED
    10 00 06 80               # nest of 16 bytes in it
    09 00 07 00  01 02 03 04  05 00 00 00  # bytes, padded
  )"))));
}

TEST(MessageBuilderTest, GrowsOverManyAttributes) {
  MessageBuilder message("grow", 1, 0);
  for (uint32_t i = 0; i < 1000; ++i) message.PutU32(9, i);
  Request request = std::move(message).Build();
  ASSERT_THAT(request.error, Eq(0));
  ASSERT_THAT(request.message.size(), Eq(16 + 8 * 1000u));

  AttributeReader reader(std::span(request.message).subspan(16));
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_THAT(reader.Next()->U32(), Optional(i));
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.malformed());
}

TEST(MessageBuilderTest, RefusesMoreThanItsBound) {
  const size_t room = kMaxRequestSize - 16 - 4;
  for (size_t size : {room, room + 1, size_t{70000}}) {
    MessageBuilder message("big", 1, 0);
    message.PutBytes(1, std::vector<std::byte>(size));
    size_t nest = message.BeginNest(2);
    message.EndNest(nest);
    Request request = std::move(message).Build();
    EXPECT_THAT(request.error, Eq(EMSGSIZE)) << size;
    EXPECT_LE(request.message.size(), kMaxRequestSize);
  }
  MessageBuilder message("fits", 1, 0);
  message.PutBytes(1, std::vector<std::byte>(room));
  Request request = std::move(message).Build();
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.message.size(), Eq(kMaxRequestSize));
}

TEST(MessageBuilderTest, RefusesStringsWithNulAndKeepsTheFirstError) {
  MessageBuilder message("nul", 1, 0);
  message.PutString(1, std::string_view("a\0b", 3));
  message.Fail(EMSGSIZE);
  EXPECT_THAT(std::move(message).Build().error, Eq(EINVAL));
}

TEST(MessageReaderTest, ReadsMessagesAndTheirPadding) {
  std::vector<std::byte> datagram = FromHex(R"(
    11 00 00 00  10 00 02 00  2a 00 00 00  67 12 00 00  # 17 bytes: one of payload
    aa 00 00 00                                         # with its padding
    11 00 00 00  03 00 00 00  2b 00 00 00  68 12 00 00
    bb                                                  # the last one without
  )");
  MessageReader reader(datagram);
  std::optional<MessageView> first = reader.Next();
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(first->type, Eq(16));
  EXPECT_THAT(first->flags, Eq(2));
  EXPECT_THAT(first->sequence, Eq(42u));
  EXPECT_THAT(first->port_id, Eq(4711u));
  EXPECT_THAT(ToHex(first->payload), Eq("aa "));
  std::optional<MessageView> second = reader.Next();
  ASSERT_TRUE(second.has_value());
  EXPECT_THAT(ToHex(second->payload), Eq("bb "));
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.malformed());
}

TEST(MessageReaderTest, StopsAtMalformedHeaders) {
  for (const char* hex : {"10 00 00",                                             // Not even a length.
                          "10 00 00 00  00 00 00 00  00 00 00 00  00 00 00",      // A header cut short.
                          "0f 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00",   // Shorter than a header.
                          "00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00",   // Length 0 must not loop.
                          "11 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00",   // One byte more than there is.
                          "ff ff ff ff  00 00 00 00  00 00 00 00  00 00 00 00",   // As an int: -1.
                          "00 00 00 80  00 00 00 00  00 00 00 00  00 00 00 00"})  // 2^31.
  {
    std::vector<std::byte> datagram = FromHex(hex);
    MessageReader reader(datagram);
    EXPECT_FALSE(reader.Next().has_value()) << hex;
    EXPECT_TRUE(reader.malformed()) << hex;
    EXPECT_FALSE(reader.Next().has_value()) << hex;
  }
  MessageReader empty({});
  EXPECT_FALSE(empty.Next().has_value());
  EXPECT_FALSE(empty.malformed());
}

TEST(AttributeReaderTest, ReadsTypesWithoutTheirFlags) {
  std::vector<std::byte> attributes = FromHex("05 00 05 c0  01 00 00 00  04 00 06 00");
  AttributeReader reader(attributes);
  std::optional<AttributeView> attribute = reader.Next();
  ASSERT_TRUE(attribute.has_value());
  EXPECT_THAT(attribute->type, Eq(5));
  EXPECT_THAT(attribute->U8(), Optional(1));
  attribute = reader.Next();
  ASSERT_TRUE(attribute.has_value());
  EXPECT_THAT(attribute->type, Eq(6));
  EXPECT_THAT(attribute->payload, IsEmpty());
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.malformed());
}

TEST(AttributeReaderTest, StopsAtMalformedHeaders) {
  for (const char* hex : {"04 00 01", "03 00 01 00", "00 00 01 00", "05 00 01 00", "ff ff 01 00 00 00 00 00"}) {
    std::vector<std::byte> attributes = FromHex(hex);
    AttributeReader reader(attributes);
    EXPECT_FALSE(reader.Next().has_value()) << hex;
    EXPECT_TRUE(reader.malformed()) << hex;
    EXPECT_FALSE(reader.Next().has_value()) << hex;
  }
}

TEST(AttributeViewTest, NumbersMustHaveTheirLength) {
  std::vector<std::byte> bytes = FromHex("01 02 03 04 05 06 07 08 09");
  for (size_t size = 0; size <= bytes.size(); ++size) {
    AttributeView attribute{.type = 1, .payload = std::span(bytes).first(size)};
    EXPECT_THAT(attribute.U8().has_value(), Eq(size == 1));
    EXPECT_THAT(attribute.U16().has_value(), Eq(size == 2));
    EXPECT_THAT(attribute.U32().has_value(), Eq(size == 4));
    EXPECT_THAT(attribute.U64().has_value(), Eq(size == 8));
    EXPECT_THAT(attribute.Struct<uint32_t>().has_value(), Eq(size >= 4));
  }
  // At an odd address, as a sanitizer would notice.
  EXPECT_THAT((AttributeView{.type = 1, .payload = std::span(bytes).subspan(1, 4)}).U32(), Optional(0x05040302u));
  EXPECT_THAT((AttributeView{.type = 1, .payload = std::span(bytes).subspan(1)}).U64(), Optional(0x0908070605040302u));
  EXPECT_THAT((AttributeView{.type = 1, .payload = std::span(bytes).subspan(1)}).Struct<uint32_t>(),
              Optional(0x05040302u));
}

TEST(AttributeViewTest, StringsEndInTheirOnlyNul) {
  auto read = [](std::string_view text) {
    return AttributeView{.type = 1, .payload = std::as_bytes(std::span(text))}.String();
  };
  EXPECT_THAT(read(std::string_view("eth0\0", 5)), Optional(Eq("eth0")));
  EXPECT_THAT(read(std::string_view("\0", 1)), Optional(Eq("")));
  EXPECT_FALSE(read("").has_value());
  EXPECT_FALSE(read("eth0").has_value());
  EXPECT_FALSE(read(std::string_view("eth\0"
                                     "0\0",
                                     6))
                   .has_value());
}

TEST(TakeHeaderTest, TakesTheHeaderAndItsPadding) {
  std::vector<std::byte> bytes = FromHex("07 00 00 00 aa");
  std::span<const std::byte> payload = bytes;
  std::optional<rtgenmsg> header = TakeHeader<rtgenmsg>(payload);
  ASSERT_TRUE(header.has_value());
  EXPECT_THAT(header->rtgen_family, Eq(7));
  EXPECT_THAT(ToHex(payload), Eq("aa "));

  EXPECT_FALSE(TakeHeader<uint32_t>(payload).has_value());
  EXPECT_THAT(payload.size(), Eq(1u));
  EXPECT_TRUE(TakeHeader<rtgenmsg>(payload).has_value());
  EXPECT_THAT(payload, IsEmpty());
}

}  // namespace
}  // namespace netprov::netlink
