#pragma once
// From numbers to places on a line.

#include <string>
#include <vector>

namespace retort::report {

struct Axis {
  double low = 0;
  double high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;  ///< round numbers within low .. high

  /// 0 at `low`, 1 at `high`.
  double position(double value) const;
};

/// Holds both numbers and, if they are equal, some room around them. @param about how many ticks
Axis linear_axis(double low, double high, int about = 5);
/// @param low above 0
Axis logarithmic_axis(double low, double high);
/// Logarithmic where all values are positive and the largest is far above the smallest. Values that
/// are not finite do not count.
Axis axis_for(const std::vector<double>& values);

/// Four digits at most: "0.0125", "1.2e+06".
std::string short_number(double value);

}  // namespace retort::report
