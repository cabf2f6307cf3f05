#include "lib/vision/mat.h"

#include <cstring>
#include <mutex>

#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgproc.hpp>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::vision {

void prepare_opencv() {
  static std::once_flag once;
  std::call_once(once, [] {
    cv::setNumThreads(0);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    // Errors are translated where they are caught; OpenCV would print them as well.
    cv::redirectError([](int, const char*, const char*, const char*, int, void*) { return 0; });
  });
}

Tensor to_tensor(const cv::Mat& mat) {
  cv::Mat rgb = mat;
  if (mat.channels() == 3) cv::cvtColor(mat, rgb, cv::COLOR_BGR2RGB);
  if (!rgb.isContinuous()) rgb = rgb.clone();
  const Tensor interleaved =
      at::from_blob(rgb.data, {rgb.rows, rgb.cols, rgb.channels()}, at::kByte);
  return interleaved.permute({2, 0, 1}).clone(at::MemoryFormat::Contiguous);
}

cv::Mat to_mat(const Tensor& image) {
  if (image.dim() != 3 || image.scalar_type() != at::kByte ||
      (image.size(0) != 1 && image.size(0) != 3)) {
    throw ConfigError(retort::str("image: expected uint8 [1 or 3,H,W], found ", image.scalar_type(),
                                  " ", shape_text(image)));
  }
  const Tensor interleaved = image.to(at::kCPU).permute({1, 2, 0}).contiguous();
  cv::Mat mat(int(image.size(1)), int(image.size(2)), CV_8UC(int(image.size(0))));
  std::memcpy(mat.data, interleaved.const_data_ptr(), interleaved.nbytes());
  if (mat.channels() == 3) cv::cvtColor(mat, mat, cv::COLOR_RGB2BGR);
  return mat;
}

}  // namespace retort::vision
