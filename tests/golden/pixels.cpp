// Operations on 8-bit pixels: torchvision's, on uint8 tensors.

#include <string>

#include "lib/augment/pixel_operations.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"
#include "tests/support/pixel_operations.h"

namespace retort::testing::golden {
namespace {

/// In levels.
std::int64_t largest_difference(const Tensor& a, const Tensor& b) {
  return (a.to(at::kLong) - b.to(at::kLong)).abs().max().item<std::int64_t>();
}

}  // namespace

void check_pixel_operations(const GoldenFile& file) {
  for (const std::string kind : {"rgb", "gray"}) {
    const Tensor input = file.stored("inputs/" + kind).to(at::kByte);
    for (const auto& [name, operation] : pixel_operations()) {
      const std::string path = kind + "/" + name;
      const Tensor expected = file.stored(path);
      const auto magnitudes = file.numbers(path, "magnitudes");
      REQUIRE(expected.size(0) == std::int64_t(magnitudes.size()));
      for (std::size_t i = 0; i < magnitudes.size(); ++i) {
        INFO(path << " at " << magnitudes[i]);
        const Tensor output = augment::apply(operation, magnitudes[i], input);
        CHECK(output.scalar_type() == at::kByte);
        CHECK(largest_difference(output, expected[std::int64_t(i)]) == 0);
      }
    }
  }
}

}  // namespace retort::testing::golden
