// The marks by which netprov knows its own in the kernel.
#ifndef NETPROV_SERVER_ENGINE_TAG_H_
#define NETPROV_SERVER_ENGINE_TAG_H_

#include <optional>
#include <string>
#include <utility>

namespace netprov::engine {

// A random UUID (RFC 9562, version 4) in lower case.
std::string NewUid();

// What the IFLA_IFALIAS of an object's links, or of a namespace's loopback link, says.
struct Tag {
  std::string registry;  // Registry::id(): whose it is
  std::string uid;       // the object's
  std::string object;    // its resource name, or AdoptedName(); cut where it is too long for an alias
};

// What stands for the resource name in the tag of a namespace that netprov did not make: whatever became of its record,
// it is nobody's orphan.
inline constexpr char kAdopted[] = "adopted/";
inline std::string AdoptedName(const std::string& id) { return kAdopted + id; }

// `netprov:REGISTRY:UID:RESOURCE_NAME`, cut to the 254 bytes that the kernel takes.
std::string TagOf(const std::string& registry, const std::string& uid, const std::string& object);

// The reverse; nullopt: no tag of netprov's.
std::optional<Tag> ParseTag(const std::string& alias);

// The alias of a link that has both a tag and a text of its user's: the tag, a space, and the text. No tag of a link's
// has a space in it.
std::string JoinAlias(const std::string& tag, const std::string& text);
// The reverse. One without a tag is all tag here.
std::pair<std::string, std::string> SplitAlias(const std::string& alias);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_TAG_H_
