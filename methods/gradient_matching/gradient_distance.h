#pragma once

#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::methods::gradient_matching {

/// How two lists of gradients are compared: Zhao, Mopuri, Bilen, ICLR 2021, and Kim et al., ICML
/// 2022, as in their released code.
enum class Metric {
  Rows,         ///< sum over output rows of 1 - cosine; 1-D tensors count nothing ("ours" of DC)
  Cosine,       ///< 1 - cosine of everything concatenated
  Squared,      ///< squared distance of everything concatenated
  Absolute,     ///< l1 distance of everything concatenated
  AbsoluteMean  ///< mean absolute difference of each output row, summed over rows
};

/// Which parameters are looked at.
enum class Scope {
  All,
  Convolutions  ///< neither 1-D (biases, norm scales) nor 2-D (classifier) ones: Kim et al. 2022
};

/// "rows", "cos", "mse", "l1", "l1-mean". @throws ConfigError
Metric parse_metric(const std::string& text);

/// D(G, H). A tensor [O,...] has the rows [O,everything else]: output channels of a convolution,
/// outputs of a linear layer, channels of LayerNorm's affine. 1e-6 is added to the product of the
/// norms.
/// @param real,synthetic gradients in the order of the network's parameters; `synthetic` may carry
///        a graph
/// @return scalar, differentiable in `synthetic`
/// @throws ConfigError if no parameter is in the scope
Tensor gradient_distance(const Tensors& real, const Tensors& synthetic, Metric metric,
                         Scope scope = Scope::All);

}  // namespace retort::methods::gradient_matching
