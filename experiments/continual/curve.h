#pragma once

#include <string>
#include <vector>

namespace retort::experiments::continual {

struct CurvePoint {
  double x = 0;
  double y = 0;  ///< percent
  double spread = 0;
};

struct CurveTexts {
  std::string title;
  std::string x;
  std::string y;
};

/// A line through the points, x ascending, in a band of their spread, over axes from 0 to 100 %.
std::string curve_svg(const std::vector<CurvePoint>& points, const CurveTexts& texts);

}  // namespace retort::experiments::continual
