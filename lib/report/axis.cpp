#include "lib/report/axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace retort::report {
namespace {

constexpr double kRatioOfLogarithms = 50;
constexpr double kNoRange = 1e-12;  // of the larger end: ticks could not be told apart

/// The round number 1, 2 or 5 times a power of ten that is not below `step`.
double round_step(double step) {
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= step * (1 - 1e-9)) return digit * power;
  }
  return 10 * power;
}

bool holds(const Axis& axis, double value) {
  const double slack = 1e-9 * (axis.high - axis.low);
  return value >= axis.low - slack && value <= axis.high + slack;
}

}  // namespace

double Axis::position(double value) const {
  if (!logarithmic) return (value - low) / (high - low);
  return (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
}

Axis linear_axis(double low, double high, int about) {
  const double largest = std::max(std::abs(low), std::abs(high));
  if (!(high - low > kNoRange * largest)) {
    const double room = largest == 0 ? 1 : largest * 0.1;
    low -= room;
    high += room;
  }
  Axis axis{.low = low, .high = high, .logarithmic = false, .ticks = {}};
  const double step = round_step((high - low) / about);
  const double first = std::ceil(low / step - 1e-9);
  for (int n = 0; n <= about && holds(axis, (first + n) * step); ++n) {
    axis.ticks.push_back(first + n == 0 ? 0 : (first + n) * step);  // never -0
  }
  return axis;
}

Axis logarithmic_axis(double low, double high) {
  if (!(high > low)) high = low * 10;
  Axis axis{.low = low, .high = high, .logarithmic = true, .ticks = {}};
  const bool few_decades = std::log10(high / low) < 3;
  const double step = std::log10(high / low) > 8 ? 2 : 1;
  for (double power = std::floor(std::log10(low)); power <= std::log10(high); power += step) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double tick = digit * std::pow(10, power);
      if ((digit == 1 || few_decades) && tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) {
        axis.ticks.push_back(tick);
      }
    }
  }
  return axis;
}

Axis axis_for(const std::vector<double>& values) {
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite),
               [](double x) { return std::isfinite(x); });
  if (finite.empty()) return linear_axis(0, 1);
  const auto [low, high] = std::minmax_element(finite.begin(), finite.end());
  if (*low > 0 && *high / *low >= kRatioOfLogarithms) return logarithmic_axis(*low, *high);
  return linear_axis(*low, *high);
}

std::string short_number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", value);
  return text.data();
}

}  // namespace retort::report
