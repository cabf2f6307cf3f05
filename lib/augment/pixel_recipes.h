#pragma once
// Augmentation of preprocessed images on their 8-bit pixels, as DC-BENCH trains with it (Cui et
// al., NeurIPS 2022): all images of a mini-batch are changed in the same way. Not differentiable.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/augment/pixel_operations.h"
#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/data/preprocessing.h"

namespace retort::augment {

struct PixelRecipe {
  enum class Kind {
    None,
    /// Cubuk et al. 2019: one of 25 pairs of operations; the policy found on CIFAR-10, for images
    /// of 64 pixels and more the one found on ImageNet.
    AutoAugment,
    RandAugment,  ///< Cubuk et al. 2020: one of 14 operations, at magnitude 9 of 30
    ImageNet,     ///< crop, mirror, and brightness, contrast, saturation, hue in a random order
    Cifar         ///< crop, mirror, cutout
  };
  Kind kind = Kind::None;
  bool mirror = true;  ///< not where a mirror image is of another class

  /// "none", "autoaugment", "randaugment", "imagenet" or "cifar". @throws ConfigError for another
  static PixelRecipe parse(const std::string& name);
};

/// The names that parse knows.
const std::vector<std::string>& pixel_recipe_names();

/// One application, already drawn.
struct PixelDraw {
  struct Step {
    PixelOperation operation = PixelOperation::Identity;
    double magnitude = 0;
  };
  std::vector<Step> steps;  ///< in the order of application
  struct Center {
    std::int64_t row = 0;
    std::int64_t col = 0;
  };
  std::optional<Center> cutout;  ///< of the erased square of 16 pixels
};

/// @param height,width of the images
PixelDraw draw(const PixelRecipe& recipe, std::int64_t height, std::int64_t width, Rng& rng);

/// Undoes the preprocessing, cuts off to 0 .. 1 and to 8 bits (the part below a level is lost),
/// takes the steps and preprocesses again. Cutout erases to 0, the mean of preprocessed images.
/// @param images float [N,C,H,W], preprocessed; C is 1 or 3
Tensor apply(const PixelDraw& draw, const Tensor& images, const data::Preprocessing& preprocessing);

}  // namespace retort::augment
