// Hangs up on peers that begin more streams than they may.
#ifndef NETPROV_SERVER_RPC_STREAM_WATCH_H_
#define NETPROV_SERVER_RPC_STREAM_WATCH_H_

#include <spdlog/logger.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/statistics.h"
#include "server/rpc/connections.h"

namespace netprov::rpc {

// What gRPC has counted of a connection since it began.
struct Streams {
  std::string from;      // NameOf() its peer; empty where it is not TCP
  int64_t started = 0;   // by the peer, one for each call
  int64_t ended = 0;     // of them
  int64_t requests = 0;  // that came on them and were read

  friend bool operator==(const Streams&, const Streams&) = default;
};

// What gRPC has counted of a server.
struct ServerCalls {
  int64_t id = 0;
  int64_t started = 0;  // calls: streams of all its connections, with a request or without
  int64_t ended = 0;    // of them

  friend bool operator==(const ServerCalls&, const ServerCalls&) = default;
};

// What there is in texts of channelz (grpc.channelz.v1 as JSON): GetServersResponse, GetServerSocketsResponse, of which
// the numbers of the sockets, and GetSocketResponse. What is not there, or not as it should be, counts as none or 0.
std::vector<ServerCalls> ServersIn(absl::string_view text);
std::vector<int64_t> SocketsIn(absl::string_view text);
Streams StreamsIn(absl::string_view text);

// How often a connection is looked at, unless many streams are open.
inline constexpr absl::Duration kStreamWatchPeriod = absl::Milliseconds(250);

// Whether a connection, of which it was `before` and is `now`, is one to hang up on, where a peer may have `most`
// streams at a time. `before` is all 0 for a new one. It is where
// - more than twice as many are open, as the peer does not heed the number and calls that it gave up do not explain it;
// - for more than `most` streams in each period of the `elapsed` time no request was read.
bool AreTooMany(const Streams& before, const Streams& now, absl::Duration elapsed, int64_t most);

// Of how many of a connection's calls that are over no request came, at least.
int64_t EndedInVain(const Streams& now);

// How many of a connection's calls wait for their requests: of those that are open, those for which no request came.
// `over` is the most that EndedInVain() has ever been. A stream with many requests hides as many that wait.
int64_t WaitingIn(const Streams& now, int64_t over);

// The connections to hang up on where more than `most` calls wait for their requests in all: those with the most first,
// until no more do. `waiting` is how many do of each.
std::vector<int64_t> WhereTooManyWait(const std::map<int64_t, int64_t>& waiting, int64_t most);

// A thread that looks at the connections of TCP.
//
// gRPC 1.51 holds a peer to a number of streams at a time from when that has acknowledged its settings, and waits for
// it without end. A stream takes 12 KB, and while its request does not come, no handler hears of it and no limit of
// calls counts it. But channelz does, for each connection. And a request that comes but for its end holds memory for
// all of it. Where gRPC's quota of memory is used up, it ends connections and calls of whoever it may be: before that
// happens, those are hung up on that have the most calls waiting.
//
// What it costs others: twenty times a second gRPC is asked for its calls, and where more than twice `streams` of them
// are open, or in 250 ms more than `streams` began, for those of each connection, some 20 us each. A client that keeps
// to what it is told never has more than so many streams open. One that, within a period, gives up more than so many
// calls before their requests are read, or makes them to methods that there are not, loses its connection, and with it
// all its calls that are under way (UNAVAILABLE). It makes another one, as clients do, and repeats them by the same
// `request_id`.
//
// All servers of the process are looked at, as gRPC does not tell which one is which; what is not one of `connections`
// is left alone.
class StreamWatch {
 public:
  struct Options {
    std::shared_ptr<spdlog::logger> log;
    int streams = 256;          // that a connection may have at a time
    size_t memory = 128 << 20;  // bytes that the process may have in memory while
    int waiting = 128;          // more calls than these wait for their requests
  };

  // Begins. `connections` must outlive it.
  StreamWatch(Connections& connections, const Options& options);
  ~StreamWatch();
  StreamWatch(const StreamWatch&) = delete;
  StreamWatch& operator=(const StreamWatch&) = delete;

  // Connections that were hung up on.
  const Counter& hung_up() const { return hung_up_; }

 private:
  struct Seen {
    Streams then;  // a period ago or more
    absl::Duration since;
    Streams now;
    int64_t over = 0;         // WaitingIn()
    int64_t waiting = 0;      // at the last look
    bool is_hung_up = false;  // gRPC takes a while to be done with it
  };

  void Run();
  void Look();
  void HangUp(Seen& connection);
  void Report(const Streams& streams);

  Connections& connections_;
  const Options options_;
  Counter hung_up_;

  // Of the thread.
  std::map<int64_t, Seen> seen_;  // by the number of the socket in channelz
  int64_t calls_ = 0;             // at the last look
  int64_t uncounted_ = 0;         // of the calls that a server has open, those that are no stream's (any more)
  absl::Duration last_look_;      // of BootTime()
  absl::Duration next_report_ = -absl::InfiniteDuration();
  int unreported_ = 0;

  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_STREAM_WATCH_H_
