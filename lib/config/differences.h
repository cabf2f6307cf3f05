#pragma once

#include <string>
#include <vector>

namespace retort::config {

/// A key whose values in two configuration texts differ; empty where it stands in one only.
struct Difference {
  std::string key;
  std::string theirs;
  std::string mine;
};

/// @param theirs, mine `key = value` lines in any order
std::vector<Difference> differences(const std::string& theirs, const std::string& mine);

/// "seed: 0 / 5, ipc: 1 / 10"
std::string differences_text(const std::vector<Difference>& differences);

}  // namespace retort::config
