#pragma once
// Whether counts of random draws go with a law. All bounds are 5 standard deviations of what the
// law itself makes of so many draws, in every cell and in the sum over all cells.

#include <cstdint>
#include <vector>

namespace retort::testing {

/// Counts of independent draws that fall into cell i with probability `shares[i]`.
/// The shares add up to 1. Cells that expect fewer than 10 draws are taken together.
void check_shares(const std::vector<std::int64_t>& counts, const std::vector<double>& shares);

/// The same with equal shares.
void check_uniform(const std::vector<std::int64_t>& counts);

/// How often each item came when `take` different ones of the counts.size() > `take` items were
/// drawn, `repeats` times, all of them equally likely.
void check_inclusions(const std::vector<std::int64_t>& counts, std::int64_t repeats,
                      std::int64_t take);

}  // namespace retort::testing
