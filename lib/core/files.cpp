#include "lib/core/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <system_error>
#include <unistd.h>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporary = ".tmp.";  // and the number of the writing process

fs::path temporary_of(const fs::path& path) { return str(path.string(), kTemporary, ::getpid()); }

void sync_to_disk(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw StorageError(str("'", path.string(), "': ", std::strerror(errno)));
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  // Some file systems have no fsync for folders; the rename is still atomic there.
  if (result != 0 && error != EINVAL) {
    throw StorageError(str("'", path.string(), "': cannot be synced: ", std::strerror(error)));
  }
}

/// A rename would put a file in the place of whatever is there.
void expect_replaceable(const fs::path& path) {
  if (fs::is_directory(path)) {
    throw StorageError(str("'", path.string(), "': is a folder, not a file to write"));
  }
  if (fs::exists(path) && !fs::is_regular_file(path)) {
    throw StorageError(
        str("'", path.string(), "': is a device, a pipe or a socket, which no file replaces"));
  }
}

}  // namespace

void write_atomically(const fs::path& path,
                      const std::function<void(const fs::path& temporary)>& write) {
  expect_replaceable(path);
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) throw StorageError(str("'", folder.string(), "': cannot be created: ", ec.message()));
  const fs::path temporary = temporary_of(path);
  try {
    write(temporary);
    sync_to_disk(temporary);
    fs::rename(temporary, path);
    sync_to_disk(folder);
  } catch (const fs::filesystem_error& e) {
    fs::remove(temporary, ec);
    throw StorageError(str("'", path.string(), "': cannot be written: ", e.code().message()));
  } catch (...) {
    fs::remove(temporary, ec);
    throw;
  }
}

void write_text(const fs::path& path, std::string_view text) {
  write_atomically(path, [&](const fs::path& temporary) {
    errno = 0;
    std::ofstream out(temporary, std::ios::binary);
    out.write(text.data(), std::streamsize(text.size()));
    out.close();
    if (!out) {
      throw StorageError(str("'", path.string(), "': cannot be written",
                             errno == 0 ? "" : str(": ", std::strerror(errno))));
    }
  });
}

std::optional<fs::path> target_of_temporary(const fs::path& path) {
  const std::string name = path.string();
  const auto suffix = name.rfind(kTemporary);
  if (suffix == std::string::npos) return {};
  const std::string_view process = std::string_view(name).substr(suffix + kTemporary.size());
  const bool number = !process.empty() && std::all_of(process.begin(), process.end(),
                                                      [](char c) { return c >= '0' && c <= '9'; });
  if (!number) return {};
  return fs::path(name.substr(0, suffix));
}

void expect_writable(const fs::path& path) {
  expect_replaceable(path);
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ec;
  fs::create_directories(folder, ec);
  const fs::path probe = temporary_of(path);
  const int fd = ec ? -1 : ::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    throw StorageError(str("'", path.string(), "': cannot be written: ",
                           ec ? ec.message() : std::string(std::strerror(errno))));
  }
  ::close(fd);
  fs::remove(probe, ec);
}

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) {
    throw StorageError(str("'", path.string(), "': cannot be opened for reading"));
  }
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace retort
