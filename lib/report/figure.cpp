#include "lib/report/figure.h"

#include <cmath>

#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::report {
namespace {

constexpr double kCharacter = 7.4;  // mean width in the style sheet's size of 12, of wide fonts

void add_line(Html& html, double x1, double y1, double x2, double y2) {
  html.empty("line", {{"class", "grid"},
                      {"x1", place(x1)},
                      {"y1", place(y1)},
                      {"x2", place(x2)},
                      {"y2", place(y2)}});
}

}  // namespace

std::string place(double value) {
  std::string text = fixed(value, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

void add_table(Html& html, const Table& table) {
  const auto kind = [&](std::size_t column) {
    return Attributes{{"class", column >= table.numbers_from ? "number" : "name"}};
  };
  open_scroll(html, table.caption.empty() ? "Table of " + join(table.header) : table.caption);
  html.open("table");
  if (!table.caption.empty()) html.element("caption", table.caption);
  html.open("thead").open("tr");
  for (std::size_t i = 0; i < table.header.size(); ++i) {
    Attributes attributes = kind(i);
    attributes.emplace_back("scope", "col");
    html.element("th", table.header[i], attributes);
  }
  html.close("tr").close("thead").open("tbody");
  for (const Row& row : table.rows) {
    html.open("tr");
    for (std::size_t i = 0; i < row.size(); ++i) {
      Attributes attributes = kind(i);
      if (i == 0) attributes.emplace_back("scope", "row");
      html.element(i == 0 ? "th" : "td", row[i], attributes);
    }
    html.close("tr");
  }
  html.close("tbody").close("table").close("div");
}

void open_scroll(Html& html, const std::string& name) {
  html.open("div",
            {{"class", "scroll"}, {"tabindex", "0"}, {"role", "group"}, {"aria-label", name}});
}

void open_figure(Html& html, const Canvas& canvas) {
  html.open("figure").element("figcaption", canvas.title);
  html.open("svg", {{"role", "img"},
                    {"viewBox", str("0 0 ", place(canvas.width), " ", place(canvas.height))},
                    {"style", str("max-width:", place(canvas.width * 1.25), "px")},
                    {"aria-label", canvas.title}});
  html.element("title", canvas.title).element("desc", canvas.description);
}

void open_picture(Html& html, const Canvas& canvas) {
  constexpr double kHeading = 24;
  const std::string box =
      str("0 ", place(-kHeading), " ", place(canvas.width), " ", place(canvas.height + kHeading));
  html.open("svg", {{"xmlns", "http://www.w3.org/2000/svg"},
                    {"role", "img"},
                    {"viewBox", box},
                    {"font-family", "system-ui, sans-serif"},
                    {"aria-label", canvas.title}});
  html.element("title", canvas.title).element("desc", canvas.description);
  html.open("style").markup(kPlotStyle).close("style");
  html.empty("rect",
             {{"class", "paper"}, {"y", place(-kHeading)}, {"width", "100%"}, {"height", "100%"}});
  const auto most = std::size_t(canvas.width / kCharacter);
  add_text(html, canvas.width / 2, -8, shortened(canvas.title, most), {{"text-anchor", "middle"}});
}

void close_figure(Html& html, const Table& numbers, const std::string& extra) {
  html.close("svg").markup(extra);
  html.open("details").element("summary", "Numbers");
  add_table(html, numbers);
  html.close("details").close("figure");
}

void add_text(Html& html, double x, double y, const std::string& text, Attributes more) {
  more.insert(more.begin(), {{"x", place(x)}, {"y", place(y)}});
  html.element("text", text, more);
}

void add_axes(Html& html, const Frame& frame, const Axis& horizontal, const Axis* vertical,
              const std::string& x_title, const std::string& y_title) {
  const double bottom = frame.top + frame.height;
  const double right = frame.left + frame.width;
  if (vertical != nullptr) {
    for (const double tick : vertical->ticks) {
      const double y = frame.y(*vertical, tick);
      add_line(html, frame.left, y, right, y);
      add_text(html, frame.left - 6, y + 4, short_number(tick), {{"text-anchor", "end"}});
    }
    add_text(html, 0, 10, y_title);
  }
  add_line(html, frame.left, bottom, right, bottom);
  for (const double tick : horizontal.ticks) {
    const double x = frame.x(horizontal, tick);
    add_line(html, x, bottom, x, bottom + 4);
    add_text(html, x, bottom + 17, short_number(tick), {{"text-anchor", "middle"}});
  }
  add_text(html, frame.left + frame.width / 2, bottom + 34, x_title, {{"text-anchor", "middle"}});
}

double text_length(const std::string& text) { return kCharacter * double(text_width(text)); }

std::string shortened(const std::string& text, std::size_t most) {
  if (text_width(text) <= most) return text;
  std::string out;
  std::size_t characters = 0;
  for (const char c : text) {
    if (!continues_character(c) && ++characters == most) break;
    out += c;
  }
  return out + "…";
}

}  // namespace retort::report
