// Text that Protobuf can carry.
#ifndef NETPROV_CLIENT_UTF8_H_
#define NETPROV_CLIENT_UTF8_H_

#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace netprov::client {

// Whether `text` is well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);

// INVALID_ARGUMENT with a BadRequest that names each string field of `message`, or of a message in it, that is not
// UTF-8, as in `veth.endpoint_a.interface_name`. Protobuf itself would complain on stderr and send it all the same.
// A map is named as a whole, as in `namespace.metadata.labels`: its entries have no order to count them by.
absl::Status CheckUtf8(const google::protobuf::Message& message);

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_UTF8_H_
