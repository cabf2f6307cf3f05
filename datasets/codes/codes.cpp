#include "datasets/codes/codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "datasets/assemble.h"
#include "datasets/shapes/shapes.h"
#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/rng.h"
#include "lib/core/str.h"

namespace retort::datasets::codes {
namespace {

using Colour = std::array<double, 3>;

struct NamedColour {
  const char* name;
  Colour value;
};

constexpr std::array<NamedColour, 10> kColours = {{{"white", {0.95, 0.95, 0.95}},
                                                   {"red", {0.9, 0.1, 0.1}},
                                                   {"green", {0.1, 0.75, 0.1}},
                                                   {"blue", {0.1, 0.2, 0.95}},
                                                   {"yellow", {0.95, 0.9, 0.1}},
                                                   {"magenta", {0.9, 0.1, 0.85}},
                                                   {"cyan", {0.1, 0.85, 0.9}},
                                                   {"orange", {0.98, 0.55, 0.1}},
                                                   {"brown", {0.45, 0.25, 0.05}},
                                                   {"black", {0.02, 0.02, 0.02}}}};

// Brightness of the ground at a place, both in pixels from a random origin: in 0 .. 1.
struct Pattern {
  const char* name;
  double (*shade)(double x, double y);
};

double wave(double t) { return 0.5 + 0.5 * std::sin(t); }
double square(double t) { return std::sin(t) > 0 ? 1 : 0; }

constexpr std::array<Pattern, 10> kPatterns = {{
    {"plain", [](double, double) { return 0.5; }},
    {"rows", [](double, double y) { return square(0.9 * y); }},
    {"columns", [](double x, double) { return square(0.9 * x); }},
    {"rising", [](double x, double y) { return square(0.7 * (x + y)); }},
    {"falling", [](double x, double y) { return square(0.7 * (x - y)); }},
    {"checks", [](double x, double y) { return square(0.7 * x) == square(0.7 * y) ? 1.0 : 0.0; }},
    {"dots", [](double x, double y) { return wave(1.1 * x) * wave(1.1 * y) > 0.5 ? 1.0 : 0.0; }},
    {"swell", [](double, double y) { return wave(0.25 * y); }},
    {"tide", [](double x, double) { return wave(0.25 * x); }},
    {"rings", [](double x, double y) { return square(1.1 * std::hypot(x - 16, y - 16)); }},
}};

const std::int64_t kShapes = std::int64_t(shapes::shape_names().size());
const std::int64_t kMost = kShapes * std::int64_t(kColours.size() * kPatterns.size());

/// The code of a class.
struct Code {
  explicit Code(std::int64_t label)
      : shape(label % kShapes),
        colour(kColours[std::size_t(label / kShapes) % kColours.size()]),
        pattern(kPatterns[std::size_t(label / kShapes) / kColours.size()]) {}

  std::string name() const {
    return str(shapes::shape_names()[std::size_t(shape)], "-", colour.name, "-", pattern.name);
  }

  std::int64_t shape;
  const NamedColour& colour;
  const Pattern& pattern;
};

void draw(const Code& code, const CodesOptions& options, Rng rng, std::uint8_t* pixels) {
  const auto side = double(options.side);
  const double radius = side * rng.uniform(0.28, 0.4);
  const double centre_y = side / 2 + rng.uniform(-1, 1) * (side / 2 - radius);
  const double centre_x = side / 2 + rng.uniform(-1, 1) * (side / 2 - radius);
  const double shift_y = rng.uniform(0, 8);
  const double shift_x = rng.uniform(0, 8);
  const double light = rng.uniform(0.85, 1.0);
  const std::int64_t plane = options.side * options.side;
  for (std::int64_t row = 0; row < options.side; ++row) {
    for (std::int64_t column = 0; column < options.side; ++column) {
      const double y = double(row) + 0.5;
      const double x = double(column) + 0.5;
      const bool inside =
          shapes::inside_shape(code.shape, (x - centre_x) / radius, (y - centre_y) / radius);
      // Grounds are gray between the brightest and the darkest colour.
      const double ground = 0.35 + 0.3 * code.pattern.shade(x + shift_x, y + shift_y);
      for (std::int64_t c = 0; c < 3; ++c) {
        const double value = inside ? code.colour.value[std::size_t(c)] : ground;
        const double noisy = light * value + rng.uniform(-options.noise, options.noise);
        pixels[c * plane + row * options.side + column] =
            std::uint8_t(std::lround(255 * std::clamp(noisy, 0.0, 1.0)));
      }
    }
  }
}

// Classes take turns, so that neighbouring rows differ as in a shuffled file.
data::DataSplit make_split(const CodesOptions& options, std::int64_t per_class, const Rng& rng) {
  const std::int64_t count = per_class * options.classes;
  Tensor images = at::empty({count, 3, options.side, options.side}, at::kByte);
  const std::int64_t image_size = 3 * options.side * options.side;
  auto* pixels = images.data_ptr<std::uint8_t>();
  parallel_tasks(options.classes, [&](std::int64_t label) {
    const Code code(label);
    const Rng own = rng.child("class", label);
    for (std::int64_t i = 0; i < per_class; ++i) {
      draw(code, options, own.child(i), pixels + (i * options.classes + label) * image_size);
    }
  });
  return {std::make_shared<data::MemoryStore>(images),
          at::arange(count, at::kLong).remainder(options.classes)};
}

void check(const CodesOptions& o) {
  if (o.classes < 2 || o.classes > kMost) {
    throw ConfigError(str("codes: expected 2 to ", kMost, " classes, found ", o.classes));
  }
  if (o.side < 16) throw ConfigError(str("codes: expected a side of 16 or more, found ", o.side));
  if (o.train_per_class < 1 || o.test_per_class < 1) {
    throw ConfigError(str("codes: expected 1 or more images per class, found ", o.train_per_class,
                          " for training and ", o.test_per_class, " for testing"));
  }
}

}  // namespace

data::ImageDataset make_codes(const CodesOptions& options, const OpenOptions& open_options,
                              const std::string& name) {
  check(options);
  const Rng rng = Rng(options.seed).child("codes");
  RawDataset raw;
  for (std::int64_t c = 0; c < options.classes; ++c) raw.class_names.push_back(Code(c).name());
  raw.train = make_split(options, options.train_per_class, rng.child("train"));
  raw.test = make_split(options, options.test_per_class, rng.child("test"));
  return assemble(name, std::move(raw), open_options);
}

data::ImageDataset open(const DatasetEntry& entry, const OpenOptions& options) {
  return make_codes({.classes = entry.size->classes}, options, entry.name);
}

}  // namespace retort::datasets::codes
