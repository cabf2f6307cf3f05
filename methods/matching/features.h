#pragma once

#include <functional>

#include "methods/matching/objective.h"

namespace retort::methods::matching {

/// Forward passes of the real half, without a graph: cut into chunks that stay in cache where the
/// network treats images one by one, in one piece where BatchNorm shares statistics.
/// @param images [N,C,H,W], dtype of the parameters
/// @param attention_power see nn::ForwardOptions; 0: no attention
/// @param consume is called once per chunk, in order, with the rows [first, first + n) it covers
void forward_real(
    const Lens& lens, const Tensor& images, double attention_power,
    const std::function<void(std::int64_t first, const nn::ForwardResult& result)>& consume);

/// Passes images of all classes in one batch through the network in training mode, which moves the
/// running statistics of `state` by PyTorch's momentum; nothing else changes.
/// @param images [N,C,H,W]
void refresh_statistics(const nn::Network& network, nn::NetworkState& state, const Tensor& images);

}  // namespace retort::methods::matching
