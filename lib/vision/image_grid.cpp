#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <opencv2/imgproc.hpp>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/vision/ascii.h"
#include "lib/vision/mat.h"
#include "lib/vision/vision.h"

namespace retort::vision {
namespace {

constexpr std::int64_t kUsualCell = 64;
constexpr int kMargin = 16;
constexpr int kLabelGap = 10;  // between a label and what it names
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kTitleScale = 0.6;
constexpr double kLabelScale = 0.45;
constexpr int kLongestLabel = 180;  // pixels; longer ones are cut
const cv::Scalar kWhite(255, 255, 255);
const cv::Scalar kInk(40, 40, 40);
const cv::Scalar kFrame(215, 215, 215);

// Where everything goes, in pixels.
struct Layout {
  int cell_width = 0;
  int cell_height = 0;
  int gap = 2;
  int group_gap = 0;  // added between groups of columns
  std::int64_t columns = 0;
  std::int64_t group_size = 0;  // columns per group
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;

  int x(std::int64_t column) const {
    return left + int(column) * (cell_width + gap) + int(column / group_size) * group_gap;
  }
  int y(std::size_t row) const { return top + int(row) * (cell_height + gap); }
};

cv::Size text_size(const std::string& text, double scale) {
  int baseline = 0;
  return cv::getTextSize(text, kFont, scale, 1, &baseline);
}

std::string fitted(const std::string& label) {
  std::string text = ascii_text(label);
  if (text_size(text, kLabelScale).width <= kLongestLabel) return text;
  while (!text.empty() && text_size(text + "...", kLabelScale).width > kLongestLabel) {
    text.pop_back();
  }
  return text + "...";
}

void put_text(cv::Mat& canvas, const std::string& text, cv::Point origin, double scale) {
  cv::putText(canvas, text, origin, kFont, scale, kInk, 1, cv::LINE_AA);
}

void check_rows(const std::vector<GridRow>& rows) {
  if (rows.empty()) throw ConfigError("image grid: has no rows");
  const Tensor& first = rows.front().images;
  for (const auto& row : rows) {
    if (row.images.dim() != 4 || row.images.scalar_type() != at::kByte) {
      throw ConfigError(retort::str("image grid, row '", row.label,
                                    "': expected uint8 [n,C,H,W], found ", row.images.scalar_type(),
                                    " ", shape_text(row.images)));
    }
    if (row.images.sizes().slice(1) != first.sizes().slice(1)) {
      throw ConfigError(retort::str("image grid, row '", row.label,
                                    "': expected images like those of the first row, ",
                                    shape_text(first), ", found ", shape_text(row.images)));
    }
  }
}

void choose_cell(Layout& layout, std::int64_t height, std::int64_t width, std::int64_t cell) {
  const std::int64_t longer = std::max(height, width);
  if (cell < 0) throw ConfigError(retort::str("image grid: cell size is ", cell, ", below 0"));
  // Small images grow by a whole factor, so that their pixels stay squares.
  const double scale = cell > 0 ? double(cell) / double(longer)
                                : double(std::max<std::int64_t>(1, kUsualCell / longer));
  layout.cell_height = std::max(1, int(std::lround(scale * double(height))));
  layout.cell_width = std::max(1, int(std::lround(scale * double(width))));
  layout.gap = std::max(2, std::max(layout.cell_height, layout.cell_width) / 16);
}

void choose_groups(Layout& layout, const GridOptions& options) {
  layout.group_size = std::max<std::int64_t>(1, layout.columns);
  const auto groups = std::int64_t(options.column_groups.size());
  if (groups == 0) return;
  if (layout.columns % groups != 0) {
    throw ConfigError(retort::str("image grid: ", layout.columns,
                                  " columns cannot be divided into ", groups, " equal groups"));
  }
  layout.group_size = std::max<std::int64_t>(1, layout.columns / groups);
  layout.group_gap = 4 * layout.gap;
}

Layout make_layout(const std::vector<GridRow>& rows, const GridOptions& options) {
  const Tensor& first = rows.front().images;
  Layout layout;
  choose_cell(layout, first.size(2), first.size(3), options.cell);
  int label_width = 0;
  for (const auto& row : rows) {
    layout.columns = std::max(layout.columns, row.images.size(0));
    label_width = std::max(label_width, text_size(fitted(row.label), kLabelScale).width);
  }
  choose_groups(layout, options);
  layout.left = kMargin + (label_width > 0 ? label_width + kLabelGap : 0);
  layout.top = kMargin;
  if (!options.title.empty()) layout.top += text_size("Ag", kTitleScale).height + kMargin;
  if (!options.column_groups.empty()) {
    layout.top += text_size("Ag", kLabelScale).height + kLabelGap;
  }
  const int right =
      layout.columns > 0 ? layout.x(layout.columns - 1) + layout.cell_width : layout.left;
  const int title_right = kMargin + text_size(ascii_text(options.title), kTitleScale).width;
  layout.width = std::max(right, title_right) + kMargin;
  layout.height = layout.y(rows.size() - 1) + layout.cell_height + kMargin;
  return layout;
}

void draw_image(cv::Mat& canvas, const Tensor& image, const cv::Rect& place) {
  cv::Mat source = to_mat(image);
  if (source.channels() == 1) cv::cvtColor(source, source, cv::COLOR_GRAY2BGR);
  const bool shrinks = place.width < source.cols;
  cv::Mat target = canvas(place);
  cv::resize(source, target, place.size(), 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_NEAREST);
  // Around the image, so that white images keep their outline and no pixel is covered.
  cv::rectangle(canvas, {place.x - 1, place.y - 1, place.width + 2, place.height + 2}, kFrame);
}

void draw_headings(cv::Mat& canvas, const Layout& layout, const GridOptions& options) {
  const int title_height = text_size("Ag", kTitleScale).height;
  put_text(canvas, ascii_text(options.title), {kMargin, kMargin + title_height}, kTitleScale);
  for (std::size_t g = 0; g < options.column_groups.size(); ++g) {
    const auto first = std::int64_t(g) * layout.group_size;
    const int left = layout.x(first);
    const int right = layout.x(first + layout.group_size - 1) + layout.cell_width;
    const std::string name = fitted(options.column_groups[g]);
    const int width = text_size(name, kLabelScale).width;
    put_text(canvas, name, {std::max(0, (left + right - width) / 2), layout.top - kLabelGap},
             kLabelScale);
  }
}

void draw_row(cv::Mat& canvas, const Layout& layout, const GridRow& row, std::size_t index) {
  const std::string label = fitted(row.label);
  const cv::Size size = text_size(label, kLabelScale);
  const int y = layout.y(index);
  put_text(canvas, label,
           {layout.left - kLabelGap - size.width, y + (layout.cell_height + size.height) / 2},
           kLabelScale);
  for (std::int64_t i = 0; i < row.images.size(0); ++i) {
    draw_image(canvas, row.images[i], {layout.x(i), y, layout.cell_width, layout.cell_height});
  }
}

}  // namespace

Tensor image_grid(const std::vector<GridRow>& rows, const GridOptions& options) {
  prepare_opencv();
  check_rows(rows);
  const Layout layout = make_layout(rows, options);
  cv::Mat canvas(layout.height, layout.width, CV_8UC3, kWhite);
  draw_headings(canvas, layout, options);
  for (std::size_t i = 0; i < rows.size(); ++i) draw_row(canvas, layout, rows[i], i);
  return to_tensor(canvas);
}

std::optional<Tensor> first_images_of_grid(const Tensor& picture, std::int64_t rows,
                                           std::int64_t columns, std::int64_t height,
                                           std::int64_t width) {
  if (rows < 1 || columns < 1 || height < 1 || width < 1) return std::nullopt;
  Layout layout;
  choose_cell(layout, height, width, 0);
  layout.group_size = columns;
  layout.top = kMargin;
  // Labels end where images begin; how wide they are shows only in the width of the picture.
  layout.left = int(picture.size(2)) - kMargin - layout.x(columns - 1) - layout.cell_width;
  const std::int64_t bottom = layout.y(std::size_t(rows - 1)) + layout.cell_height + kMargin;
  if (picture.size(1) != bottom || layout.left < kMargin) return std::nullopt;
  const std::int64_t scale = layout.cell_height / height;
  std::vector<Tensor> images;
  for (std::int64_t r = 0; r < rows; ++r) {
    const int y = layout.y(std::size_t(r));
    images.push_back(picture.slice(1, y, y + layout.cell_height, scale)
                         .slice(2, layout.left, layout.left + layout.cell_width, scale));
  }
  return at::stack(images);
}

}  // namespace retort::vision
