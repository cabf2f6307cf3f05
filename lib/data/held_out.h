#pragma once
// What a dataset says of training images that are held out of it.

#include <optional>
#include <string>

#include "lib/core/tensor.h"

namespace retort::data {

struct HeldOut {
  std::string text;     ///< of the note; of the same dataset the same text means the same images
  double fraction = 0;  ///< of every class
};

/// What ImageDataset::hold_out notes.
/// @param images int64 [N] rows of the training split, ascending
std::string held_out_note(double fraction, const Tensor& images);
/// @param note DatasetInfo::note  @return nothing: no image is held out
std::optional<HeldOut> held_out_of(const std::string& note);

}  // namespace retort::data
