#pragma once
// Which crops an image is seen through while it is made: the whole image early, small crops late
// (CDA: Yin and Shen, TMLR 2024). The largest crop is always the whole image.

#include <cstdint>
#include <string>

namespace retort::methods::decoupled {

struct Curriculum {
  enum class Course { Step, Linear, Cosine };

  Course course = Course::Cosine;
  double lowest = 0.08;  ///< area of the smallest crop over the image's, from the milestone on
  double milestone = 0;  ///< share of the iterations until then, 0 .. 1; 0: no curriculum

  /// "step", "linear" or "cosine". @throws ConfigError spelling them out
  static Course course_of(const std::string& name);

  /// Area of the smallest crop in an iteration, counted from 0. With T = milestone * iterations it
  /// goes from 1 at t = 0 to `lowest` at t = T:
  ///   step 1;  linear 1 - (1 - lowest) t / T;  cosine lowest + (1 - lowest) (1 + cos(pi t / T)) /
  ///   2
  /// @throws ConfigError for a lowest area or milestone out of range
  double smallest_area(std::int64_t iteration, std::int64_t iterations) const;
};

}  // namespace retort::methods::decoupled
