#include "lib/core/speed.h"

#include <algorithm>

namespace retort {
namespace {

constexpr std::int64_t kFirstItems = 16;
constexpr std::int64_t kGrowth = 4;
/// Enough for the clock, and for what happens beside to matter little.
constexpr double kEnough = 0.1;

double timed(const std::function<void()>& work, const Clock& clock) {
  const double start = clock();
  work();
  return clock() - start;
}

/// The fastest of `first` and of some more, since what disturbs only makes slower.
double fastest(double first, const std::function<void()>& work, const Clock& clock) {
  double best = first;
  for (double spent = first; spent < kEnough;) {
    const double again = timed(work, clock);
    best = std::min(best, again);
    spent += std::max(again, kEnough / 100);
  }
  return best;
}

}  // namespace

double seconds_per_item(std::int64_t most, std::int64_t unit,
                        const std::function<void(std::int64_t)>& work, const Clock& clock) {
  std::int64_t items = std::min(most, unit * ((kFirstItems + unit - 1) / unit));
  const auto all = [&] { work(items); };
  const auto warm = [&] {
    all();
    return timed(all, clock);
  };
  double seconds = warm();
  while (items < most && seconds < kEnough) {
    items = std::min(most, kGrowth * items);
    seconds = warm();
  }
  return fastest(seconds, all, clock) / double(items);
}

double seconds_of(const std::function<void()>& work, const Clock& clock) {
  work();
  return fastest(timed(work, clock), work, clock);
}

}  // namespace retort
