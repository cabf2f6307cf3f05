#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "lib/storage/teacher_file.h"

namespace retort::commands {

/// Prints what a file of teachers holds: a line per teacher. @throws StorageError
void print_teachers(const std::string& path, bool as_json);

/// What documents say of one.
nlohmann::json teacher_json(const storage::Teacher& teacher);

}  // namespace retort::commands
