#pragma once

#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"

namespace retort::synth {

/// Real training images that look most like given ones.
struct NearestReal {
  Tensor indices;    ///< int64 [n], in the training split
  Tensor distances;  ///< float64 [n], root mean square difference of pixels, black 0 to white 1
};

/// Among the training images of all classes; exact. Reads the whole split once.
/// @param pixels uint8 [n,C,H,W]  @throws Interrupted when `stop` was requested
NearestReal nearest_real(const Tensor& pixels, const data::ImageDataset& dataset,
                         const StopFlag* stop = nullptr);

}  // namespace retort::synth
