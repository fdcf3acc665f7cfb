#include "server/api/errors.h"

#include <cerrno>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "netprov/v1/error_reason.pb.h"

namespace netprov::api {
namespace {

using engine::Error;
using engine::Reason;
using google::rpc::BadRequest;
using google::rpc::ErrorInfo;
using google::rpc::PreconditionFailure;
using google::rpc::QuotaFailure;
using google::rpc::ResourceInfo;
using google::rpc::RetryInfo;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

template <typename Detail>
std::optional<Detail> Get(const absl::Status& status) {
  const auto payload = status.GetPayload(absl::StrCat(kTypeUrlPrefix, Detail::descriptor()->full_name()));
  Detail detail;
  if (!payload.has_value() || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

std::map<std::string, std::string> MetadataOf(const absl::Status& status) {
  const std::optional<ErrorInfo> info = Get<ErrorInfo>(status);
  if (!info.has_value()) return {};
  return {info->metadata().begin(), info->metadata().end()};
}

constexpr Method kMethods[] = {Method::kCreateNamespace, Method::kGetNamespace,   Method::kListNamespaces,
                               Method::kDeleteNamespace, Method::kAdoptNamespace, Method::kReleaseNamespace,
                               Method::kCreateVeth,      Method::kGetVeth,        Method::kListVeths,
                               Method::kDeleteVeth};

constexpr Reason kReasons[] = {Reason::kRequestIdReused,
                               Reason::kNamespaceNotFound,
                               Reason::kNamespaceAlreadyExists,
                               Reason::kNamespaceNotManaged,
                               Reason::kNamespaceFileStale,
                               Reason::kNamespaceMissing,
                               Reason::kNamespaceBusy,
                               Reason::kObjectMissing,
                               Reason::kInvalidChange,
                               Reason::kNamespaceNotAdoptable,
                               Reason::kNamespaceInUse,
                               Reason::kDnsFileNotManaged,
                               Reason::kVethNotFound,
                               Reason::kVethAlreadyExists,
                               Reason::kDeviceNotFound,
                               Reason::kDeviceAlreadyExists,
                               Reason::kDeviceInUse,
                               Reason::kBridgeUnusable,
                               Reason::kLowerNotFound,
                               Reason::kDeviceRefused,
                               Reason::kInterfaceNameTaken,
                               Reason::kPortForwardTaken,
                               Reason::kPlaceNotFound,
                               Reason::kPlaceUnusable,
                               Reason::kKernel,
                               Reason::kRollbackFailed,
                               Reason::kRegistryFailed,
                               Reason::kQuotaExceeded,
                               Reason::kStopped};

Error KernelError(int code, const std::string& operation) {
  return {.reason = Reason::kKernel,
          .message = "create veth v failed",
          .object = "veths/v",
          .step = "create veth v",
          .kernel = netprov::KernelError{.code = code, .operation = operation, .extack = "because"}};
}

// Every status that the server can answer with, by all the ways that lead to one.
std::vector<absl::Status> AllStatuses() {
  std::vector<absl::Status> all = {InvalidFields({{.field = "name", .description = "must be set"}}),
                                   MalformedRequest({.field = "", .description = "the request is no message"}),
                                   QueueFull(),
                                   ShuttingDown(),
                                   DeadlineExceeded(),
                                   CallCancelled(),
                                   AuditFailed(),
                                   AccessDenied("uid:1000", "CreateVeth", "veths/v", "", "team=ci"),
                                   AccessDenied("uid:1000", "CreateVeth", "", "host", ""),
                                   CallLimitExceeded("uid:1000", "has too many calls under way", absl::Seconds(1))};
  for (Method method : kMethods) {
    for (Reason reason : kReasons)
      all.push_back(
          FromEngine(method, {.reason = reason,
                              .message = "m",
                              .object = "veths/v",
                              .invalid = {{.field = "veth.endpoint_a.mtu", .description = "must be larger"}}}));
    for (int code = 1; code < 134; ++code) {
      for (const char* operation :
           {"RTM_NEWLINK veth0", "RTM_NEWLINKPROP veth0", "RTM_SETLINK 7", "RTM_NEWADDR 10.0.0.1/24",
            "RTM_NEWROUTE 10.0.0.0/24", "duplicate address detection of ::1/128", "unshare(CLONE_NEWNET)",
            "open(/run/netns/x)", "sysctl net.ipv4.ip_forward", "table inet netprov is somebody else's",
            "NFT_MSG_NEWSETELEM masquerade"}) {
        all.push_back(FromEngine(method, KernelError(code, operation)));
      }
    }
  }
  return all;
}

// The codes of each reason.
using Table = std::map<std::string, std::set<std::string>>;

// The rows of docs/errors.md whose first cell is a reason.
Table ReadDocumentation() {
  std::ifstream file("docs/errors.md");
  EXPECT_TRUE(file.is_open());
  Table table;
  bool in_table = false;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "| Reason |")) in_table = true;
    if (line.empty()) in_table = false;
    if (!in_table || !absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    EXPECT_EQ(cells.size(), 6u) << line;
    auto unquote = [](absl::string_view cell) {
      cell = absl::StripAsciiWhitespace(cell);
      EXPECT_TRUE(absl::ConsumePrefix(&cell, "`") && absl::ConsumeSuffix(&cell, "`")) << cell;
      return std::string(cell);
    };
    std::set<std::string>& codes = table[unquote(cells[1])];
    EXPECT_TRUE(codes.empty()) << "twice: " << line;
    for (absl::string_view code : absl::StrSplit(cells[2], ',')) codes.insert(unquote(code));
  }
  return table;
}

TEST(ErrorReasonTest, EnumCodeAndDocumentationListTheSame) {
  Table returned;
  for (const absl::Status& status : AllStatuses()) {
    returned[ReasonOf(status)].insert(absl::StatusCodeToString(status.code()));
  }
  EXPECT_EQ(returned, ReadDocumentation());

  std::set<std::string> names;
  for (int number = 1; number < v1::ErrorReason_ARRAYSIZE; ++number) {
    ASSERT_TRUE(v1::ErrorReason_IsValid(number));
    names.insert(
        std::string(absl::StripPrefix(v1::ErrorReason_Name(static_cast<v1::ErrorReason>(number)), "ERROR_REASON_")));
  }
  std::set<std::string> reasons;
  for (const auto& [reason, codes] : returned) reasons.insert(reason);
  EXPECT_EQ(reasons, names);
}

TEST(ErrorDetailsTest, GoWithTheirCodes) {
  for (const absl::Status& status : AllStatuses()) {
    const std::optional<ErrorInfo> info = Get<ErrorInfo>(status);
    ASSERT_TRUE(info.has_value()) << status;
    EXPECT_EQ(info->domain(), "netprov.v1");
    EXPECT_FALSE(status.message().empty());
    const bool says_when = status.code() == absl::StatusCode::kUnavailable ||
                           ReasonOf(status) == "CALL_LIMIT_EXCEEDED" || ReasonOf(status) == "QUOTA_EXCEEDED";
    EXPECT_EQ(Get<RetryInfo>(status).has_value(), says_when) << status;
    EXPECT_EQ(Get<QuotaFailure>(status).has_value(), status.code() == absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(Get<PreconditionFailure>(status).has_value(), status.code() == absl::StatusCode::kFailedPrecondition)
        << status;
    if (status.code() == absl::StatusCode::kNotFound || status.code() == absl::StatusCode::kAlreadyExists) {
      EXPECT_TRUE(Get<ResourceInfo>(status).has_value()) << status;
    }
  }
}

TEST(ErrorTest, NotFoundNamesTheResourceAndTheFieldThatNamedIt) {
  Error error{.reason = Reason::kNamespaceNotFound,
              .message = "there is no network namespace 'my net'",
              .object = "namespaces/my net"};
  absl::Status status = FromEngine(Method::kGetNamespace, error);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "there is no network namespace 'my net'");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_type(), "netprov.v1.Namespace");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_name(), "namespaces/my%20net");
  EXPECT_FALSE(Get<BadRequest>(status).has_value());

  error.field = "endpoint_b.namespace";
  status = FromEngine(Method::kCreateVeth, error);
  EXPECT_EQ(Get<BadRequest>(status)->field_violations(0).field(), "veth.endpoint_b.namespace");
  EXPECT_EQ(ReasonOf(status), "NAMESPACE_NOT_FOUND");

  status = FromEngine(Method::kGetVeth, {.reason = Reason::kVethNotFound, .message = "m", .object = "veths/v"});
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_type(), "netprov.v1.Veth");
}

TEST(ErrorTest, AForeignNamespaceIsAlreadyExistsOnlyForItsCreation) {
  const Error error{.reason = Reason::kNamespaceNotManaged, .message = "m", .object = "namespaces/x"};
  EXPECT_EQ(FromEngine(Method::kCreateNamespace, error).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(FromEngine(Method::kDeleteNamespace, error).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(FromEngine(Method::kCreateVeth, error).code(), absl::StatusCode::kFailedPrecondition);
  const PreconditionFailure failure = *Get<PreconditionFailure>(FromEngine(Method::kDeleteNamespace, error));
  EXPECT_EQ(failure.violations(0).type(), "NAMESPACE_NOT_MANAGED");
  EXPECT_EQ(failure.violations(0).subject(), "namespaces/x");
}

TEST(ErrorTest, AlreadyExistsSaysWhetherTheSpecsMatch) {
  Error error{.reason = Reason::kVethAlreadyExists, .message = "m", .object = "veths/v", .specs_match = true};
  EXPECT_THAT(MetadataOf(FromEngine(Method::kCreateVeth, error)), ElementsAre(Pair("specs_match", "true")));
  error.specs_match = false;
  EXPECT_THAT(MetadataOf(FromEngine(Method::kCreateVeth, error)), ElementsAre(Pair("specs_match", "false")));
}

TEST(ErrorsTest, APortForwardThatIsTakenNamesItsHolder) {
  Error error{.reason = Reason::kPortForwardTaken,
              .message = "TCP port 80 is forwarded already, by veths/web",
              .object = "veths/v",
              .field = "endpoint_b.port_forwards[0]",
              .holder = "veths/web"};
  const absl::Status taken = FromEngine(Method::kCreateVeth, error);
  EXPECT_EQ(taken.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(taken), "PORT_FORWARD_TAKEN");
  EXPECT_THAT(MetadataOf(taken),
              UnorderedElementsAre(Pair("field", "veth.endpoint_b.port_forwards[0]"), Pair("holder", "veths/web")));
  error.holder.clear();
  EXPECT_THAT(MetadataOf(FromEngine(Method::kCreateVeth, error)),
              ElementsAre(Pair("field", "veth.endpoint_b.port_forwards[0]")));
}

TEST(ErrorTest, AnExceededQuotaSaysWhoseAndWhat) {
  engine::QuotaExcess excess{.quota = "links", .whose = "uid:1000", .limit = 10, .usage = 9, .added = 2};
  absl::Status status = FromEngine(Method::kCreateVeth, engine::QuotaExceeded("veths/v", excess));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "QUOTA_EXCEEDED");
  EXPECT_THAT(MetadataOf(status), UnorderedElementsAre(Pair("quota", "links"), Pair("limit", "10"), Pair("usage", "9"),
                                                       Pair("caller", "uid:1000")));
  const QuotaFailure::Violation violation = Get<QuotaFailure>(status)->violations(0);
  EXPECT_EQ(violation.subject(), "caller:uid:1000");
  EXPECT_EQ(violation.description(),
            "there may be at most 10 links at a time: 9 are there, and the call would add 2, counted for uid:1000");
  EXPECT_EQ(Get<RetryInfo>(status)->retry_delay().seconds(), 30);
  excess.added = 11;
  EXPECT_FALSE(Get<RetryInfo>(FromEngine(Method::kCreateVeth, engine::QuotaExceeded("veths/v", excess))).has_value())
      << "it is too much in any case";
  excess.added = 2;
  excess.quota = "total.links";
  excess.whose.clear();
  status = FromEngine(Method::kCreateVeth, engine::QuotaExceeded("veths/v", excess));
  EXPECT_EQ(Get<QuotaFailure>(status)->violations(0).subject(), "server");
  EXPECT_THAT(MetadataOf(status),
              UnorderedElementsAre(Pair("quota", "total.links"), Pair("limit", "10"), Pair("usage", "9")));
}

TEST(ErrorTest, ATakenNameIsNamedWithItsEnd) {
  const absl::Status status = FromEngine(Method::kCreateVeth, {.reason = Reason::kInterfaceNameTaken,
                                                               .message = "m",
                                                               .object = "veths/v",
                                                               .field = "endpoint_a.interface_name",
                                                               .interface_name = "h0"});
  EXPECT_THAT(MetadataOf(status),
              UnorderedElementsAre(Pair("field", "veth.endpoint_a.interface_name"), Pair("interface", "h0")));
  EXPECT_EQ(Get<BadRequest>(status)->field_violations(0).field(), "veth.endpoint_a.interface_name");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_name(), "h0");
}

TEST(ErrorTest, ALocationThatIsNoneNamesItsField) {
  const engine::NetnsPlace path{.path = "/run/x", .pid = 0};
  absl::Status status =
      FromEngine(Method::kCreateVeth,
                 engine::PlaceFailure(path, "endpoint_a", {.code = ENOENT, .operation = "open(/run/x)", .extack = {}}));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "LOCATION_NOT_FOUND");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_name(), "/run/x");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_type(), "network namespace");
  EXPECT_EQ(Get<BadRequest>(status)->field_violations(0).field(), "veth.endpoint_a.netns_path");

  const engine::NetnsPlace process{.path = "", .pid = 7};
  status = FromEngine(Method::kCreateVeth, engine::PlaceUnusable(process, "endpoint_b", "is in the host's namespace"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "LOCATION_UNUSABLE");
  EXPECT_EQ(status.message(), "process 7 is in the host's namespace");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_name(), "processes/7");
  EXPECT_EQ(Get<ResourceInfo>(status)->resource_type(), "network namespace");
  EXPECT_EQ(Get<PreconditionFailure>(status)->violations(0).subject(), "processes/7");
  EXPECT_EQ(MetadataOf(status).at("field"), "veth.endpoint_b.pid");
}

TEST(ErrorTest, ABusyNamespaceSaysWhoIsInside) {
  const absl::Status status =
      FromEngine(Method::kDeleteNamespace,
                 engine::NamespaceBusy("blue", {.count = 3, .first = {{.pid = 7, .command = "sh"}, {.pid = 9}}}));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "NAMESPACE_BUSY");
  EXPECT_EQ(status.message(),
            "the network namespace 'blue' has 3 processes inside: 7 sh, 9 and more; end them, or delete it by force");
  EXPECT_THAT(MetadataOf(status), UnorderedElementsAre(Pair("processes", "7 sh, 9"), Pair("process_count", "3")));
  EXPECT_EQ(Get<PreconditionFailure>(status)->violations(0).subject(), "namespaces/blue");
}

TEST(ErrorTest, DevicesAreNamedWithTheirType) {
  const absl::Status missing = FromEngine(Method::kGetBridge, engine::DeviceNotFound("bridges/br"));
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(missing), "DEVICE_NOT_FOUND");
  EXPECT_EQ(Get<ResourceInfo>(missing)->resource_type(), "netprov.v1.Bridge");
  EXPECT_EQ(Get<ResourceInfo>(missing)->resource_name(), "bridges/br");
  const absl::Status exists = FromEngine(Method::kCreateBridge, engine::DeviceAlreadyExists("bridges/br", true));
  EXPECT_EQ(exists.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(MetadataOf(exists), UnorderedElementsAre(Pair("specs_match", "true")));
  const absl::Status busy =
      FromEngine(Method::kDeleteBridge,
                 engine::DeviceInUse("bridges/br", {"veths/a", "veths/b", "veths/c", "veths/d", "veths/e", "veths/f"}));
  EXPECT_EQ(busy.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(busy.message(),
            "bridges/br has 6 ports: veths/a, veths/b, veths/c, veths/d, veths/e and more; delete them first");
  const absl::Status unusable = FromEngine(
      Method::kCreateVeth, engine::AtField(engine::BridgeUnusable("bridges/br", "is away"), "endpoint_a.bridge"));
  EXPECT_EQ(unusable.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(unusable), "BRIDGE_UNUSABLE");
  EXPECT_EQ(Get<BadRequest>(unusable)->field_violations(0).field(), "veth.endpoint_a.bridge");
  // One that is not netprov's is no resource, but a link.
  engine::Error foreign = engine::AtField(engine::BridgeUnusable("br-lan", "is away"), "bridge_interface");
  foreign.object = "links/br-lan";
  const absl::Status away = FromEngine(Method::kCreateDevice, foreign);
  EXPECT_EQ(away.message(), "the bridge br-lan is away");
  EXPECT_EQ(Get<ResourceInfo>(away)->resource_type(), "link");
  EXPECT_EQ(Get<ResourceInfo>(away)->resource_name(), "br-lan");
  EXPECT_EQ(Get<BadRequest>(away)->field_violations(0).field(), "device.bridge_interface");
  // Of the device itself, the fields stand in the request's `bridge`.
  const absl::Status taken = FromEngine(Method::kCreateBridge, engine::InterfaceNameTaken("bridges/br", "", "br0", ""));
  EXPECT_EQ(Get<BadRequest>(taken)->field_violations(0).field(), "bridge.interface_name");
}

TEST(ErrorTest, KernelErrorsAreReadByOperationAndErrno) {
  auto code = [](int error, const char* operation) {
    const absl::Status status = FromEngine(Method::kCreateVeth, KernelError(error, operation));
    return absl::StrCat(absl::StatusCodeToString(status.code()), " ", ReasonOf(status));
  };
  EXPECT_EQ(code(EPERM, "RTM_NEWLINK veth0"), "FAILED_PRECONDITION KERNEL_PERMISSION_DENIED");
  EXPECT_EQ(code(EOPNOTSUPP, "RTM_NEWLINK veth0"), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
  EXPECT_EQ(code(EEXIST, "RTM_NEWROUTE 10.0.0.0/8"), "ALREADY_EXISTS ROUTE_ALREADY_EXISTS");
  EXPECT_EQ(code(ENETUNREACH, "RTM_NEWROUTE 10.0.0.0/8"), "FAILED_PRECONDITION IP_CONFIG_REFUSED");
  EXPECT_EQ(code(EACCES, "RTM_NEWADDR ::1/128"), "FAILED_PRECONDITION IP_CONFIG_REFUSED");
  EXPECT_EQ(code(EACCES, "RTM_NEWLINK veth0"), "FAILED_PRECONDITION KERNEL_PERMISSION_DENIED");
  EXPECT_EQ(code(EOPNOTSUPP, "sysctl net.ipv4.x"), "FAILED_PRECONDITION SYSCTL_REFUSED");
  EXPECT_EQ(code(EACCES, "sysctl net.ipv4.x"), "FAILED_PRECONDITION SYSCTL_REFUSED");
  EXPECT_EQ(code(ERANGE, "sysctl net.ipv4.x"), "FAILED_PRECONDITION SYSCTL_REFUSED");
  EXPECT_EQ(code(ENFILE, "sysctl net.ipv4.x"), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
  EXPECT_EQ(code(ERANGE, "sysctls"), "INTERNAL KERNEL_REFUSED");
  EXPECT_EQ(code(EEXIST, "RTM_NEWLINKPROP veth0"), "ALREADY_EXISTS INTERFACE_NAME_TAKEN");
  EXPECT_EQ(code(EXFULL, "RTM_SETLINK 7"), "RESOURCE_EXHAUSTED BRIDGE_FULL");
  EXPECT_EQ(code(EADDRINUSE, "duplicate address detection of fe80::1/64"), "FAILED_PRECONDITION ADDRESS_DUPLICATE");
  EXPECT_EQ(code(EBUSY, "table inet netprov is somebody else's"), "FAILED_PRECONDITION NAT_TABLE_TAKEN");
  EXPECT_EQ(code(EEXIST, "NFT_MSG_NEWSETELEM x"), "FAILED_PRECONDITION ADDRESS_DUPLICATE");
  EXPECT_EQ(code(ENOPROTOOPT, "getsockopt(SO_NETNS_COOKIE)"), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
  EXPECT_EQ(code(EPFNOSUPPORT, "RTM_NEWLINK x0 type vxlan"), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
  EXPECT_EQ(code(ENODEV, "RTM_NEWLINK veth0"), "INTERNAL KERNEL_REFUSED");
  EXPECT_EQ(code(EINVAL, "unshare(CLONE_NEWNET)"), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
  EXPECT_EQ(code(EINVAL, "unshared(x)"), "INTERNAL KERNEL_REFUSED");
  EXPECT_EQ(code(EINVAL, ""), "INTERNAL KERNEL_REFUSED");
  EXPECT_EQ(code(ENOSPC, "mount(/run/netns/x)"), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
  EXPECT_EQ(code(ENOMEM, "RTM_NEWLINK veth0"), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
  // What absl::ErrnoToStatusCode would call retryable, or already there.
  EXPECT_EQ(code(ENETUNREACH, "RTM_GETROUTE"), "INTERNAL KERNEL_REFUSED");
  EXPECT_EQ(code(EADDRNOTAVAIL, "RTM_NEWLINK veth0"), "INTERNAL KERNEL_REFUSED");
  EXPECT_EQ(code(EBUSY, "umount2"), "INTERNAL KERNEL_REFUSED");
}

TEST(ErrorTest, KernelErrorsKeepTheKernelsWords) {
  EXPECT_THAT(MetadataOf(FromEngine(Method::kCreateVeth, KernelError(EINVAL, "RTM_NEWLINK veth0"))),
              UnorderedElementsAre(Pair("errno", "EINVAL"), Pair("operation", "RTM_NEWLINK veth0"),
                                   Pair("extack", "because"), Pair("step", "create veth v")));
}

TEST(ErrorTest, AMissingFeatureIsNamed) {
  Error error = KernelError(EOPNOTSUPP, "RTM_NEWLINK x0 type vlan");
  error.kernel->extack = "Unknown device type";
  const absl::Status status = FromEngine(Method::kCreateDevice, error);
  EXPECT_EQ(MetadataOf(status)["feature"], "CONFIG_VLAN_8021Q");
  EXPECT_EQ(status.message(), "the kernel has no CONFIG_VLAN_8021Q: create veth v failed");
  // Always, and with this reason alone.
  for (const absl::Status& any : AllStatuses()) {
    EXPECT_EQ(MetadataOf(any).contains("feature"), ReasonOf(any) == "KERNEL_FEATURE_MISSING") << any;
  }
}

TEST(ErrorTest, AFailedRollbackSaysWhatIsLeft) {
  Error error = KernelError(EIO, "RTM_NEWLINK veth0");
  error.reason = Reason::kRollbackFailed;
  error.residue = "create veth v: RTM_DELLINK: EBUSY";
  EXPECT_EQ(MetadataOf(FromEngine(Method::kCreateVeth, error))["residue"], "create veth v: RTM_DELLINK: EBUSY");
}

TEST(ErrorTest, InvalidFieldsTellsAll) {
  const absl::Status status =
      InvalidFields({{.field = "a", .description = "must be x"}, {.field = "b", .description = "must be y"}});
  EXPECT_EQ(status.message(), "a must be x (and 1 more)");
  const BadRequest bad = *Get<BadRequest>(status);
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(1).field(), "b");
  EXPECT_EQ(bad.field_violations(1).description(), "must be y");
}

// gRPC drops a call whose trailing metadata exceed 8 KiB, which would hide the error.
TEST(ErrorTest, IsSmallAndPrintableWhateverItHolds) {
  const std::string hostile(100000, '\xff');
  Error error{.reason = Reason::kRollbackFailed,
              .message = hostile,
              .object = absl::StrCat("namespaces/", std::string(255, '\xff')),
              .field = "endpoint_a.interface_name",
              .step = hostile,
              .kernel = netprov::KernelError{.code = 99999, .operation = hostile, .extack = hostile},
              .specs_match = false,
              .interface_name = hostile,
              .residue = hostile,
              .excess = engine::QuotaExcess{.quota = "links", .whose = hostile},
              .invalid = {{.field = "veth.metadata.labels", .description = std::string(200, 'x')}}};
  std::vector<absl::Status> statuses;
  for (Reason reason : kReasons) {
    error.reason = reason;
    for (Method method : kMethods) statuses.push_back(FromEngine(method, error));
  }
  statuses.push_back(MalformedRequest({.field = "name", .description = hostile}));
  statuses.push_back(CallLimitExceeded(hostile, "makes too many calls", absl::Seconds(1)));
  statuses.push_back(InvalidFields(std::vector<FieldViolation>(
      12, {.field = "veth.endpoint_a.interface_name", .description = std::string(200, 'x')})));
  for (const absl::Status& status : statuses) {
    size_t bytes = status.message().size();
    status.ForEachPayload(
        [&](absl::string_view url, const absl::Cord& payload) { bytes += url.size() + payload.size() + 8; });
    // The details travel in base64, beside the message.
    EXPECT_LT(status.message().size() + (bytes + 2) / 3 * 4, 7500u) << status.message().substr(0, 100);
    for (char c : status.message()) ASSERT_TRUE(absl::ascii_isprint(c));
  }
}

TEST(ReasonOfTest, IsEmptyWithoutOne) {
  EXPECT_EQ(ReasonOf(absl::OkStatus()), "");
  EXPECT_EQ(ReasonOf(absl::InternalError("x")), "");
}

TEST(ErrorsTest, ManyViolationsStillFitIntoTheTrailers) {
  std::vector<FieldViolation> violations;
  for (int i = 0; i < 100; ++i) violations.push_back({.field = "labels", .description = std::string(400, 'x')});
  const absl::Status status = InvalidFields(violations);
  google::rpc::BadRequest bad;
  ASSERT_TRUE(bad.ParseFromString(std::string(*status.GetPayload("type.googleapis.com/google.rpc.BadRequest"))));
  EXPECT_EQ(bad.field_violations_size(), 12);
  EXPECT_NE(status.message().find("(and 99 more)"), absl::string_view::npos);
}

TEST(ErrorsTest, Devices) {
  const absl::Status nowhere = FromEngine(Method::kCreateDevice, engine::LowerNotFound("devices/d", "eth0", "blue"));
  EXPECT_EQ(ReasonOf(nowhere), "LOWER_INTERFACE_NOT_FOUND");
  EXPECT_EQ(nowhere.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Get<ResourceInfo>(nowhere)->resource_type(), "netprov.v1.Device");
  EXPECT_EQ(MetadataOf(nowhere)["field"], "device.lower_interface");
  Error refusal = KernelError(EBUSY, "RTM_NEWLINK m0 type macvlan");
  refusal.object = "devices/d";
  const absl::Status refused = FromEngine(Method::kCreateDevice, engine::DeviceRefused(refusal));
  EXPECT_EQ(ReasonOf(refused), "DEVICE_REFUSED");
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(MetadataOf(refused)["errno"], "EBUSY");
  EXPECT_EQ(MetadataOf(refused)["extack"], "because");
  // A field of a device's, whatever the error is about.
  Error lower = engine::NamespaceNotFound("blue");
  lower.field = "lower_namespace";
  EXPECT_EQ(MetadataOf(FromEngine(Method::kCreateDevice, lower))["field"], "device.lower_namespace");
}

}  // namespace
}  // namespace netprov::api
