#include "lib/storage/event_file.h"

#include <cstring>
#include <map>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using storage::crc32c;
using storage::EventFile;

namespace {

template <class T>
T number_at(const std::string& bytes, std::size_t at) {
  T value{};
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);  // tests run on little-endian machines
  return value;
}

std::uint32_t unmasked(std::uint32_t masked) {
  const std::uint32_t rotated = masked - 0xa282ead8U;
  return rotated >> 17 | rotated << 15;
}

/// The data of every record, both checksums compared.
std::vector<std::string> records(const std::string& bytes) {
  std::vector<std::string> list;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = number_at<std::uint64_t>(bytes, at);
    CHECK(unmasked(number_at<std::uint32_t>(bytes, at + 8)) == crc32c(bytes.substr(at, 8)));
    REQUIRE(at + 16 + length <= bytes.size());
    list.push_back(bytes.substr(at + 12, length));
    CHECK(unmasked(number_at<std::uint32_t>(bytes, at + 12 + length)) == crc32c(list.back()));
    at += 16 + length;
  }
  return list;
}

/// The fields of a message by number: varints as text of the number, all else as bytes.
using Message = std::map<int, std::string>;

std::uint64_t read_varint(const std::string& bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(at++));
    value |= std::uint64_t(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
}

Message message(const std::string& bytes) {
  Message fields;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::uint64_t key = read_varint(bytes, at);
    const int field = int(key >> 3);
    REQUIRE_FALSE(fields.contains(field));
    if ((key & 7) == 0) {
      fields[field] = std::to_string(read_varint(bytes, at));
      continue;
    }
    const std::size_t size = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : read_varint(bytes, at);
    REQUIRE(at + size <= bytes.size());
    fields[field] = bytes.substr(at, size);
    at += size;
  }
  return fields;
}

}  // namespace

TEST_CASE("CRC-32C agrees with RFC 3720 and the usual check value", "[storage][events]") {
  CHECK(crc32c("123456789") == 0xE3069283U);
  CHECK(crc32c("") == 0);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAU);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43U);
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += char(i);
  CHECK(crc32c(ascending) == 0x46DD794EU);
}

TEST_CASE("a record of nothing has the bytes that TFRecord writers give it", "[storage][events]") {
  // 8 zeros, whose CRC-32C is 0x8C28B28A, and nothing, whose is 0.
  const std::string expected("\0\0\0\0\0\0\0\0\x29\x03\x98\x07\xD8\xEA\x82\xA2", 16);
  CHECK(storage::tf_record("") == expected);
}

TEST_CASE("an event file tells scalars and pictures", "[storage][events]") {
  const testing::TemporaryFolder folder("retort-events");
  EventFile file(folder.path(), 1);
  file.scalar("loss", 1, 0.5);
  file.image("set", 300, "\x89PNG...", 7, 1000);
  CHECK_THAT(file.path().filename().string(), Catch::Matchers::StartsWith("events.out.tfevents."));
  const auto list = records(read_text(file.path()));
  REQUIRE(list.size() == 3);
  CHECK(message(list[0])[3] == "brain.Event:2");
  const double time = number_at<double>(message(list[0])[1], 0);
  CHECK(time > 1.7e9);
  CHECK(time < 1e10);

  Message scalar = message(list[1]);
  CHECK(scalar[2] == "1");
  Message loss = message(message(scalar[5])[1]);
  CHECK(loss[1] == "loss");
  CHECK(number_at<float>(loss[2], 0) == 0.5F);

  Message picture = message(list[2]);
  CHECK(picture[2] == "300");
  Message value = message(message(picture[5])[1]);
  CHECK(value[1] == "set");
  Message image = message(value[4]);
  CHECK(image[1] == "1000");
  CHECK(image[2] == "7");
  CHECK(image[3] == "3");
  CHECK(image[4] == "\x89PNG...");
}

TEST_CASE("a later session says from where on it tells anew", "[storage][events]") {
  const testing::TemporaryFolder folder("retort-events");
  const EventFile first(folder.path(), 1);
  const EventFile second(folder.path(), 41);
  CHECK(first.path() < second.path());
  const auto list = records(read_text(second.path()));
  REQUIRE(list.size() == 2);
  Message start = message(list[1]);
  CHECK(start[2] == "41");
  CHECK(message(start[7])[1] == "1");
  CHECK_THROWS_WITH_TEXT(EventFile(folder.path() / "none", 1), StorageError, "cannot be written");
}
