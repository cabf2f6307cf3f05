#include "experiments/continual/class_steps.h"

#include <numeric>
#include <random>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::experiments::continual {
namespace {

/// Uniform in 0 .. last, as NumPy's legacy functions draw it: of 32-bit words the lowest bits,
/// until they are not above `last`.
std::uint32_t draw_up_to(std::mt19937& words, std::uint32_t last) {
  std::uint32_t mask = last;
  for (const int shift : {1, 2, 4, 8, 16}) mask |= mask >> shift;
  std::uint32_t value = 0;
  do {
    value = std::uint32_t(words()) & mask;
  } while (value > last);
  return value;
}

std::vector<std::int64_t> divisors(std::int64_t count) {
  std::vector<std::int64_t> found;
  for (std::int64_t d = 1; d <= count; ++d) {
    if (count % d == 0) found.push_back(d);
  }
  return found;
}

}  // namespace

std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t count) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  std::mt19937 words(seed);  // seeded by a number it is NumPy's to the bit
  for (std::int64_t i = count - 1; i > 0; --i) {
    std::swap(values[std::size_t(i)], values[draw_up_to(words, std::uint32_t(i))]);
  }
  return values;
}

std::vector<Classes> equal_steps(const Classes& order, std::int64_t steps) {
  const auto count = std::int64_t(order.size());
  if (count % steps != 0) {
    throw ConfigError(str("option 'steps': ", count, " classes cannot be cut into ", steps,
                          " equal steps; possible are ", join(divisors(count))));
  }
  const std::int64_t each = count / steps;
  std::vector<Classes> result;
  for (auto begin = order.begin(); begin != order.end(); begin += each) {
    result.emplace_back(begin, begin + each);
  }
  return result;
}

}  // namespace retort::experiments::continual
