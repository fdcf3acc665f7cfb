// Times in messages.
#ifndef NETPROV_SERVER_API_TIMESTAMP_H_
#define NETPROV_SERVER_API_TIMESTAMP_H_

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace netprov::api {

// Rounded down to nanoseconds. `time` must be within the years 1 to 9999, as every clock is.
inline google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_TIMESTAMP_H_
