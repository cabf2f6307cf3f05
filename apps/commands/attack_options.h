#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/eval/attacks.h"

namespace retort::commands {

/// Under which attacks trained networks are tested besides.
struct AttackOptions {
  std::vector<std::string> attacks;
  std::vector<std::string> radii = {"8/255"};
  std::int64_t steps = 10;
  std::int64_t restarts = 2;

  void describe(config::OptionTable& table);
  /// Every attack at every radius.
  /// @throws ConfigError for an unknown attack or a radius that cannot be
  std::vector<eval::Attack> parsed() const;
};

}  // namespace retort::commands
