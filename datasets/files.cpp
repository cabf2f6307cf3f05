#include "datasets/files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>

#include <zlib.h>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets {
namespace {

constexpr std::size_t kChunk = std::size_t(1) << 20;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

[[noreturn]] void throw_unreadable(const std::filesystem::path& path, int reason) {
  throw DataError(str("'", path.string(), "': cannot be read: ", std::strerror(reason)));
}

// zlib counts input in 32 bits, so it is fed in pieces.
class Inflater {
 public:
  Inflater(std::span<const std::byte> bytes, const std::string& name) : rest_(bytes), name_(name) {
    // 16 + window bits: a gzip header is required.
    if (inflateInit2(&stream_, 16 + MAX_WBITS) != Z_OK) throw DataError(name + ": zlib failed");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Fills `out`; returns how many bytes came, fewer than its size only at the end of the file.
  std::size_t read(std::span<std::byte> out) {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = uInt(out.size());
    while (stream_.avail_out > 0 && !finished_) step();
    return out.size() - stream_.avail_out;
  }

 private:
  void step() {
    if (stream_.avail_in == 0) feed();
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      next_member();
    } else if (status == Z_BUF_ERROR || (status == Z_OK && exhausted() && stream_.avail_out > 0)) {
      throw DataError("'" + name_ + "': the gzip stream ends early; is the file truncated?");
    } else if (status != Z_OK) {
      throw DataError(str("'", name_, "': the gzip stream is damaged: ",
                          stream_.msg != nullptr ? stream_.msg : "unknown error"));
    }
  }

  bool exhausted() const { return stream_.avail_in == 0 && rest_.empty(); }

  void feed() {
    const auto piece = rest_.first(std::min(rest_.size(), kChunk));
    rest_ = rest_.subspan(piece.size());
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(piece.data()));
    stream_.avail_in = uInt(piece.size());
  }

  void next_member() {
    if (stream_.avail_in == 0) feed();
    finished_ = exhausted();
    if (finished_) return;
    if (stream_.next_in[0] != 0x1f) {
      throw DataError("'" + name_ + "': found trailing bytes after the gzip stream");
    }
    inflateReset(&stream_);
  }

  z_stream stream_{};
  std::span<const std::byte> rest_;
  const std::string& name_;
  bool finished_ = false;
};

}  // namespace

std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw_unreadable(path, errno);
  std::vector<std::byte> bytes;
  std::error_code ignored;
  const auto expected = std::filesystem::file_size(path, ignored);
  if (!ignored) bytes.reserve(std::size_t(expected) + 1);
  for (std::size_t got = 1; got > 0;) {
    const std::size_t old = bytes.size();
    bytes.resize(std::max(bytes.capacity(), old + 1));
    errno = 0;
    got = std::fread(bytes.data() + old, 1, bytes.size() - old, file.get());
    bytes.resize(old + got);
    if (got == 0 && std::ferror(file.get()) != 0) throw_unreadable(path, errno);
    if (bytes.size() == bytes.capacity()) bytes.reserve(2 * bytes.size());
  }
  return bytes;
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const auto bytes = read_bytes(path);
  std::istringstream text(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    const auto first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    lines.push_back(line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
  }
  return lines;
}

bool is_gzip(std::span<const std::byte> bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

std::vector<std::byte> gunzip(std::span<const std::byte> bytes, std::size_t limit,
                              const std::string& name) {
  Inflater inflater(bytes, name);
  std::vector<std::byte> out;
  while (out.size() < limit) {
    const std::size_t old = out.size();
    const std::size_t wanted = std::min(kChunk, limit - old);
    out.resize(old + wanted);
    const std::size_t got = inflater.read(std::span(out).subspan(old));
    out.resize(old + got);
    if (got < wanted) break;
  }
  return out;
}

std::filesystem::path find_file(const std::filesystem::path& folder,
                                const std::vector<std::string>& names) {
  for (const auto& name : names) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(folder / name, ignored)) return folder / name;
  }
  return {};
}

}  // namespace retort::datasets
