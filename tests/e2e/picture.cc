#include "tests/e2e/picture.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/statfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/base/unique_fd.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kNetns[] = "/run/netns";
constexpr char kEtc[] = "/etc/netns";
constexpr char kBatch[] = "/run/picture.batch";

// One process each for all of this, as starting one is what a picture costs.
constexpr char kIpCommands[] =
    "addr show\n"
    "route show table all\n"
    "neighbor show nud permanent\n";

// The settings of all links and of new ones, of which the kernel has no dump: those that netprov or a test changes,
// those that follow them, and what one would first think of where packets go wrong. To read them all takes as long as
// the rest of a picture.
constexpr const char* kSettings[] = {
    "ipv4/ip_forward",
    "ipv4/conf/%s/accept_local",
    "ipv4/conf/%s/accept_redirects",
    "ipv4/conf/%s/arp_notify",
    "ipv4/conf/%s/forwarding",
    "ipv4/conf/%s/proxy_arp",
    "ipv4/conf/%s/route_localnet",
    "ipv4/conf/%s/rp_filter",
    "ipv6/conf/%s/accept_dad",
    "ipv6/conf/%s/accept_ra",
    "ipv6/conf/%s/dad_transmits",
    "ipv6/conf/%s/disable_ipv6",
    "ipv6/conf/%s/forwarding",
    "ipv6/conf/%s/ndisc_notify",
};

// One link of a namespace.
struct Seen {
  std::string where;
  json link;

  std::string name() const { return link.at("ifname"); }
  std::string alias() const { return link.value("ifalias", ""); }
  int index() const { return link.at("ifindex"); }
  int peer_index() const { return link.value("link_index", 0); }
};

// All of a namespace.
struct View {
  std::string where;
  std::vector<Seen> links;
  std::vector<std::string> lines;  // the rest
};

void Erase(json& from, std::initializer_list<const char*> keys) {
  for (const char* key : keys) from.erase(key);
}

std::string ContentOf(const fs::path& path) {
  std::ifstream file(path);
  std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  absl::StripTrailingAsciiWhitespace(&content);
  return content;
}

std::string OutputOf(const std::vector<std::string>& command) {
  const Completed done = RunCommand(command);
  EXPECT_EQ(done.exit_code, 0) << absl::StrJoin(command, " ") << ": " << done.err;
  return done.out;
}

// With all details.
std::string OutputOfBatch(std::vector<std::string> program, const std::string& commands) {
  std::ofstream(kBatch) << commands;
  program.insert(program.end(), {"-d", "-batch", kBatch});
  return OutputOf(program);
}

// The messages with which the kernel answers a dump of netlink(7) in the namespace of the calling thread, without their
// headers: raw, as they need not be understood to be compared. `request` is the body of the request.
template <typename Body>
std::vector<std::string> DumpOf(int protocol, uint16_t type, const Body& request) {
  struct {
    nlmsghdr header;
    Body body;
  } message = {.header = {.nlmsg_len = sizeof(message),
                          .nlmsg_type = type,
                          .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                          .nlmsg_seq = 1,
                          .nlmsg_pid = 0},
               .body = request};
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  EXPECT_EQ(::send(socket.get(), &message, sizeof(message), 0), static_cast<ssize_t>(sizeof(message)));
  std::vector<std::string> bodies;
  std::array<char, 32 * 1024> buffer;
  while (true) {
    ssize_t left = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    EXPECT_GT(left, 0) << strerrordesc_np(errno);
    if (left <= 0) return bodies;
    for (const nlmsghdr* answer = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(answer, left);
         answer = NLMSG_NEXT(answer, left)) {
      EXPECT_NE(answer->nlmsg_type, NLMSG_ERROR) << type;
      if (answer->nlmsg_type == NLMSG_DONE || answer->nlmsg_type == NLMSG_ERROR) return bodies;
      bodies.emplace_back(static_cast<const char*>(NLMSG_DATA(answer)), NLMSG_PAYLOAD(answer, 0));
    }
  }
}

// The name of a veth's other end, which is the link elsewhere whose index it has and that has its index.
std::string PeerOf(const Seen& link, const std::vector<Seen>& all) {
  const Seen* peer = nullptr;
  for (const Seen& other : all) {
    const bool may_be = link.link.contains("link_netnsid") && other.where != link.where &&
                        other.index() == link.peer_index() && other.peer_index() == link.index();
    // Another pair may have the same two indexes, but not the same tag.
    if (may_be && (peer == nullptr || other.alias() == link.alias())) peer = &other;
  }
  return peer == nullptr ? link.link.value("link", "") : absl::StrCat(peer->where, "/", peer->name());
}

std::string Describe(const Seen& seen, const std::vector<Seen>& all) {
  json link = seen.link;
  link["link"] = PeerOf(seen, all);
  Erase(link, {"ifindex", "link_index", "link_netnsid"});
  // The kernel's: the former follow the carrier on their own time, the latter what a bridge's ports once could.
  Erase(link, {"operstate", "qdisc", "tso_max_size", "tso_max_segs"});
  json flags = json::array();
  for (const json& flag : link.at("flags")) {
    const std::set<std::string> carrier = {"LOWER_UP", "NO-CARRIER", "M-DOWN"};
    if (!carrier.contains(flag)) flags.push_back(flag);
  }
  link["flags"] = flags;
  json addresses = json::array();
  for (json address : link.at("addr_info")) {
    if (address.at("scope") == "link") continue;
    address.erase("tentative");
    addresses.push_back(address);
  }
  link["addr_info"] = addresses;
  if (link.contains("linkinfo")) {
    json& info = link["linkinfo"];
    // That of an ifb is always the kernel's choice.
    if (info.value("info_kind", "") == "ifb") link.erase("address");
    for (const char* part : {"info_data", "info_slave_data"}) {
      if (!info.contains(part)) continue;
      Erase(info[part], {"hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "hold_timer",
                         "message_age_timer", "forward_delay_timer", "topology_change", "topology_change_detected",
                         "topology_change_ack", "config_pending"});
    }
    // Of a port: it comes to forward on its own time.
    // A port's number is by the order in which ports came.
    if (info.contains("info_slave_data")) Erase(info["info_slave_data"], {"state", "no", "id", "designated_port"});
  }
  // A line for each property, so that it shows which differs.
  std::string text;
  const json properties = link.flatten();
  for (const auto& [path, value] : properties.items()) {
    absl::StrAppend(&text, seen.where, "/", seen.name(), " ", path, " ", value.dump(), "\n");
  }
  return text;
}

// What the kernel makes of IPv6 addresses comes when it knows that they are alone.
bool IsOfItsOwnTime(const json& route) {
  return route.value("protocol", "") == "kernel" && absl::StrContains(route.value("dst", ""), ":");
}

void LookWithIp(View& view) {
  const std::vector<std::string> answers =
      absl::StrSplit(OutputOfBatch({"ip", "-j"}, kIpCommands), '\n', absl::SkipEmpty());
  ASSERT_EQ(answers.size(), 3U) << absl::StrJoin(answers, "\n");
  for (const json& link : json::parse(answers[0])) view.links.push_back({.where = view.where, .link = link});
  for (json route : json::parse(answers[1])) {
    if (IsOfItsOwnTime(route)) continue;
    // It follows the carrier.
    std::erase(route["flags"].get_ref<json::array_t&>(), "linkdown");
    view.lines.push_back(absl::StrCat("route ", route.dump()));
  }
  for (const json& neighbor : json::parse(answers[2])) {
    view.lines.push_back(absl::StrCat("neighbor ", neighbor.dump()));
  }
}

void LookAtRules(View& view) {
  for (const std::string& rule : DumpOf(NETLINK_ROUTE, RTM_GETRULE, rtgenmsg{.rtgen_family = AF_UNSPEC})) {
    view.lines.push_back(absl::StrCat("rule ", absl::BytesToHexString(rule)));
  }
}

// Handles, indexes and counts of references are the kernel's choice.
std::string WithoutNumbers(absl::string_view line) {
  std::vector<std::string> words;
  bool skip = false;
  for (absl::string_view word : absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
    // `8001:`, and `8001:1` of a class.
    const bool is_number = absl::StrContains(word, ":") && word.find_first_not_of("0123456789abcdef:") == word.npos;
    if (!std::exchange(skip, word == "refcnt" || word == "index" || word == "ref" || word == "bind") && !is_number) {
      words.emplace_back(word);
    }
  }
  return absl::StrJoin(words, " ");
}

void LookWithTc(View& view) {
  // Most namespaces have no others than these.
  const std::vector<std::string> all_disciplines = DumpOf(NETLINK_ROUTE, RTM_GETQDISC, tcmsg{});
  if (std::all_of(all_disciplines.begin(), all_disciplines.end(),
                  [](const std::string& discipline) { return absl::StrContains(discipline, "noqueue"); })) {
    return;
  }
  std::string commands;
  for (absl::string_view line : absl::StrSplit(OutputOf({"tc", "-d", "qdisc", "show"}), '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() < 5 || words[1] == "noqueue") continue;
    view.lines.push_back(WithoutNumbers(line));
    const std::string& device = words[4];
    if (words[1] == "clsact" || words[1] == "ingress") {
      for (const char* side : {"ingress", "egress"}) {
        absl::StrAppend(&commands, "filter show dev ", device, " ", side, "\n");
      }
    } else {
      absl::StrAppend(&commands, "class show dev ", device, "\nfilter show dev ", device, "\n");
    }
  }
  if (commands.empty()) return;
  // In their order.
  std::string all;
  for (absl::string_view line : absl::StrSplit(OutputOfBatch({"tc"}, commands), '\n', absl::SkipEmpty())) {
    absl::StrAppend(&all, WithoutNumbers(line), "\n");
  }
  view.lines.push_back(all);
}

// As nft lists it, but that the elements of a set or map, `{ 2, 1 }`, which have no order, get one. What is a block has
// a line's end behind its brace.
std::string WithOrderedElements(absl::string_view rules) {
  constexpr absl::string_view kBegin = "{ ";
  std::string ordered;
  for (size_t begin = rules.find(kBegin); begin != rules.npos; begin = rules.find(kBegin)) {
    const size_t end = std::min(rules.find('}', begin), rules.size());
    std::vector<std::string> elements = absl::StrSplit(rules.substr(begin + 1, end - begin - 1), ',');
    for (std::string& element : elements) absl::StripAsciiWhitespace(&element);
    std::sort(elements.begin(), elements.end());
    absl::StrAppend(&ordered, rules.substr(0, begin), "{\n  ", absl::StrJoin(elements, "\n  "), "\n");
    rules.remove_prefix(end);
  }
  return absl::StrCat(ordered, rules);
}

void LookWithNft(View& view) {
  // Most namespaces have none.
  constexpr uint16_t kGetTables = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
  if (DumpOf(NETLINK_NETFILTER, kGetTables, nfgenmsg{}).empty()) return;
  view.lines.push_back(absl::StrCat("nft ", WithOrderedElements(OutputOf({"nft", "list", "ruleset"}))));
}

// A macvlan's sources are with the link.
void LookWithBridge(View& view) {
  bool has_bridge = false;
  for (const Seen& seen : view.links) {
    const json info = seen.link.value("linkinfo", json::object());
    has_bridge |= info.value("info_kind", "") == "bridge";
    if (info.value("info_kind", "") != "vxlan") continue;
    for (json entry : json::parse(OutputOf({"bridge", "-j", "fdb", "show", "dev", seen.name()}))) {
      entry.erase("linkNetNsId");
      view.lines.push_back(absl::StrCat("fdb ", seen.name(), " ", entry.dump()));
    }
  }
  if (!has_bridge) return;
  for (const json& port : json::parse(OutputOf({"bridge", "-j", "vlan", "show"}))) {
    view.lines.push_back(absl::StrCat("vlan ", port.dump()));
  }
}

// The attributes in a part of a netlink message, by type.
std::map<int, absl::string_view> AttributesIn(absl::string_view bytes) {
  std::map<int, absl::string_view> attributes;
  while (bytes.size() >= sizeof(rtattr)) {
    rtattr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    const size_t size = header.rta_len;
    if (size < sizeof(header) || size > bytes.size()) break;
    attributes[header.rta_type & NLA_TYPE_MASK] = bytes.substr(sizeof(header), size - sizeof(header));
    bytes.remove_prefix(std::min<size_t>(RTA_ALIGN(size), bytes.size()));
  }
  return attributes;
}

// All that is at conf/LINK of IPv4 and IPv6, which the kernel gives as numbers with each link.
void LookAtSettingsOfLinks(View& view) {
  for (const std::string& body : DumpOf(NETLINK_ROUTE, RTM_GETLINK, ifinfomsg{})) {
    const auto link = AttributesIn(absl::string_view(body).substr(sizeof(ifinfomsg)));
    const auto name = link.find(IFLA_IFNAME);
    const auto families = link.find(IFLA_AF_SPEC);
    if (name == link.end() || families == link.end()) {
      ADD_FAILURE() << "a link without name or settings: " << absl::BytesToHexString(body);
      continue;
    }
    auto has_settings = AttributesIn(families->second);
    for (const auto& [family, attribute] :
         {std::pair(AF_INET, int{IFLA_INET_CONF}), {AF_INET6, int{IFLA_INET6_CONF}}}) {
      const absl::string_view bytes = AttributesIn(has_settings[family])[attribute];
      std::vector<int32_t> values(bytes.size() / sizeof(int32_t));
      if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(int32_t));
      view.lines.push_back(absl::StrCat(family == AF_INET ? "ipv4" : "ipv6", "/conf/", name->second.data(), " ",
                                        absl::StrJoin(values, " ")));
    }
  }
}

void LookAtSettings(View& view) {
  for (const char* pattern : kSettings) {
    for (const char* links : {"all", "default"}) {
      const std::string name = absl::StrReplaceAll(pattern, {{"%s", links}});
      view.lines.push_back(absl::StrCat(name, " ", ContentOf(absl::StrCat("/proc/sys/net/", name))));
      if (name == pattern) break;
    }
  }
}

// Of the namespace of the calling thread.
View LookAround(const std::string& where) {
  View view{.where = where, .links = {}, .lines = {}};
  LookWithIp(view);
  LookAtRules(view);
  LookWithTc(view);
  LookWithNft(view);
  LookWithBridge(view);
  LookAtSettingsOfLinks(view);
  LookAtSettings(view);
  std::sort(view.lines.begin(), view.lines.end());
  return view;
}

// Into the namespace at a path.
View LookInto(const std::string& path, const std::string& where) {
  View view;
  // A thread of its own, which ends there; the commands that it starts are there too.
  std::thread([&] {
    UniqueFd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::setns(netns.get(), CLONE_NEWNET), 0) << path << ": " << strerrordesc_np(errno);
    view = LookAround(where);
  }).join();
  return view;
}

// The paths below a directory, in order.
std::vector<fs::path> PathsBelow(const char* directory) {
  std::error_code is_not_there;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(directory, is_not_there)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool IsNamespace(const fs::path& path) {
  struct statfs file_system;
  return ::statfs(path.c_str(), &file_system) == 0 && file_system.f_type == NSFS_MAGIC;
}

// Each file at /run/netns and what is mounted on it, each at /etc/netns with its content.
std::string PictureOfFiles() {
  std::string text;
  for (const fs::path& path : PathsBelow(kNetns)) {
    absl::StrAppend(&text, path.string(), IsNamespace(path) ? " nsfs\n" : " file\n");
  }
  std::vector<std::string> mounts;
  for (absl::string_view line : absl::StrSplit(ContentOf("/proc/self/mountinfo"), '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() > 5 && absl::StartsWith(words[4], kNetns)) mounts.push_back(absl::StrCat("mount ", words[4]));
  }
  std::sort(mounts.begin(), mounts.end());
  absl::StrAppend(&text, absl::StrJoin(mounts, "\n"), "\n");
  for (const fs::path& path : PathsBelow(kEtc)) {
    const fs::file_status status = fs::symlink_status(path);
    absl::StrAppend(&text, path.string(), absl::StrFormat(" %o\n", static_cast<int>(status.permissions())));
    if (fs::is_regular_file(status)) absl::StrAppend(&text, ContentOf(path), "\n");
  }
  return text;
}

std::string PictureOfKernel(const std::vector<std::string>& places) {
  std::vector<View> views = {LookAround("host")};
  for (const fs::path& path : PathsBelow(kNetns)) {
    if (IsNamespace(path)) views.push_back(LookInto(path.string(), path.filename().string()));
  }
  for (const std::string& path : places) views.push_back(LookInto(path, path));
  std::vector<Seen> links;
  for (const View& view : views) links.insert(links.end(), view.links.begin(), view.links.end());
  std::vector<std::string> lines;
  for (const Seen& link : links) lines.push_back(Describe(link, links));
  std::sort(lines.begin(), lines.end());
  std::string text = absl::StrCat(PictureOfFiles(), absl::StrJoin(lines, ""));
  for (const View& view : views) absl::StrAppend(&text, view.where, " has\n", absl::StrJoin(view.lines, "\n"), "\n");
  return text;
}

// What is said of an object, but for what another one would have otherwise.
template <typename Object>
std::string TextOf(Object object) {
  object.clear_uid();
  object.clear_create_time();
  object.mutable_metadata()->clear_expire_time();
  object.mutable_metadata()->clear_ttl();
  return absl::StrCat(object.ShortDebugString(), "\n");
}

}  // namespace

std::string PictureOf(TestClient& client, const std::vector<std::string>& places) {
  std::string objects;
  std::vector<std::pair<std::string, std::string>> names;
  auto note = [&names](const auto& object) {
    if (!object.uid().empty()) names.emplace_back(object.uid(), absl::StrCat("<", object.name(), ">"));
  };
  auto check = [](const Ending& ending) { EXPECT_TRUE(ending.ok()) << ending.Summary() << ": " << ending.message; };
  Reply<v1::ListNamespacesResponse> namespaces = client.List(v1::ListNamespacesRequest());
  check(namespaces);
  for (v1::Namespace& netns : *namespaces.value.mutable_namespaces()) {
    note(netns);
    netns.clear_cookie();
    absl::StrAppend(&objects, TextOf(netns));
  }
  Reply<v1::ListVethsResponse> veths = client.List(v1::ListVethsRequest());
  check(veths);
  for (v1::Veth& veth : *veths.value.mutable_veths()) {
    note(veth);
    // The names of its ifbs.
    const std::string digits = absl::StrReplaceAll(veth.uid(), {{"-", ""}}).substr(0, 11);
    for (const char* side : {"ifba", "ifbb"}) names.emplace_back(side + digits, absl::StrCat("<", side, ">"));
    for (v1::VethEndpoint* end : {veth.mutable_endpoint_a(), veth.mutable_endpoint_b()}) end->clear_ifindex();
    absl::StrAppend(&objects, TextOf(veth));
  }
  Reply<v1::ListBridgesResponse> bridges = client.List(v1::ListBridgesRequest());
  check(bridges);
  for (v1::Bridge& bridge : *bridges.value.mutable_bridges()) {
    note(bridge);
    bridge.clear_ifindex();
    absl::StrAppend(&objects, TextOf(bridge));
  }
  Reply<v1::ListDevicesResponse> devices = client.List(v1::ListDevicesRequest());
  check(devices);
  for (v1::Device& device : *devices.value.mutable_devices()) {
    note(device);
    device.clear_ifindex();
    absl::StrAppend(&objects, TextOf(device));
  }
  return absl::StrCat(objects, absl::StrReplaceAll(PictureOfKernel(places), names));
}

}  // namespace netprov::testing
