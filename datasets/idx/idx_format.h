#pragma once
// The IDX layout of MNIST and its relatives: a magic number 0x00 0x00 <type> <rank>, one big-endian
// uint32 per dimension, then the values. Without LibTorch, so that it can be tested by itself.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace retort::datasets {

struct IdxArray {
  std::uint8_t type = 0;           ///< 0x08 uint8, 0x09 int8, 0x0B int16, 0x0C int32
  std::vector<std::int64_t> dims;  ///< rank 1 to 4, all positive
  std::vector<std::byte> values;   ///< row-major, big-endian
};

/// @param file the whole file, plain or gzip (recognised by its first two bytes)
/// @param name for messages
/// @throws DataError: wrong magic, type or rank; empty dimensions; a size that overflows; fewer or
///         more bytes than the header promises; a gzip stream that is cut off or damaged
IdxArray decode_idx(std::span<const std::byte> file, const std::string& name);

/// Values of a rank-1 integer array. @throws DataError for another rank
std::vector<std::int64_t> idx_labels(const IdxArray& array, const std::string& name);

}  // namespace retort::datasets
