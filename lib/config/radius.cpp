#include "lib/config/radius.h"

#include <cmath>
#include <cstdint>

#include "lib/config/options.h"
#include "lib/core/str.h"

namespace retort::config {

std::string radius_text(double radius) {
  const double levels = radius * 255;
  const bool whole = std::abs(levels - std::round(levels)) < 1e-9;
  return whole ? str(std::int64_t(std::round(levels)), "/255") : number_text(radius);
}

}  // namespace retort::config
