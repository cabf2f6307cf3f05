#pragma once
// How readers and writers of files object. Private to lib/storage.

#include <filesystem>
#include <string>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::storage {

/// The file's name in quotes, with which errors begin.
inline std::string source_of(const std::filesystem::path& path) {
  return str("'", path.string(), "'");
}

/// @throws StorageError "source: finding"
inline void require(bool holds, const std::string& source, const std::string& finding) {
  if (!holds) throw StorageError(str(source, ": ", finding));
}

}  // namespace retort::storage
