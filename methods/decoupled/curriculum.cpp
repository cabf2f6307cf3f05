#include "methods/decoupled/curriculum.h"

#include <cmath>
#include <numbers>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"

namespace retort::methods::decoupled {

Curriculum::Course Curriculum::course_of(const std::string& name) {
  if (name == "step") return Course::Step;
  if (name == "linear") return Course::Linear;
  if (name == "cosine") return Course::Cosine;
  throw ConfigError(unknown_name_message("curriculum", name, {"step", "linear", "cosine"}));
}

double Curriculum::smallest_area(std::int64_t iteration, std::int64_t iterations) const {
  if (!(lowest > 0 && lowest <= highest && highest <= 1) || !(milestone >= 0 && milestone <= 1)) {
    throw ConfigError(
        str("curriculum: expected areas above 0 and up to 1, that at first not below that at the "
            "end, and a milestone from 0 to 1, found ",
            highest, ", ", lowest, " and ", milestone));
  }
  const double end = milestone * double(iterations);
  if (!(double(iteration) < end)) return lowest;
  const double progress = double(iteration) / end;
  switch (course) {
    case Course::Step:
      return highest;
    case Course::Linear:
      return lowest + (highest - lowest) * (1 - progress);
    case Course::Cosine:
      return lowest + (highest - lowest) * (1 + std::cos(std::numbers::pi * progress)) / 2;
  }
  throw ConfigError("curriculum: not a course");
}

}  // namespace retort::methods::decoupled
