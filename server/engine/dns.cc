#include "server/engine/dns.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace netprov::engine {

std::string MarkOf(const std::string& tag) { return absl::StrCat("# ", tag); }

std::optional<Tag> TagInFile(absl::string_view text) {
  absl::string_view line = text.substr(0, text.find('\n'));
  if (!absl::ConsumePrefix(&line, "# ")) return std::nullopt;
  return ParseTag(std::string(line));
}

EtcFiles ToEtcFiles(const DnsSpec& spec, const std::string& tag) {
  EtcFiles files;
  const std::string first_line = absl::StrCat(MarkOf(tag), "\n");
  if (!spec.nameservers.empty() || !spec.searches.empty() || !spec.options.empty()) {
    std::string& text = files["resolv.conf"] = first_line;
    for (const std::string& nameserver : spec.nameservers) absl::StrAppend(&text, "nameserver ", nameserver, "\n");
    if (!spec.searches.empty()) absl::StrAppend(&text, "search ", absl::StrJoin(spec.searches, " "), "\n");
    if (!spec.options.empty()) absl::StrAppend(&text, "options ", absl::StrJoin(spec.options, " "), "\n");
  }
  if (!spec.hosts.empty()) {
    // It takes the place of the host's file, so the names that everybody relies on are in it too.
    std::string& text = files["hosts"] = first_line;
    absl::StrAppend(&text, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (const HostsEntry& entry : spec.hosts) {
      absl::StrAppend(&text, entry.address, " ", absl::StrJoin(entry.names, " "), "\n");
    }
  }
  return files;
}

}  // namespace netprov::engine
