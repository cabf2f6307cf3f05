#pragma once

#include <optional>
#include <string>

#include "experiments/texts.h"

namespace retort::commands {

/// Seconds that a preset's run is predicted to take on this machine with all threads, without
/// opening its dataset; nothing for datasets whose size is not known beforehand.
std::optional<double> predicted_seconds(const experiments::TextFile& preset);

}  // namespace retort::commands
