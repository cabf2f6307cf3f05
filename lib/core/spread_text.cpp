#include "lib/core/spread_text.h"

#include "lib/core/text.h"

namespace retort {

std::string mean_and_spread(double mean, double spread, std::size_t values) {
  return values < 2 ? fixed(mean, 2) : fixed(mean, 2) + " ± " + fixed(spread, 2);
}

}  // namespace retort
