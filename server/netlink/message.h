// Building and reading netlink messages (netlink(7), rtnetlink(7)), the same for every message family.
//
// Integers are in the host's byte order, as rtnetlink has them, but for those of `Be` functions: nfnetlink's are in
// network order. Nothing here performs I/O. Values are plain data; one object is for one thread at a time.
#ifndef NETPROV_SERVER_NETLINK_MESSAGE_H_
#define NETPROV_SERVER_NETLINK_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace netprov::netlink {

// The longest request that MessageBuilder makes, in bytes. Most requests of this layer need less than 1 KiB, those with
// lists more; the bound keeps each attribute's 16-bit length true.
inline constexpr size_t kMaxRequestSize = size_t{16} * 1024;

// One netlink request, ready for Session, which fills in sequence and port.
struct Request {
  // What it is, for KernelError: the message with its object, as in `RTM_NEWLINK veth0`.
  std::string operation;

  // The whole message, header included, with sequence and port 0. Its length is a multiple of 4.
  std::vector<std::byte> message;

  // 0, or why it could not be built: EMSGSIZE where it is longer than kMaxRequestSize, EINVAL where a string holds a
  // NUL byte or fields contradict each other. Session then fails with it and sends nothing.
  int error = 0;
};

// Appends to one request. The first failure sticks and shows in Request::error; calls after it do nothing.
class MessageBuilder {
 public:
  // `type` is one of RTM_*, `flags` NLM_F_* besides NLM_F_REQUEST, which is always set.
  MessageBuilder(std::string operation, uint16_t type, uint16_t flags);

  // Appends the fixed header of a message family (ifinfomsg, ifaddrmsg, rtmsg), to come first in the message or in a
  // nest.
  template <typename T>
  void PutHeader(const T& header) {
    static_assert(std::is_trivially_copyable_v<T>);
    PutRaw(std::as_bytes(std::span(&header, 1)));
  }

  void PutU8(uint16_t type, uint8_t value);
  void PutU16(uint16_t type, uint16_t value);
  void PutU32(uint16_t type, uint32_t value);
  void PutU64(uint16_t type, uint64_t value);
  void PutBe32(uint16_t type, uint32_t value);
  void PutBytes(uint16_t type, std::span<const std::byte> value);
  // A structure of the kernel's API.
  template <typename T>
  void PutStruct(uint16_t type, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    PutBytes(type, std::as_bytes(std::span(&value, 1)));
  }
  // With a terminating NUL byte. Fails with EINVAL where `value` holds one itself: the kernel would stop reading there.
  void PutString(uint16_t type, std::string_view value);

  // Opens a nested attribute (NLA_F_NESTED) and returns what EndNest wants. Nests close in reverse order.
  size_t BeginNest(uint16_t type);
  void EndNest(size_t nest);

  // Makes the request fail with `code`, an errno.
  void Fail(int code);

  // The request. The builder is used up.
  Request Build() &&;

 private:
  // Makes room for `size` more bytes; false after a failure.
  bool Grow(size_t size);
  void PutRaw(std::span<const std::byte> value);

  Request request_;
};

// One message of a datagram. A view: it lives as long as the datagram.
struct MessageView {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  uint32_t port_id = 0;
  // What follows the header, without the padding after it.
  std::span<const std::byte> payload;
};

// Iterates over the messages of a datagram; any input will do.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> datagram) : rest_(datagram) {}

  // The next message; none at the end, and none from the first malformed header on.
  std::optional<MessageView> Next();

  // Whether it stopped at a header that is cut short, or whose length is less than a header or more than what is there.
  bool malformed() const { return malformed_; }

 private:
  std::span<const std::byte> rest_;
  bool malformed_ = false;
};

// One attribute. A view: it lives as long as the payload that it was read from.
struct AttributeView {
  // Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
  uint16_t type = 0;
  std::span<const std::byte> payload;

  // The value, or none where the length is another one than the type's.
  std::optional<uint8_t> U8() const { return As<uint8_t>(); }
  std::optional<uint16_t> U16() const { return As<uint16_t>(); }
  std::optional<uint32_t> U32() const { return As<uint32_t>(); }
  std::optional<uint64_t> U64() const { return As<uint64_t>(); }
  std::optional<uint32_t> Be32() const;

  // A structure of the kernel's API, or none where there is too little for it. What newer kernels have at its end is
  // left out.
  template <typename T>
  std::optional<T> Struct() const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (payload.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload.data(), sizeof(T));
    return value;
  }

  // The characters before the terminating NUL, or none where that is not the only one and the last byte.
  std::optional<std::string_view> String() const;

 private:
  template <typename T>
  std::optional<T> As() const {
    if (payload.size() != sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload.data(), sizeof(T));
    return value;
  }
};

// Iterates over attributes, also over those in a nest (its payload); any input will do.
class AttributeReader {
 public:
  explicit AttributeReader(std::span<const std::byte> attributes) : rest_(attributes) {}

  // The next attribute; none at the end, and none from the first malformed header on.
  std::optional<AttributeView> Next();

  // Whether it stopped at a header that is cut short, or whose length is less than a header or more than what is there.
  bool malformed() const { return malformed_; }

 private:
  std::span<const std::byte> rest_;
  bool malformed_ = false;
};

// Takes the fixed header of a message family from the front of `payload`, and its padding. None where `payload` is too
// short; `payload` is then as it was.
template <typename T>
std::optional<T> TakeHeader(std::span<const std::byte>& payload) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (payload.size() < sizeof(T)) return std::nullopt;
  T header;
  std::memcpy(&header, payload.data(), sizeof(T));
  constexpr size_t kAligned = (sizeof(T) + 3) & ~size_t{3};
  payload = payload.subspan(payload.size() < kAligned ? payload.size() : kAligned);
  return header;
}

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_MESSAGE_H_
