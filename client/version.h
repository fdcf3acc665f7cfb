// The version of the client library and of `contain`.
#ifndef NETPROV_CLIENT_VERSION_H_
#define NETPROV_CLIENT_VERSION_H_

namespace netprov::client {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_VERSION_H_
