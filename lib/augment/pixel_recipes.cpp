#include "lib/augment/pixel_recipes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/names.h"

namespace retort::augment {
namespace {

using Op = PixelOperation;
using Kind = PixelRecipe::Kind;

/// An operation of a policy: how often, and how strong.
struct Choice {
  Op operation;
  double probability;
  std::int64_t level = 0;  ///< 0 .. 9
};
using Policy = std::array<std::array<Choice, 2>, 25>;

constexpr Policy kCifarPolicy = {{
    {{{Op::Invert, 0.1}, {Op::Contrast, 0.2, 6}}},
    {{{Op::Rotate, 0.7, 2}, {Op::TranslateX, 0.3, 9}}},
    {{{Op::Sharpness, 0.8, 1}, {Op::Sharpness, 0.9, 3}}},
    {{{Op::ShearY, 0.5, 8}, {Op::TranslateY, 0.7, 9}}},
    {{{Op::AutoContrast, 0.5}, {Op::Equalize, 0.9}}},
    {{{Op::ShearY, 0.2, 7}, {Op::Posterize, 0.3, 7}}},
    {{{Op::Color, 0.4, 3}, {Op::Brightness, 0.6, 7}}},
    {{{Op::Sharpness, 0.3, 9}, {Op::Brightness, 0.7, 9}}},
    {{{Op::Equalize, 0.6}, {Op::Equalize, 0.5}}},
    {{{Op::Contrast, 0.6, 7}, {Op::Sharpness, 0.6, 5}}},
    {{{Op::Color, 0.7, 7}, {Op::TranslateX, 0.5, 8}}},
    {{{Op::Equalize, 0.3}, {Op::AutoContrast, 0.4}}},
    {{{Op::TranslateY, 0.4, 3}, {Op::Sharpness, 0.2, 6}}},
    {{{Op::Brightness, 0.9, 6}, {Op::Color, 0.2, 8}}},
    {{{Op::Solarize, 0.5, 2}, {Op::Invert, 0.0}}},
    {{{Op::Equalize, 0.2}, {Op::AutoContrast, 0.6}}},
    {{{Op::Equalize, 0.2}, {Op::Equalize, 0.6}}},
    {{{Op::Color, 0.9, 9}, {Op::Equalize, 0.6}}},
    {{{Op::AutoContrast, 0.8}, {Op::Solarize, 0.2, 8}}},
    {{{Op::Brightness, 0.1, 3}, {Op::Color, 0.7, 0}}},
    {{{Op::Solarize, 0.4, 5}, {Op::AutoContrast, 0.9}}},
    {{{Op::TranslateY, 0.9, 9}, {Op::TranslateY, 0.7, 9}}},
    {{{Op::AutoContrast, 0.9}, {Op::Solarize, 0.8, 3}}},
    {{{Op::Equalize, 0.8}, {Op::Invert, 0.1}}},
    {{{Op::TranslateY, 0.7, 9}, {Op::AutoContrast, 0.9}}},
}};

constexpr Policy kImageNetPolicy = {{
    {{{Op::Posterize, 0.4, 8}, {Op::Rotate, 0.6, 9}}},
    {{{Op::Solarize, 0.6, 5}, {Op::AutoContrast, 0.6}}},
    {{{Op::Equalize, 0.8}, {Op::Equalize, 0.6}}},
    {{{Op::Posterize, 0.6, 7}, {Op::Posterize, 0.6, 6}}},
    {{{Op::Equalize, 0.4}, {Op::Solarize, 0.2, 4}}},
    {{{Op::Equalize, 0.4}, {Op::Rotate, 0.8, 8}}},
    {{{Op::Solarize, 0.6, 3}, {Op::Equalize, 0.6}}},
    {{{Op::Posterize, 0.8, 5}, {Op::Equalize, 1.0}}},
    {{{Op::Rotate, 0.2, 3}, {Op::Solarize, 0.6, 8}}},
    {{{Op::Equalize, 0.6}, {Op::Posterize, 0.4, 6}}},
    {{{Op::Rotate, 0.8, 8}, {Op::Color, 0.4, 0}}},
    {{{Op::Rotate, 0.4, 9}, {Op::Equalize, 0.6}}},
    {{{Op::Equalize, 0.0}, {Op::Equalize, 0.8}}},
    {{{Op::Invert, 0.6}, {Op::Equalize, 1.0}}},
    {{{Op::Color, 0.6, 4}, {Op::Contrast, 1.0, 8}}},
    {{{Op::Rotate, 0.8, 8}, {Op::Color, 1.0, 2}}},
    {{{Op::Color, 0.8, 8}, {Op::Solarize, 0.8, 7}}},
    {{{Op::Sharpness, 0.4, 7}, {Op::Invert, 0.6}}},
    {{{Op::ShearX, 0.6, 5}, {Op::Equalize, 1.0}}},
    {{{Op::Color, 0.4, 0}, {Op::Equalize, 0.6}}},
    {{{Op::Equalize, 0.4}, {Op::Solarize, 0.2, 4}}},
    {{{Op::Solarize, 0.6, 5}, {Op::AutoContrast, 0.6}}},
    {{{Op::Invert, 0.6}, {Op::Equalize, 1.0}}},
    {{{Op::Color, 0.6, 4}, {Op::Contrast, 1.0, 8}}},
    {{{Op::Equalize, 0.8}, {Op::Equalize, 0.6}}},
}};

constexpr std::int64_t kPolicyLevels = 10;
constexpr std::int64_t kRandAugmentLevels = 31;
constexpr std::int64_t kRandAugmentLevel = 9;
constexpr std::array kRandAugment = {
    Op::Identity,  Op::ShearX,     Op::ShearY,       Op::TranslateX, Op::TranslateY,
    Op::Rotate,    Op::Brightness, Op::Color,        Op::Contrast,   Op::Sharpness,
    Op::Posterize, Op::Solarize,   Op::AutoContrast, Op::Equalize};

/// In float32, as the code computes it: a translation is cut off to an integer.
double between(double first, double last, std::int64_t level, std::int64_t levels) {
  return at::linspace(first, last, levels, at::kFloat)[level].item<float>();
}

bool has_sign(Op operation) {
  constexpr std::array signed_ones = {Op::ShearX,     Op::ShearY,   Op::TranslateX,
                                      Op::TranslateY, Op::Rotate,   Op::Brightness,
                                      Op::Color,      Op::Contrast, Op::Sharpness};
  return std::find(signed_ones.begin(), signed_ones.end(), operation) != signed_ones.end();
}

/// Without its sign.
double magnitude_of(Op operation, std::int64_t level, std::int64_t levels, std::int64_t height,
                    std::int64_t width) {
  constexpr double kLargestMove = 150.0 / 331.0;  // of a side
  switch (operation) {
    case Op::ShearX:
    case Op::ShearY:
      return between(0, 0.3, level, levels);
    case Op::TranslateX:
      return between(0, kLargestMove * double(width), level, levels);
    case Op::TranslateY:
      return between(0, kLargestMove * double(height), level, levels);
    case Op::Rotate:
      return between(0, 30, level, levels);
    case Op::Brightness:
    case Op::Color:
    case Op::Contrast:
    case Op::Sharpness:
      return between(0, 0.9, level, levels);
    case Op::Posterize:
      return 8 - std::nearbyint(double(level) / (double(levels - 1) / 4));
    case Op::Solarize:
      return between(255, 0, level, levels);
    case Op::Identity:
    case Op::AutoContrast:
    case Op::Equalize:
    case Op::Invert:
    case Op::Hue:
    case Op::Flip:
      return 0;
  }
  throw Error("unknown operation on pixels");
}

PixelDraw draw_auto_augment(std::int64_t height, std::int64_t width, Rng& rng) {
  const bool large = std::max(height, width) >= 64;
  const Policy& policy = large ? kImageNetPolicy : kCifarPolicy;
  PixelDraw draw;
  for (const Choice& choice : policy[std::size_t(rng.integer(std::int64_t(policy.size())))]) {
    const bool taken = rng.uniform() <= choice.probability;
    const bool negative = rng.uniform() < 0.5;
    if (!taken) continue;
    double magnitude = magnitude_of(choice.operation, choice.level, kPolicyLevels, height, width);
    if (negative && has_sign(choice.operation)) magnitude = -magnitude;
    draw.steps.push_back({choice.operation, magnitude});
  }
  return draw;
}

PixelDraw draw_rand_augment(std::int64_t height, std::int64_t width, Rng& rng) {
  const Op operation = kRandAugment[std::size_t(rng.integer(std::int64_t(kRandAugment.size())))];
  double magnitude = magnitude_of(operation, kRandAugmentLevel, kRandAugmentLevels, height, width);
  if (rng.uniform() < 0.5 && has_sign(operation)) magnitude = -magnitude;
  return {.steps = {{operation, magnitude}}, .cutout = {}};
}

/// Black borders of four pixels, a window of the image's size anywhere; then mirrored or not.
PixelDraw draw_crop_and_mirror(bool mirror, Rng& rng) {
  constexpr std::int64_t kBorder = 4;
  PixelDraw draw;
  for (const Op direction : {Op::TranslateY, Op::TranslateX}) {
    draw.steps.push_back({direction, double(rng.integer(2 * kBorder + 1) - kBorder)});
  }
  if (rng.uniform() < 0.5 && mirror) draw.steps.push_back({Op::Flip, 0});
  return draw;
}

void add_colour_jitter(PixelDraw& draw, Rng& rng) {
  const auto within = [&](double largest) { return largest * (2 * rng.uniform() - 1); };
  const std::array<PixelDraw::Step, 4> steps = {{{Op::Brightness, within(0.4)},
                                                 {Op::Contrast, within(0.4)},
                                                 {Op::Color, within(0.4)},
                                                 {Op::Hue, within(0.2)}}};
  for (const std::int64_t i : rng.permutation(std::ssize(steps))) {
    draw.steps.push_back(steps[std::size_t(i)]);
  }
}

constexpr std::int64_t kCutoutSide = 16;

Tensor erased(const Tensor& images, const PixelDraw::Center& center) {
  const auto part = [](std::int64_t middle, std::int64_t side) {
    return std::pair{std::max<std::int64_t>(0, middle - kCutoutSide / 2),
                     std::min(side, middle + kCutoutSide / 2)};
  };
  const auto [top, bottom] = part(center.row, images.size(2));
  const auto [left, right] = part(center.col, images.size(3));
  Tensor result = images.clone();
  result.slice(2, top, bottom).slice(3, left, right).zero_();
  return result;
}

}  // namespace

const std::vector<std::string>& pixel_recipe_names() {
  static const std::vector<std::string> names = {"none", "autoaugment", "randaugment", "imagenet",
                                                 "cifar"};
  return names;
}

PixelRecipe PixelRecipe::parse(const std::string& name) {
  const auto& names = pixel_recipe_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw ConfigError(unknown_name_message("augmentation", name, names));
  constexpr std::array kinds = {Kind::None, Kind::AutoAugment, Kind::RandAugment, Kind::ImageNet,
                                Kind::Cifar};
  return {.kind = kinds[std::size_t(found - names.begin())]};
}

PixelDraw draw(const PixelRecipe& recipe, std::int64_t height, std::int64_t width, Rng& rng) {
  switch (recipe.kind) {
    case Kind::None:
      return {};
    case Kind::AutoAugment:
      return draw_auto_augment(height, width, rng);
    case Kind::RandAugment:
      return draw_rand_augment(height, width, rng);
    case Kind::ImageNet: {
      PixelDraw drawn = draw_crop_and_mirror(recipe.mirror, rng);
      add_colour_jitter(drawn, rng);
      return drawn;
    }
    case Kind::Cifar: {
      PixelDraw drawn = draw_crop_and_mirror(recipe.mirror, rng);
      drawn.cutout = PixelDraw::Center{.row = rng.integer(height), .col = 0};
      drawn.cutout->col = rng.integer(width);
      return drawn;
    }
  }
  throw Error("unknown recipe of augmentation");
}

Tensor apply(const PixelDraw& draw, const Tensor& images,
             const data::Preprocessing& preprocessing) {
  constexpr double kWhite = 255;
  Tensor pixels = (preprocessing.invert(images).clamp(0, 1) * kWhite).to(at::kByte);
  for (const auto& step : draw.steps) pixels = apply(step.operation, step.magnitude, pixels);
  const Tensor result = preprocessing.apply(pixels.to(images.scalar_type()) / kWhite);
  return draw.cutout ? erased(result, *draw.cutout) : result;
}

}  // namespace retort::augment
