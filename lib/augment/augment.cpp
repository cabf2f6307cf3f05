#include "lib/augment/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "lib/augment/operations.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::augment {
namespace {

using Operations = std::vector<Operation>;

constexpr std::array kOperations = {Operation::Color, Operation::Crop,  Operation::Cutout,
                                    Operation::Flip,  Operation::Scale, Operation::Rotate};

bool contains(const Operations& operations, Operation op) {
  return std::find(operations.begin(), operations.end(), op) != operations.end();
}

Operation parse_operation(const std::string& name) {
  std::vector<std::string> known;
  for (const Operation op : kOperations) {
    if (operation_name(op) == name) return op;
    known.push_back(operation_name(op));
  }
  throw ConfigError(unknown_name_message("augmentation", name, known));
}

void expect_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  throw ConfigError(str("augmentation: ", name, " lies in ", low, " .. ", high, ", found ", value));
}

void expect_ranges(const Strategy& s) {
  expect_range("crop_ratio", s.crop_ratio, 0, 0.5);
  expect_range("cutout_ratio", s.cutout_ratio, 0, 1);
  expect_range("scale_ratio", s.scale_ratio, 1, 100);
  expect_range("rotate_degrees", s.rotate_degrees, 0, 180);
}

/// Fills the parameters of a Draw for `count` samples.
class Sampler {
 public:
  Sampler(const Strategy& strategy, std::int64_t count, std::int64_t height, std::int64_t width,
          Rng& rng)
      : strategy_(strategy), count_(count), height_(height), width_(width), rng_(rng) {}

  void add(Operation op, Draw& out) {
    out.sequence.push_back(op);
    switch (op) {
      case Operation::Color:
        out.brightness = uniforms();
        out.saturation = uniforms();
        out.contrast = uniforms();
        return;
      case Operation::Crop:
        out.shift_row = shifts(height_);
        out.shift_col = shifts(width_);
        return;
      case Operation::Cutout:
        out.center_row = centers(height_);
        out.center_col = centers(width_);
        return;
      case Operation::Flip:
        out.flip = uniforms();
        return;
      case Operation::Scale:
        out.scale_x = mapped(uniforms(), [&](double u) { return scale_factor(strategy_, u); });
        out.scale_y = mapped(uniforms(), [&](double u) { return scale_factor(strategy_, u); });
        return;
      case Operation::Rotate:
        out.angle = mapped(uniforms(), [&](double u) { return rotation_angle(strategy_, u); });
        return;
    }
  }

  /// One of the list, unless it is empty.
  void add_one_of(const Operations& choices, Draw& out) {
    if (choices.empty()) return;
    add(choices[std::size_t(rng_.integer(std::int64_t(choices.size())))], out);
  }

 private:
  std::vector<double> uniforms() {
    std::vector<double> values(static_cast<std::size_t>(count_));
    for (double& value : values) value = rng_.uniform();
    return values;
  }

  std::vector<std::int64_t> integers(std::int64_t low, std::int64_t values) {
    std::vector<std::int64_t> out(static_cast<std::size_t>(count_));
    for (std::int64_t& value : out) value = low + rng_.integer(values);
    return out;
  }

  std::vector<std::int64_t> shifts(std::int64_t side) {
    const std::int64_t largest = rounded_share(side, strategy_.crop_ratio);
    return integers(-largest, 2 * largest + 1);
  }

  std::vector<std::int64_t> centers(std::int64_t side) {
    const std::int64_t erased = rounded_share(side, strategy_.cutout_ratio);
    return integers(0, side + (erased % 2 == 0 ? 1 : 0));
  }

  template <class Map>
  static std::vector<double> mapped(std::vector<double> values, Map&& map) {
    for (double& value : values) value = map(value);
    return values;
  }

  const Strategy& strategy_;
  std::int64_t count_;
  std::int64_t height_;
  std::int64_t width_;
  Rng& rng_;
};

Operations without(const Operations& operations, std::initializer_list<Operation> removed) {
  Operations left;
  for (const Operation op : operations) {
    if (std::find(removed.begin(), removed.end(), op) == removed.end()) left.push_back(op);
  }
  return left;
}

}  // namespace

std::string operation_name(Operation op) {
  switch (op) {
    case Operation::Color:
      return "color";
    case Operation::Crop:
      return "crop";
    case Operation::Cutout:
      return "cutout";
    case Operation::Flip:
      return "flip";
    case Operation::Scale:
      return "scale";
    case Operation::Rotate:
      return "rotate";
  }
  throw ConfigError("augmentation: not an operation");
}

std::string usual_operations(bool mirror_changes_class) {
  return mirror_changes_class ? "color_crop_cutout_scale_rotate"
                              : "color_crop_cutout_flip_scale_rotate";
}

Strategy Strategy::parse(const std::string& text) {
  Strategy strategy;
  if (text.empty() || text == "none") return strategy;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('_', begin), text.size());
    const Operation op = parse_operation(text.substr(begin, end - begin));
    if (contains(strategy.operations, op)) {
      throw ConfigError(str("augmentation '", text, "': each operation may be named once, found '",
                            operation_name(op), "' again"));
    }
    strategy.operations.push_back(op);
    begin = end + 1;
  }
  return strategy;
}

Strategy Strategy::of(const std::string& text, const std::string& style) {
  const std::vector<std::string> styles{"dsa", "mtt", "fyi", "idc"};
  if (std::find(styles.begin(), styles.end(), style) == styles.end()) {
    throw ConfigError(unknown_name_message("augmentation style", style, styles));
  }
  Strategy strategy = parse(text);
  strategy.align_corners = style == "mtt" || style == "fyi";
  strategy.flip_first = style == "fyi";
  strategy.combined = style == "idc";
  return strategy;
}

std::string Strategy::text() const {
  if (operations.empty()) return "none";
  std::vector<std::string> names;
  for (const Operation op : operations) names.push_back(operation_name(op));
  return join(names, "_");
}

double scale_factor(const Strategy& strategy, double u) {
  const double smallest = 1 / strategy.scale_ratio;
  return u * (strategy.scale_ratio - smallest) + smallest;
}

double rotation_angle(const Strategy& strategy, double u) {
  return (u - 0.5) * 2 * strategy.rotate_degrees / 180 * std::numbers::pi;
}

Draw draw(const Strategy& strategy, Sharing sharing, std::int64_t count, std::int64_t height,
          std::int64_t width, Rng& rng) {
  expect_ranges(strategy);
  const bool shared = sharing == Sharing::Siamese;
  if (!shared && count < 1) {
    throw ConfigError(str("augmentation: expected at least one sample, found ", count));
  }
  Draw out;
  Sampler sampler(strategy, shared ? 1 : count, height, width, rng);
  const Operations& all = strategy.operations;
  if (strategy.combined) {
    if (contains(all, Operation::Flip)) sampler.add(Operation::Flip, out);
    if (contains(all, Operation::Color)) sampler.add(Operation::Color, out);
    sampler.add_one_of(without(all, {Operation::Flip, Operation::Color, Operation::Cutout}), out);
    if (contains(all, Operation::Cutout)) sampler.add(Operation::Cutout, out);
  } else if (strategy.flip_first && contains(all, Operation::Flip)) {
    sampler.add(Operation::Flip, out);
    sampler.add_one_of(without(all, {Operation::Flip}), out);
  } else {
    sampler.add_one_of(all, out);
  }
  return out;
}

Tensor apply(const Strategy& strategy, const Draw& draw, const Tensor& images) {
  expect_shape(images, {-1, -1, -1, -1}, "images to augment");
  if (!images.is_floating_point()) {
    throw ConfigError(str("images to augment: expected floating point, found ", images.dtype()));
  }
  if (images.numel() == 0) return images;
  Tensor x = images;
  for (const Operation op : draw.sequence) x = apply_operation(strategy, draw, op, x);
  return x;
}

Tensor augment_batch(const Strategy& strategy, const Tensor& images, Rng& rng) {
  if (strategy.operations.empty()) return images;
  expect_shape(images, {-1, -1, -1, -1}, "images to augment");
  const Draw parameters =
      draw(strategy, Sharing::PerSample, images.size(0), images.size(2), images.size(3), rng);
  return apply(strategy, parameters, images);
}

}  // namespace retort::augment
