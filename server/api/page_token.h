// Page tokens (AIP-158).
#ifndef NETPROV_SERVER_API_PAGE_TOKEN_H_
#define NETPROV_SERVER_API_PAGE_TOKEN_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "google/protobuf/repeated_field.h"

namespace netprov::api {

// A token that says where the next page of `method`, such as `ListVeths`, begins: behind the id `after`, any bytes.
// Callers must take it for opaque, so its content may change with the version in it.
std::string FormatPageToken(absl::string_view method, absl::string_view after);

// The `after` of a token that FormatPageToken() made for this method; nullopt for anything else.
std::optional<std::string> ParsePageToken(absl::string_view method, absl::string_view token);

// What an item of a list is ordered by.
template <typename Item>
const std::string& PageKey(const Item& item) {
  if constexpr (requires { item.id; }) {
    return item.id;
  } else {
    return item.name;
  }
}

// Fills a page of an answer: adds the messages of the engine's items to `field` until there are enough bytes, and
// returns the token of the next page, empty on the last. A client of gRPC takes 4 MiB by default.
// `convert` makes the message of an item, and `scope` stands before the id in the token.
template <typename Page, typename Message, typename Convert>
std::string FillPage(absl::string_view method, const Page& page, google::protobuf::RepeatedPtrField<Message>* field,
                     Convert convert, const std::string& scope = "") {
  constexpr size_t kMostBytes = size_t{3} << 20;
  size_t bytes = 0;
  for (const auto& item : page.items) {
    Message message = convert(item);
    bytes += message.ByteSizeLong();
    if (bytes > kMostBytes && !field->empty()) return FormatPageToken(method, scope + PageKey(*(&item - 1)));
    *field->Add() = std::move(message);
  }
  return page.more ? FormatPageToken(method, scope + PageKey(page.items.back())) : std::string();
}

template <typename Page, typename Message>
std::string FillPage(absl::string_view method, const Page& page, google::protobuf::RepeatedPtrField<Message>* field) {
  return FillPage(method, page, field, [](const auto& item) { return ToProto(item); });
}

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_PAGE_TOKEN_H_
