// The client library's example.
#ifndef NETPROV_CLIENT_EXAMPLE_H_
#define NETPROV_CLIENT_EXAMPLE_H_

#include <ostream>

#include "absl/status/status.h"
#include "client/client.h"

namespace netprov::client {

// Creates the namespace `netprov-example` and a veth pair between it and the host, reads and lists them, deletes both,
// and prints one line per step to `out`. Cleans up what it made when a step fails, and returns that step's error.
absl::Status RunExample(const Client& client, std::ostream& out);

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_EXAMPLE_H_
