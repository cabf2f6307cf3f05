#pragma once
// Which classes a class-incremental study brings when.

#include <cstdint>
#include <vector>

namespace retort::experiments::continual {

/// The permutation of 0 .. count-1 that NumPy's legacy generator of this seed draws:
/// RandomState(seed).permutation(count).
std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t count);

using Classes = std::vector<std::int64_t>;

/// Cuts `order` into `steps` equal runs of consecutive entries.
/// @throws ConfigError unless the number of classes is a multiple of `steps`, naming what divides
/// it
std::vector<Classes> equal_steps(const Classes& order, std::int64_t steps);

}  // namespace retort::experiments::continual
