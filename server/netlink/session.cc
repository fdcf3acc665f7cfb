#include "server/netlink/session.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "server/netlink/nfnetlink.h"

namespace netprov::netlink {
namespace {

// Linux's MAX_ERRNO.
constexpr int kMaxErrno = 4095;

nlmsghdr ReadHeader(const Request& request) {
  nlmsghdr header;
  std::memcpy(&header, request.message.data(), sizeof(header));
  return header;
}

// rtnetlink numbers the messages of a family NEW, DEL, GET, SET from a multiple of 4 on, and nf_tables NEW, GET, DEL
// from a multiple of 3 on, with its subsystem in the upper byte. Both answer with NEW.
bool IsGet(uint16_t type) { return IsNft(type) ? (type & 0xff) % 3 == 1 : (type & 3) == 2; }
bool IsNftChange(uint16_t type) { return IsNft(type) && !IsGet(type); }
uint16_t ReplyType(uint16_t request_type) { return IsNft(request_type) ? request_type - 1 : request_type & ~3; }

// Only for a get do these bits mean a dump; elsewhere they are NLM_F_REPLACE and NLM_F_EXCL.
bool IsDump(const Request& request) {
  nlmsghdr header = ReadHeader(request);
  return IsGet(header.nlmsg_type) && (header.nlmsg_flags & NLM_F_DUMP) != 0;
}

KernelError Error(int code, const Request& request) {
  return {.code = code, .operation = request.operation, .extack = {}};
}

// The request was sent, and what became of it is not known.
KernelError Lost(int code, const Request& request) {
  return {.code = code, .operation = request.operation, .extack = {}, .may_have_effect = true};
}

// With or without the wish for an acknowledgement, whatever the request says itself.
void AppendRequest(std::vector<std::byte>& datagram, const Request& request, bool acknowledged, uint32_t sequence) {
  nlmsghdr header = ReadHeader(request);
  header.nlmsg_flags &= static_cast<uint16_t>(~NLM_F_ACK);
  if (acknowledged) header.nlmsg_flags |= NLM_F_ACK;
  header.nlmsg_seq = sequence;
  header.nlmsg_pid = 0;
  size_t start = datagram.size();
  datagram.insert(datagram.end(), request.message.begin(), request.message.end());
  std::memcpy(datagram.data() + start, &header, sizeof(header));
}

// What the kernel says about an error: why, and which part of the request it means.
void AddExtack(std::span<const std::byte> attributes, const Request& request, KernelError& error) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == NLMSGERR_ATTR_MSG) error.extack = std::string(attribute->String().value_or(""));
    if (attribute->type != NLMSGERR_ATTR_OFFS) continue;
    const std::string expression = NftExpressionAt(request, attribute->U32().value_or(0));
    if (!expression.empty()) error.operation.append(" ").append(expression);
  }
}

// Reads the errno and the extack of an NLMSG_ERROR, or of an NLMSG_DONE, both of which begin with a negative errno or
// 0. The code of the result is 0 for success, and EBADMSG where the message is malformed.
KernelError ReadVerdict(const MessageView& message, const Request& request) {
  std::span<const std::byte> rest = message.payload;
  // A DONE without an errno is one without an error; only old dumps of other families send it.
  if (message.type == NLMSG_DONE && rest.empty()) return Error(0, request);
  std::optional<int> code = TakeHeader<int>(rest);
  if (!code || *code > 0 || *code < -kMaxErrno) return Lost(EBADMSG, request);

  bool has_attributes = (message.flags & NLM_F_ACK_TLVS) != 0;
  if (message.type == NLMSG_ERROR) {
    std::optional<nlmsghdr> refused = TakeHeader<nlmsghdr>(rest);
    if (!refused) return Lost(EBADMSG, request);
    if ((message.flags & NLM_F_CAPPED) == 0 && refused->nlmsg_len >= sizeof(nlmsghdr)) {
      // The payload of the request is repeated between the header and the attributes.
      size_t repeated = (size_t{refused->nlmsg_len} - sizeof(nlmsghdr) + 3) & ~size_t{3};
      if (repeated > rest.size()) {
        has_attributes = false;
      } else {
        rest = rest.subspan(repeated);
      }
    }
  }
  KernelError error = Error(-*code, request);
  if (has_attributes && *code != 0) AddExtack(rest, request, error);
  return error;
}

// Whether `request` can be sent; the errno why not, or 0.
int CheckRequest(const Request& request) {
  if (request.error != 0) return request.error;
  if (request.message.size() < sizeof(nlmsghdr) || request.message.size() % 4 != 0) return EINVAL;
  return 0;
}

}  // namespace

// One complete dump, which a change may have interrupted.
struct Session::DumpTry {
  std::vector<Payload> replies;
  bool interrupted = false;
};

Session::Session(std::unique_ptr<Transport> transport, SessionOptions options)
    : owned_(std::move(transport)), transport_(owned_.get()), options_(std::move(options)) {}

Session::Session(Transport& transport, SessionOptions options) : transport_(&transport), options_(std::move(options)) {}

uint32_t Session::TakeSequences(size_t count) {
  if (std::numeric_limits<uint32_t>::max() - next_sequence_ < count) next_sequence_ = 1;
  uint32_t first = next_sequence_;
  next_sequence_ += static_cast<uint32_t>(count);
  return first;
}

Histogram* Session::Begin(Histogram Statistics::*kind, size_t requests) const {
  if (options_.statistics == nullptr) return nullptr;
  options_.statistics->requests.Add(requests);
  return &(options_.statistics->*kind);
}

void Session::CountLoss(int code) const {
  if (options_.statistics == nullptr) return;
  Statistics& statistics = *options_.statistics;
  switch (code) {
    case ETIMEDOUT:
      return statistics.late.Add();
    case ENOBUFS:
      return statistics.overrun.Add();
    case EMSGSIZE:
      return statistics.truncated.Add();
    case EBADMSG:
      return statistics.malformed.Add();
    default:
      return statistics.other_losses.Add();
  }
}

KernelResult<void> Session::Send(std::span<const std::byte> datagram) {
  while (true) {
    KernelResult<void> sent = transport_->Send(datagram);
    if (sent.ok() || sent.error().code != EINTR) return sent;
  }
}

KernelResult<Datagram> Session::Receive(TimePoint deadline) {
  while (options_.now() < deadline) {
    KernelResult<Datagram> datagram = transport_->Receive();
    if (!datagram.ok()) {
      if (datagram.error().code == EINTR) continue;
      return datagram;
    }
    if (datagram->sender == 0) return datagram;
  }
  return KernelError{.code = ETIMEDOUT, .operation = {}, .extack = {}};
}

KernelResult<void> Session::Execute(const Request& request) {
  std::vector<Outcome> outcomes = ExecuteBatch(std::span(&request, 1));
  if (!outcomes[0].ok()) return *std::move(outcomes[0].error);
  return {};
}

KernelResult<Payload> Session::Get(const Request& request) {
  std::vector<Outcome> outcomes = ExecuteBatch(std::span(&request, 1));
  if (!outcomes[0].ok()) return *std::move(outcomes[0].error);
  if (outcomes[0].replies.size() != 1) return Error(EBADMSG, request);
  return std::move(outcomes[0].replies[0]);
}

std::vector<Outcome> Session::ExecuteBatch(std::span<const Request> requests) {
  std::vector<Outcome> outcomes(requests.size());
  auto fail_all = [&](int code) {
    for (size_t i = 0; i < requests.size(); ++i) outcomes[i].error = Error(code, requests[i]);
  };

  // Which request each sent message is.
  std::vector<size_t> sent;
  size_t size = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (int code = CheckRequest(requests[i]); code != 0) {
      outcomes[i].error = Error(code, requests[i]);
      continue;
    }
    if (IsDump(requests[i])) {
      fail_all(EINVAL);
      return outcomes;
    }
    sent.push_back(i);
    size += requests[i].message.size();
  }
  if (sent.empty()) return outcomes;
  if (requests.size() > kMaxBatchRequests || size > kMaxBatchBytes) {
    fail_all(E2BIG);
    return outcomes;
  }

  const bool changes =
      std::any_of(sent.begin(), sent.end(), [&](size_t i) { return !IsGet(ReadHeader(requests[i]).nlmsg_type); });
  const ScopedTimer timer(Begin(changes ? &Statistics::changes : &Statistics::gets, sent.size()));
  uint32_t first_sequence = TakeSequences(sent.size());
  std::vector<std::byte> datagram;
  datagram.reserve(size);
  for (size_t i = 0; i < sent.size(); ++i) {
    AppendRequest(datagram, requests[sent[i]], /*acknowledged=*/true, first_sequence + static_cast<uint32_t>(i));
  }

  std::vector<bool> answered(sent.size(), false);
  size_t waiting = sent.size();
  auto lose_waiting = [&](int code) {
    CountLoss(code);
    for (size_t i = 0; i < sent.size(); ++i) {
      if (!answered[i]) outcomes[sent[i]] = {.error = Lost(code, requests[sent[i]]), .replies = {}};
    }
  };

  TimePoint deadline = options_.now() + options_.max_wait;
  if (KernelResult<void> result = Send(datagram); !result.ok()) {
    for (const size_t i : sent) outcomes[i].error = Error(result.error().code, requests[i]);
    return outcomes;
  }
  while (waiting > 0) {
    KernelResult<Datagram> received = Receive(deadline);
    if (!received.ok()) {
      lose_waiting(received.error().code);
      return outcomes;
    }
    if (received->truncated) {
      lose_waiting(EMSGSIZE);
      return outcomes;
    }
    MessageReader reader(received->bytes);
    while (std::optional<MessageView> message = reader.Next()) {
      uint32_t index = message->sequence - first_sequence;
      if (message->port_id != transport_->port_id() || index >= sent.size() || answered[index]) continue;
      const Request& request = requests[sent[index]];
      Outcome& outcome = outcomes[sent[index]];
      if (message->type == NLMSG_ERROR) {
        KernelError verdict = ReadVerdict(*message, request);
        if (verdict.code != 0) outcome = {.error = std::move(verdict), .replies = {}};
        answered[index] = true;
        --waiting;
      } else if (message->type == NLMSG_OVERRUN) {
        lose_waiting(ENOBUFS);
        return outcomes;
      } else if (message->type == ReplyType(ReadHeader(request).nlmsg_type)) {
        outcome.replies.emplace_back(message->payload.begin(), message->payload.end());
      }
    }
    if (reader.malformed()) {
      lose_waiting(EBADMSG);
      return outcomes;
    }
  }
  return outcomes;
}

Result<void, TransactionError> Session::ExecuteTransaction(std::span<const Request> requests, uint32_t generation) {
  const Request begin = EncodeBatchBegin(generation);
  const Request end = EncodeBatchEnd();
  auto fail = [&](int code) { return TransactionError{.error = Error(code, begin), .request = std::nullopt}; };
  size_t size = begin.message.size() + end.message.size();
  for (size_t i = 0; i < requests.size(); ++i) {
    int code = CheckRequest(requests[i]);
    if (code == 0 && !IsNftChange(ReadHeader(requests[i]).nlmsg_type)) code = EINVAL;
    if (code != 0) return TransactionError{.error = Error(code, requests[i]), .request = i};
    size += requests[i].message.size();
  }
  if (requests.empty()) return fail(EINVAL);
  if (requests.size() > kMaxTransactionRequests || size > kMaxTransactionBytes) return fail(E2BIG);

  const ScopedTimer timer(Begin(&Statistics::transactions, requests.size()));
  uint32_t sequence = TakeSequences(requests.size() + 2);
  const TimePoint deadline = options_.now() + options_.max_wait;
  std::vector<std::byte> datagram;
  datagram.reserve(size);
  AppendRequest(datagram, begin, /*acknowledged=*/false, sequence);
  for (size_t i = 0; i < requests.size(); ++i) {
    // Refusals come unasked. The last one's acknowledgement comes after them, and after the commit. Each is a datagram.
    const bool is_last = i + 1 == requests.size();
    AppendRequest(datagram, requests[i], is_last, sequence + 1 + static_cast<uint32_t>(i));
  }
  AppendRequest(datagram, end, /*acknowledged=*/false, sequence + 1 + static_cast<uint32_t>(requests.size()));
  if (KernelResult<void> sent = Send(datagram); !sent.ok()) {
    return fail(sent.error().code == EMSGSIZE ? E2BIG : sent.error().code);
  }
  return ReadTransaction(requests, sequence, deadline);
}

Result<void, TransactionError> Session::ReadTransaction(std::span<const Request> requests, uint32_t begin,
                                                        TimePoint deadline) {
  std::optional<TransactionError> refusal;
  // A refusal stands also where what should follow it is lost; the acknowledgement of the last request is no success of
  // the others.
  auto lose = [&](int code) {
    CountLoss(code);
    return refusal ? *std::move(refusal)
                   : TransactionError{.error = Lost(code, EncodeBatchBegin(0)), .request = std::nullopt};
  };
  while (true) {
    KernelResult<Datagram> received = Receive(deadline);
    if (!received.ok()) return lose(received.error().code);
    if (received->truncated) return lose(EMSGSIZE);
    MessageReader reader(received->bytes);
    while (std::optional<MessageView> message = reader.Next()) {
      const uint32_t place = message->sequence - begin;
      if (message->port_id != transport_->port_id() || place > requests.size()) continue;
      if (message->type == NLMSG_OVERRUN) return lose(ENOBUFS);
      if (message->type != NLMSG_ERROR) continue;
      if (place == 0) {
        // Nothing follows a refusal of the whole.
        KernelError verdict = ReadVerdict(*message, EncodeBatchBegin(0));
        if (verdict.code != 0) return TransactionError{.error = std::move(verdict), .request = std::nullopt};
        continue;
      }
      KernelError verdict = ReadVerdict(*message, requests[place - 1]);
      if (verdict.code != 0 && !refusal) refusal = {.error = std::move(verdict), .request = place - 1};
      if (place < requests.size()) continue;
      if (refusal) return *std::move(refusal);
      return {};
    }
    if (reader.malformed()) return lose(EBADMSG);
  }
}

KernelResult<std::vector<Payload>> Session::Dump(const Request& request) {
  if (int code = CheckRequest(request); code != 0) return Error(code, request);
  if (!IsDump(request)) return Error(EINVAL, request);
  TimePoint deadline = options_.now() + options_.max_wait;
  for (int i = 0; i < options_.max_dump_tries; ++i) {
    NETPROV_ASSIGN_OR_RETURN(DumpTry result, TryDump(request, deadline));
    if (!result.interrupted) return std::move(result.replies);
    if (options_.statistics != nullptr) options_.statistics->interrupted_dumps.Add();
  }
  KernelError error = Error(EAGAIN, request);
  error.operation += " (changes interrupted every try)";
  return error;
}

KernelResult<Session::DumpTry> Session::TryDump(const Request& request, TimePoint deadline) {
  const ScopedTimer timer(Begin(&Statistics::dumps, 1));
  uint32_t sequence = TakeSequences(1);
  std::vector<std::byte> datagram;
  AppendRequest(datagram, request, /*acknowledged=*/false, sequence);
  if (KernelResult<void> result = Send(datagram); !result.ok()) return Error(result.error().code, request);

  DumpTry dump;
  // Once a part is lost, the rest is still read: until its end the kernel refuses the next dump on this socket with
  // EBUSY.
  int lost = 0;
  while (true) {
    KernelResult<Datagram> received = Receive(deadline);
    if (!received.ok()) {
      if (lost == 0) lost = received.error().code;
      CountLoss(lost);
      return Error(lost, request);
    }
    if (received->truncated) lost = EMSGSIZE;
    MessageReader reader(received->bytes);
    while (std::optional<MessageView> message = reader.Next()) {
      if (message->port_id != transport_->port_id() || message->sequence != sequence) continue;
      if ((message->flags & NLM_F_DUMP_INTR) != 0) dump.interrupted = true;
      if (message->type == NLMSG_DONE || message->type == NLMSG_ERROR) {
        KernelError verdict = ReadVerdict(*message, request);
        // A plain acknowledgement does not end a dump, so the list would be incomplete.
        if (message->type == NLMSG_ERROR && verdict.code == 0) verdict.code = EBADMSG;
        if (lost != 0) {
          CountLoss(lost);
          return Error(lost, request);
        }
        if (verdict.code == EINTR) {
          dump.interrupted = true;
        } else if (verdict.code != 0) {
          return verdict;
        }
        return dump;
      }
      if (message->type == NLMSG_OVERRUN) {
        lost = ENOBUFS;
      } else if (message->type == ReplyType(ReadHeader(request).nlmsg_type)) {
        dump.replies.emplace_back(message->payload.begin(), message->payload.end());
      }
    }
    if (reader.malformed() && lost == 0) lost = EBADMSG;
  }
}

}  // namespace netprov::netlink
