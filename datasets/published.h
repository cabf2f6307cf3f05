#pragma once

#include <optional>
#include <string>

#include "lib/data/preprocessing.h"

namespace retort::datasets {

/// The mean and std that papers use for a dataset of this name (the registry's spelling); none:
/// they are fitted to its training images.
std::optional<data::Preprocessing> published_preprocessing(const std::string& dataset);

}  // namespace retort::datasets
