#pragma once
// What all plots have in common. Private to lib/report.

#include <string>
#include <vector>

#include "lib/report/axis.h"
#include "lib/report/html.h"
#include "lib/report/style.h"

namespace retort::report {

using Row = std::vector<std::string>;

struct Table {
  Row header;
  std::vector<Row> rows;
  std::string caption{};         ///< may be empty
  std::size_t numbers_from = 1;  ///< columns from this one on stand to the right
};
/// The first column names its rows. Scrolls sideways where the page is narrow.
void add_table(Html& html, const Table& table);
/// <div> for what scrolls sideways, by keys too; assistive programs need its name.
void open_scroll(Html& html, const std::string& name);

/// <figure> with a caption and an <svg> of this size, open for what is drawn.
struct Canvas {
  std::string title;
  std::string description;
  double width = 0;
  double height = 0;
};
void open_figure(Html& html, const Canvas& canvas);
/// An <svg> as a document of its own, on paper: its title stands above what is drawn.
void open_picture(Html& html, const Canvas& canvas);
/// @param extra markup of a legend; may be empty
void close_figure(Html& html, const Table& numbers, const std::string& extra = "");

/// A place or length in a drawing.
std::string place(double value);

/// Where a plot with two axes has its inner part.
struct Frame {
  double left = 0;
  double top = 0;
  double width = 0;
  double height = 0;
  double x(const Axis& axis, double value) const { return left + width * axis.position(value); }
  double y(const Axis& axis, double value) const {
    return top + height * (1 - axis.position(value));
  }
};
/// Lines and numbers of both axes, and their titles. @param vertical may be null
void add_axes(Html& html, const Frame& frame, const Axis& horizontal, const Axis* vertical,
              const std::string& x_title, const std::string& y_title);

void add_text(Html& html, double x, double y, const std::string& text, Attributes more = {});

/// Roughly, in the type of plots.
double text_length(const std::string& text);
/// Its beginning and "…" where it has more than `most` characters.
std::string shortened(const std::string& text, std::size_t most);

}  // namespace retort::report
