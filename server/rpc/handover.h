// Orders that gRPC keeps, told to ThreadSanitizer, which can't see into Debian's gRPC.
#ifndef NETPROV_SERVER_RPC_HANDOVER_H_
#define NETPROV_SERVER_RPC_HANDOVER_H_

#if defined(__SANITIZE_THREAD__)
#define NETPROV_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NETPROV_TSAN 1
#endif
#endif

#ifdef NETPROV_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace netprov::rpc {

// What this thread did until now comes before TakeOver() of the same object. Does nothing but under ThreadSanitizer.
inline void HandOver([[maybe_unused]] void* object) {
#ifdef NETPROV_TSAN
  __tsan_release(object);
#endif
}

inline void TakeOver([[maybe_unused]] void* object) {
#ifdef NETPROV_TSAN
  __tsan_acquire(object);
#endif
}

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_HANDOVER_H_
