// The version of netprovd.
#ifndef NETPROV_SERVER_VERSION_H_
#define NETPROV_SERVER_VERSION_H_

namespace netprov {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace netprov

#endif  // NETPROV_SERVER_VERSION_H_
