#pragma once
// TensorBoard's event files, as far as runs need them: scalars and pictures.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace retort::storage {

/// The Castagnoli polynomial's, as in iSCSI (RFC 3720, appendix B.4).
std::uint32_t crc32c(std::string_view bytes);

/// Framed as TFRecord: length and data, each with a masked CRC-32C.
std::string tf_record(std::string_view data);

/// One file per session of a run, beside those of earlier sessions. Whole records are handed to the
/// system, so a kill costs the last one at most.
class EventFile {
 public:
  /// @param folder must exist  @param first_step from which on this session tells: what earlier
  ///        ones told of these steps is dropped by readers; 1: there were none
  /// @throws StorageError if nothing can be written there
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);

  void scalar(const std::string& tag, std::int64_t step, double value);
  /// @param png a whole file
  void image(const std::string& tag, std::int64_t step, std::string_view png, std::int64_t width,
             std::int64_t height);

  const std::filesystem::path& path() const { return path_; }

 private:
  /// @param what the field of the event that holds its content, encoded
  void write(std::int64_t step, const std::string& what);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace retort::storage
