// How much there is of what is counted, and how much there may be.
#ifndef NETPROV_SERVER_ENGINE_QUOTA_H_
#define NETPROV_SERVER_ENGINE_QUOTA_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace netprov::engine {

// What objects count for, as they were asked for (usage.h).
struct Usage {
  int64_t namespaces = 0;
  int64_t links = 0;
  int64_t addresses = 0;
  int64_t routes = 0;
  int64_t nat_elements = 0;

  Usage& operator+=(const Usage& other);
  Usage& operator-=(const Usage& other);
  friend bool operator==(const Usage&, const Usage&) = default;
};

// The most that there may be at a time of each; nullopt: any number.
struct Quota {
  std::optional<int64_t> namespaces;
  std::optional<int64_t> links;
  std::optional<int64_t> addresses;
  std::optional<int64_t> routes;
  std::optional<int64_t> nat_elements;

  friend bool operator==(const Quota&, const Quota&) = default;
};

struct CountedKind {
  const char* name;  // as in policies and errors
  int64_t Usage::*used;
  std::optional<int64_t> Quota::*most;
};
inline constexpr std::array kCountedKinds = {
    CountedKind{"namespaces", &Usage::namespaces, &Quota::namespaces},
    CountedKind{"links", &Usage::links, &Quota::links},
    CountedKind{"addresses", &Usage::addresses, &Quota::addresses},
    CountedKind{"routes", &Usage::routes, &Quota::routes},
    CountedKind{"nat_elements", &Usage::nat_elements, &Quota::nat_elements},
};

inline Usage& Usage::operator+=(const Usage& other) {
  for (const CountedKind& kind : kCountedKinds) this->*kind.used += other.*kind.used;
  return *this;
}
inline Usage& Usage::operator-=(const Usage& other) {
  for (const CountedKind& kind : kCountedKinds) this->*kind.used -= other.*kind.used;
  return *this;
}

// What a call may add to. Without a word: any number of everything.
struct Allowance {
  Quota own;    // of all that the creator of its object has
  Quota total;  // of all that there is, whoever made it
};

// Why a change would be too much.
struct QuotaExcess {
  std::string quota;  // the name of the kind, of all that there is after `total.`
  std::string whose;  // the creator; empty: of all that there is
  int64_t limit = 0;
  int64_t usage = 0;  // what there is
  int64_t added = 0;  // what the change would add, more than 0
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_QUOTA_H_
