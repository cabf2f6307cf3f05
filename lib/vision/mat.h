#pragma once
// Between OpenCV's interleaved BGR and our planar RGB. Private to lib/vision.

#include <opencv2/core.hpp>

#include "lib/core/tensor.h"

namespace retort::vision {

/// Makes OpenCV single-threaded and silent, once. Call before any other use.
void prepare_opencv();

/// @param mat 8 bit, gray or BGR  @return uint8 [C,H,W]
Tensor to_tensor(const cv::Mat& mat);

/// @param image uint8 [C,H,W], C 1 or 3  @return a copy, gray or BGR
/// @throws ConfigError for another shape or type
cv::Mat to_mat(const Tensor& image);

}  // namespace retort::vision
