#pragma once

#include <string>

#include "lib/augment/augment.h"

namespace retort::methods::matching {

/// The strategy named by `text` in a code base's style; "auto" is the papers' usual one, which
/// leaves the flip out where a mirror image is of another class (data::DatasetInfo).
/// @throws ConfigError for an unknown operation or style
augment::Strategy make_strategy(const std::string& text, const std::string& style,
                                bool mirror_changes_class);

}  // namespace retort::methods::matching
