#pragma once
// The six operations by a device's kernels (lib/kernels/device_augment.h); internal to lib/augment.
// Lists hold one value for all images or one per image. Every function gives an undefined tensor
// where no device backend serves `x`.

#include <cstdint>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::augment {

Tensor color_on_device(const Tensor& x, const std::vector<double>& shift,
                       const std::vector<double>& saturation, const std::vector<double>& contrast);
Tensor crop_on_device(const Tensor& x, const std::vector<std::int64_t>& rows,
                      const std::vector<std::int64_t>& columns);
/// @param erased_rows,erased_columns sides of what is erased around the centres
Tensor cutout_on_device(const Tensor& x, const std::vector<std::int64_t>& center_rows,
                        const std::vector<std::int64_t>& center_columns, std::int64_t erased_rows,
                        std::int64_t erased_columns);
/// @param u mirrored if below 0.5
Tensor flip_on_device(const Tensor& x, const std::vector<double>& u);
Tensor scale_on_device(const Tensor& x, const std::vector<double>& scale_x,
                       const std::vector<double>& scale_y);
/// @param angles radians
Tensor rotate_on_device(const Tensor& x, const std::vector<double>& angles, bool align_corners);

}  // namespace retort::augment
