// Names for calls.
#ifndef NETPROV_CLIENT_REQUEST_ID_H_
#define NETPROV_CLIENT_REQUEST_ID_H_

#include <string>

namespace netprov::client {

// A random UUID (RFC 4122, version 4) in lower case, from the kernel's generator. Thread-safe.
std::string NewRequestId();

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_REQUEST_ID_H_
