// The marks by which netprov knows its own in the kernel.
#ifndef NETPROV_SERVER_ENGINE_TAG_H_
#define NETPROV_SERVER_ENGINE_TAG_H_

#include <string>

namespace netprov::engine {

// A random UUID (RFC 9562, version 4) in lower case.
std::string NewUid();

// The IFLA_IFALIAS of an object's links, or of a namespace's loopback link: `netprov:UID:RESOURCE_NAME`. Cut to the 254
// bytes that the kernel takes; the uid comes first, so that a long name does not cut it off.
std::string TagOf(const std::string& uid, const std::string& object);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_TAG_H_
