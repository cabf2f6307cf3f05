#include "lib/storage/event_file.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstdio>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::storage {
namespace {

namespace fs = std::filesystem;

// Numbers of fields in TensorFlow's event.proto and summary.proto.
namespace event {
constexpr std::uint32_t kWallTime = 1;
constexpr std::uint32_t kStep = 2;
constexpr std::uint32_t kFileVersion = 3;
constexpr std::uint32_t kSummary = 5;
constexpr std::uint32_t kSessionLog = 7;
}  // namespace event
namespace summary {
constexpr std::uint32_t kValue = 1;
}
namespace value {
constexpr std::uint32_t kTag = 1;
constexpr std::uint32_t kSimple = 2;
constexpr std::uint32_t kImage = 4;
}  // namespace value
namespace image_field {
constexpr std::uint32_t kHeight = 1;
constexpr std::uint32_t kWidth = 2;
constexpr std::uint32_t kColourspace = 3;
constexpr std::uint32_t kEncoded = 4;
}  // namespace image_field
namespace session {
constexpr std::uint32_t kStatus = 1;
constexpr std::uint64_t kStart = 1;
}  // namespace session

// Protocol buffers' wire types.
constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kBytes = 2;
constexpr std::uint32_t kFixed32 = 5;

template <class Integer>
std::string little_endian(Integer value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i) bytes += char(value >> (8 * i) & 0xFFU);
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += char((value & 0x7FU) | 0x80U);
  return bytes + char(value);
}

std::string key(std::uint32_t field, std::uint32_t type) { return varint(field << 3 | type); }

std::string integer_field(std::uint32_t field, std::uint64_t value) {
  return key(field, kVarint) + varint(value);
}

std::string double_field(std::uint32_t field, double value) {
  return key(field, kFixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string float_field(std::uint32_t field, float value) {
  return key(field, kFixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}

std::string bytes_field(std::uint32_t field, std::string_view bytes) {
  return str(key(field, kBytes), varint(bytes.size()), bytes);
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Readers go through the files of a folder in the order of their names.
fs::path new_path(const fs::path& folder) {
  for (auto second = std::int64_t(seconds_since_1970());; ++second) {
    std::array<char, 64> name{};
    std::snprintf(name.data(), name.size(), "events.out.tfevents.%010lld.retort",
                  static_cast<long long>(second));
    if (!fs::exists(folder / name.data())) return folder / name.data();
  }
}

constexpr std::array<std::uint32_t, 256> crc_table() {
  constexpr std::uint32_t kReversedPolynomial = 0x82F63B78U;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1U) != 0 ? kReversedPolynomial : 0U);
    table[i] = crc;
  }
  return table;
}

/// So that a record that holds checksums of records does not check itself.
std::string masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return little_endian((crc >> 15 | crc << 17) + 0xA282EAD8U);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) {
    crc = crc >> 8 ^ kTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFFU];
  }
  return crc ^ 0xFFFFFFFFU;
}

std::string tf_record(std::string_view data) {
  const std::string length = little_endian(std::uint64_t(data.size()));
  return str(length, masked_crc(length), data, masked_crc(data));
}

EventFile::EventFile(const fs::path& folder, std::int64_t first_step)
    : path_(new_path(folder)), out_(path_, std::ios::binary) {
  write(0, bytes_field(event::kFileVersion, "brain.Event:2"));
  if (first_step <= 1) return;
  write(first_step,
        bytes_field(event::kSessionLog, integer_field(session::kStatus, session::kStart)));
}

void EventFile::scalar(const std::string& tag, std::int64_t step, double number) {
  const std::string content =
      bytes_field(value::kTag, tag) + float_field(value::kSimple, float(number));
  write(step, bytes_field(event::kSummary, bytes_field(summary::kValue, content)));
}

void EventFile::image(const std::string& tag, std::int64_t step, std::string_view png,
                      std::int64_t width, std::int64_t height) {
  constexpr std::uint64_t kRgb = 3;
  const std::string image = integer_field(image_field::kHeight, std::uint64_t(height)) +
                            integer_field(image_field::kWidth, std::uint64_t(width)) +
                            integer_field(image_field::kColourspace, kRgb) +
                            bytes_field(image_field::kEncoded, png);
  const std::string content = bytes_field(value::kTag, tag) + bytes_field(value::kImage, image);
  write(step, bytes_field(event::kSummary, bytes_field(summary::kValue, content)));
}

void EventFile::write(std::int64_t step, const std::string& what) {
  out_ << tf_record(double_field(event::kWallTime, seconds_since_1970()) +
                    integer_field(event::kStep, std::uint64_t(step)) + what)
       << std::flush;
  if (!out_) throw StorageError(str("'", path_.string(), "': cannot be written"));
}

}  // namespace retort::storage
