// For whom a thread works.
#ifndef NETPROV_SERVER_ENGINE_ORIGIN_H_
#define NETPROV_SERVER_ENGINE_ORIGIN_H_

#include <string>
#include <utility>

namespace netprov::engine {

// Who wants a change, as far as the audit log must know should the process die before it has said so. The engine reads
// none of it: it stands beside each intent of the call, and goes when the call's line is known to be written
// (Registry::MarkAudited()).
struct Origin {
  std::string call_id;  // no other call has it, also after a restart
  std::string text;     // whatever the line needs; UTF-8
};

// While it lives, what its thread changes is of this origin. An engine's call runs on one thread from its beginning to
// its end, and may be several transactions deep inside of each other, each of which must carry the same origin: none of
// them has to hand it on. Not to be nested.
class OriginScope {
 public:
  explicit OriginScope(Origin origin) : origin_(std::move(origin)) { current_ = &origin_; }
  ~OriginScope() { current_ = nullptr; }
  OriginScope(const OriginScope&) = delete;
  OriginScope& operator=(const OriginScope&) = delete;

  // Of the calling thread. Null: nobody asks who wants its changes.
  static const Origin* Current() { return current_; }

 private:
  static inline thread_local const Origin* current_ = nullptr;
  const Origin origin_;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ORIGIN_H_
