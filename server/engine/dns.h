// The files that tell the processes of a namespace how to resolve names.
#ifndef NETPROV_SERVER_ENGINE_DNS_H_
#define NETPROV_SERVER_ENGINE_DNS_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "server/engine/tag.h"

namespace netprov::engine {

// The first line, without its end, of a file of an object with that tag.
std::string MarkOf(const std::string& tag);
// The reverse; nullopt: nobody's.
std::optional<Tag> TagInFile(absl::string_view text);

// The files that a namespace with that tag shall have, with their marks: resolv.conf(5) where there is something to be
// in it, and hosts(5) with the loopback addresses and the hosts where there are any.
EtcFiles ToEtcFiles(const DnsSpec& spec, const std::string& tag);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_DNS_H_
