// The flags of all objects, of namespaces, and of lists of what the kernel has.
#ifndef NETPROV_CLIENT_CLI_OBJECT_FLAGS_H_
#define NETPROV_CLIENT_CLI_OBJECT_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/flags.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/metadata.pb.h"
#include "netprov/v1/namespace.pb.h"

namespace netprov::cli {

// What a call that changes something has besides its object, as typed.
struct Mutation {
  std::string request_id;
  bool validate_only = false;
  bool tolerant = false;  // --allow-existing, --allow-missing

  void AddOptions(CLI::App& app);

  template <typename Request>
  void AddTo(Request& request) const {
    request.set_request_id(request_id);
    request.set_validate_only(validate_only);
  }
};

// What an object has besides its shape, as typed.
struct MetadataFlags {
  std::vector<std::string> labels;
  std::string ttl;
  bool persistent = false;
  bool self_heal = false;

  void AddOptions(CLI::App& app);

  // nullopt where nothing was said. An error's message is for the user.
  absl::StatusOr<std::optional<v1::Metadata>> Interpret(const CLI::App& app,
                                                        const std::optional<std::string>& owner) const;
};

// What a namespace is like, as typed.
struct NamespaceFlags {
  std::vector<std::string> sysctls;
  std::vector<std::string> nameservers;
  std::vector<std::string> searches;
  std::vector<std::string> options;
  std::vector<std::string> hosts;

  void AddOptions(CLI::App& app);

  // An error's message is for the user.
  absl::Status AddDnsTo(v1::Namespace& ns) const;

  // An error's message is for the user.
  absl::Status AddTo(v1::Namespace& ns) const;
};

// What of the kernel's tables is to be listed, as typed.
class TableFilter {
 public:
  void AddInterface(CLI::App& app);
  void AddKind(CLI::App& app);
  void AddFamily(CLI::App& app);
  void AddTable(CLI::App& app);

  // An error's message is for the user. `name` is the namespace, empty for the host.
  absl::StatusOr<v1::ListLinksRequest> Links(const std::string& name) const;
  absl::StatusOr<v1::ListRoutesRequest> Routes(const std::string& name) const;
  template <typename Request>
  absl::StatusOr<Request> OfFamily(const std::string& name) const {
    Request request;
    SetWhere(name, request);
    if (family_ == "ipv4") {
      request.set_family(v1::IP_FAMILY_IPV4);
    } else if (family_ == "ipv6") {
      request.set_family(v1::IP_FAMILY_IPV6);
    } else if (!family_.empty()) {
      return absl::InvalidArgumentError("--family: must be ipv4 or ipv6, not `" + family_ + "`");
    }
    return request;
  }

 private:
  static constexpr uint32_t kMainTable = 254;   // RT_TABLE_MAIN
  static constexpr uint32_t kLocalTable = 255;  // RT_TABLE_LOCAL

  static bool IsNumber(const std::string& text) { return text.find_first_not_of("0123456789") == std::string::npos; }

  template <typename Request>
  void SetWhere(const std::string& name, Request& request) const {
    request.set_parent(name.empty() ? kHost : Name(kNamespaces, name));
    request.set_interface_name(interface_);
  }

  std::string interface_, kind_, family_;
  std::string table_ = "main";
};

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_OBJECT_FLAGS_H_
