#include "client/endpoint.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::client {
namespace {

using ::testing::HasSubstr;

TEST(ParseEndpointTest, UnixSocket) {
  const absl::StatusOr<Endpoint> endpoint = ParseEndpoint(kDefaultEndpoint);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->socket_path, "/run/netprov/netprovd.sock");
  EXPECT_TRUE(endpoint->is_local());
  EXPECT_EQ(GrpcTarget(*endpoint), "unix:/run/netprov/netprovd.sock");
  EXPECT_EQ(ParseEndpoint("unix:/run/netprov/netprovd.sock"), endpoint);
}

TEST(ParseEndpointTest, OddPathIsTakenLiterally) {
  const absl::StatusOr<Endpoint> endpoint = ParseEndpoint("unix:///tmp/a b%20?#c");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->socket_path, "/tmp/a b%20?#c");
  EXPECT_EQ(GrpcTarget(*endpoint), "unix:/tmp/a%20b%2520%3F%23c");
}

TEST(ParseEndpointTest, LongestPath) {
  EXPECT_TRUE(ParseEndpoint("unix:///" + std::string(106, 'a')).ok());
  EXPECT_THAT(ParseEndpoint("unix:///" + std::string(107, 'a')).status().message(), HasSubstr("at most 107 bytes"));
}

TEST(ParseEndpointTest, Tcp) {
  const absl::StatusOr<Endpoint> endpoint = ParseEndpoint("host-1.example:50051");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->host, "host-1.example");
  EXPECT_EQ(endpoint->port, 50051);
  EXPECT_FALSE(endpoint->is_local());
  EXPECT_EQ(GrpcTarget(*endpoint), "dns:///host-1.example:50051");
}

TEST(ParseEndpointTest, Ipv6) {
  const absl::StatusOr<Endpoint> endpoint = ParseEndpoint("[fe80::1%eth0]:1");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->host, "fe80::1%eth0");
  EXPECT_EQ(GrpcTarget(*endpoint), "dns:///[fe80::1%25eth0]:1");
}

TEST(ParseEndpointTest, SaysWhatIsWrong) {
  const struct {
    const char* text;
    const char* why;
  } kCases[] = {
      {"", "must be unix:///PATH or HOST:PORT"},
      {"localhost", "must be unix:///PATH or HOST:PORT"},
      {"http://localhost:1", "must be unix:///PATH or HOST:PORT"},
      {"a b:1", "must be unix:///PATH or HOST:PORT"},
      {":1", "the host is missing"},
      {"[]:1", "the host is missing"},
      {"[::1:1", "`]` is missing"},
      {"::1:1", "an IPv6 address must be in brackets"},
      {"localhost:", "the port must be a number"},
      {"localhost:0", "the port must be a number"},
      {"localhost:65536", "the port must be a number"},
      {"localhost:+1", "the port must be a number"},
      {"localhost:1x", "the port must be a number"},
      {"unix:", "must be absolute"},
      {"unix://relative", "must be absolute"},
      {"unix:relative", "must be absolute"},
  };
  for (const auto& test : kCases) {
    const absl::StatusOr<Endpoint> endpoint = ParseEndpoint(test.text);
    EXPECT_EQ(endpoint.status().code(), absl::StatusCode::kInvalidArgument) << test.text;
    EXPECT_THAT(endpoint.status().message(), HasSubstr(test.why)) << test.text;
    EXPECT_THAT(endpoint.status().message(), HasSubstr(test.text));
  }
}

}  // namespace
}  // namespace netprov::client
