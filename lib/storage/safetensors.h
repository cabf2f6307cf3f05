#pragma once
// Tensors by name in the format of the Hugging Face library of this name, in which networks travel
// without pickles: 8 bytes length, a header in JSON, raw little-endian numbers.

#include <filesystem>
#include <map>
#include <string>

#include "lib/core/tensor.h"

namespace retort::storage {

/// @return contiguous, of the dtypes in the file: F64, F32, F16, BF16, I64, I32, I16, I8, U8
/// @throws StorageError naming file, rule and finding: a header that is none, offsets that leave
///         the file, overlap, leave gaps or do not fit dtype and shape, another dtype
std::map<std::string, Tensor> read_safetensors(const std::filesystem::path& path);

}  // namespace retort::storage
