#include "lib/vision/vision.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/vision/image_header.h"
#include "lib/vision/mat.h"

namespace retort::vision {
namespace {

// Larger claims are taken for damage: a few bytes must not make the decoder ask for gigabytes.
constexpr std::int64_t kMostPixels = std::int64_t(1) << 27;
constexpr int kJpegQuality = 95;

[[noreturn]] void refuse(const std::string& source, const std::string& finding) {
  throw DataError("'" + source + "': " + finding);
}

ImageHeader check_header(std::span<const std::byte> bytes, const std::string& source) {
  if (bytes.empty()) refuse(source, "is empty; expected a JPEG, PNG, BMP or WebP image");
  const auto header = read_image_header(bytes);
  if (!header) refuse(source, "is not a JPEG, PNG, BMP or WebP image, or its header is damaged");
  if (header->width > kMostPixels / header->height) {
    refuse(source, retort::str("claims ", header->width, "x", header->height, " pixels; more than ",
                               kMostPixels, " are not read"));
  }
  if (!is_complete_image(*header, bytes)) {
    refuse(source, "the image data has no end; is the file truncated?");
  }
  return *header;
}

cv::Mat decode(std::span<const std::byte> bytes, const std::string& source) {
  cv::Mat decoded;
  try {
    const cv::Mat packed(1, int(bytes.size()), CV_8UC1, const_cast<std::byte*>(bytes.data()));
    decoded = cv::imdecode(packed, cv::IMREAD_UNCHANGED);
  } catch (const cv::Exception& e) {
    refuse(source, "cannot be decoded: " + e.err);
  }
  if (decoded.empty()) refuse(source, "cannot be decoded; is the file truncated or damaged?");
  return decoded;
}

cv::Mat to_eight_bits(const cv::Mat& image, const std::string& source) {
  if (image.depth() == CV_8U) return image;
  if (image.depth() != CV_16U) {
    refuse(source, "expected 8 or 16 bits per value, found another depth");
  }
  cv::Mat narrowed;
  image.convertTo(narrowed, CV_8U, 1 / 257.0);  // 65535 -> 255
  return narrowed;
}

cv::Mat without_alpha(const cv::Mat& image, bool gray) {
  cv::Mat result = image;
  if (gray && image.channels() > 1) {
    cv::extractChannel(image, result, 0);
  } else if (image.channels() == 4) {
    cv::cvtColor(image, result, cv::COLOR_BGRA2BGR);
  }
  return result;
}

std::vector<std::byte> encode(const Tensor& image, const std::string& extension,
                              int jpeg_quality = kJpegQuality) {
  prepare_opencv();
  std::vector<uchar> packed;
  cv::imencode(extension, to_mat(image), packed, {cv::IMWRITE_JPEG_QUALITY, jpeg_quality});
  const auto* bytes = reinterpret_cast<const std::byte*>(packed.data());
  return {bytes, bytes + packed.size()};
}

}  // namespace

Tensor decode_image(std::span<const std::byte> bytes, const std::string& source) {
  prepare_opencv();
  const ImageHeader header = check_header(bytes, source);
  const cv::Mat image = to_eight_bits(decode(bytes, source), source);
  return to_tensor(without_alpha(image, header.gray_alpha));
}

Tensor read_image(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(path, ignored)) {
    refuse(path.string(), retort::str("cannot be read: ", std::strerror(in ? EISDIR : errno)));
  }
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  return decode_image(std::as_bytes(std::span(bytes)), path.string());
}

Tensor resize_and_crop(const Tensor& image, std::int64_t side) {
  prepare_opencv();
  if (side < 1) {
    throw ConfigError(retort::str("image side: expected 1 or more, found ", side));
  }
  const cv::Mat source = to_mat(image);
  const std::int64_t shorter = std::min(source.rows, source.cols);
  // The longer side is cut down to a whole number, as the usual image pipelines do.
  const auto scaled = [&](int length) { return int(side * length / shorter); };
  cv::Mat resized = source;
  if (shorter != side) {
    cv::resize(source, resized, {scaled(source.cols), scaled(source.rows)}, 0, 0,
               side < shorter ? cv::INTER_AREA : cv::INTER_LINEAR);
  }
  const int size = int(side);
  const cv::Rect centre((resized.cols - size) / 2, (resized.rows - size) / 2, size, size);
  return to_tensor(resized(centre));
}

std::vector<std::byte> encode_png(const Tensor& image) { return encode(image, ".png"); }

std::vector<std::byte> encode_jpeg(const Tensor& image, int quality) {
  return encode(image, ".jpg", quality);
}

Tensor through_jpeg(const Tensor& images, int quality) {
  Tensors read;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    read.push_back(decode_image(encode_jpeg(images[i], quality), "a JPEG in memory"));
  }
  return at::stack(read);
}

void write_image(const std::filesystem::path& path, const Tensor& image) {
  const std::string extension = lower_case(path.extension().string());
  if (extension != ".png" && extension != ".jpg" && extension != ".jpeg" && extension != ".bmp") {
    throw ConfigError("'" + path.string() +
                      "': expected a name that ends in .png, .jpg, .jpeg or .bmp");
  }
  const auto bytes = encode(image, extension);
  write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace retort::vision
