#pragma once

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::methods::trajectory_matching {

/// What the student's cross-entropy compares with.
struct InnerLabels {
  Tensor values;        ///< [M,K]
  bool logits = false;  ///< softmax is taken, and there is a gradient; else constant probabilities
};

/// One-hot rows.  @param classes int64 [M]
InnerLabels hard_labels(const Tensor& classes, std::int64_t num_classes, at::ScalarType dtype);

/// Probabilities of some rows.  @param rows int64 [b]  @return [b,K], without a graph
Tensor targets_of(const InnerLabels& labels, const Tensor& rows);

/// Gradient of the logits from that of their softmax.  @param logits,gradient [b,K]
Tensor through_softmax(const Tensor& logits, const Tensor& gradient);

/// Initial soft labels: for every image the mean of the logits of those networks that classify it
/// correctly (Guo et al. 2024). Where none does, the mean over all; the authors' code would divide
/// by zero.
class LogitMean {
 public:
  /// @param classes int64 [M], the right ones
  explicit LogitMean(Tensor classes) : classes_(std::move(classes)) {}
  /// @param logits [M,K] of the next network
  void add(const Tensor& logits);
  /// @return [M,K], dtype of the logits
  Tensor result() const;

 private:
  Tensor classes_;
  Tensor right_;  ///< float64 [M,K], sum over the networks that are right
  Tensor count_;  ///< float64 [M,1], how many those are
  Tensor all_;    ///< float64 [M,K], sum over all
  std::int64_t networks_ = 0;
  at::ScalarType dtype_ = at::kFloat;
};

}  // namespace retort::methods::trajectory_matching
