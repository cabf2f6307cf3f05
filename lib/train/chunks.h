#pragma once
// A mini-batch in pieces that run several at once; internal to lib/train.

#include <cstdint>
#include <functional>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"

namespace retort::train {

/// Rows begin .. begin+count-1 of a mini-batch.
struct Chunk {
  std::int64_t number = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// Runs `part` on each of `chunks` nearly equal pieces of `rows` rows, several at once, and adds up
/// the lists of tensors it returns in the order of the chunks: the sum has the same bits on any
/// number of threads. `part` must not share what it writes; its tensors are taken over.
Tensors sum_over_chunks(std::int64_t rows, std::int64_t chunks,
                        const std::function<Tensors(const Chunk&)>& part);

/// Into how many a mini-batch of a training is cut (gradient_chunks); 0: it must stay whole, as for
/// networks with BatchNorm.
/// @param images [N,C,H,W]
std::int64_t chunks_of(const nn::Network& network, const Tensor& images);

}  // namespace retort::train
