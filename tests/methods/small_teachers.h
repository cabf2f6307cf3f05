#pragma once

#include <string>

namespace retort::testing {

/// A file of one network ConvNet-2-BN-w8 that was trained on shapes() until it knows them; made
/// once per test program.
const std::string& small_teachers();

}  // namespace retort::testing
