#include "server/netlink/scripted_transport.h"

#include <linux/netlink.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "gtest/gtest.h"

namespace netprov::netlink {
namespace {

template <typename T>
void Append(std::vector<std::byte>& bytes, const T& value) {
  std::span<const std::byte> source = std::as_bytes(std::span(&value, 1));
  bytes.insert(bytes.end(), source.begin(), source.end());
}

void Pad(std::vector<std::byte>& bytes) { bytes.resize((bytes.size() + 3) & ~size_t{3}); }

}  // namespace

std::vector<std::byte> FromHex(std::string_view text) {
  std::vector<std::byte> bytes;
  int high = -1;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '#') {
      i = text.find('\n', i);
      if (i == std::string_view::npos) break;
      continue;
    }
    if (c == ' ' || c == '\n') continue;
    std::string_view digits = "0123456789abcdef";
    size_t digit = digits.find(c);
    if (digit == std::string_view::npos) {
      ADD_FAILURE() << "not a hexadecimal digit: " << c;
      return {};
    }
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      bytes.push_back(static_cast<std::byte>(high << 4 | static_cast<int>(digit)));
      high = -1;
    }
  }
  EXPECT_LT(high, 0) << "an odd number of digits";
  return bytes;
}

std::string ToHex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    text += kDigits[std::to_integer<int>(bytes[i]) >> 4];
    text += kDigits[std::to_integer<int>(bytes[i]) & 15];
    text += i % 4 == 3 ? '\n' : ' ';
  }
  return text;
}

ScriptedMessage ScriptedAck(int code, std::string_view extack, uint32_t answers) {
  ScriptedMessage message{.type = NLMSG_ERROR, .flags = NLM_F_CAPPED, .answers = answers, .payload = {}};
  Append(message.payload, -code);
  Append(message.payload, nlmsghdr{});
  if (!extack.empty()) {
    message.flags |= NLM_F_ACK_TLVS;
    Append(message.payload,
           nlattr{.nla_len = static_cast<uint16_t>(sizeof(nlattr) + extack.size() + 1), .nla_type = NLMSGERR_ATTR_MSG});
    for (char c : extack) message.payload.push_back(static_cast<std::byte>(c));
    message.payload.push_back(std::byte{0});
    Pad(message.payload);
  }
  return message;
}

ScriptedMessage ScriptedDone(int code, uint16_t flags) {
  ScriptedMessage message{.type = NLMSG_DONE, .flags = static_cast<uint16_t>(NLM_F_MULTI | flags), .payload = {}};
  Append(message.payload, -code);
  return message;
}

ScriptedTransport::~ScriptedTransport() {
  EXPECT_TRUE(sends_.empty()) << sends_.size() << " expected sends did not come";
  EXPECT_TRUE(replies_.empty()) << replies_.size() << " replies were not read";
}

void ScriptedTransport::ExpectSend(std::initializer_list<Request> requests, uint16_t added_flags) {
  std::vector<std::byte> bytes;
  for (const Request& request : requests) {
    ASSERT_EQ(request.error, 0);
    nlmsghdr header;
    std::memcpy(&header, request.message.data(), sizeof(header));
    header.nlmsg_flags |= added_flags;
    size_t start = bytes.size();
    bytes.insert(bytes.end(), request.message.begin(), request.message.end());
    std::memcpy(bytes.data() + start, &header, sizeof(header));
  }
  sends_.push_back({.bytes = std::move(bytes)});
}

void ScriptedTransport::ExpectAnySend() { sends_.push_back({.bytes = std::nullopt}); }

void ScriptedTransport::FailSend(int code) { sends_.push_back({.bytes = std::nullopt, .failure = code}); }

void ScriptedTransport::ReplyDatagram(ScriptedDatagram datagram) { replies_.push_back(std::move(datagram)); }

void ScriptedTransport::FailReceive(int code) { replies_.push_back(code); }

KernelResult<void> ScriptedTransport::Send(std::span<const std::byte> datagram) {
  if (sends_.empty()) {
    ADD_FAILURE() << "unexpected send:\n" << ToHex(datagram);
    return KernelError{.code = EPROTO, .operation = "scripted send", .extack = {}};
  }
  Expectation expected = std::move(sends_.front());
  sends_.pop_front();
  if (expected.failure != 0) return KernelError{.code = expected.failure, .operation = "scripted send", .extack = {}};

  // Sequence and port are checked here and masked in a copy.
  std::vector<std::byte> masked(datagram.begin(), datagram.end());
  size_t offset = 0;
  MessageReader reader(datagram);
  uint32_t count = 0;
  while (std::optional<MessageView> message = reader.Next()) {
    if (count == 0) last_sequence_ = message->sequence;
    EXPECT_NE(message->sequence, 0u);
    EXPECT_EQ(message->sequence, last_sequence_ + count);
    EXPECT_EQ(message->port_id, 0u);
    ++count;
    nlmsghdr header;
    std::memcpy(&header, masked.data() + offset, sizeof(header));
    header.nlmsg_seq = 0;
    header.nlmsg_pid = 0;
    std::memcpy(masked.data() + offset, &header, sizeof(header));
    offset += (size_t{header.nlmsg_len} + 3) & ~size_t{3};
  }
  EXPECT_FALSE(reader.malformed()) << ToHex(datagram);
  if (expected.bytes) {
    EXPECT_EQ(ToHex(masked), ToHex(*expected.bytes));
  }
  return {};
}

KernelResult<Datagram> ScriptedTransport::Receive() {
  ++receives_;
  std::variant<ScriptedDatagram, int> step = ETIMEDOUT;
  if (!replies_.empty()) {
    step = std::move(replies_.front());
    replies_.pop_front();
  }
  if (const int* code = std::get_if<int>(&step)) {
    return KernelError{.code = *code, .operation = "scripted receive", .extack = {}};
  }
  const ScriptedDatagram& scripted = std::get<ScriptedDatagram>(step);
  Datagram datagram{.bytes = {}, .sender = scripted.sender, .truncated = scripted.truncated};
  for (const ScriptedMessage& message : scripted.messages) {
    Append(datagram.bytes, nlmsghdr{.nlmsg_len = static_cast<uint32_t>(sizeof(nlmsghdr) + message.payload.size()),
                                    .nlmsg_type = message.type,
                                    .nlmsg_flags = message.flags,
                                    .nlmsg_seq = last_sequence_ + message.answers,
                                    .nlmsg_pid = kPortId + message.port_offset});
    datagram.bytes.insert(datagram.bytes.end(), message.payload.begin(), message.payload.end());
    Pad(datagram.bytes);
  }
  datagram.bytes.insert(datagram.bytes.end(), scripted.tail.begin(), scripted.tail.end());
  return datagram;
}

}  // namespace netprov::netlink
