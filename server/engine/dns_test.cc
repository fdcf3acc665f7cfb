#include "server/engine/dns.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr char kRegistry[] = "11111111-1111-4111-8111-111111111111";
constexpr char kUid[] = "22222222-2222-4222-8222-222222222222";

TEST(DnsTest, BecomesFilesAsProgramsReadThem) {
  const std::string tag = TagOf(kRegistry, kUid, "namespaces/blue");
  const DnsSpec dns{.nameservers = {"10.0.0.53", "2001:db8::53"},
                    .searches = {"example.org", "."},
                    .options = {"ndots:2", "use-vc"},
                    .hosts = {{.address = "10.0.0.5", .names = {"db", "db.example.org"}}}};
  EXPECT_THAT(ToEtcFiles(dns, tag), ElementsAre(Pair("hosts", "# " + tag +
                                                                  "\n127.0.0.1 localhost\n"
                                                                  "::1 localhost ip6-localhost ip6-loopback\n"
                                                                  "10.0.0.5 db db.example.org\n"),
                                                Pair("resolv.conf", "# " + tag +
                                                                        "\nnameserver 10.0.0.53\n"
                                                                        "nameserver 2001:db8::53\n"
                                                                        "search example.org .\n"
                                                                        "options ndots:2 use-vc\n")));
}

TEST(DnsTest, WritesOnlyWhatThereIsSomethingToWriteInto) {
  EXPECT_THAT(ToEtcFiles({}, "tag"), IsEmpty());
  EXPECT_THAT(ToEtcFiles({.options = {"ndots:2"}}, "tag"),
              ElementsAre(Pair("resolv.conf", "# tag\noptions ndots:2\n")));
  EXPECT_EQ(ToEtcFiles({.hosts = {{.address = "::1", .names = {"a"}}}}, "tag").size(), 1u);
}

TEST(DnsTest, AFileSaysWhoseItIs) {
  const std::string tag = TagOf(kRegistry, kUid, "namespaces/blue");
  const EtcFiles files = ToEtcFiles({.nameservers = {"10.0.0.53"}}, tag);
  const std::optional<Tag> found = TagInFile(files.at("resolv.conf"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->registry, kRegistry);
  EXPECT_EQ(found->uid, kUid);
  EXPECT_TRUE(TagInFile(MarkOf(tag)).has_value());
  for (const std::string& text : {std::string(), std::string("nameserver 10.0.0.1\n"), tag + "\n", "\n# " + tag}) {
    EXPECT_FALSE(TagInFile(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace netprov::engine
