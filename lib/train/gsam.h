#pragma once
// Gradients that lead to flat minima: surrogate gap guided sharpness-aware minimisation (Zhuang et
// al. 2022) with the relative perturbation of Kwon et al. 2021, as the experts of FTD are trained
// (Du et al. 2023; AngusDujw/FTD-distillation, buffer/gsam/gsam.py).

#include "lib/core/tensor.h"

namespace retort::train {

struct Gsam {
  double rho = 0.01;     ///< length of the perturbation
  double alpha = 0.3;    ///< how much of the gradient's part across the perturbed one is taken off
  bool adaptive = true;  ///< the perturbation is measured relative to every weight's size
};

/// Where the gradient is taken a second time, seen from the parameters w with gradients g:
///   adaptive  rho w^2 g / (|| |w| g || + 1e-12)      else  rho g / (||g|| + 1e-12)
/// Norms go over all tensors.
Tensors gsam_perturbation(const Tensors& parameters, const Tensors& gradients, const Gsam& gsam);

/// What an optimiser takes in place of the gradient, from the gradients g at the parameters and g'
/// at the perturbed ones:  g' - alpha (g - cos(g, g') ||g|| g' / ||g'||)
Tensors gsam_direction(const Tensors& gradients, const Tensors& perturbed_gradients, double alpha);

}  // namespace retort::train
