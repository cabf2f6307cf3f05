#include "datasets/shapes/shapes.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "datasets/assemble.h"
#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "lib/core/str.h"

namespace retort::datasets::shapes {
namespace {

// A shape is where its function is true, in coordinates that span -1 .. 1 over its extent.
using Inside = bool (*)(double x, double y);

struct Shape {
  std::string name;
  Inside inside;
};

double largest(double x, double y) { return std::max(std::abs(x), std::abs(y)); }
bool stripe(double t) { return std::fmod(t + 3.0, 0.8) < 0.4; }

const std::vector<Shape>& all_shapes() {
  static const std::vector<Shape> shapes = {
      {"disc", [](double x, double y) { return x * x + y * y < 1; }},
      {"square", [](double x, double y) { return largest(x, y) < 0.85; }},
      {"cross",
       [](double x, double y) {
         return largest(x, y) < 1 && std::min(std::abs(x), std::abs(y)) < 0.3;
       }},
      {"bars", [](double x, double y) { return largest(x, y) < 1 && stripe(y); }},
      {"triangle", [](double x, double y) { return std::abs(y) < 1 && 2 * std::abs(x) < y + 1; }},
      {"ring",
       [](double x, double y) {
         const double r = x * x + y * y;
         return r < 1 && r > 0.3;
       }},
      {"diamond", [](double x, double y) { return std::abs(x) + std::abs(y) < 1; }},
      {"frame", [](double x, double y) { return largest(x, y) < 0.9 && largest(x, y) > 0.5; }},
      {"columns", [](double x, double y) { return largest(x, y) < 1 && stripe(x); }},
      {"saltire",
       [](double x, double y) {
         return largest(x, y) < 1 && std::abs(std::abs(x) - std::abs(y)) < 0.3;
       }},
  };
  return shapes;
}

// Share of the pixel at (row, column) that the shape covers, from 4x4 samples.
double coverage(Inside inside, double row, double column, double centre_y, double centre_x,
                double radius) {
  constexpr int kSamples = 4;
  int hits = 0;
  for (int i = 0; i < kSamples; ++i) {
    for (int j = 0; j < kSamples; ++j) {
      const double y = row + (i + 0.5) / kSamples - centre_y;
      const double x = column + (j + 0.5) / kSamples - centre_x;
      hits += inside(x / radius, y / radius) ? 1 : 0;
    }
  }
  return double(hits) / (kSamples * kSamples);
}

void draw(const Shape& shape, const ShapesOptions& options, Rng rng, std::uint8_t* pixels) {
  const auto side = double(options.side);
  const double radius = side * rng.uniform(0.25, 0.4);
  const double centre_y = side / 2 + rng.uniform(-1, 1) * (side / 2 - radius);
  const double centre_x = side / 2 + rng.uniform(-1, 1) * (side / 2 - radius);
  std::vector<double> front;
  std::vector<double> back;
  for (std::int64_t c = 0; c < options.channels; ++c) {
    front.push_back(rng.uniform(0.6, 1.0));
    back.push_back(rng.uniform(0.0, 0.3));
  }
  for (std::int64_t row = 0; row < options.side; ++row) {
    for (std::int64_t column = 0; column < options.side; ++column) {
      const double share =
          coverage(shape.inside, double(row), double(column), centre_y, centre_x, radius);
      for (std::size_t c = 0; c < front.size(); ++c) {
        const double value =
            share * front[c] + (1 - share) * back[c] + options.noise * rng.normal();
        const std::int64_t at = (std::int64_t(c) * options.side + row) * options.side + column;
        pixels[at] = std::uint8_t(std::lround(255 * std::clamp(value, 0.0, 1.0)));
      }
    }
  }
}

// Classes take turns, so that neighbouring rows differ as in a shuffled file.
data::DataSplit make_split(const ShapesOptions& options, std::int64_t per_class, const Rng& rng) {
  const std::int64_t count = per_class * options.classes;
  Tensor images = at::empty({count, options.channels, options.side, options.side}, at::kByte);
  const std::int64_t image_size = options.channels * options.side * options.side;
  auto* pixels = images.data_ptr<std::uint8_t>();
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < count; ++i) {
    labels.push_back(i % options.classes);
    draw(all_shapes()[std::size_t(labels.back())], options, rng.child(i), pixels + i * image_size);
  }
  return {std::make_shared<data::MemoryStore>(images), label_tensor(labels)};
}

void check(const ShapesOptions& o) {
  const auto most = std::int64_t(all_shapes().size());
  if (o.classes < 2 || o.classes > most) {
    throw ConfigError(str("shapes: expected 2 to ", most, " classes, found ", o.classes));
  }
  if (o.channels != 1 && o.channels != 3) {
    throw ConfigError(str("shapes: expected 1 or 3 channels, found ", o.channels));
  }
  if (o.side < 8) throw ConfigError(str("shapes: expected a side of 8 or more, found ", o.side));
  if (o.train_per_class < 1 || o.test_per_class < 1) {
    throw ConfigError(str("shapes: expected 1 or more images per class, found ", o.train_per_class,
                          " for training and ", o.test_per_class, " for testing"));
  }
}

}  // namespace

const std::vector<std::string>& shape_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& shape : all_shapes()) list.push_back(shape.name);
    return list;
  }();
  return names;
}

bool inside_shape(std::int64_t shape, double x, double y) {
  return all_shapes().at(std::size_t(shape)).inside(x, y);
}

data::ImageDataset make_shapes(const ShapesOptions& options, const OpenOptions& open_options,
                               const std::string& name) {
  check(options);
  const Rng rng = Rng(options.seed).child("shapes");
  const auto& names = shape_names();
  RawDataset raw;
  raw.class_names.assign(names.begin(), names.begin() + options.classes);
  raw.train = make_split(options, options.train_per_class, rng.child("train"));
  raw.test = make_split(options, options.test_per_class, rng.child("test"));
  return assemble(name, std::move(raw), open_options);
}

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  ShapesOptions shapes;
  if (entry.name == "shapes-rgb") {
    shapes.classes = std::int64_t(all_shapes().size());
    shapes.channels = 3;
  }
  return make_shapes(shapes, options, entry.name);
}

}  // namespace retort::datasets::shapes
