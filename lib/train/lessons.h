#pragma once
// What a network is taught, step by step: images as it sees them, and what it should say. The
// training loop (supervised.h) knows nothing of where they come from.

#include <cstdint>
#include <functional>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/train/student_loss.h"

namespace retort::train {

/// One step.
struct Lesson {
  Tensor images;    ///< [n,C,H,W] augmented, mixed, on the device that trains
  Targets targets;  ///< of all n
  Tensor classes;   ///< int64 [m], CPU: of the first m <= n images, what accuracy is counted by
  Tensor plain;     ///< [m,C,H,W] before all that, what a gradient penalty looks at; or undefined
};

/// All steps of a training.
class Lessons {
 public:
  /// Lesson 0, 1, ... of an epoch.
  using Epoch = std::function<Lesson(std::int64_t step)>;

  virtual ~Lessons() = default;
  virtual std::int64_t steps_per_epoch() const = 0;
  /// A lesson depends on the arguments and its step alone, not on lessons before it.
  /// @param rng of this epoch
  virtual Epoch epoch(std::int64_t epoch, const Rng& rng) const = 0;
};

}  // namespace retort::train
