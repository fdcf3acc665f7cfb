// Result<T, E>: a value or a typed error, where absl::StatusOr would lose the type. std::expected, until the project is
// C++23.
#ifndef NETPROV_SERVER_BASE_RESULT_H_
#define NETPROV_SERVER_BASE_RESULT_H_

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace netprov {

// Holds a T after success and an E after failure. Both are implicit, so that functions can return either.
// Reading the wrong one ends the process (std::get without exceptions).
template <typename T, typename E>
class [[nodiscard]] Result {
 public:
  static_assert(!std::is_same_v<T, E>);

  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(E error) : content_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return content_.index() == 0; }

  const T& value() const& { return std::get<0>(content_); }
  T& value() & { return std::get<0>(content_); }
  T&& value() && { return std::get<0>(std::move(content_)); }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  const E& error() const& { return std::get<1>(content_); }
  E& error() & { return std::get<1>(content_); }
  E&& error() && { return std::get<1>(std::move(content_)); }

 private:
  std::variant<T, E> content_;
};

// Success without a value: `return {};`.
template <typename E>
class [[nodiscard]] Result<void, E> {
 public:
  Result() = default;
  Result(E error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }

  const E& error() const& { return *error_; }
  E& error() & { return *error_; }
  E&& error() && { return *std::move(error_); }

 private:
  std::optional<E> error_;
};

}  // namespace netprov

#define NETPROV_CONCAT_INNER_(a, b) a##b
#define NETPROV_CONCAT_(a, b) NETPROV_CONCAT_INNER_(a, b)

// Returns the error of `expression`, a Result, from the function around it; goes on after success.
#define NETPROV_RETURN_IF_ERROR(expression)                         \
  do {                                                              \
    if (auto netprov_result = (expression); !netprov_result.ok()) { \
      return std::move(netprov_result).error();                     \
    }                                                               \
  } while (false)

// The same, and gives the value to `target`, a variable or its declaration.
#define NETPROV_ASSIGN_OR_RETURN(target, expression) \
  NETPROV_ASSIGN_OR_RETURN_(NETPROV_CONCAT_(netprov_result_, __LINE__), target, expression)
#define NETPROV_ASSIGN_OR_RETURN_(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).error();         \
  target = *std::move(result)

#endif  // NETPROV_SERVER_BASE_RESULT_H_
