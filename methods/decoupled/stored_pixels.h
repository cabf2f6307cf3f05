#pragma once
// What becomes of made images when they are kept: 8-bit pixels, as they are or as a JPEG file of
// the papers' codes gives them back.

#include <string>

#include "lib/config/options.h"
#include "lib/core/tensor.h"
#include "lib/data/preprocessing.h"

namespace retort::methods::decoupled {

/// Of the papers' files: what PIL writes unless it is told otherwise.
inline constexpr int kJpegQuality = 75;

/// `store`: "lossless" or "jpeg75".
void describe_store(config::OptionTable& table, std::string& store);

/// @param bytes uint8 [N,C,H,W]  @return what later stages see, float32, preprocessed
Tensor as_stored(const data::Preprocessing& preprocessing, const Tensor& bytes,
                 const std::string& store);

}  // namespace retort::methods::decoupled
