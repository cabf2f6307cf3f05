#pragma once
// Where tensors live. One dataset, and with it one run, is on one device (data::ImageDataset::on).

#include <string>

#include "lib/core/tensor.h"

namespace retort {

/// "cpu", "cuda" (the first device) or "cuda:n".
/// @throws ConfigError for any other text
at::Device parse_device(const std::string& text);

/// The tensors themselves where they are on `device` already.
Tensors to_device(const Tensors& tensors, at::Device device);

}  // namespace retort
