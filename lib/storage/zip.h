#pragma once
// Zip archives of uncompressed entries, as PyTorch and NumPy use them. Below 4 GiB: no zip64.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace retort::storage {

/// Writes entries one after the other.
class ZipWriter {
 public:
  /// Creates a temporary file, lets `write` add entries, closes and renames it to `path`.
  /// @throws StorageError naming `path`
  static void create(const std::filesystem::path& path,
                     const std::function<void(ZipWriter& archive)>& write);

  /// The entry's content is the pieces joined; it begins at a multiple of 64 bytes in the file, so
  /// that readers can map it. @throws StorageError for a name twice or an archive above 4 GiB
  void add(const std::string& name, const std::vector<std::string_view>& pieces);

 private:
  struct Entry {
    std::uint32_t crc = 0;
    std::uint32_t size = 0;
    std::uint32_t offset = 0;
  };
  ZipWriter(std::string source, const std::filesystem::path& path);
  void finish();
  std::uint32_t position();

  std::string source_;  ///< how messages name the file
  std::ofstream out_;
  std::map<std::string, Entry> entries_;
};

/// A whole archive in memory. Refuses encrypted entries, zip64 and anything that points outside of
/// the file. Messages do not name the file: whoever reads it knows what it should have been.
class ZipReader {
 public:
  /// @throws StorageError
  explicit ZipReader(const std::filesystem::path& path);

  std::vector<std::string> names() const;  ///< sorted
  bool has(const std::string& name) const { return entries_.contains(name); }
  /// Valid as long as the reader. @throws StorageError if missing, compressed, or the checksum is
  /// wrong
  std::string_view read(const std::string& name) const;
  std::uint64_t file_bytes() const { return bytes_.size(); }

 private:
  struct Entry {
    std::uint32_t crc = 0;
    std::size_t offset = 0;  ///< of the content
    std::size_t size = 0;
    bool stored = true;  ///< not compressed
  };
  std::size_t find_end() const;
  /// Reads one record of the central directory at `position` and moves behind it.
  void read_record(std::size_t& position, std::size_t directory);

  std::string bytes_;
  std::map<std::string, Entry> entries_;
};

}  // namespace retort::storage
