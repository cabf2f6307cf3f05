#pragma once

#include <filesystem>
#include <optional>

namespace retort {

/// A lock file that one holder at a time has, in this process or another. The kernel drops it with
/// the process, however that ends; the file itself may stay and means nothing then.
class FileLock {
 public:
  /// Waits until it is free. Creates the file and its folder. @throws StorageError naming `path`
  static FileLock wait(const std::filesystem::path& path);
  /// Nothing if somebody holds it. @throws StorageError
  static std::optional<FileLock> try_now(const std::filesystem::path& path);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

  /// Removes the file while it is held: whoever waits for it makes a new one.
  void remove_file() const;
  /// The open file. A process that inherits it holds the lock as well, until its own end.
  int descriptor() const { return file_; }

 private:
  FileLock(std::filesystem::path path, int file);

  std::filesystem::path path_;
  int file_;  ///< -1: moved from
};

}  // namespace retort
