// What all requests have in common, whatever their type: how they are read, told apart, and named in a log.
#ifndef NETPROV_SERVER_API_REQUEST_H_
#define NETPROV_SERVER_API_REQUEST_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace netprov::api {

// Reads `bytes` into `request`. MALFORMED_REQUEST when they are no message of its type; with the path of the field, as
// in `veth.endpoint_a.interface_name`, when it is a string that is not UTF-8.
absl::Status Decode(absl::string_view bytes, google::protobuf::Message& request);

// What a log line says of a request. All as the caller wrote it: unchecked.
struct RequestSummary {
  std::string resource;  // as in `namespaces/blue` or `owners/ci`; empty where the request names none
  std::string request_id;
  bool validate_only = false;
};
RequestSummary Summarize(const google::protobuf::Message& request);

// A canonical form of the request with the method's name: equal for two requests that ask for the same in the same
// words, different otherwise. What does not count is left out: the request_id, fields that only the server sets, and
// fields that it does not know. `resource` (of the request's summary) counts where it is updated, as its name is such a
// field there. Bytes, not text; kept for as long as answers are, so that no later version may make others.
std::string Fingerprint(absl::string_view method, absl::string_view resource, const google::protobuf::Message& request);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_REQUEST_H_
