#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "lib/core/tensor.h"

namespace retort {

/// Throws ConfigError unless `tensor` has this shape; -1 stands for any size.
/// Use where data enters (files, datasets, public functions); trust inside.
void expect_shape(const Tensor& tensor, std::initializer_list<std::int64_t> shape,
                  const std::string& name);

/// "[10, 3, 32, 32]"
std::string shape_text(const Tensor& tensor);

}  // namespace retort
