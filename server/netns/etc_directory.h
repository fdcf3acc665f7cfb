// The configuration files of named network namespaces (ip-netns(8)).
#ifndef NETPROV_SERVER_NETNS_ETC_DIRECTORY_H_
#define NETPROV_SERVER_NETNS_ETC_DIRECTORY_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {

// /etc/netns: a directory per name, of whose files `ip netns exec` mounts each over that of the same name at /etc. Here
// resolv.conf and hosts alone are read and written. A file belongs to whoever its first line says.
//
// Names are those of NetnsDirectory, and no link below /etc/netns is followed. Two calls for one name must not overlap
// where their marks are the same; of others, each writes as if it were alone.
class EtcDirectory {
 public:
  static constexpr char kPath[] = "/etc/netns";
  static constexpr absl::string_view kFiles[] = {"hosts", "resolv.conf"};

  // What is there of a name.
  struct Entry {
    bool exists = false;                       // the directory does
    std::map<std::string, std::string> files;  // by name; one that is no file of at most 64 KiB is empty here

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  explicit EtcDirectory(std::string path = kPath) : path_(std::move(path)) {}

  KernelResult<Entry> Read(absl::string_view name) const;

  // Makes the files that are not there, or whose first line is `mark`, to be those of `files` and no others; each at
  // once and whole. Makes the directories for them (0755), and with `owns_directory` removes that of the name if it is
  // empty in the end. EMEDIUMTYPE: what is at the place of one of `files` is somebody else's; nothing was changed.
  // Others: open(2), mkdir(2), rename(2); something may have been.
  KernelResult<void> Write(absl::string_view name, absl::string_view mark,
                           const std::map<std::string, std::string>& files, bool owns_directory) const;

  // What a file is called before it is whole: one that a crash leaves is taken away by the next write with the same
  // mark. Others leave it alone, as it may be one that is being written.
  static std::string DraftOf(absl::string_view file, absl::string_view mark);

  // The names that have a directory, ordered bytewise.
  KernelResult<std::vector<std::string>> List() const;

 private:
  std::string PathOf(absl::string_view name) const;
  KernelResult<UniqueFd> Make(absl::string_view name) const;

  std::string path_;
};

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_ETC_DIRECTORY_H_
