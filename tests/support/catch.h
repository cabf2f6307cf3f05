#pragma once
// The only way tests include Catch2. LibTorch's logging header defines CHECK as well, and whichever
// comes last wins, so a failed check would abort the program: include LibTorch's first, drop its
// macros, then include Catch2.

#include <torch/types.h>

#include <string>

#include <c10/util/Logging.h>
#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LE
#undef CHECK_LT
#undef CHECK_GE
#undef CHECK_GT
#include <catch2/catch.hpp>

#include "lib/core/tensor.h"

namespace retort::testing {

/// Largest |actual - expected| / max |expected| (1 if expected is all zero) and where it is.
struct Comparison {
  double error = 0;
  std::string text;
};
Comparison compare(const Tensor& actual, const Tensor& expected);

}  // namespace retort::testing

/// Fails, printing the worst index, unless shapes agree and the deviation relative to the largest
/// expected entry is at most `tolerance`.
#define CHECK_CLOSE(actual, expected, tolerance)                                     \
  do {                                                                               \
    const auto retort_comparison = ::retort::testing::compare((actual), (expected)); \
    INFO(retort_comparison.text);                                                    \
    CHECK(retort_comparison.error <= (tolerance));                                   \
  } while (false)

/// Checks the type of what `expression` throws and that its text contains `fragment`. Evaluates the
/// expression once.
#define CHECK_THROWS_WITH_TEXT(expression, type, fragment)                             \
  do {                                                                                 \
    try {                                                                              \
      static_cast<void>(expression);                                                   \
      FAIL_CHECK("nothing was thrown by " #expression);                                \
    } catch (const type& retort_error) {                                               \
      CHECK_THAT(std::string(retort_error.what()), Catch::Matchers::Contains(fragment)); \
    } catch (const std::exception& retort_error) {                                     \
      FAIL_CHECK("not a " #type ": " << retort_error.what());                          \
    }                                                                                  \
  } while (false)
