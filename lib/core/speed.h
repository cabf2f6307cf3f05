#pragma once

#include <cstdint>
#include <functional>

#include "lib/core/clock.h"

namespace retort {

/// Seconds since some fixed point.
using Clock = std::function<double()>;

/// Wall seconds that `work` takes per item here, where it is done for `most` of them at a time.
/// Measured by doing it, quick work for all of them, slow work for fewer, so that it is over in
/// some tenths of a second if 16 items are; the first time with so many, in which memory is
/// prepared, is not counted.
/// @param most at least 1
/// @param unit it is done for multiples of so many items, or for `most`
double seconds_per_item(std::int64_t most, std::int64_t unit,
                        const std::function<void(std::int64_t items)>& work,
                        const Clock& clock = wall_seconds);

/// The same of work that is all or nothing.
double seconds_of(const std::function<void()>& work, const Clock& clock = wall_seconds);

}  // namespace retort
