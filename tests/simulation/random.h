// The dice of a simulation: the same seed gives the same numbers everywhere.
#ifndef NETPROV_TESTS_SIMULATION_RANDOM_H_
#define NETPROV_TESTS_SIMULATION_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace netprov::simulation {

// SplitMix64. std::uniform_int_distribution would differ from library to library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // 0 to n - 1; n must not be 0.
  size_t Below(size_t n) { return static_cast<size_t>(Next() % n); }

  // True once in n times; never if n is 0.
  bool OneIn(size_t n) { return n != 0 && Below(n) == 0; }

  template <typename T>
  const T& Pick(const std::vector<T>& values) {
    return values[Below(values.size())];
  }
  template <typename T>
  T Pick(std::initializer_list<T> values) {
    return values.begin()[Below(values.size())];
  }

 private:
  uint64_t state_;
};

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_RANDOM_H_
