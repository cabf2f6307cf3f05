#include "lib/core/device.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort {
namespace {

/// Of "cuda:12" the 12; -1 for anything that is no number of at most two digits.
int cuda_index(const std::string& text) {
  const std::string prefix = "cuda:";
  const std::string digits = text.starts_with(prefix) ? text.substr(prefix.size()) : "";
  const bool number =
      !digits.empty() && digits.size() <= 2 &&
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  return number ? std::stoi(digits) : -1;
}

}  // namespace

at::Device parse_device(const std::string& text) {
  if (text == "cpu") return at::kCPU;
  const int index = text == "cuda" ? 0 : cuda_index(text);
  if (index >= 0) return {at::kCUDA, at::DeviceIndex(index)};
  throw ConfigError(retort::str("device: expected cpu, cuda or cuda:n, found '", text, "'"));
}

Tensors to_device(const Tensors& tensors, at::Device device) {
  Tensors moved;
  moved.reserve(tensors.size());
  for (const Tensor& t : tensors) moved.push_back(t.to(device));
  return moved;
}

}  // namespace retort
