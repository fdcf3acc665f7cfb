// The directory of named network namespaces, shared with ip-netns(8).
#ifndef NETPROV_SERVER_NETNS_NETNS_DIRECTORY_H_
#define NETPROV_SERVER_NETNS_NETNS_DIRECTORY_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {

// /run/netns: an empty file per name with the namespace bind-mounted over it. Everybody who follows ip-netns(8) uses
// the same place: what is published here, `ip netns` lists, enters and deletes, and the other way round.
//
// Names are file names: 1 to 255 bytes, neither `.` nor `..`, without `/` and NUL. Every method refuses any other name
// with EINVAL before it does anything; none follows a symbolic link; none leaves the directory.
//
// Thread-safe, also against other processes that work on the same directory.
class NetnsDirectory {
 public:
  static constexpr char kPath[] = "/run/netns";

  // What a name stands for.
  enum class Kind {
    kNone,       // there is no such file
    kNamespace,  // a network namespace
    kOther,      // a file that is none: an unfinished `ip netns add`, a stray file, a namespace of another type
  };

  struct Entry {
    std::string name;
    Kind kind;
  };

  explicit NetnsDirectory(std::string path = kPath) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }

  // Makes the directory if it is missing (0755), and makes it a mount of its own with shared propagation, so that
  // namespaces show in every mount namespace that has it. Does so under flock(2) on the directory, as ip-netns(8) does:
  // two processes that prepare at once would stack one mount on the other. Costs more the more namespaces are mounted
  // there.
  KernelResult<void> Prepare() const;

  // Whether the directory is a mount of its own still. Two microseconds.
  bool IsPrepared() const;

  // Gives the namespace `netns` a name. Errors: EEXIST when there is a file of that name; open(2), open_tree(2),
  // move_mount(2). On failure nothing is left. Killed in between, it leaves an empty file that is no namespace.
  KernelResult<void> Publish(absl::string_view name, int netns) const;

  // Takes the name away from the namespace `netns`, once for each time that it is mounted there: unmounts and removes
  // the file. The namespace lives on while something holds it, as the caller does. What the name stands for otherwise,
  // or comes to stand for meanwhile, is somebody else's and stays, but for an empty file that is no namespace; both are
  // success, and so is no such file. An error after it was unmounted may have had an effect.
  KernelResult<void> Remove(absl::string_view name, int netns) const;

  // Removes an empty file that is no namespace, and nothing else: what it has become by then is refused with
  // EMEDIUMTYPE. Succeeds when there is no such file.
  KernelResult<void> RemoveFile(absl::string_view name) const;

  // Opens the namespace of that name. Errors: ENOENT when there is no such file, EMEDIUMTYPE when it is no network
  // namespace.
  KernelResult<UniqueFd> Open(absl::string_view name) const;

  // What a name stands for.
  KernelResult<Kind> Inspect(absl::string_view name) const;

  // Every name, ordered bytewise. Empty when there is no directory.
  KernelResult<std::vector<Entry>> List() const;

 private:
  std::string PathOf(absl::string_view name) const;
  KernelResult<UniqueFd> OpenDirectory() const;
  // Remove(); says whether it has unmounted something.
  KernelResult<void> UnmountAndUnlink(absl::string_view name, int netns, bool& unmounted) const;

  std::string path_;
};

// EINVAL: it is no name that a namespace can have, as said above.
KernelResult<void> CheckNetnsName(absl::string_view name);

// Unmounts the mount that `file` (O_PATH) was opened on, and not what has its path by now. The kernel offers no way
// past what was mounted right on top of it since, which is unmounted in its place; nobody who follows ip-netns(8) does
// that. Errors: umount2(2), EINVAL when it is unmounted already.
KernelResult<void> UnmountOpened(int file);

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_NETNS_DIRECTORY_H_
