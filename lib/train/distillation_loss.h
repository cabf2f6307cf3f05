#pragma once

#include "lib/core/tensor.h"

namespace retort::train {

/// Kullback-Leibler divergence of a student from its teacher, mean over the batch, both at one
/// temperature and without its square as a factor (FKD: Shen and Xing 2022; SRe2L: Yin et al.
/// 2023):
///   mean_i sum_k p log(p / q),  p = softmax(teacher / tau),  q = softmax(student / tau)
/// @param student,teacher [N,K] logits of one type; differentiable in both
/// @throws ConfigError for other shapes, or a temperature that is not positive
Tensor distillation_loss(const Tensor& student, const Tensor& teacher, double temperature);

}  // namespace retort::train
