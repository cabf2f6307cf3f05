#pragma once
// Bytes from disk, without LibTorch.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace retort::datasets {

/// A whole file. @throws DataError naming the file and the system's reason (missing, a folder, a
/// loop of symbolic links, no permission)
std::vector<std::byte> read_bytes(const std::filesystem::path& path);

/// Non-empty lines without surrounding white space. @throws DataError as read_bytes
std::vector<std::string> read_lines(const std::filesystem::path& path);

bool is_gzip(std::span<const std::byte> bytes);

/// Inflates gzip members until the end or until `limit` bytes have come out, whichever is first.
/// @throws DataError for a stream that is cut off or damaged, and for bytes after its end
std::vector<std::byte> gunzip(std::span<const std::byte> bytes, std::size_t limit,
                              const std::string& name);

/// The first of `names` that is a file in `folder`, or an empty path.
std::filesystem::path find_file(const std::filesystem::path& folder,
                                const std::vector<std::string>& names);

}  // namespace retort::datasets
