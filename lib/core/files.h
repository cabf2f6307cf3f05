#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace retort {

/// Lets `write` produce a temporary file beside `path`, syncs it to disk and renames it to `path`,
/// so that a crash at any moment leaves either the old file or the new one. Creates parent folders.
/// @throws StorageError naming `path`, among others if it is something else than a file; the
///         temporary file is removed
void write_atomically(const std::filesystem::path& path,
                      const std::function<void(const std::filesystem::path& temporary)>& write);

/// The same for a text that is at hand.
void write_text(const std::filesystem::path& path, std::string_view text);

/// The file that `path` was to become, if its name is one that write_atomically gives while it
/// writes; none for all other files.
std::optional<std::filesystem::path> target_of_temporary(const std::filesystem::path& path);

/// Fails now rather than after hours of work: creates the parent folders and a file beside `path`,
/// and removes that file again.
/// @throws StorageError naming `path` if it is something else than a file, or nothing can be created
///         there
void expect_writable(const std::filesystem::path& path);

/// Whole file as a string. @throws StorageError
std::string read_text(const std::filesystem::path& path);

}  // namespace retort
