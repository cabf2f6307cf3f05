#pragma once

#include <optional>
#include <string>

#include "lib/config/embedded.h"

namespace retort::commands {

/// Seconds that a preset's run is predicted to take on this machine with all threads, without
/// opening its dataset; nothing for datasets whose size is not known beforehand.
std::optional<double> predicted_seconds(const config::EmbeddedFile& preset);

}  // namespace retort::commands
