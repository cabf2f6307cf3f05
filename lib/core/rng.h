#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/core/tensor.h"

namespace retort {

/// A named stream of random numbers. A child depends on its parent's key and its own name only,
/// never on how much was drawn, so adding a draw in one place moves nothing elsewhere. Whatever is
/// drawn per iteration comes from a child keyed by the iteration; such streams need no saving.
///
/// All draws come from a 64-bit counter generator of our own (SplitMix64), so the numbers do not
/// depend on the library version or the thread count.
class Rng {
 public:
  explicit Rng(std::uint64_t seed);

  Rng child(std::string_view name) const;
  Rng child(std::string_view name, std::int64_t index) const;
  Rng child(std::int64_t index) const;

  std::uint64_t bits();                        ///< 64 uniform bits
  double uniform();                            ///< [0, 1)
  double uniform(double low, double high);     ///< [low, high)
  std::int64_t integer(std::int64_t count);    ///< uniform in 0 .. count-1, count >= 1
  double normal();                             ///< N(0, 1)

  /// Uniform permutation of 0 .. count-1.
  std::vector<std::int64_t> permutation(std::int64_t count);
  /// `take` different values of 0 .. count-1 in random order; take <= count.
  std::vector<std::int64_t> sample(std::int64_t count, std::int64_t take);

  Tensor uniform_tensor(at::IntArrayRef shape, double low = 0.0, double high = 1.0);  ///< float32
  Tensor normal_tensor(at::IntArrayRef shape);                                        ///< float32
  Tensor permutation_tensor(std::int64_t count);                                      ///< int64

  /// How many words of the stream have been used: what draws nothing leaves it where it was.
  std::uint64_t position() const { return counter_; }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace retort
