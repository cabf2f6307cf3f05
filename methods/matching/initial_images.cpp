#include "lib/core/error.h"
#include "lib/core/str.h"
#include "methods/matching/matching_method.h"

namespace retort::methods::matching {
namespace {

/// Real images chosen by `rule`, packed class by class.
Tensor packed_real(const data::ImageDataset& dataset, std::int64_t ipc, const std::string& rule,
                   const synth::FeatureOptions& features, const synth::ImageDecoder& decoder,
                   const Rng& rng) {
  const std::int64_t parts = decoder.images_per_packed();
  const std::int64_t per_class = ipc * parts;
  const Tensor chosen = synth::select_real(dataset, rule, per_class, features, rng);
  Tensors packed;
  for (const Tensor& indices : chosen.split(per_class)) {
    packed.push_back(decoder.pack(dataset.batch(data::Split::Train, indices)));
  }
  return at::cat(packed);
}

}  // namespace

Tensor initial_images(const data::ImageDataset& dataset, std::int64_t ipc,
                      const MatchingOptions& options, const synth::ImageDecoder& decoder,
                      const Rng& rng) {
  const auto shape = dataset.shape();
  if (options.init == "noise") {
    Rng noise = rng.child("noise");
    return noise.normal_tensor(
        {dataset.num_classes() * ipc, shape.channels, shape.height, shape.width});
  }
  if (options.init == "mosaic") {
    // Real images shrunk into a 2x2 mosaic each, but optimised as plain pixels.
    const auto mosaic = synth::make_multi_formation(2, "single", at::zeros({shape.channels}));
    return packed_real(dataset, ipc, "random", options.features, *mosaic, rng);
  }
  return packed_real(dataset, ipc, options.init, options.features, decoder, rng);
}

augment::Strategy make_strategy(const std::string& text, const std::string& style,
                                const std::string& dataset) {
  // A mirrored digit is another sign, so the papers leave the flip out on digits.
  const bool digits = dataset == "mnist" || dataset == "svhn" || dataset.starts_with("emnist");
  std::string operations = text;
  if (text == "auto") {
    operations = digits ? "color_crop_cutout_scale_rotate" : "color_crop_cutout_flip_scale_rotate";
    if (style == "idc") operations = "color_crop_cutout";
  }
  augment::Strategy strategy = augment::Strategy::parse(operations);
  strategy.align_corners = style == "mtt" || style == "fyi";
  strategy.flip_first = style == "fyi";
  strategy.combined = style == "idc";
  return strategy;
}

}  // namespace retort::methods::matching
