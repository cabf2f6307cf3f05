#pragma once

#include <memory>
#include <optional>

#include "lib/augment/augment.h"
#include "lib/synth/parametrization.h"
#include "lib/train/network_source.h"
#include "methods/matching/image_optimizer.h"
#include "methods/matching/matching_options.h"
#include "methods/matching/objective.h"
#include "methods/method.h"

namespace retort::methods::matching {

/// The loop that distribution, attention and gradient matching share. Per iteration: a network from
/// the source; per class a real batch and one Siamese augmentation draw for both halves; the
/// objective's gradient with respect to the stored images; one step of the image optimiser.
///
/// Classes are independent terms unless the objective is joint() in the network, and then run in
/// parallel, one class a task; joint ones share one forward pass.
class MatchingMethod : public DistillationMethod {
 public:
  MatchingMethod(MatchingOptions options, std::unique_ptr<Objective> objective);

  std::int64_t iterations() const override { return options_.iterations; }
  Work work(const RunContext& run) const override;
  void initialize(RunContext& run) override;
  UpdateReport update(std::int64_t iteration) override;
  data::SyntheticSet snapshot() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 private:
  struct Gradient {
    Tensor stored;  ///< gradient of the stored images of the classes asked for
    double loss = 0;
    std::vector<std::pair<std::string, double>> parts;
  };

  void check_options() const;
  Flops feature_flops(const data::ImageDataset& dataset) const;
  void prepare(RunContext& run);
  std::unique_ptr<synth::ImageDecoder> decoder_for(const data::ImageDataset& dataset) const;
  Gradient class_gradient(const nn::NetworkState& state, const Rng& rng, std::int64_t first,
                          std::int64_t last) const;
  Gradient full_gradient(const nn::NetworkState& state, const Rng& rng) const;
  Tensor real_batch(std::int64_t c, std::int64_t count, Rng rng) const;
  /// A copy whose BatchNorm layers have seen 16 real images of every class.
  nn::NetworkState with_fresh_statistics(const nn::NetworkState& state, const Rng& rng) const;
  ClassPair sample_pair(const Rng& rng, std::int64_t c, const Tensor& decoded) const;

  MatchingOptions options_;
  std::unique_ptr<Objective> objective_;
  const data::ImageDataset* dataset_ = nullptr;
  std::int64_t ipc_ = 0;
  Rng rng_{0};
  augment::Strategy strategy_;
  std::shared_ptr<const nn::Network> network_;
  std::unique_ptr<train::NetworkSource> source_;
  std::unique_ptr<synth::Parametrization> parametrization_;
  ImageOptimizer optimizer_;
};

/// Stored images at the start: [K*ipc,C,H,W] float32, class-major.
/// @throws ConfigError when a class has too few images; Interrupted when `stop` was requested
Tensor initial_images(const data::ImageDataset& dataset, std::int64_t ipc,
                      const MatchingOptions& options, const synth::ImageDecoder& decoder,
                      const Rng& rng, const StopFlag* stop = nullptr);

/// The strategy named by `text` in a code base's style; "auto" is the papers' usual one, which
/// leaves the flip out where a mirror image is of another class (data::DatasetInfo).
augment::Strategy make_strategy(const std::string& text, const std::string& style,
                                bool mirror_changes_class);

}  // namespace retort::methods::matching
