#include "client/utf8.h"

#include <string>

#include "client/status.h"
#include "gtest/gtest.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::client {
namespace {

// Encodes without asking whether `code` may be encoded.
std::string Encode(uint32_t code, int length) {
  std::string text(length, '\0');
  for (int i = length - 1; i > 0; --i, code >>= 6) text[i] = static_cast<char>(0x80 | (code & 0x3f));
  static constexpr uint8_t kLead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  text[0] = static_cast<char>(kLead[length] | code);
  return text;
}

TEST(IsUtf8Test, EveryCodePointInItsShortestFormOnly) {
  for (uint32_t code = 0; code < 0x120000; ++code) {
    const int shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    const bool valid = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
    if (IsUtf8(Encode(code, shortest)) != valid) FAIL() << std::hex << code;
    if (shortest < 4 && IsUtf8(Encode(code, shortest + 1))) FAIL() << "overlong " << std::hex << code;
    if (shortest > 1 && IsUtf8(Encode(code, shortest).substr(0, shortest - 1))) FAIL() << "cut " << std::hex << code;
  }
}

TEST(IsUtf8Test, StrayBytes) {
  EXPECT_TRUE(IsUtf8(""));
  for (const char* text : {"\x80", "a\xff", "\xc3(", "\xe2\x82(", "\xf5\x80\x80\x80", "\xfe"})
    EXPECT_FALSE(IsUtf8(text));
}

TEST(CheckUtf8Test, NamesTheField) {
  v1::CreateVethRequest request;
  request.set_veth_id("ok");
  EXPECT_TRUE(CheckUtf8(request).ok());
  request.mutable_veth()->mutable_endpoint_b()->set_interface_name("a\xff");

  const absl::Status status = CheckUtf8(request);

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "veth.endpoint_b.interface_name must be UTF-8");
  ASSERT_EQ(GetBadRequest(status)->field_violations_size(), 1);
  EXPECT_EQ(GetBadRequest(status)->field_violations(0).field(), "veth.endpoint_b.interface_name");
  EXPECT_EQ(GetErrorInfo(status)->reason(), "MALFORMED_REQUEST");
}

TEST(CheckUtf8Test, LooksIntoRepeatedMessages) {
  v1::ListNamespacesResponse message;
  message.add_namespaces()->set_name("fine");
  message.add_namespaces()->set_path("\xc0");
  EXPECT_EQ(GetBadRequest(CheckUtf8(message))->field_violations(0).field(), "namespaces[1].path");
}

TEST(CheckUtf8Test, MapIsNamedAsAWhole) {
  v1::CreateNamespaceRequest request;
  v1::Metadata& metadata = *request.mutable_namespace_()->mutable_metadata();
  (*metadata.mutable_labels())["fine"] = "\xc3\xa4";
  EXPECT_TRUE(CheckUtf8(request).ok());
  (*metadata.mutable_labels())["value"] = "\xff";
  (*metadata.mutable_labels())["\xff"] = "key";

  const std::optional<google::rpc::BadRequest> bad = GetBadRequest(CheckUtf8(request));

  ASSERT_EQ(bad->field_violations_size(), 1);
  EXPECT_EQ(bad->field_violations(0).field(), "namespace.metadata.labels");
}

}  // namespace
}  // namespace netprov::client
