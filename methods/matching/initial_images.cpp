#include "methods/matching/initial_images.h"

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"

namespace retort::methods::matching {
namespace {

/// Real images chosen by `rule`, packed class by class.
Tensor packed_real(const data::ImageDataset& dataset, std::int64_t ipc, const std::string& rule,
                   const synth::FeatureOptions& features, const synth::ImageDecoder& decoder,
                   const Rng& rng, const StopFlag* stop) {
  const std::int64_t per_class = ipc * decoder.images_per_packed();
  const Tensor chosen = synth::select_real(dataset, rule, per_class, features, rng, stop);
  return synth::pack_real(dataset, chosen, per_class, decoder);
}

/// The stored images of a set file, in the run's own preprocessing.
Tensor stored_images(const std::string& path, const data::ImageDataset& dataset, std::int64_t ipc,
                     const synth::ImageDecoder& decoder) {
  const data::SyntheticSet set = storage::read_set(path);
  const data::Decoder wanted = decoder.spec();
  if (set.decoder.id != wanted.id || set.decoder.config != wanted.config) {
    throw ConfigError(str("init-set '", path, "': its decoder is ", data::decoder_text(set.decoder),
                          ", this run's is ", data::decoder_text(wanted)));
  }
  const auto shape = dataset.shape();
  const std::int64_t rows = dataset.num_classes() * ipc;
  expect_shape(set.images, {rows, shape.channels, shape.height, shape.width},
               str("images of init-set '", path, "'"));
  const Tensor classes = at::arange(dataset.num_classes(), at::kLong).repeat_interleave(ipc);
  if (!at::equal(set.class_index, classes)) {
    throw ConfigError(str("init-set '", path, "': expected ", ipc,
                          " images of every class, class by class; its order is another"));
  }
  const Tensor pixels = set.preprocessing.invert(set.images);
  return dataset.preprocessing().apply(pixels);
}

}  // namespace

Tensor initial_images(const data::ImageDataset& dataset, std::int64_t ipc,
                      const StartOptions& options, const synth::ImageDecoder& decoder,
                      const Rng& rng, const StopFlag* stop) {
  if (!options.init_set.empty()) {
    return stored_images(options.init_set, dataset, ipc, decoder);
  }
  const auto shape = dataset.shape();
  if (options.init == "noise") {
    Rng noise = rng.child("noise");
    return noise.normal_tensor(
        {dataset.num_classes() * ipc, shape.channels, shape.height, shape.width});
  }
  if (options.init == "mosaic") {
    // Real images shrunk into a 2x2 mosaic each, but optimised as plain pixels.
    const auto mosaic = synth::make_multi_formation(2, "single", at::zeros({shape.channels}));
    return packed_real(dataset, ipc, "random", options.features, *mosaic, rng, stop);
  }
  return packed_real(dataset, ipc, options.init, options.features, decoder, rng, stop);
}

}  // namespace retort::methods::matching
