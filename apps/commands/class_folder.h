#pragma once
// Names of the folders that pictures of a set are exported to and imported from.

#include <cstdint>
#include <string>
#include <vector>

namespace retort::commands {

/// "003-cat": the class's number, so that no two collide, and what of its name can stand in a file
/// name anywhere. Without a name "003".
std::string class_folder(const std::vector<std::string>& class_names, std::int64_t c);

}  // namespace retort::commands
