#pragma once
// Choosing real crops that a network finds realistic and putting them together (RDED: Sun et al.,
// CVPR 2024).

#include <cstdint>

#include "lib/core/tensor.h"

namespace retort::methods::decoupled {

/// Zeros around every image, one more at the bottom and the right where the margin is odd.
/// @param images [N,C,h,w]  @return [N,C,size,size]
/// @throws ConfigError if they are larger
Tensor centered_in_zeros(const Tensor& images, std::int64_t size);

/// Cross-entropy of each row with one class, as the reference computes it: -log(softmax(logits)).
/// @param logits [N,K]  @return [N], lower is more realistic
Tensor realism_losses(const Tensor& logits, std::int64_t label);

/// Crops of one class in the order in which they are used: of every image the one of lowest loss,
/// images in the order of theirs.
struct RankedCrops {
  Tensor image;  ///< int64 [count]
  Tensor crop;   ///< int64 [count]
};
/// @param losses [images,crops]
/// @param count crops wanted, @param offset the best ones passed over before them
/// @throws ConfigError if there are fewer images
RankedCrops rank_crops(const Tensor& losses, std::int64_t count, std::int64_t offset = 0);

/// Mosaics of factor x factor cells. Cell k of mosaic q, row by row, is crop k * ipc + q, so that
/// every mosaic mixes good and better crops. Crops are brought to the size of their cell by taking
/// the nearest pixel. Where factor does not divide size, the first rows and columns of cells are
/// one pixel larger.
/// @param crops [ipc * factor^2,C,h,w] in the order of rank_crops  @return [ipc,C,size,size]
/// @throws ConfigError for another number of crops, or cells without a pixel
Tensor make_mosaics(const Tensor& crops, std::int64_t factor, std::int64_t size);

}  // namespace retort::methods::decoupled
