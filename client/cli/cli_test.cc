#include "client/cli/cli.h"

#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/mock_connection.h"
#include "client/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::DoAll;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Property;
using ::testing::Return;
using ::testing::SaveArg;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::StrictMock;

constexpr char kSocket[] = "/run/netprov/netprovd.sock";
constexpr char kDefault[] = "unix:///run/netprov/netprovd.sock";

class CliTest : public ::testing::Test {
 protected:
  // A daemon listens at the default socket, unless a test says otherwise.
  int RunCli(const std::vector<std::string>& arguments) {
    Environment environment;
    environment.out = &out_;
    environment.err = &err_;
    environment.getenv = [this](const std::string& name) -> std::optional<std::string> {
      const auto it = variables_.find(name);
      if (it == variables_.end()) return std::nullopt;
      return it->second;
    };
    environment.now = [] { return absl::FromUnixSeconds(1000); };
    environment.is_listening = [this](const std::string& path) -> absl::StatusOr<bool> {
      EXPECT_EQ(path, kSocket);
      EXPECT_FALSE(listening_.empty());
      const absl::StatusOr<bool> answer = listening_.front();
      if (listening_.size() > 1) listening_.erase(listening_.begin());
      return answer;
    };
    environment.connect = [this](const std::string& endpoint, const client::TlsOptions& tls) {
      asked_.push_back("connect " + endpoint);
      tls_ = tls;
      return absl::StatusOr<std::shared_ptr<client::Connection>>(std::exchange(connection_, nullptr));
    };
    environment.serve = [this](const std::string& state_dir,
                               absl::Duration wait) -> absl::StatusOr<std::shared_ptr<client::Connection>> {
      asked_.push_back("serve " + state_dir + " " + absl::FormatDuration(wait));
      if (!serve_.ok()) return serve_;
      return std::exchange(connection_, nullptr);
    };
    environment.exec = [this](const ExecRequest& request) {
      EXPECT_TRUE(alive_.expired()) << "the connection must be gone before";
      executed_.push_back(request);
      return exec_failure_;
    };
    return cli::Run(arguments, environment);
  }

  client::MockConnection& mock() { return *mock_; }

  v1::Namespace Namespace(const std::string& id) {
    v1::Namespace ns;
    ns.set_name("namespaces/" + id);
    ns.set_state(v1::Namespace::STATE_READY);
    ns.set_path("/run/netns/" + id);
    ns.set_cookie(77);
    return ns;
  }

  v1::Veth Veth() {
    v1::Veth veth;
    veth.set_name("veths/veth-host");
    veth.set_state(v1::Veth::STATE_READY);
    veth.mutable_endpoint_a()->mutable_host();
    veth.mutable_endpoint_a()->set_interface_name("veth-host");
    veth.mutable_endpoint_b()->set_namespace_("namespaces/test-ns");
    veth.mutable_endpoint_b()->set_interface_name("veth0");
    return veth;
  }

  std::ostringstream out_;
  std::ostringstream err_;
  std::map<std::string, std::string> variables_;
  std::vector<absl::StatusOr<bool>> listening_ = {true};
  absl::Status serve_;
  std::vector<std::string> asked_;
  client::TlsOptions tls_;  // of the last connection
  std::vector<ExecRequest> executed_;
  ExecFailure exec_failure_ = {.exit_code = 127, .message = "ls: No such file or directory"};

 private:
  std::shared_ptr<StrictMock<client::MockConnection>> connection_ =
      std::make_shared<StrictMock<client::MockConnection>>();
  StrictMock<client::MockConnection>* const mock_ = connection_.get();

 protected:
  const std::weak_ptr<client::Connection> alive_ = connection_;
};

TEST_F(CliTest, CreateNamespace) {
  EXPECT_CALL(mock(), CreateNamespace(Property(&v1::CreateNamespaceRequest::namespace_id, "test-ns"), _))
      .WillOnce(Return(Namespace("test-ns")));
  EXPECT_EQ(RunCli({"net", "create", "test-ns"}), 0);
  EXPECT_EQ(out_.str(), "Created network namespace: test-ns\n");
  EXPECT_EQ(err_.str(), "");
  EXPECT_THAT(asked_, ElementsAre(std::string("connect ") + kDefault));
}

TEST_F(CliTest, CreateNamespaceAsJson) {
  EXPECT_CALL(mock(), CreateNamespace).WillOnce(Return(Namespace("test-ns")));
  EXPECT_EQ(RunCli({"net", "create", "test-ns", "-o", "json"}), 0);
  EXPECT_EQ(out_.str(), R"({
  "name": "namespaces/test-ns",
  "uid": "",
  "managed": false,
  "state": "STATE_READY",
  "path": "/run/netns/test-ns",
  "cookie": "77",
  "deviations": [],
  "sysctls": {},
  "adopted": false
}
)");
}

TEST_F(CliTest, CreateNamespaceTolerantly) {
  EXPECT_CALL(mock(), CreateNamespace(Property(&v1::CreateNamespaceRequest::allow_existing, true), _))
      .WillOnce(Return(Namespace("test-ns")));
  EXPECT_EQ(RunCli({"net", "create", "test-ns", "--allow-existing"}), 0);
  EXPECT_EQ(out_.str(), "Network namespace is there: test-ns\n");
}

TEST_F(CliTest, ValidationSaysWhatWouldHappen) {
  EXPECT_CALL(mock(), CreateNamespace(Property(&v1::CreateNamespaceRequest::validate_only, true), _))
      .WillOnce(Return(Namespace("test-ns")));
  EXPECT_EQ(RunCli({"net", "create", "test-ns", "--validate-only"}), 0);
  EXPECT_EQ(out_.str(), "Would create network namespace: test-ns\n");
}

TEST_F(CliTest, MutationsCarryARequestIdAndAreNotRetried) {
  client::CallOptions options;
  EXPECT_CALL(mock(), CreateNamespace(Property(&v1::CreateNamespaceRequest::request_id, SizeIs(36)), _))
      .WillOnce(DoAll(SaveArg<1>(&options), Return(Namespace("a"))));
  EXPECT_EQ(RunCli({"net", "create", "a", "--timeout", "7s"}), 0);
  EXPECT_EQ(options.timeout, absl::Seconds(7));
  EXPECT_FALSE(options.retry) << "a person hears at once that nobody answers";
}

TEST_F(CliTest, DeleteNamespace) {
  EXPECT_CALL(mock(), DeleteNamespace(Property(&v1::DeleteNamespaceRequest::name, "namespaces/test-ns"), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "delete", "test-ns"}), 0);
  EXPECT_EQ(out_.str(), "Deleted network namespace: test-ns\n");
}

TEST_F(CliTest, DeleteNamespaceTolerantly) {
  EXPECT_CALL(mock(), DeleteNamespace(Property(&v1::DeleteNamespaceRequest::allow_missing, true), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "delete", "test-ns", "--allow-missing"}), 0);
  EXPECT_EQ(out_.str(), "Network namespace is gone: test-ns\n");
}

TEST_F(CliTest, AdoptNamespace) {
  EXPECT_CALL(mock(), AdoptNamespace(Property(&v1::AdoptNamespaceRequest::name, "namespaces/lab"), _))
      .WillOnce(Return(Namespace("lab")));
  EXPECT_EQ(RunCli({"net", "adopt", "lab"}), 0);
  EXPECT_EQ(out_.str(), "Adopted network namespace: lab\n");
}

TEST_F(CliTest, ReleaseNamespaceTolerantly) {
  EXPECT_CALL(mock(), ReleaseNamespace(Property(&v1::ReleaseNamespaceRequest::allow_missing, true), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "release", "lab", "--allow-missing"}), 0);
  EXPECT_EQ(out_.str(), "Network namespace is not managed: lab\n");
}

TEST_F(CliTest, DeleteAsName) {
  EXPECT_CALL(mock(), DeleteNamespace).WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "delete", "test-ns", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "namespaces/test-ns\n");
}

TEST_F(CliTest, ListAndShowNamespaces) {
  v1::ListNamespacesResponse response;
  *response.add_namespaces() = Namespace("a");
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
  EXPECT_EQ(out_.str(),
            "NAME  STATE  MANAGED  OWNER  CREATED\n"
            "a     READY  no       -      -\n");
}

TEST_F(CliTest, ShowNamespace) {
  EXPECT_CALL(mock(), GetNamespace(Property(&v1::GetNamespaceRequest::name, "namespaces/a"), _))
      .WillOnce(Return(Namespace("a")));
  EXPECT_CALL(mock(), ListVeths).WillOnce(Return(v1::ListVethsResponse()));
  EXPECT_CALL(mock(), ListBridges).WillOnce(Return(v1::ListBridgesResponse()));
  EXPECT_CALL(mock(), ListDevices).WillOnce(Return(v1::ListDevicesResponse()));
  EXPECT_EQ(RunCli({"net", "show", "a", "-o", "yaml"}), 0);
  EXPECT_THAT(out_.str(),
              AllOf(StartsWith("name: \"namespaces/a\"\n"), EndsWith("veths: []\nbridges: []\ndevices: []\n")));
}

TEST_F(CliTest, ShowNamespaceLooksForItsLinksOnAllPages) {
  v1::ListVethsResponse first;
  *first.add_veths() = Veth();
  first.mutable_veths(0)->mutable_endpoint_b()->set_namespace_("namespaces/other");
  first.set_next_page_token("more");
  v1::ListVethsResponse second;
  *second.add_veths() = Veth();
  second.mutable_veths(0)->mutable_endpoint_b()->add_addresses()->set_address("10.0.0.2/24");
  EXPECT_CALL(mock(), GetNamespace).WillOnce(Return(Namespace("test-ns")));
  EXPECT_CALL(mock(), ListVeths(Property(&v1::ListVethsRequest::page_token, ""), _)).WillOnce(Return(first));
  EXPECT_CALL(mock(), ListVeths(Property(&v1::ListVethsRequest::page_token, "more"), _)).WillOnce(Return(second));
  EXPECT_CALL(mock(), ListBridges).WillOnce(Return(v1::ListBridgesResponse()));
  EXPECT_CALL(mock(), ListDevices).WillOnce(Return(v1::ListDevicesResponse()));
  EXPECT_EQ(RunCli({"net", "show", "test-ns"}), 0);
  EXPECT_EQ(out_.str(),
            "NAME     STATE  MANAGED  CREATED  PATH\n"
            "test-ns  READY  no       -        /run/netns/test-ns\n"
            "\n"
            "Cookie:      77\n"
            "\n"
            "INTERFACE  PAIR       STATE  ADMIN  MAC  MTU  PEER       PEER-LOCATION\n"
            "veth0      veth-host  READY  UP     -    -    veth-host  (host)\n"
            "\n"
            "veth0\n"
            "  Addresses:   10.0.0.2/24\n");
}

TEST_F(CliTest, ShowNamespaceAsNameNeedsNoLinks) {
  EXPECT_CALL(mock(), GetNamespace).WillOnce(Return(Namespace("a")));
  EXPECT_EQ(RunCli({"net", "show", "a", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "namespaces/a\n");
}

TEST_F(CliTest, ShowNamespaceFailsWhereItsLinksCannotBeRead) {
  EXPECT_CALL(mock(), GetNamespace).WillOnce(Return(Namespace("a")));
  EXPECT_CALL(mock(), ListVeths).WillOnce(Return(absl::InternalError("the disk is full")));
  EXPECT_EQ(RunCli({"net", "show", "a"}), 64 + 13);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(), "contain: the disk is full\n");
}

TEST_F(CliTest, CreateVeth) {
  EXPECT_CALL(mock(), CreateVeth(Property(&v1::CreateVethRequest::veth_id, "veth-host"), _)).WillOnce(Return(Veth()));
  EXPECT_EQ(RunCli({"net", "veth", "--host", "veth-host", "--ns", "test-ns"}), 0);
  EXPECT_EQ(out_.str(), "Created veth pair: veth-host <-> veth0 (in test-ns)\n");
}

TEST_F(CliTest, CreateAWorkingNetwork) {
  v1::CreateVethRequest request;
  EXPECT_CALL(mock(), CreateVeth).WillOnce(DoAll(SaveArg<0>(&request), Return(Veth())));
  EXPECT_EQ(RunCli({"net", "veth", "--host", "veth-host", "--ns", "test-ns", "--address", "10.0.0.2/24",
                    "--host-address", "10.0.0.1/24", "--gateway", "10.0.0.1"}),
            0);
  EXPECT_EQ(request.veth().endpoint_a().addresses(0).address(), "10.0.0.1/24");
  EXPECT_EQ(request.veth().endpoint_b().addresses(0).address(), "10.0.0.2/24");
  EXPECT_EQ(request.veth().endpoint_b().gateways(0), "10.0.0.1");
  EXPECT_EQ(out_.str(), "Created veth pair: veth-host <-> veth0 (in test-ns)\n");
}

TEST_F(CliTest, WrongRouteIsAUsageErrorAndAsksNobody) {
  EXPECT_EQ(RunCli({"net", "veth", "--host", "h", "--ns", "a", "--route", "10.1.0.0/16 via"}), 2);
  EXPECT_THAT(err_.str(), StartsWith("contain: --route: `via` lacks its value, in `10.1.0.0/16 via`\n"));
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(CliTest, CreateVethTolerantlyAndForTrial) {
  EXPECT_CALL(mock(), CreateVeth).WillOnce(Return(Veth()));
  EXPECT_EQ(RunCli({"net", "veth", "--host", "veth-host", "--ns", "test-ns", "--allow-existing"}), 0);
  EXPECT_EQ(out_.str(), "Veth pair is there: veth-host <-> veth0 (in test-ns)\n");
}

TEST_F(CliTest, ListShowAndDeleteVeths) {
  v1::ListVethsResponse response;
  *response.add_veths() = Veth();
  EXPECT_CALL(mock(), ListVeths).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "veth", "list", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "veths/veth-host\n");
}

TEST_F(CliTest, ShowVeth) {
  EXPECT_CALL(mock(), GetVeth(Property(&v1::GetVethRequest::name, "veths/veth-host"), _)).WillOnce(Return(Veth()));
  EXPECT_EQ(RunCli({"net", "veth", "show", "veth-host"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("veth-host  READY  b    veth0      test-ns"));
}

TEST_F(CliTest, DeleteVeth) {
  EXPECT_CALL(mock(), DeleteVeth(Property(&v1::DeleteVethRequest::name, "veths/veth-host"), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "veth", "delete", "veth-host"}), 0);
  EXPECT_EQ(out_.str(), "Deleted veth pair: veth-host\n");
}

TEST_F(CliTest, CreateDevice) {
  v1::Device device;
  device.set_name("devices/m0");
  device.set_interface_name("m0");
  device.set_namespace_("namespaces/blue");
  device.mutable_macvlan();
  EXPECT_CALL(mock(), CreateDevice(Property(&v1::CreateDeviceRequest::device_id, "m0"), _)).WillOnce(Return(device));
  EXPECT_EQ(RunCli({"net", "device", "create", "m0", "--kind", "macvlan", "--lower", "eth0", "--ns", "blue"}), 0);
  EXPECT_EQ(out_.str(), "Created device: macvlan m0 (in blue)\n");
}

TEST_F(CliTest, DeleteDevice) {
  EXPECT_CALL(mock(), DeleteDevice(Property(&v1::DeleteDeviceRequest::name, "devices/m0"), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "device", "delete", "m0"}), 0);
  EXPECT_EQ(out_.str(), "Deleted device: m0\n");
}

TEST_F(CliTest, Bridges) {
  v1::Bridge bridge;
  bridge.set_name("bridges/br0");
  bridge.set_state(v1::Bridge::STATE_READY);
  bridge.set_interface_name("br0");
  bridge.mutable_host();
  EXPECT_CALL(mock(), CreateBridge(Property(&v1::CreateBridgeRequest::bridge_id, "br0"), _)).WillOnce(Return(bridge));
  EXPECT_EQ(RunCli({"net", "bridge", "create", "br0"}), 0);
  EXPECT_EQ(out_.str(), "Created bridge: br0\n");
}

TEST_F(CliTest, Updates) {
  v1::Bridge bridge;
  bridge.set_name("bridges/br0");
  bridge.set_interface_name("br0");
  bridge.mutable_host();
  EXPECT_CALL(mock(), UpdateBridge).WillOnce(Return(bridge));
  EXPECT_EQ(RunCli({"net", "set", "bridges/br0", "stp=yes"}), 0);
  EXPECT_EQ(out_.str(), "Updated bridge: br0\n");
}

TEST_F(CliTest, AnUpdateOfADevice) {
  v1::Device device;
  device.set_name("devices/x0");
  device.set_interface_name("x0");
  device.mutable_host();
  device.mutable_vxlan();
  EXPECT_CALL(mock(), UpdateDevice).WillOnce(Return(device));
  EXPECT_EQ(RunCli({"net", "set", "devices/x0", "vxlan.ttl=9"}), 0);
  EXPECT_EQ(out_.str(), "Updated device: vxlan x0\n");
}

TEST_F(CliTest, AnUpdateForTrial) {
  v1::Namespace ns;
  ns.set_name("namespaces/blue");
  EXPECT_CALL(mock(), UpdateNamespace).WillOnce(Return(ns));
  EXPECT_EQ(RunCli({"net", "set", "blue", "metadata.labels=a=b", "--validate-only"}), 0);
  EXPECT_EQ(out_.str(), "Would update network namespace: blue\n");
}

TEST_F(CliTest, ABridgeThatIsThereAnyway) {
  v1::Bridge bridge;
  bridge.set_name("bridges/lan");
  bridge.set_interface_name("br7");
  bridge.set_namespace_("namespaces/blue");
  EXPECT_CALL(mock(), CreateBridge(Property(&v1::CreateBridgeRequest::allow_existing, true), _))
      .WillOnce(Return(bridge));
  EXPECT_EQ(RunCli({"net", "bridge", "create", "lan", "--ns", "blue", "--allow-existing"}), 0);
  EXPECT_EQ(out_.str(), "Bridge is there: br7 (in blue)\n");
}

TEST_F(CliTest, ListShowAndDeleteBridges) {
  v1::ListBridgesResponse response;
  response.add_bridges()->set_name("bridges/br0");
  EXPECT_CALL(mock(), ListBridges).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "bridge", "list", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "bridges/br0\n");
}

TEST_F(CliTest, ShowBridge) {
  v1::Bridge bridge;
  bridge.set_name("bridges/br0");
  EXPECT_CALL(mock(), GetBridge(Property(&v1::GetBridgeRequest::name, "bridges/br0"), _)).WillOnce(Return(bridge));
  EXPECT_EQ(RunCli({"net", "bridge", "show", "bridges/br0", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "bridges/br0\n");
}

TEST_F(CliTest, DeleteBridge) {
  EXPECT_CALL(mock(), DeleteBridge(Property(&v1::DeleteBridgeRequest::name, "bridges/br0"), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_EQ(RunCli({"net", "bridge", "delete", "br0"}), 0);
  EXPECT_EQ(out_.str(), "Deleted bridge: br0\n");
}

TEST_F(CliTest, EveryCallCarriesTheOwner) {
  variables_["NETPROV_OWNER"] = "ci";
  EXPECT_CALL(mock(), ListNamespaces(_, Field(&client::CallOptions::owner, "ci")))
      .WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
}

TEST_F(CliTest, OwnerFlagComesBeforeTheVariable) {
  variables_["NETPROV_OWNER"] = "ci";
  v1::CreateNamespaceRequest request;
  EXPECT_CALL(mock(), CreateNamespace(_, Field(&client::CallOptions::owner, "lab")))
      .WillOnce(DoAll(SaveArg<0>(&request), Return(Namespace("a"))));
  EXPECT_EQ(RunCli({"net", "create", "a", "--owner", "lab"}), 0);
  EXPECT_EQ(request.namespace_().metadata().owner(), "lab");
  EXPECT_EQ(out_.str(), "Created network namespace: a\n");
}

TEST_F(CliTest, WrongOwnerVariableIsAUsageError) {
  variables_["NETPROV_OWNER"] = "a b";
  EXPECT_EQ(RunCli({"net", "list"}), 2);
  EXPECT_THAT(err_.str(), StartsWith("contain: NETPROV_OWNER: must be"));
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(CliTest, ListShowsWhenLeasesEnd) {
  v1::ListNamespacesResponse response;
  *response.add_namespaces() = Namespace("a");
  response.mutable_namespaces(0)->mutable_metadata()->set_owner("ci");
  response.mutable_namespaces(0)->mutable_metadata()->mutable_expire_time()->set_seconds(1090);
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
  EXPECT_EQ(out_.str(),
            "NAME  STATE  MANAGED  OWNER  CREATED  EXPIRES\n"
            "a     READY  no       ci     -        1m30s\n");
}

TEST_F(CliTest, Renew) {
  v1::RenewLeaseResponse response;
  response.set_renewed(2);
  response.mutable_expire_time()->set_seconds(1299);
  response.mutable_expire_time()->set_nanos(999'999'999);
  EXPECT_CALL(mock(), RenewLease(Property(&v1::RenewLeaseRequest::owner, "ci"), _)).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "renew", "--owner", "ci"}), 0);
  EXPECT_EQ(out_.str(), "Renewed 2 leases of ci; the first expires in 4m59s\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, GcSaysThatItDeletedNothing) {
  v1::CollectGarbageResponse response;
  response.add_deleted("veths/v1");
  response.add_deleted("namespaces/old");
  EXPECT_CALL(mock(), CollectGarbage(Property(&v1::CollectGarbageRequest::validate_only, true), _))
      .WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "gc", "--owner", "ci"}), 0);
  EXPECT_EQ(out_.str(), "veths/v1\nnamespaces/old\n");
  EXPECT_EQ(err_.str(), "contain: nothing was deleted; repeat the command with --apply to delete\n");
}

TEST_F(CliTest, GcDeletes) {
  v1::CollectGarbageResponse response;
  response.add_deleted("namespaces/old");
  EXPECT_CALL(mock(), CollectGarbage(Property(&v1::CollectGarbageRequest::validate_only, false), _))
      .WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "gc", "--owner", "ci", "--apply"}), 0);
  EXPECT_EQ(out_.str(), "namespaces/old\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, GcFailsWhereSomethingStays) {
  v1::CollectGarbageResponse response;
  response.add_deleted("namespaces/old");
  v1::CollectGarbageResponse::Failure& failure = *response.add_failures();
  failure.set_name("namespaces/blue");
  failure.set_message("veths/v1 ends in it\x1b");
  EXPECT_CALL(mock(), CollectGarbage).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "gc", "--owner", "ci", "--apply"}), 1);
  EXPECT_EQ(out_.str(), "namespaces/old\n");
  EXPECT_EQ(err_.str(), "contain: namespaces/blue was not deleted: veths/v1 ends in it\\x1b\n");
}

TEST_F(CliTest, GcForetellsWhatWillStay) {
  v1::CollectGarbageResponse response;
  response.add_failures()->set_name("namespaces/blue");
  response.mutable_failures(0)->set_message("veths/v1 ends in it");
  EXPECT_CALL(mock(), CollectGarbage).WillOnce(Return(response));
  EXPECT_EQ(RunCli({"net", "gc", "--owner", "ci"}), 1);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(),
            "contain: namespaces/blue would not be deleted: veths/v1 ends in it\n"
            "contain: nothing was deleted; repeat the command with --apply to delete\n");
}

TEST_F(CliTest, GcWithoutGarbageSaysSo) {
  EXPECT_CALL(mock(), CollectGarbage).WillOnce(Return(v1::CollectGarbageResponse()));
  EXPECT_EQ(RunCli({"net", "gc", "--owner", "ci"}), 0);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(), "contain: there is nothing of ci's to delete\n");
}

TEST_F(CliTest, DoctorShowsTheReport) {
  EXPECT_CALL(mock(), GetHostReport).WillOnce(Return(v1::HostReport()));
  EXPECT_EQ(RunCli({"net", "doctor"}), 0);
  EXPECT_EQ(out_.str(),
            "Checked: 0 objects compared\n"
            "The registry can be written\n"
            "Nothing needs attention\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, WhoAmISaysWhoAndWhat) {
  v1::WhoAmIResponse answer;
  answer.mutable_identity()->set_name("cn:ci");
  answer.mutable_identity()->set_peer("192.0.2.7:5");
  EXPECT_CALL(mock(), WhoAmI).WillOnce(Return(answer));
  EXPECT_EQ(RunCli({"whoami"}), 0);
  EXPECT_EQ(out_.str(),
            "You are cn:ci, calling from 192.0.2.7:5\n"
            "You may do nothing here but ask who you are\n");
}

TEST_F(CliTest, TlsIsAsTypedAndElseAsTheEnvironmentSays) {
  variables_ = {{"NETPROV_TLS_CA", "env-ca"},
                {"NETPROV_TLS_CERT", "env-cert"},
                {"NETPROV_TLS_KEY", "env-key"},
                {"NETPROV_TLS_SERVER_NAME", "env-name"}};
  EXPECT_CALL(mock(), WhoAmI).WillOnce(Return(v1::WhoAmIResponse()));
  EXPECT_EQ(RunCli({"--endpoint", "host:1", "--tls-ca", "ca", "--tls-cert", "cert", "whoami"}), 0);
  EXPECT_EQ(tls_, (client::TlsOptions{.ca = "ca", .certificate = "cert", .key = "env-key", .server_name = "env-name"}));
}

TEST_F(CliTest, TheEnvironmentsTlsIsNotForAUnixSocket) {
  variables_ = {{"NETPROV_TLS_CA", "env-ca"}};
  EXPECT_CALL(mock(), WhoAmI).WillOnce(Return(v1::WhoAmIResponse()));
  EXPECT_EQ(RunCli({"--endpoint", "unix:///run/x", "whoami"}), 0);
  EXPECT_TRUE(tls_.is_empty());
}

TEST_F(CliTest, PkiNeedsNoServer) {
  const std::string directory = ::testing::TempDir() + "/cli_pki";
  std::filesystem::remove_all(directory);
  EXPECT_EQ(RunCli({"pki", "init", "--dir", directory, "--client", "ci"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("Wrote " + directory + "/ca.pem\n"));
  EXPECT_THAT(asked_, ElementsAre());
  EXPECT_EQ(RunCli({"pki", "init", "--dir", directory}), 64 + 6);
  EXPECT_THAT(err_.str(), HasSubstr("ca-key.pem is there already"));
}

TEST_F(CliTest, DoctorFailsWhereSomethingNeedsAttention) {
  v1::HostReport report;
  report.add_findings()->set_kind(v1::Finding::KIND_MISSING);
  EXPECT_CALL(mock(), CheckHost(Property(&v1::CheckHostRequest::validate_only, false), _)).WillOnce(Return(report));
  EXPECT_EQ(RunCli({"net", "doctor", "--check", "-o", "json"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("\"kind\": \"KIND_MISSING\""));
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, DoctorCanLookOnly) {
  EXPECT_CALL(mock(), CheckHost(Property(&v1::CheckHostRequest::validate_only, true), _))
      .WillOnce(Return(v1::HostReport()));
  EXPECT_EQ(RunCli({"net", "doctor", "--check", "--look-only"}), 0);
}

TEST_F(CliTest, ListsWhatTheKernelHas) {
  v1::ListLinksResponse links;
  links.add_links()->set_name("host/links/1");
  EXPECT_CALL(mock(), ListLinks(Property(&v1::ListLinksRequest::parent, "host"), _)).WillOnce(Return(links));
  EXPECT_EQ(RunCli({"net", "links", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "host/links/1\n");
}

TEST_F(CliTest, ListsAddressesRoutesAndNeighbors) {
  auto connection = std::make_shared<StrictMock<client::MockConnection>>();
  v1::ListAddressesResponse addresses;
  addresses.add_addresses()->set_address("10.0.0.2/24");
  EXPECT_CALL(*connection, ListAddresses(Property(&v1::ListAddressesRequest::parent, "namespaces/blue"), _))
      .WillOnce(Return(addresses));
  v1::ListRoutesResponse routes;
  routes.add_routes()->set_destination("10.1.0.0/16");
  EXPECT_CALL(*connection, ListRoutes(Property(&v1::ListRoutesRequest::table, 254), _)).WillOnce(Return(routes));
  v1::ListNeighborsResponse neighbors;
  neighbors.add_neighbors()->set_address("10.0.0.9");
  EXPECT_CALL(*connection, ListNeighbors(Property(&v1::ListNeighborsRequest::parent, "namespaces/blue"), _))
      .WillOnce(Return(neighbors));
  for (const auto& [command, text] : std::map<std::string, std::string>{
           {"addresses", "10.0.0.2/24"}, {"routes", "10.1.0.0/16"}, {"neighbors", "10.0.0.9"}}) {
    std::ostringstream out, err;
    const Environment environment{
        .out = &out,
        .err = &err,
        .getenv = [](const std::string&) { return std::nullopt; },
        .now = [] { return absl::UnixEpoch(); },
        .is_listening = [](const std::string&) { return true; },
        .connect = [&](const std::string&, const client::TlsOptions&) { return connection; },
        .serve = [](const std::string&, absl::Duration) { return absl::InternalError("must not be asked"); },
        .exec = [](const ExecRequest&) { return ExecFailure{.exit_code = 1, .message = "must not be asked"}; },
    };
    EXPECT_EQ(cli::Run({"net", command, "blue"}, environment), 0) << err.str();
    EXPECT_THAT(out.str(), HasSubstr(text));
  }
}

TEST_F(CliTest, ErrorGoesToStderrWithItsDetails) {
  absl::Status error = absl::InvalidArgumentError("veth.endpoint_a.mtu must be 68 to 65535");
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("veth.endpoint_a.mtu");
  bad.mutable_field_violations(0)->set_description("must be 68 to 65535");
  client::SetDetail(error, bad);
  google::rpc::ErrorInfo info;
  info.set_reason("INVALID_FIELD");
  client::SetDetail(error, info);
  EXPECT_CALL(mock(), CreateVeth).WillOnce(Return(error));
  EXPECT_EQ(RunCli({"net", "veth", "--host", "h", "--ns", "a", "--mtu", "9"}), 64 + 3);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(),
            "contain: veth.endpoint_a.mtu must be 68 to 65535\n"
            "  veth.endpoint_a.mtu: must be 68 to 65535\n"
            "  reason: INVALID_FIELD\n");
}

TEST_F(CliTest, EveryCommandReportsItsError) {
  const absl::Status error = absl::PermissionDeniedError("not you");
  const std::vector<std::vector<std::string>> kCommands = {{"net", "create", "a"},
                                                           {"net", "delete", "a"},
                                                           {"net", "list"},
                                                           {"net", "show", "a"},
                                                           {"net", "exec", "a", "--", "ls"},
                                                           {"net", "veth", "--host", "h", "--ns", "a"},
                                                           {"net", "veth", "delete", "a"},
                                                           {"net", "veth", "list"},
                                                           {"net", "veth", "show", "a"},
                                                           {"net", "renew", "--owner=a"},
                                                           {"net", "gc", "--owner=a"},
                                                           {"net", "doctor"},
                                                           {"net", "doctor", "--check"},
                                                           {"net", "links", "a"},
                                                           {"net", "addresses", "a"},
                                                           {"net", "routes", "a"},
                                                           {"net", "neighbors", "a"}};
  for (const std::vector<std::string>& command : kCommands) {
    auto connection = std::make_shared<testing::NiceMock<client::MockConnection>>();
    ON_CALL(*connection, CreateNamespace).WillByDefault(Return(error));
    ON_CALL(*connection, GetNamespace).WillByDefault(Return(error));
    ON_CALL(*connection, ListNamespaces).WillByDefault(Return(error));
    ON_CALL(*connection, DeleteNamespace).WillByDefault(Return(error));
    ON_CALL(*connection, AdoptNamespace).WillByDefault(Return(error));
    ON_CALL(*connection, ReleaseNamespace).WillByDefault(Return(error));
    ON_CALL(*connection, CreateVeth).WillByDefault(Return(error));
    ON_CALL(*connection, GetVeth).WillByDefault(Return(error));
    ON_CALL(*connection, ListVeths).WillByDefault(Return(error));
    ON_CALL(*connection, DeleteVeth).WillByDefault(Return(error));
    ON_CALL(*connection, RenewLease).WillByDefault(Return(error));
    ON_CALL(*connection, CollectGarbage).WillByDefault(Return(error));
    ON_CALL(*connection, GetHostReport).WillByDefault(Return(error));
    ON_CALL(*connection, CheckHost).WillByDefault(Return(error));
    ON_CALL(*connection, ListLinks).WillByDefault(Return(error));
    ON_CALL(*connection, ListAddresses).WillByDefault(Return(error));
    ON_CALL(*connection, ListRoutes).WillByDefault(Return(error));
    ON_CALL(*connection, ListNeighbors).WillByDefault(Return(error));
    std::ostringstream out, err;
    const Environment environment{
        .out = &out,
        .err = &err,
        .getenv = [](const std::string&) { return std::nullopt; },
        .now = [] { return absl::UnixEpoch(); },
        .is_listening = [](const std::string&) { return true; },
        .connect = [&](const std::string&, const client::TlsOptions&) { return connection; },
        .serve = [](const std::string&, absl::Duration) { return absl::InternalError("must not be asked"); },
        .exec = [](const ExecRequest&) { return ExecFailure{.exit_code = 1, .message = "must not be asked"}; },
    };
    EXPECT_EQ(cli::Run(command, environment), 64 + 7) << command[1];
    EXPECT_EQ(out.str(), "");
    EXPECT_EQ(err.str(), "contain: not you\n");
  }
}

TEST_F(CliTest, UnreachableServerIsNamed) {
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(absl::UnavailableError("failed to connect")));
  EXPECT_EQ(RunCli({"--endpoint", "host:1", "net", "list"}), 64 + 14);
  EXPECT_EQ(err_.str(), "contain: failed to connect\n  endpoint: host:1\n");
}

TEST_F(CliTest, UsageErrorIs2AndAsksNobody) {
  EXPECT_EQ(RunCli({"net", "create"}), 2);
  EXPECT_EQ(out_.str(), "");
  EXPECT_THAT(err_.str(), StartsWith("contain: "));
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(CliTest, HelpGoesToStdout) {
  EXPECT_EQ(RunCli({"net", "create", "--help"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("Usage: contain net create"));
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, OutputThatCannotBeWrittenIsAnError) {
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  out_.setstate(std::ios::badbit);
  EXPECT_EQ(RunCli({"net", "list"}), 1);
  EXPECT_EQ(err_.str(), "contain: standard output can't be written\n");
}

TEST_F(CliTest, EndpointFlagComesFirst) {
  variables_["NETPROV_ENDPOINT"] = "other:2";
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list", "--endpoint", "host:1"}), 0);
  EXPECT_THAT(asked_, ElementsAre("connect host:1"));
}

TEST_F(CliTest, StateDirFlagMeansThisProcess) {
  variables_["NETPROV_ENDPOINT"] = "other:2";
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list", "--state-dir", "/tmp/state", "--timeout", "3s"}), 0);
  EXPECT_THAT(asked_, ElementsAre("serve /tmp/state 3s"));
}

TEST_F(CliTest, VariableComesBeforeTheDefault) {
  variables_["NETPROV_ENDPOINT"] = "other:2";
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
  EXPECT_THAT(asked_, ElementsAre("connect other:2"));
}

TEST_F(CliTest, EmptyVariableIsNone) {
  variables_["NETPROV_ENDPOINT"] = "";
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
  EXPECT_THAT(asked_, ElementsAre(std::string("connect ") + kDefault));
}

TEST_F(CliTest, WrongVariableIsAUsageError) {
  variables_["NETPROV_ENDPOINT"] = "nowhere";
  EXPECT_EQ(RunCli({"net", "list"}), 2);
  EXPECT_THAT(err_.str(), StartsWith("contain: NETPROV_ENDPOINT: endpoint `nowhere`: must be"));
}

TEST_F(CliTest, WithoutADaemonItServesItself) {
  listening_ = {false};
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
  EXPECT_THAT(asked_, ElementsAre("serve /var/lib/netprov 30s"));
}

TEST_F(CliTest, WithoutADaemonItSaysWhatOnlyADaemonDoes) {
  listening_ = {false};
  EXPECT_CALL(mock(), CreateNamespace).WillOnce(Return(Namespace("job")));
  EXPECT_EQ(RunCli({"net", "create", "job", "--owner", "ci", "--ttl", "10m"}), 0);
  EXPECT_EQ(out_.str(), "Created network namespace: job\n");
  EXPECT_EQ(err_.str(), "contain: note: no daemon serves here, and only a daemon ends a lease\n");
}

TEST_F(CliTest, WithoutADaemonNothingIsPutRight) {
  EXPECT_CALL(mock(), UpdateVeth).WillOnce(Return(Veth()));
  EXPECT_EQ(RunCli({"--state-dir", "/tmp/state", "net", "set", "veths/veth-host", "metadata.self_heal=yes"}), 0);
  EXPECT_EQ(err_.str(), "contain: note: no daemon serves here, and only a daemon puts right what is changed\n");
}

TEST_F(CliTest, ADaemonDoesWhatIsAsked) {
  EXPECT_CALL(mock(), CreateNamespace).WillOnce(Return(Namespace("job")));
  EXPECT_EQ(RunCli({"net", "create", "job", "--owner", "ci", "--ttl", "10m", "--self-heal"}), 0);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, WhatIsAskedOfNoDaemonNeedsNoNote) {
  listening_ = {false};
  EXPECT_CALL(mock(), CreateNamespace).WillOnce(Return(Namespace("job")));
  EXPECT_EQ(RunCli({"net", "create", "job", "--persistent"}), 0);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, ProgramsGetNoNote) {
  listening_ = {false};
  EXPECT_CALL(mock(), CreateNamespace).WillOnce(Return(Namespace("job")));
  EXPECT_EQ(RunCli({"net", "create", "job", "--self-heal", "-o", "name"}), 0);
  EXPECT_EQ(out_.str(), "namespaces/job\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, DaemonThatCameUpMeanwhileIsUsed) {
  listening_ = {false, true};
  serve_ = absl::FailedPreconditionError("a daemon has the state");
  EXPECT_CALL(mock(), ListNamespaces).WillOnce(Return(v1::ListNamespacesResponse()));
  EXPECT_EQ(RunCli({"net", "list"}), 0);
  EXPECT_THAT(asked_, ElementsAre("serve /var/lib/netprov 30s", std::string("connect ") + kDefault));
}

TEST_F(CliTest, ErrorOfTheServerInThisProcessIsReported) {
  listening_ = {false, absl::PermissionDeniedError("no socket for you")};
  serve_ = absl::PermissionDeniedError("/var/lib/netprov: Permission denied");
  EXPECT_EQ(RunCli({"net", "list"}), 64 + 7);
  EXPECT_EQ(err_.str(), "contain: /var/lib/netprov: Permission denied\n");
}

TEST_F(CliTest, SocketThatCannotBeAskedIsAnError) {
  listening_ = {absl::PermissionDeniedError("/run/netprov/netprovd.sock: Permission denied")};
  EXPECT_EQ(RunCli({"net", "list"}), 64 + 7);
  EXPECT_EQ(err_.str(), "contain: /run/netprov/netprovd.sock: Permission denied\n");
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(CliTest, ExecLetsGoOfTheServerFirst) {
  EXPECT_CALL(mock(), GetNamespace(Property(&v1::GetNamespaceRequest::name, "namespaces/blue"), _))
      .WillOnce(Return(Namespace("blue")));
  EXPECT_EQ(RunCli({"net", "exec", "blue", "--", "ls", "-l"}), 127);
  ASSERT_THAT(executed_, SizeIs(1));
  EXPECT_EQ(executed_[0].path, "/run/netns/blue");
  EXPECT_EQ(executed_[0].cookie, 77);
  EXPECT_THAT(executed_[0].command, ElementsAre("ls", "-l"));
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(), "contain: ls: No such file or directory\n");
}

TEST_F(CliTest, ExecWorksInThisProcessToo) {
  listening_ = {false};
  EXPECT_CALL(mock(), GetNamespace).WillOnce(Return(Namespace("blue")));
  EXPECT_EQ(RunCli({"net", "exec", "blue", "--", "ls"}), 127);
  EXPECT_THAT(executed_, SizeIs(1));
}

TEST_F(CliTest, ExecNeedsAServerOnThisHost) {
  EXPECT_EQ(RunCli({"--endpoint", "host:1", "net", "exec", "blue", "--", "ls"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("needs a server on this host"));
  EXPECT_THAT(executed_, IsEmpty());
}

TEST_F(CliTest, ExecNeedsANamespaceThatIsThere) {
  v1::Namespace ns = Namespace("blue");
  ns.set_state(v1::Namespace::STATE_MISSING);
  EXPECT_CALL(mock(), GetNamespace).WillOnce(Return(ns));
  EXPECT_EQ(RunCli({"net", "exec", "blue", "--", "ls"}), 64 + 9);
  EXPECT_EQ(err_.str(), "contain: /run/netns/blue is gone from the kernel\n");
  EXPECT_THAT(executed_, IsEmpty());
}

TEST_F(CliTest, ExecEntersADegradedNamespace) {
  v1::Namespace ns = Namespace("blue");
  ns.set_state(v1::Namespace::STATE_DEGRADED);
  EXPECT_CALL(mock(), GetNamespace(_, Field(&client::CallOptions::owner, "ci"))).WillOnce(Return(ns));
  EXPECT_EQ(RunCli({"net", "exec", "blue", "--owner", "ci", "--", "ls"}), 127);
  EXPECT_THAT(executed_, SizeIs(1));
}

TEST_F(CliTest, ExecRefusesAStaleFile) {
  v1::Namespace ns = Namespace("blue");
  ns.set_state(v1::Namespace::STATE_STALE);
  EXPECT_CALL(mock(), GetNamespace).WillOnce(Return(ns));
  EXPECT_EQ(RunCli({"net", "exec", "blue", "--", "ls"}), 64 + 9);
  EXPECT_EQ(err_.str(), "contain: /run/netns/blue is no network namespace\n");
}

}  // namespace
}  // namespace netprov::cli
