#pragma once

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::train {

/// What a student descends, mean over the images of a mini-batch. Divergence from a teacher, both
/// at one temperature tau (FKD: Shen and Xing 2022; SRe2L: Yin et al. 2023):
///   sum_k p log(p / q),  p = softmax(teacher / tau),  q = softmax(student / tau)
struct StudentLoss {
  enum class Kind {
    CrossEntropy,  ///< of probabilities
    Divergence,    ///< Kullback-Leibler, below
    SquaredError,  ///< of these, mean over classes, and cross-entropy with classes (G-VBSM)
    /// Cross-entropy of probabilities, and the squared temperature times the Divergence from an
    /// earlier network in the classes that it knows, which are the first.
    Retention
  } kind = Kind::CrossEntropy;
  double temperature = 1;            ///< Divergence, Retention
  bool temperature_squared = false;  ///< Divergence: times the square of the temperature
  double hard_weight = 0;            ///< SquaredError: of the cross-entropy
};

/// What a student should say to a mini-batch, in the type of its parameters.
struct Targets {
  Tensor values;        ///< [N,K] probabilities for CrossEntropy and Retention, else logits
  Tensor classes;       ///< [N,K] probabilities of classes; SquaredError with a hard_weight alone
  Tensor earlier = {};  ///< [N,k] logits of a network of k <= K classes; Retention alone

  Targets rows(std::int64_t begin, std::int64_t count) const;
};

/// A loss summed over images, and its gradient.
struct LogitGradient {
  double loss = 0;
  Tensor gradient;  ///< [N,K]
};

/// In closed form.  @param logits [N,K] of the student; no graph of them is looked at
LogitGradient student_loss(const StudentLoss& loss, const Tensor& logits, const Targets& targets);

/// @throws ConfigError for a temperature that is not positive, or a negative weight
void check_loss(const StudentLoss& loss);

}  // namespace retort::train
