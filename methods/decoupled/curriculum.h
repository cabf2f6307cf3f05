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
  double highest = 1;    ///< area of the smallest crop at first; the paper's is the whole image

  /// "step", "linear" or "cosine". @throws ConfigError spelling them out
  static Course course_of(const std::string& name);

  /// Area of the smallest crop in an iteration, counted from 0. With T = milestone * iterations it
  /// goes from h = `highest` at t = 0 to l = `lowest` at t = T:
  ///   step h;  linear h - (h - l) t / T;  cosine l + (h - l) (1 + cos(pi t / T)) / 2
  /// @throws ConfigError for an area or milestone out of range, or a highest area below the lowest
  double smallest_area(std::int64_t iteration, std::int64_t iterations) const;
};

}  // namespace retort::methods::decoupled
