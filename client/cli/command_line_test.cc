#include "client/cli/command_line.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Arguments = std::vector<std::string>;

CommandLine Parse(const Arguments& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<CommandLine>(parsed);
}

template <typename T>
T ParseAs(const Arguments& arguments) {
  const CommandLine line = Parse(arguments);
  if (!std::holds_alternative<T>(line.command)) {
    ADD_FAILURE() << "another command: " << line.command.index();
    return T();
  }
  return std::get<T>(line.command);
}

// The text for stderr of a usage error.
std::string UsageError(const Arguments& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  const Exit* exit = std::get_if<Exit>(&parsed);
  if (exit == nullptr) {
    ADD_FAILURE() << "was accepted";
    return "";
  }
  EXPECT_EQ(exit->code, 2);
  EXPECT_THAT(exit->text, AllOf(testing::StartsWith("contain: "), testing::EndsWith("more information.\n")));
  return exit->text;
}

std::string Help(const Arguments& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  const Exit* exit = std::get_if<Exit>(&parsed);
  if (exit == nullptr) {
    ADD_FAILURE() << "was accepted";
    return "";
  }
  EXPECT_EQ(exit->code, 0) << exit->text;
  return exit->text;
}

TEST(NetTest, Create) {
  v1::CreateNamespaceRequest request = ParseAs<v1::CreateNamespaceRequest>({"net", "create", "test-ns"});
  EXPECT_EQ(request.namespace_id(), "test-ns");
  EXPECT_EQ(request.request_id(), "");
  EXPECT_FALSE(request.validate_only());
  EXPECT_FALSE(request.allow_existing());

  request = ParseAs<v1::CreateNamespaceRequest>(
      {"net", "create", "--allow-existing", "a", "--validate-only", "--request-id", "some-id"});
  EXPECT_EQ(request.namespace_id(), "a");
  EXPECT_EQ(request.request_id(), "some-id");
  EXPECT_TRUE(request.validate_only());
  EXPECT_TRUE(request.allow_existing());
}

TEST(NetTest, Delete) {
  const auto request = ParseAs<v1::DeleteNamespaceRequest>({"net", "delete", "a", "--allow-missing", "--request-id=x"});
  EXPECT_EQ(request.name(), "namespaces/a");
  EXPECT_TRUE(request.allow_missing());
  EXPECT_EQ(request.request_id(), "x");
  EXPECT_TRUE(ParseAs<v1::DeleteNamespaceRequest>({"net", "delete", "a", "--validate-only"}).validate_only());
}

TEST(NetTest, ListAndShow) {
  ParseAs<v1::ListNamespacesRequest>({"net", "list"});
  EXPECT_EQ(ParseAs<v1::GetNamespaceRequest>({"net", "show", "a"}).name(), "namespaces/a");
}

TEST(NetTest, ResourceNamesAreAsGoodAsIds) {
  EXPECT_EQ(ParseAs<v1::GetNamespaceRequest>({"net", "show", "namespaces/a"}).name(), "namespaces/a");
  EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", "namespaces/a"}).namespace_id(), "a");
  EXPECT_EQ(ParseAs<v1::DeleteVethRequest>({"net", "veth", "delete", "veths/a"}).name(), "veths/a");
}

TEST(NetTest, NamesOfCommandsAreNames) {
  for (const char* name : {"list", "create", "net", "veth", "exec", "show", "delete", "contain"}) {
    EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", name}).namespace_id(), name);
    EXPECT_EQ(ParseAs<v1::GetVethRequest>({"net", "veth", "show", name}).name(), std::string("veths/") + name);
    const auto veth = ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", name, "--ns", name});
    EXPECT_EQ(veth.veth_id(), name);
    EXPECT_EQ(veth.veth().endpoint_b().namespace_(), std::string("namespaces/") + name);
    EXPECT_EQ(ParseAs<ExecCommand>({"net", "exec", name, "--", name}).namespace_name,
              std::string("namespaces/") + name);
  }
}

TEST(NetTest, OddNamesAreForTheServerToJudge) {
  for (const char* name : {"", " ", "a b", "a/b", ".", "..", "\xff", "[a,b]", "{}", "'", "%d", "a\nb"}) {
    EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", name}).namespace_id(), name) << name;
    EXPECT_EQ(ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", name, "--ns", "a"})
                  .veth()
                  .endpoint_a()
                  .interface_name(),
              name);
  }
  EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", "--", "-o"}).namespace_id(), "-o");
}

TEST(VethTest, TutorialForm) {
  const auto request = ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "veth-host", "--ns", "test-ns"});
  EXPECT_EQ(request.ShortDebugString(),
            "veth_id: \"veth-host\" veth { endpoint_a { host { } interface_name: \"veth-host\" } "
            "endpoint_b { namespace: \"namespaces/test-ns\" interface_name: \"veth%d\" } }");
}

TEST(VethTest, EverythingSaid) {
  const auto request = ParseAs<v1::CreateVethRequest>(
      {"net",          "veth", "--host",         "h0",    "--ns",   "a",           "--peer",
       "p0",           "--id", "pair",           "--mac", "02::1",  "--peer-mac",  "02::2",
       "--mtu",        "1400", "--peer-mtu",     "9000",  "--down", "--peer-down", "--allow-existing",
       "--request-id", "x",    "--validate-only"});
  EXPECT_EQ(request.ShortDebugString(),
            "veth_id: \"pair\" veth { endpoint_a { host { } interface_name: \"h0\" mac_address: \"02::1\" mtu: 1400 "
            "admin_state: ADMIN_STATE_DOWN } endpoint_b { namespace: \"namespaces/a\" interface_name: \"p0\" "
            "mac_address: \"02::2\" mtu: 9000 admin_state: ADMIN_STATE_DOWN } } "
            "request_id: \"x\" validate_only: true allow_existing: true");
}

TEST(VethTest, BetweenTwoNamespaces) {
  auto request = ParseAs<v1::CreateVethRequest>({"net", "veth", "--from-ns", "red", "--ns", "namespaces/blue"});
  EXPECT_EQ(request.ShortDebugString(),
            "veth { endpoint_a { namespace: \"namespaces/red\" interface_name: \"veth%d\" } "
            "endpoint_b { namespace: \"namespaces/blue\" interface_name: \"veth%d\" } }");
  request = ParseAs<v1::CreateVethRequest>(
      {"net", "veth", "--from-ns", "red", "--interface", "r0", "--ns", "blue", "--peer", "b0", "--id", "veths/x"});
  EXPECT_EQ(request.veth_id(), "x");
  EXPECT_EQ(request.veth().endpoint_a().interface_name(), "r0");
  EXPECT_EQ(request.veth().endpoint_b().interface_name(), "b0");
}

TEST(VethTest, ServerChoosesTheIdWhereTheInterfaceNameIsNone) {
  for (const char* name : {"veth%d", "-a", ".a", "a+b", "a@b"}) {
    EXPECT_EQ(ParseAs<v1::CreateVethRequest>({"net", "veth", std::string("--host=") + name, "--ns", "a"}).veth_id(),
              "");
  }
  EXPECT_THAT(UsageError({"net", "veth", "--host", "veth%d", "--ns", "a", "--allow-existing"}),
              HasSubstr("--allow-existing needs --id"));
}

TEST(VethTest, ListShowDelete) {
  ParseAs<v1::ListVethsRequest>({"net", "veth", "list"});
  EXPECT_EQ(ParseAs<v1::GetVethRequest>({"net", "veth", "show", "veth-host"}).name(), "veths/veth-host");
  const auto request = ParseAs<v1::DeleteVethRequest>(
      {"net", "veth", "delete", "veth-host", "--allow-missing", "--validate-only", "--request-id", "x"});
  EXPECT_EQ(request.ShortDebugString(),
            "name: \"veths/veth-host\" request_id: \"x\" validate_only: true allow_missing: true");
}

TEST(VethTest, UsageErrors) {
  EXPECT_THAT(UsageError({"net", "veth"}), HasSubstr("--host or --from-ns is required"));
  EXPECT_THAT(UsageError({"net", "veth", "--ns", "a"}), HasSubstr("--host or --from-ns is required"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h"}), HasSubstr("--ns is required"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--from-ns", "b", "--ns", "a"}), HasSubstr("--from-ns"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--interface", "i", "--ns", "a"}), HasSubstr("--from-ns"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--host", "i", "--ns", "a"}), HasSubstr("--host"));
  EXPECT_THAT(UsageError({"net", "veth", "--host"}), HasSubstr("--host"));
  for (const char* mtu : {"-1", "x", "", "1.5", "0x10", "4294967296", "+1", "1 "}) {
    EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", std::string("--mtu=") + mtu}),
                HasSubstr("--mtu"))
        << mtu;
  }
  const auto one_mtu = ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "h", "--ns", "a", "--mtu", "1400"});
  EXPECT_EQ(one_mtu.veth().endpoint_a().mtu(), 1400u);
  EXPECT_EQ(one_mtu.veth().endpoint_b().mtu(), 1400u) << "ends of different MTU lose packets";
  EXPECT_EQ(ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "h", "--ns", "a", "--mtu", "010"})
                .veth()
                .endpoint_a()
                .mtu(),
            10);
}

TEST(VethTest, FlagsOfTheCreationAreNoneOfTheOthers) {
  EXPECT_THAT(UsageError({"net", "veth", "list", "--host", "h"}), HasSubstr("not to `contain net veth list`"));
  EXPECT_THAT(UsageError({"net", "veth", "--down", "show", "h"}), HasSubstr("not to `contain net veth show`"));
  EXPECT_THAT(UsageError({"net", "veth", "delete", "h", "--allow-existing"}),
              HasSubstr("not to `contain net veth delete`"));
}

TEST(ExecTest, TakesEverythingAfterTheMark) {
  const auto command = ParseAs<ExecCommand>({"net", "exec", "blue", "--", "sh", "-c", "[a,b]", "", "--", "-o", "json"});
  EXPECT_EQ(command.namespace_name, "namespaces/blue");
  EXPECT_THAT(command.command, ElementsAre("sh", "-c", "[a,b]", "", "--", "-o", "json"));
}

TEST(ExecTest, UsageErrors) {
  EXPECT_THAT(UsageError({"net", "exec", "blue"}), HasSubstr("the command is missing"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "--"}), HasSubstr("the command is missing"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "ls"}), HasSubstr("ls"));
  EXPECT_THAT(UsageError({"net", "exec", "--", "ls"}), HasSubstr("NAME"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "-o", "json", "--", "ls"}), HasSubstr("--output"));
}

TEST(GlobalFlagTest, Defaults) {
  const CommandLine line = Parse({"net", "list"});
  EXPECT_EQ(line.endpoint, std::nullopt);
  EXPECT_EQ(line.state_dir, std::nullopt);
  EXPECT_EQ(line.timeout, absl::Seconds(30));
  EXPECT_EQ(line.format, Format::kDefault);
}

TEST(GlobalFlagTest, StandAnywhere) {
  for (const Arguments& arguments : std::vector<Arguments>{
           {"--endpoint", "host:1", "-o", "json", "--timeout", "5s", "net", "veth", "show", "a"},
           {"net", "--endpoint=host:1", "veth", "-o", "json", "show", "--timeout=5s", "a"},
           {"net", "veth", "show", "a", "--endpoint", "host:1", "--output", "json", "--timeout", "5s"}}) {
    const CommandLine line = Parse(arguments);
    EXPECT_EQ(line.endpoint, "host:1");
    EXPECT_EQ(line.format, Format::kJson);
    EXPECT_EQ(line.timeout, absl::Seconds(5));
  }
}

TEST(GlobalFlagTest, Output) {
  EXPECT_EQ(Parse({"net", "list", "-o", "table"}).format, Format::kTable);
  EXPECT_EQ(Parse({"net", "list", "-oyaml"}).format, Format::kYaml);
  EXPECT_EQ(Parse({"net", "list", "-o", "name"}).format, Format::kName);
  EXPECT_THAT(UsageError({"net", "list", "-o", "xml"}), HasSubstr("must be table, json, yaml or name, not `xml`"));
  EXPECT_THAT(UsageError({"net", "list", "-o", ""}), HasSubstr("--output"));
}

TEST(GlobalFlagTest, Timeout) {
  EXPECT_EQ(Parse({"--timeout", "1m30s", "net", "list"}).timeout, absl::Seconds(90));
  for (const char* text : {"0", "0s", "-1s", "10", "soon", "inf", ""}) {
    EXPECT_THAT(UsageError({"net", "list", std::string("--timeout=") + text}), HasSubstr("--timeout")) << text;
  }
}

TEST(GlobalFlagTest, EndpointAndStateDir) {
  EXPECT_EQ(Parse({"--state-dir", "/tmp/x", "net", "list"}).state_dir, "/tmp/x");
  EXPECT_THAT(UsageError({"--endpoint", "nowhere", "net", "list"}), HasSubstr("unix:///PATH or HOST:PORT"));
  EXPECT_THAT(UsageError({"--endpoint=", "net", "list"}), HasSubstr("--endpoint"));
  EXPECT_THAT(UsageError({"--state-dir=", "net", "list"}), HasSubstr("--state-dir"));
  EXPECT_THAT(UsageError({"--endpoint", "host:1", "--state-dir", "/x", "net", "list"}), HasSubstr("exclude"));
}

TEST(UsageTest, CommandsAreNeeded) {
  EXPECT_THAT(UsageError({}), HasSubstr("subcommand"));
  EXPECT_THAT(UsageError({"net"}), HasSubstr("subcommand"));
  UsageError({"bridge"});
  UsageError({"net", "rename", "a"});
  UsageError({"net", "create"});
  UsageError({"net", "create", "a", "b"});
  UsageError({"net", "create", "a", "--color"});
  UsageError({"net", "list", "a"});
  UsageError({"net", "list", "--allow-missing"});
}

TEST(UsageTest, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(UsageError({"net", "list", "\x1b[2J"}).find('\x1b'), std::string::npos);
}

TEST(HelpTest, EveryCommandHasAnExample) {
  for (const Arguments& command : std::vector<Arguments>{{"net", "create"},
                                                         {"net", "delete"},
                                                         {"net", "list"},
                                                         {"net", "show"},
                                                         {"net", "veth"},
                                                         {"net", "veth", "list"},
                                                         {"net", "veth", "show"},
                                                         {"net", "veth", "delete"},
                                                         {"net", "exec"}}) {
    Arguments arguments = command;
    arguments.push_back("--help");
    std::string words = "contain";
    for (const std::string& word : command) words += " " + word;
    const std::string help = Help(arguments);
    EXPECT_THAT(help, AllOf(HasSubstr("Usage: " + words), HasSubstr("Examples:\n  " + words))) << help;
  }
  EXPECT_THAT(Help({"net", "list", "--help"}), HasSubstr("contain net list -o json"));
  EXPECT_THAT(Help({"net", "exec", "-h"}), HasSubstr("NAME -- COMMAND [ARGUMENT...]"));
}

TEST(HelpTest, TopLevel) {
  EXPECT_THAT(Help({"--help"}), AllOf(HasSubstr("--endpoint"), HasSubstr("--timeout"), HasSubstr("net")));
  EXPECT_THAT(Help({"net", "-h"}), AllOf(HasSubstr("create"), HasSubstr("exec")));
}

TEST(HelpTest, Version) {
  EXPECT_EQ(Help({"--version"}), "contain 0.1.0\n");
  EXPECT_EQ(Help({"net", "list", "--version"}), "contain 0.1.0\n");
}

}  // namespace
}  // namespace netprov::cli
