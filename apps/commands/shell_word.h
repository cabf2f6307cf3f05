#pragma once

#include <string>

namespace retort::commands {

/// A word of a command line for a shell: quoted where it needs to be.
std::string shell_word(const std::string& word);

}  // namespace retort::commands
