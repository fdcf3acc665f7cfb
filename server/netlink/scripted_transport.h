// A Transport for tests: it checks what is sent, and answers by a script.
#ifndef NETPROV_SERVER_NETLINK_SCRIPTED_TRANSPORT_H_
#define NETPROV_SERVER_NETLINK_SCRIPTED_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"
#include "server/netlink/transport.h"

namespace netprov::netlink {

// Bytes from hexadecimal digits, for golden messages. White space is skipped, and so is what follows a `#` up to the
// end of its line. Any other text fails the test.
std::vector<std::byte> FromHex(std::string_view text);

// Hexadecimal digits in words of four bytes, one a line, to compare messages by.
std::string ToHex(std::span<const std::byte> bytes);

// A message of a scripted reply.
struct ScriptedMessage {
  uint16_t type = 0;
  uint16_t flags = 0;
  // Which message of the datagram that was last sent it answers: 0 is the first one. Larger numbers make a wrong
  // sequence.
  uint32_t answers = 0;
  // Added to the port that the session expects; anything but 0 makes a wrong one.
  uint32_t port_offset = 0;
  std::vector<std::byte> payload;
};

// A scripted datagram.
struct ScriptedDatagram {
  std::vector<ScriptedMessage> messages;
  // Bytes after the messages, as they are.
  std::vector<std::byte> tail = {};
  uint32_t sender = 0;
  bool truncated = false;
};

// NLMSG_ERROR as the kernel sends it with NETLINK_CAP_ACK and NETLINK_EXT_ACK: success where `code` is 0, else that
// errno with the explanation `extack`, if not empty.
ScriptedMessage ScriptedAck(int code = 0, std::string_view extack = {}, uint32_t answers = 0);

// NLMSG_DONE, the end of a dump, with an errno or 0.
ScriptedMessage ScriptedDone(int code = 0, uint16_t flags = 0);

// Plays a script. Sends and receives are taken from two queues; what is sent without having been expected, and what is
// left of the script when the object is destroyed, fails the test (gtest). A receive beyond the script is ETIMEDOUT.
// For one thread.
class ScriptedTransport : public Transport {
 public:
  static constexpr uint32_t kPortId = 4711;

  ScriptedTransport() = default;
  ~ScriptedTransport() override;
  ScriptedTransport(const ScriptedTransport&) = delete;
  ScriptedTransport& operator=(const ScriptedTransport&) = delete;

  // The next Send has these messages, one after the other. Their sequences must count up from one that is not 0, and
  // their ports be 0; both are taken for 0 before the bytes are compared. `added_flags` are expected in each besides
  // its own.
  void ExpectSend(std::initializer_list<Request> requests, uint16_t added_flags = 0);
  // The next Send may be anything that is well-formed.
  void ExpectAnySend();
  // The next Send fails with this errno.
  void FailSend(int code);

  // The next Receive gives this, with sequences and ports as the messages say.
  void ReplyDatagram(ScriptedDatagram datagram);
  void Reply(std::initializer_list<ScriptedMessage> messages) { ReplyDatagram({.messages = messages}); }
  // The next Receive fails with this errno.
  void FailReceive(int code);

  // How many receives there were, failed ones and those beyond the script included.
  int receives() const { return receives_; }
  // The sequence of the first message of the last datagram sent.
  uint32_t last_sequence() const { return last_sequence_; }

  KernelResult<void> Send(std::span<const std::byte> datagram) override;
  KernelResult<Datagram> Receive() override;
  uint32_t port_id() const override { return kPortId; }

 private:
  struct Expectation {
    // None for any.
    std::optional<std::vector<std::byte>> bytes;
    int failure = 0;
  };

  std::deque<Expectation> sends_;
  std::deque<std::variant<ScriptedDatagram, int>> replies_;
  int receives_ = 0;
  uint32_t last_sequence_ = 0;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_SCRIPTED_TRANSPORT_H_
