#pragma once
// How readers and writers of files object to tensors. Private to lib/storage.

#include <cstdint>
#include <string>

#include "lib/core/shape.h"
#include "lib/core/tensor.h"
#include "lib/storage/checks.h"

namespace retort::storage {

/// @throws StorageError unless it is there, of this type and rank
inline void check_tensor(const Tensor& tensor, at::ScalarType type, std::int64_t rank,
                         const std::string& source, const std::string& name) {
  require(tensor.defined(), source, name + " is missing");
  require(tensor.scalar_type() == type && tensor.dim() == rank, source,
          str(name, ": expected rank ", rank, " of type ", c10::toString(type), ", found shape ",
              shape_text(tensor), " of type ", c10::toString(tensor.scalar_type())));
}

/// @throws StorageError unless they are int64 [N] and lie in 0 .. num_classes - 1
inline void check_classes(const Tensor& classes, std::int64_t num_classes,
                          const std::string& source, const std::string& name) {
  check_tensor(classes, at::kLong, 1, source, name);
  if (classes.numel() == 0) return;
  const auto low = classes.min().item<std::int64_t>();
  const auto high = classes.max().item<std::int64_t>();
  require(low >= 0 && high < num_classes, source,
          str(name, ": expected classes 0 .. ", num_classes - 1, ", found ", low, " .. ", high));
}

}  // namespace retort::storage
