#include "server/netlink/message.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace netprov::netlink {
namespace {

// libmnl writes through this. The vector's storage is aligned for any type.
nlmsghdr* Header(Request& request) { return reinterpret_cast<nlmsghdr*>(request.message.data()); }

// Skips `length` bytes and the padding to the next multiple of 4, which may be missing at the end.
std::span<const std::byte> SkipAligned(std::span<const std::byte> bytes, size_t length) {
  size_t aligned = (length + 3) & ~size_t{3};
  return bytes.subspan(std::min(aligned, bytes.size()));
}

}  // namespace

MessageBuilder::MessageBuilder(std::string operation, uint16_t type, uint16_t flags) {
  request_.operation = std::move(operation);
  request_.message.reserve(512);
  request_.message.resize(MNL_NLMSG_HDRLEN);
  nlmsghdr* header = mnl_nlmsg_put_header(request_.message.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | flags;
}

bool MessageBuilder::Grow(size_t size) {
  if (request_.error != 0) return false;
  if (size > kMaxRequestSize - request_.message.size()) {
    Fail(EMSGSIZE);
    return false;
  }
  request_.message.resize(request_.message.size() + MNL_ALIGN(size));
  return true;
}

void MessageBuilder::PutRaw(std::span<const std::byte> value) {
  if (!Grow(value.size())) return;
  void* target = mnl_nlmsg_put_extra_header(Header(request_), value.size());
  std::memcpy(target, value.data(), value.size());
}

void MessageBuilder::PutU8(uint16_t type, uint8_t value) { PutBytes(type, std::as_bytes(std::span(&value, 1))); }

void MessageBuilder::PutU16(uint16_t type, uint16_t value) { PutBytes(type, std::as_bytes(std::span(&value, 1))); }

void MessageBuilder::PutU32(uint16_t type, uint32_t value) { PutBytes(type, std::as_bytes(std::span(&value, 1))); }

void MessageBuilder::PutU64(uint16_t type, uint64_t value) { PutBytes(type, std::as_bytes(std::span(&value, 1))); }

void MessageBuilder::PutBe32(uint16_t type, uint32_t value) { PutU32(type, htobe32(value)); }

void MessageBuilder::PutBytes(uint16_t type, std::span<const std::byte> value) {
  // The sum would wrap only where the value is longer than any memory.
  if (!Grow(MNL_ATTR_HDRLEN + value.size())) return;
  mnl_attr_put(Header(request_), type, value.size(), value.data());
}

void MessageBuilder::PutString(uint16_t type, std::string_view value) {
  if (value.find('\0') != std::string_view::npos) {
    Fail(EINVAL);
    return;
  }
  if (!Grow(MNL_ATTR_HDRLEN + value.size() + 1)) return;
  // The copy ends in a NUL; a string_view need not.
  mnl_attr_put_strz(Header(request_), type, std::string(value).c_str());
}

size_t MessageBuilder::BeginNest(uint16_t type) {
  size_t nest = request_.message.size();
  if (Grow(MNL_ATTR_HDRLEN)) mnl_attr_nest_start(Header(request_), type);
  return nest;
}

void MessageBuilder::EndNest(size_t nest) {
  if (request_.error != 0) return;
  mnl_attr_nest_end(Header(request_), reinterpret_cast<nlattr*>(request_.message.data() + nest));
}

void MessageBuilder::Fail(int code) {
  if (request_.error == 0) request_.error = code;
}

Request MessageBuilder::Build() && { return std::move(request_); }

// mnl_nlmsg_ok and mnl_attr_ok are not asked: the former reads out of bounds for lengths of 2^31 and more, and both
// want aligned input.
std::optional<MessageView> MessageReader::Next() {
  if (malformed_ || rest_.empty()) return std::nullopt;
  nlmsghdr header;
  if (rest_.size() < sizeof(header)) {
    malformed_ = true;
    return std::nullopt;
  }
  std::memcpy(&header, rest_.data(), sizeof(header));
  if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > rest_.size()) {
    malformed_ = true;
    return std::nullopt;
  }
  MessageView view{.type = header.nlmsg_type,
                   .flags = header.nlmsg_flags,
                   .sequence = header.nlmsg_seq,
                   .port_id = header.nlmsg_pid,
                   .payload = rest_.subspan(sizeof(header), header.nlmsg_len - sizeof(header))};
  rest_ = SkipAligned(rest_, header.nlmsg_len);
  return view;
}

std::optional<uint32_t> AttributeView::Be32() const {
  std::optional<uint32_t> value = U32();
  return value ? std::optional(be32toh(*value)) : std::nullopt;
}

std::optional<std::string_view> AttributeView::String() const {
  std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  if (text.empty() || text.find('\0') != text.size() - 1) return std::nullopt;
  text.remove_suffix(1);
  return text;
}

std::optional<AttributeView> AttributeReader::Next() {
  if (malformed_ || rest_.empty()) return std::nullopt;
  nlattr header;
  if (rest_.size() < sizeof(header)) {
    malformed_ = true;
    return std::nullopt;
  }
  std::memcpy(&header, rest_.data(), sizeof(header));
  if (header.nla_len < sizeof(header) || header.nla_len > rest_.size()) {
    malformed_ = true;
    return std::nullopt;
  }
  AttributeView view{.type = static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
                     .payload = rest_.subspan(sizeof(header), header.nla_len - sizeof(header))};
  rest_ = SkipAligned(rest_, header.nla_len);
  return view;
}

}  // namespace netprov::netlink
