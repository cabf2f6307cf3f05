#pragma once

#include <cstdint>
#include <string>

namespace retort::testing {

constexpr std::int64_t kSmallExperts = 3;
constexpr std::int64_t kSmallExpertEpochs = 5;

/// A file of kSmallExperts networks ConvNet-2-w8 trained on shapes() for kSmallExpertEpochs, with
/// a snapshot after each epoch; made once per test program.
const std::string& small_experts();

}  // namespace retort::testing
