#pragma once
// The binary layout of CIFAR-10 and CIFAR-100: records of one or two label bytes and 32x32 pixels,
// the red plane first. Without LibTorch.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace retort::datasets {

enum class CifarLayout {
  OneLabel,       ///< CIFAR-10: 3073 bytes
  CoarseAndFine,  ///< CIFAR-100: 3074 bytes; the second label, the fine one, counts
};

constexpr std::int64_t kCifarChannels = 3;
constexpr std::int64_t kCifarSide = 32;

struct CifarRecords {
  std::vector<std::int64_t> labels;
  std::vector<std::byte> pixels;  ///< [N,3,32,32]
};

/// Appends the records of one file.
/// @throws DataError naming `name` unless the size is a positive multiple of the record's
void append_cifar(std::span<const std::byte> file, CifarLayout layout, const std::string& name,
                  CifarRecords& records);

}  // namespace retort::datasets
