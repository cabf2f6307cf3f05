#include "lib/core/shape.h"

#include <vector>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort {

std::string shape_text(const Tensor& tensor) {
  return tensor.defined() ? str("[", join(tensor.sizes()), "]") : "undefined";
}

void expect_shape(const Tensor& tensor, std::initializer_list<std::int64_t> shape,
                  const std::string& name) {
  bool ok = tensor.defined() && tensor.dim() == std::int64_t(shape.size());
  if (ok) {
    std::int64_t axis = 0;
    for (const std::int64_t size : shape) {
      if (size >= 0 && tensor.size(axis) != size) ok = false;
      ++axis;
    }
  }
  if (!ok) {
    std::vector<std::string> sizes;
    for (const std::int64_t size : shape) sizes.push_back(size < 0 ? "*" : std::to_string(size));
    throw ConfigError(
        str(name, ": expected shape [", join(sizes), "], found ", shape_text(tensor)));
  }
}

}  // namespace retort
