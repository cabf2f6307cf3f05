#pragma once
// Settings of a recipe as other commands pass them on: "lr=0.05".

#include <string>
#include <vector>

#include "lib/config/options.h"

namespace retort::train {

/// "name=value", of anything but epochs, which `make-epochs` says.
config::Rule<std::string> recipe_setting();

/// @throws ConfigError for a setting that the table does not have, or a value that it refuses
void apply_settings(config::OptionTable& recipe, const std::vector<std::string>& settings);

}  // namespace retort::train
