// How a namespace resolves names: its files at /etc/netns.
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/dns.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"

namespace netprov::engine {

KernelResult<void> Engine::WriteDns(const NamespaceRecord& record, const DnsSpec& dns) {
  const std::string tag = TagFor(record);
  return kernel_.SetEtcFiles(record.id, MarkOf(tag), ToEtcFiles(dns, tag), record.owns_etc_directory);
}

KernelResult<void> Engine::RemoveDns(const NamespaceRecord& record) {
  if (record.spec.dns.empty()) return {};
  return WriteDns(record, {});
}

EngineResult<void> Engine::PrepareDns(const std::optional<NamespaceRecord>& former, NamespaceRecord& record) {
  if (record.spec.dns.empty()) return {};
  KernelResult<EtcEntry> found = kernel_.FindEtcFiles(record.id);
  if (!found.ok()) return KernelFailure(NamespaceName(record.id), "look at the DNS files", found.error());
  for (const auto& [file, text] : ToEtcFiles(record.spec.dns, TagFor(record))) {
    const auto present = found->files.find(file);
    if (present == found->files.end()) continue;
    const std::optional<Tag> tag = TagInFile(present->second);
    const bool is_ours = tag.has_value() && tag->registry == registry_.id() &&
                         (tag->uid == record.uid || (former.has_value() && tag->uid == former->uid));
    if (!is_ours) return DnsFileNotManaged(record.id, file);
  }
  const bool is_known = former.has_value() && !former->spec.dns.empty();
  record.owns_etc_directory = is_known ? former->owns_etc_directory : !found->exists;
  return {};
}

void Engine::AddDnsStep(const NamespaceRecord& record, Plan& plan) {
  if (record.spec.dns.empty()) return;
  auto undo = [this, &record] { return RemoveDns(record); };
  plan.Add({.name = "write the DNS files of namespace " + record.id,
            .run = [this, &record] { return WriteDns(record, record.spec.dns); },
            .undo = undo,
            .sweep = undo});
}

void Engine::AddDnsRemoval(const NamespaceRecord& record, const std::function<KernelResult<void>()>& undo, Plan& plan) {
  if (record.spec.dns.empty()) return;
  plan.Add({.name = "remove the DNS files of namespace " + record.id,
            .run = [this, &record] { return RemoveDns(record); },
            .undo = undo,
            .sweep = undo});
}

EngineResult<std::vector<Deviation>> Engine::FindDnsDeviations(const NamespaceRecord& record) {
  std::vector<Deviation> deviations;
  if (record.spec.dns.empty()) return deviations;
  KernelResult<EtcEntry> found = kernel_.FindEtcFiles(record.id);
  if (!found.ok()) return KernelFailure(NamespaceName(record.id), "read the DNS files", found.error());
  for (const auto& [file, text] : ToEtcFiles(record.spec.dns, TagFor(record))) {
    const auto present = found->files.find(file);
    if (present != found->files.end() && present->second == text) continue;
    std::string actual = "missing";
    if (present != found->files.end()) {
      const std::optional<Tag> tag = TagInFile(present->second);
      actual = tag.has_value() && tag->uid == record.uid ? "changed" : "somebody else's";
    }
    deviations.push_back(
        {.field = absl::StrCat("dns[", file, "]"), .expected = "as written", .actual = std::move(actual)});
  }
  return deviations;
}

EngineResult<void> Engine::ResetDns(const NamespaceRecord& record) {
  if (record.spec.dns.empty()) return {};
  KernelResult<void> written = WriteDns(record, record.spec.dns);
  if (written.ok()) return {};
  return KernelFailure(NamespaceName(record.id), "write the DNS files again", written.error());
}

void Engine::CollectOrphanFiles(bool look_only, HostReport& report) {
  KernelResult<std::vector<std::string>> names = kernel_.ListEtc();
  if (!names.ok()) {
    report.Add(Finding::Kind::kUnreadable, "namespaces", names.error().ToString());
    return;
  }
  for (const std::string& name : *names) {
    const std::string object = NamespaceName(name);
    KernelResult<EtcEntry> found = kernel_.FindEtcFiles(name);
    if (!found.ok()) {
      report.Add(Finding::Kind::kUnreadable, object, found.error().ToString());
      continue;
    }
    for (const auto& [file, text] : found->files) {
      const std::optional<Tag> tag = TagInFile(text);
      if (!tag.has_value() || tag->registry != registry_.id()) continue;
      const std::optional<NamespaceRecord> record = registry_.FindNamespace(name);
      if ((record.has_value() && record->uid == tag->uid) || IsKnown(*tag)) continue;
      // It may have been removed between our look at it and that at the registry.
      KernelResult<EtcEntry> again = kernel_.FindEtcFiles(name);
      const auto now = again.ok() ? again->files.find(file) : found->files.end();
      if (again.ok() && (now == again->files.end() || now->second != text)) continue;
      const std::string what = absl::StrCat("its DNS file ", file);
      if (look_only) {
        report.Add(Finding::Kind::kOrphan, object, what + " has our tag, and the registry does not know it");
        continue;
      }
      // Who made the directory is not known any more.
      const std::string mark = text.substr(0, text.find('\n'));
      KernelResult<void> removed = kernel_.SetEtcFiles(name, mark, {}, /*owns_directory=*/false);
      if (removed.ok()) {
        report.Add(Finding::Kind::kOrphanRemoved, object, what + " had our tag, and the registry did not know it");
      } else {
        report.Add(Finding::Kind::kOrphan, object, removed.error().ToString());
      }
    }
  }
}

}  // namespace netprov::engine
