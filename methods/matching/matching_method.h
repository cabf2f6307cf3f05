#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/augment/augment.h"
#include "lib/synth/parametrization.h"
#include "lib/train/network_source.h"
#include "methods/matching/image_optimizer.h"
#include "methods/matching/matching_options.h"
#include "methods/matching/objective.h"
#include "methods/matching/real_halves.h"
#include "methods/method.h"

namespace retort::methods::matching {

/// The loop that distribution, attention and gradient matching share. Per iteration: a network from
/// the source; per class a real batch and one Siamese augmentation draw for both halves; the
/// objective's gradient with respect to the stored images; one step of the image optimiser.
/// Several networks per iteration: the loss is their mean, gradients are added in their order.
///
/// Classes are independent terms unless the objective is joint() in the network, and then run in
/// parallel, one class a task; joint ones share one forward pass.
class MatchingMethod : public DistillationMethod {
 public:
  MatchingMethod(MatchingOptions options, std::unique_ptr<Objective> objective);

  std::int64_t iterations() const override;
  Work work(const RunContext& run) const override;
  void check(RunContext& run) override;
  void initialize(RunContext& run) override;
  UpdateReport update(std::int64_t iteration) override;
  data::SyntheticSet snapshot() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 private:
  struct Gradient {
    Tensor stored;  ///< [n,C,H,W], gradient of the stored images of the classes asked for
    double loss = 0;
    std::vector<std::pair<std::string, double>> parts;
  };

  /// Where an iteration's random choices come from, for one network.
  struct Draws {
    Rng rng;                ///< of the iteration
    Rng real;               ///< of real batches and augmentation: kept draws return
    std::int64_t position;  ///< in the streams of real batches
    /// Network and draw whose real halves are kept.
    std::optional<std::pair<std::int64_t, std::int64_t>> kept = {};
  };

  void check_options() const;
  void prepare(RunContext& run);
  void make_source(const RunContext& run);
  Tensor preprocessed(const Tensor& stored) const;
  data::LabelledImages decoded_set() const;
  Draws draws_for(std::int64_t iteration, std::int64_t network) const;
  /// Step size of an iteration.
  double step_size(std::int64_t iteration) const;
  Gradient network_gradient(nn::NetworkState& state, const Draws& draws);
  Gradient class_gradient(const nn::NetworkState& state, const Draws& draws, std::int64_t first,
                          std::int64_t last);
  Gradient full_gradient(const nn::NetworkState& state, const Draws& draws);
  /// Real images, preprocessed, [B,C,H,W]: different ones of class `c`; the batch at `position` of
  /// its shuffled stream; some of every class.
  Tensor real_batch(std::int64_t c, std::int64_t count, Rng rng) const;
  Tensor stream_batch(std::int64_t c, std::int64_t position) const;
  Tensor statistics_images(const Rng& rng) const;
  ClassPair sample_pair(const nn::NetworkState& state, const Draws& draws, std::int64_t c,
                        const Tensor& decoded);

  MatchingOptions options_;
  std::unique_ptr<Objective> objective_;
  const data::ImageDataset* dataset_ = nullptr;
  std::int64_t ipc_ = 0;
  Rng rng_{0};
  augment::Strategy strategy_;
  std::shared_ptr<const nn::Network> network_;
  std::unique_ptr<train::NetworkSource> source_;
  std::unique_ptr<synth::Parametrization> parametrization_;
  double lr_ = 0;  ///< step size before the schedule
  ImageOptimizer optimizer_;
  Tensor mean_;  ///< running mean of the stored images; undefined if not asked for
  RealHalves real_halves_;
};

}  // namespace retort::methods::matching
