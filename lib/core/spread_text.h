#pragma once

#include <cstddef>
#include <string>

namespace retort {

/// "84.50 ± 0.43", or without the spread where there is but one value.
std::string mean_and_spread(double mean, double spread, std::size_t values);

}  // namespace retort
