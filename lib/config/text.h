#pragma once

#include <string>

namespace retort::config {

/// Without blanks at either end.
std::string trimmed(const std::string& text);

}  // namespace retort::config
