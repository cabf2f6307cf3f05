#include "datasets/idx/idx_format.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "datasets/files.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets {
namespace {

constexpr std::size_t kMagicBytes = 4;
constexpr std::size_t kDimBytes = 4;
constexpr std::size_t kMaxRank = 4;
// Deflate cannot grow data more than this, so a larger promise is false before it is tried.
constexpr std::int64_t kMaxInflation = 1032;

std::size_t value_bytes(std::uint8_t type) {
  switch (type) {
    case 0x08:
    case 0x09:
      return 1;
    case 0x0B:
      return 2;
    case 0x0C:
      return 4;
    default:
      return 0;
  }
}

struct Header {
  std::uint8_t type = 0;
  std::vector<std::int64_t> dims;
  std::int64_t header_bytes = 0;
  std::int64_t value_bytes = 0;  // of all values
};

std::string promise(const Header& header) {
  return str("header promises ", join(header.dims, "x"), " values, ", header.value_bytes, " bytes");
}

std::string hex_bytes(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    if (!text.empty()) text += ' ';
    text += kDigits[std::to_integer<unsigned>(b) >> 4];
    text += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

Header parse_header(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kMagicBytes) {
    throw DataError(str("'", name, "': expected an IDX header of 8 bytes or more, found ",
                        bytes.size(), " bytes; is the file truncated?"));
  }
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint8_t>(bytes[i]); };
  Header header;
  header.type = at(2);
  const std::size_t rank = at(3);
  if (at(0) != 0 || at(1) != 0 || value_bytes(header.type) == 0 || rank < 1 || rank > kMaxRank) {
    throw DataError(str("'", name, "': wrong magic number: IDX integer files begin with 00 00, a ",
                        "type of 08, 09, 0b or 0c, and a rank of 1 to 4; found ",
                        hex_bytes(bytes.first(kMagicBytes))));
  }
  header.header_bytes = std::int64_t(kMagicBytes + rank * kDimBytes);
  if (std::int64_t(bytes.size()) < header.header_bytes) {
    throw DataError(str("'", name, "': expected a header of ", header.header_bytes,
                        " bytes, found ", bytes.size(), "; is the file truncated?"));
  }
  header.value_bytes = std::int64_t(value_bytes(header.type));
  for (std::size_t d = 0; d < rank; ++d) {
    std::int64_t dim = 0;
    for (std::size_t i = 0; i < kDimBytes; ++i) {
      dim = dim * 256 + at(kMagicBytes + d * kDimBytes + i);
    }
    header.dims.push_back(dim);
    if (__builtin_mul_overflow(header.value_bytes, dim, &header.value_bytes)) {
      throw DataError(str("'", name, "': the dimensions ", join(header.dims, "x"),
                          " overflow 64 bits; the header is damaged"));
    }
  }
  if (header.value_bytes == 0) {
    throw DataError(
        str("'", name, "': holds no values, its dimensions are ", join(header.dims, "x")));
  }
  return header;
}

[[noreturn]] void throw_length(const std::string& name, const Header& header, std::int64_t found) {
  if (found < header.value_bytes) {
    throw DataError(
        str("'", name, "': ", promise(header), ", found ", found, "; is the file truncated?"));
  }
  throw DataError(str("'", name, "': ", promise(header), "; found trailing bytes after them"));
}

std::vector<std::byte> plain_values(std::span<const std::byte> file, const Header& header,
                                    const std::string& name) {
  const auto values = file.subspan(std::size_t(header.header_bytes));
  if (std::int64_t(values.size()) != header.value_bytes) {
    throw_length(name, header, std::int64_t(values.size()));
  }
  return {values.begin(), values.end()};
}

std::vector<std::byte> gzip_values(std::span<const std::byte> file, const Header& header,
                                   const std::string& name) {
  if (header.value_bytes / kMaxInflation > std::int64_t(file.size())) {
    throw DataError(str("'", name, "': ", promise(header), ", which ", file.size(),
                        " compressed bytes cannot hold; the header is damaged"));
  }
  // One byte more than promised shows whether something follows.
  auto values = gunzip(file, std::size_t(header.header_bytes + header.value_bytes + 1), name);
  const std::int64_t found = std::int64_t(values.size()) - header.header_bytes;
  if (found != header.value_bytes) throw_length(name, header, found);
  values.erase(values.begin(), values.begin() + header.header_bytes);
  return values;
}

}  // namespace

IdxArray decode_idx(std::span<const std::byte> file, const std::string& name) {
  if (!is_gzip(file)) {
    const Header header = parse_header(file, name);
    return {header.type, header.dims, plain_values(file, header, name)};
  }
  const auto start = gunzip(file, kMagicBytes + kMaxRank * kDimBytes, name);
  const Header header = parse_header(start, name);
  return {header.type, header.dims, gzip_values(file, header, name)};
}

std::vector<std::int64_t> idx_labels(const IdxArray& array, const std::string& name) {
  if (array.dims.size() != 1) {
    throw DataError(str("'", name, "': expected labels of rank 1, found rank ", array.dims.size()));
  }
  const std::size_t width = value_bytes(array.type);
  const bool is_signed = array.type != 0x08;
  const std::int64_t range = std::int64_t(1) << 8 * width;
  std::vector<std::int64_t> labels(std::size_t(array.dims[0]));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    std::int64_t value = 0;
    for (std::size_t b = 0; b < width; ++b) {
      value = value << 8 | std::to_integer<std::int64_t>(array.values[i * width + b]);
    }
    labels[i] = is_signed && value >= range / 2 ? value - range : value;
  }
  return labels;
}

}  // namespace retort::datasets
