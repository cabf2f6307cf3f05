#pragma once
// Help pages, printed from what the code declares.

#include <string>
#include <vector>

#include "lib/config/options.h"

namespace retort::cli {

/// A heading and one entry per option: name, help, range, default.
std::string options_help(const std::string& heading, const config::OptionTable& table);

/// Breaks `text` at blanks so that no line is longer than `width`; follow-up lines are indented.
std::string wrapped(const std::string& text, std::size_t width, std::size_t indent);

}  // namespace retort::cli
