#pragma once

#include <string>
#include <vector>

namespace retort::weaver {

/// Without line ends, those of Windows neither; a last one that is empty does not count.
std::vector<std::string> lines_of(const std::string& text);

}  // namespace retort::weaver
