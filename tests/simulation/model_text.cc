#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "server/engine/tag.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

// Of a link.
static std::string ToText(const Traits& ip, const Words& device, const Words& port, const Traits& fdb) {
  std::string text;
  for (const std::string& trait : ip) absl::StrAppend(&text, ", ", trait);
  for (const auto& [name, value] : With(device, port)) absl::StrAppend(&text, ", ", name, " ", value);
  for (const std::string& trait : fdb) absl::StrAppend(&text, ", ", trait);
  return text;
}

std::string PresenceName(Presence presence) {
  switch (presence) {
    case Presence::kThere:
      return "there";
    case Presence::kDegraded:
      return "degraded";
    case Presence::kMissing:
      return "missing";
    case Presence::kStale:
      return "stale";
  }
  return "";
}

std::string Answer::ToString() const {
  if (error.has_value()) {
    return absl::StrCat("refused: ", error->message, error->kernel.has_value() ? " (kernel)" : "");
  }
  auto describe_veth = [](const engine::Veth& pair) {
    auto end = [](const engine::Endpoint& of) {
      const std::string place = of.place ? PlaceName(*of.place) : of.namespace_id.empty() ? "host" : of.namespace_id;
      return absl::StrCat(place, ":", of.interface_name);
    };
    return absl::StrCat(pair.id, " ", PresenceName(PresenceOf(pair.state)), " ", end(pair.a), " <-> ", end(pair.b));
  };
  auto describe_netns = [](const engine::Namespace& named) {
    return absl::StrCat(named.id, named.managed ? " ours " : " foreign ", PresenceName(PresenceOf(named.state)));
  };
  auto describe_device = [](const engine::Device& of) {
    return absl::StrCat(of.name, " ", PresenceName(PresenceOf(of.state)), " ",
                        of.link.namespace_id.empty() ? "host" : of.link.namespace_id, ":", of.link.interface_name);
  };
  std::string text = "ok";
  if (netns.has_value()) absl::StrAppend(&text, " ", describe_netns(*netns));
  if (veth.has_value()) absl::StrAppend(&text, " ", describe_veth(*veth));
  if (device.has_value()) absl::StrAppend(&text, " ", describe_device(*device));
  for (const engine::Namespace& listed : namespaces) absl::StrAppend(&text, " [", describe_netns(listed), "]");
  if (!deleted.empty()) absl::StrAppend(&text, ", deleted ", absl::StrJoin(deleted, " "));
  if (presence.has_value()) absl::StrAppend(&text, ", was ", PresenceName(*presence));
  if (healed) absl::StrAppend(&text, ", healed");
  if (!kept.empty()) absl::StrAppend(&text, ", kept ", absl::StrJoin(kept, " "));
  for (const engine::Veth& listed : veths) absl::StrAppend(&text, " [", describe_veth(listed), "]");
  for (const engine::Device& listed : devices) absl::StrAppend(&text, " [", describe_device(listed), "]");
  return text;
}

std::string Sighting::ToString() const {
  std::string text;
  for (const auto& [name, file] : files) {
    absl::StrAppend(&text, "  ", file.is_netns ? "netns " : "file ", name, file.alias.empty() ? "" : " ours", "\n");
  }
  for (const auto& [where, link] : links) {
    // Without the uid, so that a history reads the same each time.
    const std::optional<engine::Tag> tag = engine::ParseTag(link.alias);
    absl::StrAppend(&text, "  link ", where.first.empty() ? "host" : where.first, ":", where.second, " ", link.kind,
                    " group ", link.group, " ", tag.has_value() ? tag->object : link.alias,
                    ToText(link.ip, link.device_words, link.port_words, link.fdb), "\n");
  }
  return text;
}

std::string ToString(const State& state) {
  std::string text;
  for (const auto& [name, file] : state.files) {
    absl::StrAppend(&text, "  ", file.kind == State::File::Kind::kNetns ? "netns " : "file ", name, " #", file.netns,
                    IsAsMade(file) ? "" : " (changed)", "\n");
  }
  for (const auto& [path, number] : state.paths) absl::StrAppend(&text, "  ", path, " leads to #", number, "\n");
  for (const auto& [pid, number] : state.processes) {
    absl::StrAppend(&text, "  process ", pid, " is in #", number, "\n");
  }
  for (const auto& [where, link] : state.links) {
    absl::StrAppend(&text, "  link in #", where.first, " ", where.second, " of ",
                    link.is_foreign() ? "somebody else" : absl::StrCat(link.kind, " #", link.pair),
                    link.master == 0 ? "" : absl::StrCat(" port of #", link.master),
                    link.lower == 0 ? "" : absl::StrCat(" on #", link.lower),
                    ToText(link.ip, link.device, link.port, link.fdb), link.tagged ? "" : " (no tag)",
                    link.moved ? " (moved)" : "", link.mtu.has_value() ? absl::StrCat(" (mtu ", *link.mtu, ")") : "",
                    link.up.has_value() ? (*link.up ? " (up)" : " (down)") : "", "\n");
  }
  absl::StrAppend(&text, "  at ", absl::FormatDuration(state.now));
  for (const auto& [owner, heard] : state.heard) {
    absl::StrAppend(&text, ", ", owner, " heard at ", absl::FormatDuration(heard));
  }
  absl::StrAppend(&text, "\n");
  for (const auto& [id, record] : state.namespaces) {
    absl::StrAppend(&text, "  record of namespace ", id, " #", record.instance,
                    state.IsThere(id, record) ? "" : " missing", ToText(record.metadata), "\n");
  }
  for (const auto& [id, record] : state.veths) {
    absl::StrAppend(&text, "  record of pair ", id, " #", record.instance, state.IsThere(record) ? "" : " missing",
                    ToText(record.metadata), "\n");
  }
  for (const auto& [name, record] : state.devices) {
    absl::StrAppend(&text, "  record of ", name, " #", record.instance, state.IsThere(record) ? "" : " missing",
                    record.vague ? " vague" : "", ToText(record.metadata), "\n");
  }
  for (const auto& [id, request] : state.requests) {
    absl::StrAppend(&text, "  answered ", id, ": ", request.fingerprint, "\n");
  }
  for (const State::Unfinished& item : state.unfinished) {
    absl::StrAppend(&text, "  unfinished ", static_cast<int>(item.kind), " ", item.id, " #", item.instance, "\n");
  }
  return text;
}

}  // namespace netprov::simulation
