#include "lib/core/file_lock.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path) {
  throw StorageError(str("'", path.string(), "': cannot be locked: ", std::strerror(errno)));
}

int open_file(const fs::path& path) {
  while (true) {
    std::error_code missing;
    if (path.has_parent_path()) fs::create_directories(path.parent_path(), missing);
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file >= 0) return file;
    // The last holder may remove the folder in between.
    if (missing || errno != ENOENT) fail(path);
  }
}

/// Whether `path` still is the open file, and not removed or another one meanwhile.
bool still_there(const fs::path& path, int file) {
  struct stat opened = {};
  struct stat named = {};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/// @return the locked file; -1 if it is taken and `operation` does not wait
int lock_file(const fs::path& path, int operation) {
  while (true) {
    const int file = open_file(path);
    int result = ::flock(file, operation);
    while (result != 0 && errno == EINTR) result = ::flock(file, operation);
    if (result == 0 && still_there(path, file)) return file;
    const int error = errno;
    ::close(file);
    if (result == 0) continue;
    if (error == EWOULDBLOCK) return -1;
    errno = error;
    fail(path);
  }
}

}  // namespace

FileLock::FileLock(fs::path path, int file) : path_(std::move(path)), file_(file) {}

FileLock::FileLock(FileLock&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

FileLock::~FileLock() {
  if (file_ >= 0) ::close(file_);
}

FileLock FileLock::wait(const fs::path& path) { return {path, lock_file(path, LOCK_EX)}; }

std::optional<FileLock> FileLock::try_now(const fs::path& path) {
  const int file = lock_file(path, LOCK_EX | LOCK_NB);
  if (file < 0) return std::nullopt;
  return FileLock(path, file);
}

void FileLock::remove_file() const {
  std::error_code ignored;
  fs::remove(path_, ignored);
}

}  // namespace retort
