#pragma once
// Small files for the readers to be tried on.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace retort::testing {

using Bytes = std::vector<std::uint8_t>;

/// A new empty folder below the system's temporary one, removed at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Creates parent folders as needed.
void write_file(const std::filesystem::path& path, const Bytes& bytes);
void write_file(const std::filesystem::path& path, const std::string& text);

Bytes gzip(const Bytes& bytes);

/// An IDX file of unsigned bytes.
Bytes idx(const std::vector<std::uint32_t>& dims, const Bytes& values);

/// values first, first+1, ... modulo 256
Bytes ramp(std::size_t count, std::size_t first = 0);

}  // namespace retort::testing
