#include "experiments/continual/curve.h"

#include <algorithm>

#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::experiments::continual {
namespace {

// Of the picture, and of the plot in it.
constexpr double kWidth = 640;
constexpr double kHeight = 400;
constexpr double kLeft = 70;
constexpr double kRight = 620;
constexpr double kTop = 40;
constexpr double kBottom = 340;

double across(double x, double largest) { return kLeft + (kRight - kLeft) * x / largest; }
double down(double percent) {
  return kBottom - (kBottom - kTop) * std::clamp(percent, 0.0, 100.0) / 100;
}

std::string place(double x, double y) { return str(fixed(x, 1), ",", fixed(y, 1), " "); }

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string label(double x, double y, const std::string& anchor, const std::string& text,
                  const std::string& more = "") {
  return str("<text x=\"", fixed(x, 1), "\" y=\"", fixed(y, 1), "\" text-anchor=\"", anchor, "\"",
             more, ">", escaped(text), "</text>\n");
}

std::string rule(double y) {
  return str("<line x1=\"", kLeft, "\" x2=\"", kRight, "\" y1=\"", fixed(y, 1), "\" y2=\"",
             fixed(y, 1), "\" stroke=\"#ddd\"/>\n");
}

std::string frame(const std::vector<CurvePoint>& points, double largest, const CurveTexts& texts) {
  std::string out;
  for (int percent = 0; percent <= 100; percent += 20) {
    out += rule(down(percent)) + label(kLeft - 8, down(percent) + 4, "end", str(percent));
  }
  for (const CurvePoint& point : points) {
    out += label(across(point.x, largest), kBottom + 18, "middle", str(point.x));
  }
  out += label((kLeft + kRight) / 2, kTop - 16, "middle", texts.title);
  out += label((kLeft + kRight) / 2, kBottom + 42, "middle", texts.x);
  const double middle = (kTop + kBottom) / 2;
  out += label(24, middle, "middle", texts.y, str(" transform=\"rotate(-90 24 ", middle, ")\""));
  return out;
}

}  // namespace

std::string curve_svg(const std::vector<CurvePoint>& points, const CurveTexts& texts) {
  const double largest = points.back().x;
  std::string line;
  std::string upper;
  std::string lower;
  std::string dots;
  for (const CurvePoint& point : points) {
    const double x = across(point.x, largest);
    line += place(x, down(point.y));
    upper += place(x, down(point.y + point.spread));
    lower = place(x, down(point.y - point.spread)) + lower;
    dots += str("<circle cx=\"", fixed(x, 1), "\" cy=\"", fixed(down(point.y), 1),
                "\" r=\"3.5\" fill=\"#1f5fa8\"><title>", fixed(point.y, 2), " ± ",
                fixed(point.spread, 2), " %</title></circle>\n");
  }
  return str("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", kWidth, "\" height=\"", kHeight,
             "\" font-family=\"sans-serif\" font-size=\"13\">\n",
             "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             frame(points, largest, texts), "<polygon points=\"", upper, lower,
             "\" fill=\"#1f5fa8\" fill-opacity=\"0.2\"/>\n<polyline points=\"", line,
             "\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>\n", dots, "</svg>\n");
}

}  // namespace retort::experiments::continual
