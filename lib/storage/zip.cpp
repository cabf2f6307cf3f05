#include "lib/storage/zip.h"

#include <algorithm>
#include <limits>

#include <zlib.h>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::storage {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kRecordSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kRecordBytes = 46;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kMaxComment = 65535;
constexpr std::uint16_t kVersion = 20;
constexpr std::uint16_t kUtf8Names = 0x0800;
constexpr std::uint16_t kEncrypted = 0x0001;
constexpr std::uint16_t kStored = 0;
constexpr std::uint16_t kDosDate = (1 << 5) | 1;  // 1980-01-01: same content, same bytes
constexpr std::uint16_t kPaddingField = 0x4246;   // "FB", the one PyTorch pads with
constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kLimit = std::numeric_limits<std::uint32_t>::max();

void put16(std::string& out, std::uint16_t value) {
  out += char(value & 0xff);
  out += char(value >> 8);
}

void put32(std::string& out, std::uint32_t value) {
  put16(out, std::uint16_t(value & 0xffff));
  put16(out, std::uint16_t(value >> 16));
}

std::uint16_t get16(std::string_view bytes, std::size_t at) {
  return std::uint16_t(std::uint8_t(bytes.at(at)) | std::uint8_t(bytes.at(at + 1)) << 8);
}

std::uint32_t get32(std::string_view bytes, std::size_t at) {
  return std::uint32_t(get16(bytes, at)) | std::uint32_t(get16(bytes, at + 2)) << 16;
}

std::uint32_t checksum(std::uint32_t start, std::string_view bytes) {
  return std::uint32_t(
      ::crc32_z(start, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// What a local header and a record of the directory share.
void put_common(std::string& out, std::uint32_t crc, std::uint32_t size, std::size_t name_bytes,
                std::size_t extra_bytes) {
  put16(out, kVersion);
  put16(out, kUtf8Names);
  put16(out, kStored);
  put16(out, 0);  // time
  put16(out, kDosDate);
  put32(out, crc);
  put32(out, size);
  put32(out, size);
  put16(out, std::uint16_t(name_bytes));
  put16(out, std::uint16_t(extra_bytes));
}

}  // namespace

ZipWriter::ZipWriter(std::string source, const std::filesystem::path& path)
    : source_(std::move(source)), out_(path, std::ios::binary) {}

void ZipWriter::create(const std::filesystem::path& path,
                       const std::function<void(ZipWriter& archive)>& write) {
  write_atomically(path, [&](const std::filesystem::path& temporary) {
    ZipWriter archive(str("'", path.string(), "'"), temporary);
    write(archive);
    archive.finish();
  });
}

std::uint32_t ZipWriter::position() {
  if (!out_) throw StorageError(source_ + ": cannot be written");
  const auto position = std::uint64_t(out_.tellp());
  if (position > kLimit) throw StorageError(source_ + ": zip archives end at 4 GiB here");
  return std::uint32_t(position);
}

void ZipWriter::add(const std::string& name, const std::vector<std::string_view>& pieces) {
  if (name.empty() || name.size() > 1024 || entries_.contains(name)) {
    throw StorageError(str(source_, ": '", name, "' must be a short name that occurs once"));
  }
  std::uint64_t size = 0;
  std::uint32_t crc = checksum(0, {});
  for (const std::string_view piece : pieces) {
    size += piece.size();
    crc = checksum(crc, piece);
  }
  const std::uint32_t offset = position();
  if (offset + size > kLimit) throw StorageError(source_ + ": zip archives end at 4 GiB here");

  const std::size_t unpadded = offset + kLocalBytes + name.size() + 4;  // 4: the field's own header
  const std::size_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  std::string header;
  put32(header, kLocalSignature);
  put_common(header, crc, std::uint32_t(size), name.size(), padding + 4);
  header += name;
  put16(header, kPaddingField);
  put16(header, std::uint16_t(padding));
  header.append(padding, 'Z');
  out_.write(header.data(), std::streamsize(header.size()));
  for (const std::string_view piece : pieces) {
    out_.write(piece.data(), std::streamsize(piece.size()));
  }
  entries_[name] = {crc, std::uint32_t(size), offset};
}

void ZipWriter::finish() {
  const std::uint32_t directory = position();
  if (entries_.size() >= std::numeric_limits<std::uint16_t>::max()) {
    throw StorageError(str(source_, ": too many entries for a zip archive: ", entries_.size()));
  }
  std::string records;
  for (const auto& [name, entry] : entries_) {
    put32(records, kRecordSignature);
    put16(records, kVersion);
    put_common(records, entry.crc, entry.size, name.size(), 0);
    put16(records, 0);  // comment
    put16(records, 0);  // disk
    put16(records, 0);  // internal attributes
    put32(records, 0);  // external attributes
    put32(records, entry.offset);
    records += name;
  }
  const auto records_bytes = std::uint32_t(records.size());
  put32(records, kEndSignature);
  put32(records, 0);  // disks
  put16(records, std::uint16_t(entries_.size()));
  put16(records, std::uint16_t(entries_.size()));
  put32(records, records_bytes);
  put32(records, directory);
  put16(records, 0);  // comment
  out_.write(records.data(), std::streamsize(records.size()));
  out_.close();
  if (!out_) throw StorageError(source_ + ": cannot be written");
}

ZipReader::ZipReader(const std::filesystem::path& path) : bytes_(read_text(path)) {
  if (bytes_.size() > kLimit) throw StorageError("is above 4 GiB");
  const std::size_t end = find_end();
  const std::size_t count = get16(bytes_, end + 10);
  const std::size_t size = get32(bytes_, end + 12);
  const std::size_t directory = get32(bytes_, end + 16);
  if (directory > end || size > end - directory) {
    throw StorageError("the directory of the zip archive lies outside of the file");
  }
  std::size_t position = directory;
  for (std::size_t i = 0; i < count; ++i) read_record(position, directory);
}

std::size_t ZipReader::find_end() const {
  if (bytes_.size() >= kEndBytes) {
    const std::size_t last = bytes_.size() - kEndBytes;
    const std::size_t first = last > kMaxComment ? last - kMaxComment : 0;
    for (std::size_t at = last + 1; at-- > first;) {
      if (get32(bytes_, at) == kEndSignature) return at;
    }
  }
  throw StorageError("is no zip archive, or is cut short");
}

void ZipReader::read_record(std::size_t& position, std::size_t directory) {
  if (position + kRecordBytes > bytes_.size() || get32(bytes_, position) != kRecordSignature) {
    throw StorageError("the directory of the zip archive is damaged");
  }
  const std::uint16_t flags = get16(bytes_, position + 8);
  const std::uint16_t method = get16(bytes_, position + 10);
  const std::uint32_t packed = get32(bytes_, position + 20);
  const std::uint32_t size = get32(bytes_, position + 24);
  const std::size_t name_bytes = get16(bytes_, position + 28);
  const std::size_t local = get32(bytes_, position + 42);
  const std::size_t next = position + kRecordBytes + name_bytes + get16(bytes_, position + 30) +
                           get16(bytes_, position + 32);
  if (next > bytes_.size()) throw StorageError("the directory of the zip archive is damaged");
  const std::string name = bytes_.substr(position + kRecordBytes, name_bytes);
  if (size == kLimit || local == kLimit) throw StorageError(str("entry '", name, "' needs zip64"));
  if ((flags & kEncrypted) != 0) throw StorageError(str("entry '", name, "' is encrypted"));
  if (local + kLocalBytes > directory || get32(bytes_, local) != kLocalSignature) {
    throw StorageError(str("entry '", name, "' has no header where the directory says"));
  }
  const std::size_t offset =
      local + kLocalBytes + get16(bytes_, local + 26) + get16(bytes_, local + 28);
  if (offset > directory || packed > directory - offset) {
    throw StorageError(str("entry '", name, "' lies outside of the file"));
  }
  if (!entries_
           .try_emplace(name, Entry{get32(bytes_, position + 16), offset, size,
                                    method == kStored && packed == size})
           .second) {
    throw StorageError(str("entry '", name, "' occurs twice"));
  }
  position = next;
}

std::vector<std::string> ZipReader::names() const {
  std::vector<std::string> names;
  for (const auto& entry : entries_) names.push_back(entry.first);
  return names;
}

std::string_view ZipReader::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw StorageError(str("entry '", name, "' is missing"));
  const Entry& entry = found->second;
  if (!entry.stored) {
    throw StorageError(str("entry '", name, "' is compressed; only stored entries are read"));
  }
  const auto content = std::string_view(bytes_).substr(entry.offset, entry.size);
  if (checksum(checksum(0, {}), content) != entry.crc) {
    throw StorageError(str("entry '", name, "' is damaged: its CRC-32 is wrong"));
  }
  return content;
}

}  // namespace retort::storage
