#pragma once

#include <string>

#include "lib/core/tensor.h"
#include "lib/data/synthetic_set.h"
#include "lib/train/relabel.h"

namespace retort::commands {

/// All that decides what becomes of the labels of views, `key = value` lines: train::Labelling.
/// @param images decoded  @param classes of them  @param labelers train::asset_of those who label
std::string labelling_plan(const train::RelabelRecipe& recipe, const Tensor& images,
                           const Tensor& classes, const data::Asset& labelers);

}  // namespace retort::commands
