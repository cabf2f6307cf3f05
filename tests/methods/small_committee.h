#pragma once

#include <string>
#include <vector>

namespace retort::testing {

/// Networks of small_committee(), all different.
const std::vector<std::string>& small_committee_nets();

/// A file of three small BatchNorm networks trained on shapes() until they know it, with the
/// statistics of every class; made once per test program.
const std::string& small_committee();

}  // namespace retort::testing
