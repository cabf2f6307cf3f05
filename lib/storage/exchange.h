#pragma once
// Exchange with other programs: PyTorch containers, NumPy archives.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::storage {

/// A zip of pickle and raw storages that Python's torch.load reads with its safe default:
/// a plain dict of name -> contiguous CPU tensor (uint8, int64, float32, float64).
void write_pt(const std::filesystem::path& path,
              const std::vector<std::pair<std::string, Tensor>>& tensors);

/// What a .pt file of tensors held, flattened: dicts give "key", lists give "0", "1", ...,
/// nesting joins with '/': DC's {'data': [[images, labels], ...]} gives "data/0/0", "data/0/1".
/// Reads torch.save's zip format; executes nothing. @throws StorageError for anything else
std::map<std::string, Tensor> read_pt(const std::filesystem::path& path);

/// An uncompressed .npz that numpy.load reads.
void write_npz(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, Tensor>>& tensors);

}  // namespace retort::storage
