#pragma once
// Which real images stand for a class: coresets, and what optimisation starts from.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network_name.h"

namespace retort::synth {

class ImageDecoder;

// The rule lives with the networks; options of the methods know it by this name.
using nn::network_name;

// How the network of FeatureOptions is trained: the evaluations' usual step size, in small batches,
// since it sees the training split a few times only.
inline constexpr std::int64_t kFeatureBatchSize = 64;
inline constexpr double kFeatureLr = 0.01;

/// In which space distances are measured.
struct FeatureOptions {
  std::string features =
      "embedding";  ///< "embedding" of a network trained on the data, or "pixels"
  std::string net = "ConvNet-3";
  std::int64_t epochs = 1;  ///< passes over the training split

  void describe(config::OptionTable& table);
};

/// The ways of choosing: random, first, herding, k-center, k-means.
const std::vector<std::string>& selection_rules();

/// Features of training images, eval mode. A network is trained by `options` on the whole training
/// split once; pixels need none.
class FeatureExtractor {
 public:
  /// @throws Interrupted when `stop` was requested during the training
  FeatureExtractor(const data::ImageDataset& dataset, FeatureOptions options, const Rng& rng,
                   const StopFlag* stop = nullptr);
  ~FeatureExtractor();
  /// @param indices int64 [n]  @return float32 [n,F]
  Tensor operator()(const Tensor& indices) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Classes are chosen from several at once, each on one thread. The choice does not depend on the
/// number of threads, unless the features are those of a network with BatchNorm (train::train).
/// @param per_class images of every class  @return int64 [K*per_class] training indices,
/// class-major
/// @throws ConfigError when a class has fewer images, naming it; Interrupted when `stop` was
/// requested, within a training step or a class
Tensor select_real(const data::ImageDataset& dataset, const std::string& rule,
                   std::int64_t per_class, const FeatureOptions& features, const Rng& rng,
                   const StopFlag* stop = nullptr);

/// Chosen images as a decoder stores them, class by class.
/// @param chosen int64 [K*per_class], class-major  @param per_class a multiple of what `decoder`
/// packs into one stored image
/// @return float32 [K*per_class/images_per_packed,C,H,W]
Tensor pack_real(const data::ImageDataset& dataset, const Tensor& chosen, std::int64_t per_class,
                 const ImageDecoder& decoder);

}  // namespace retort::synth
