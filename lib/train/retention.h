#pragma once
// What a network needs to go on learning when classes are added to those it knows.

#include <memory>
#include <utility>

#include "lib/nn/network.h"
#include "lib/train/lessons.h"

namespace retort::train {

/// The state of `wide`, which is the network of `narrow` with more classes: the new outputs are
/// fresh, all else is what it was.
/// @throws ConfigError if the two differ in more than their last layer
nn::NetworkState widened(const nn::Network& wide, const nn::NetworkState& narrow, const Rng& rng);

/// Lessons with the logits that an earlier network gives to the same images, for
/// StudentLoss::Kind::Retention.
class RetainingLessons final : public Lessons {
 public:
  /// `earlier` and its state must outlive it.
  RetainingLessons(std::unique_ptr<const Lessons> lessons, const nn::Network& earlier,
                   const nn::NetworkState& state)
      : lessons_(std::move(lessons)), earlier_(earlier), state_(state) {}

  std::int64_t steps_per_epoch() const override { return lessons_->steps_per_epoch(); }
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override;

 private:
  std::unique_ptr<const Lessons> lessons_;
  const nn::Network& earlier_;
  const nn::NetworkState& state_;
};

}  // namespace retort::train
