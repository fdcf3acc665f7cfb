// Who calls.
#ifndef NETPROV_SERVER_ACCESS_IDENTITY_H_
#define NETPROV_SERVER_ACCESS_IDENTITY_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace netprov::access {

// A caller, as the transport vouches for it: nothing in it is what the caller says of itself in a call.
struct Identity {
  enum class Kind {
    kSelf,       // the process itself, which serves a command without any socket
    kUnix,       // a process of this machine, by SO_PEERCRED (unix(7))
    kTls,        // whoever has the key of a certificate that the CA signed
    kPlaintext,  // anybody who reaches a TCP port without TLS
  };
  Kind kind = Kind::kPlaintext;

  // Of kUnix, as they were when it connected. The pid is one of the daemon's PID namespace, 0 where it has none there.
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;
  std::vector<gid_t> groups;  // supplementary ones (SO_PEERGROUPS)

  // Of kTls, from its certificate (RFC 5280).
  std::string common_name;             // CN of the subject; empty: none
  std::vector<std::string> dns_names;  // subject alternative names
  std::vector<std::string> uris;       // the same; a SPIFFE ID is one of them

  // Where it calls from, for people: `pid:4711`, `10.0.0.7:51234`, `[::1]:51234`, `self`.
  std::string from;

  // The first SPIFFE ID among the URIs; empty: none.
  std::string SpiffeId() const;

  // The one name by which limits and the audit log know it: `uid:1000`, `self`, `plaintext`, and of a certificate the
  // most telling that it has: `spiffe://example.org/ci`, `uri:...`, `dns:ci.example.org`, `cn:ci`.
  std::string Name() const;

  // Whether it is `gid`, by its group or a supplementary one.
  bool IsInGroup(gid_t group) const;

  friend bool operator==(const Identity&, const Identity&) = default;
};

}  // namespace netprov::access

#endif  // NETPROV_SERVER_ACCESS_IDENTITY_H_
