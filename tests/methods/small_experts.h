#pragma once

#include <cstdint>
#include <string>

namespace retort::testing {

constexpr std::int64_t kSmallExperts = 3;
constexpr std::int64_t kSmallExpertEpochs = 5;

/// A file of kSmallExperts networks ConvNet-2-w8 trained on shapes() for kSmallExpertEpochs, with
/// a snapshot after each epoch; made once per test program.
/// @param recipe what the file says of how they were trained, whatever that asks for: "sgd",
/// "gsam",
///        "ast"
const std::string& small_experts(const std::string& recipe = "sgd");

}  // namespace retort::testing
