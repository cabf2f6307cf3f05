#include "lib/storage/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/checks.h"

namespace retort::storage {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the library's own limit
constexpr char kMetadata[] = "__metadata__";       // texts, which nothing here asks for

/// Where one tensor lies, in bytes behind the header.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin;
  std::uint64_t end;
};

at::ScalarType type_of(const std::string& name, const std::string& source) {
  static const std::map<std::string, at::ScalarType> types = {
      {"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
      {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"I32", at::kInt},
      {"I16", at::kShort},     {"I8", at::kChar},   {"U8", at::kByte}};
  const auto found = types.find(name);
  require(found != types.end(), source, str("dtype '", name, "' is none that is read here"));
  return found->second;
}

std::uint64_t file_bytes(std::ifstream& in) {
  in.seekg(0, std::ios::end);
  const auto size = std::uint64_t(in.tellg());
  in.seekg(0);
  return size;
}

std::string read_header(std::ifstream& in, std::uint64_t size, const std::string& source) {
  unsigned char bytes[kLengthBytes] = {};
  in.read(reinterpret_cast<char*>(bytes), kLengthBytes);
  require(bool(in), source, str("expected a safetensors file, found ", size, " bytes"));
  std::uint64_t length = 0;
  for (std::uint64_t i = 0; i < kLengthBytes; ++i) length |= std::uint64_t(bytes[i]) << (8 * i);
  require(length >= 2 && length <= kMaxHeader && length <= size - kLengthBytes, source,
          str("expected a safetensors file, whose first 8 bytes give the length of its header; "
              "found ",
              length, " in a file of ", size, " bytes"));
  std::string header(length, '\0');
  in.read(header.data(), std::streamsize(length));
  require(bool(in) && header.front() == '{', source,
          "expected a safetensors file: its header must be a JSON object");
  return header;
}

Entry parse_entry(const std::string& name, const json& value, const std::string& file) {
  const std::string source = str(file, ": tensor '", name, "'");
  try {
    const auto offsets = value.at("data_offsets").get<std::vector<std::uint64_t>>();
    require(offsets.size() == 2 && offsets[0] <= offsets[1], source,
            str("data_offsets: expected begin and end, found ", value.at("data_offsets").dump()));
    return {.name = name,
            .type = type_of(value.at("dtype").get<std::string>(), source),
            .shape = value.at("shape").get<std::vector<std::int64_t>>(),
            .begin = offsets[0],
            .end = offsets[1]};
  } catch (const json::exception& e) {
    throw StorageError(str(source, ": expected dtype, shape and data_offsets: ", e.what()));
  }
}

/// Bytes of a shape, found without overflow.
std::uint64_t bytes_of(const Entry& entry, const std::string& source) {
  std::uint64_t bytes = c10::elementSize(entry.type);
  for (const std::int64_t size : entry.shape) {
    require(size >= 0 && !__builtin_mul_overflow(bytes, std::uint64_t(size), &bytes), source,
            str("tensor '", entry.name, "': shape [", join(entry.shape), "] cannot be"));
  }
  return bytes;
}

/// In the order of the file.
std::vector<Entry> parse_entries(const std::string& header, std::uint64_t data_bytes,
                                 const std::string& source) {
  const json document = json::parse(header, nullptr, /*allow_exceptions=*/false);
  require(document.is_object(), source, "its header is no JSON object");
  std::vector<Entry> entries;
  for (const auto& [name, value] : document.items()) {
    if (name != kMetadata) entries.push_back(parse_entry(name, value, source));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t position = 0;
  for (const Entry& entry : entries) {
    const std::uint64_t expected = bytes_of(entry, source);
    require(entry.begin == position && entry.end - entry.begin == expected, source,
            str("tensor '", entry.name, "': expected the ", expected, " bytes of shape [",
                join(entry.shape), "] from ", position, " on, behind those before it, found ",
                entry.begin, " .. ", entry.end));
    position = entry.end;
  }
  require(position == data_bytes, source,
          str("expected ", position, " bytes behind the header, found ", data_bytes));
  return entries;
}

}  // namespace

std::map<std::string, Tensor> read_safetensors(const std::filesystem::path& path) {
  const std::string source = source_of(path);
  std::ifstream in(path, std::ios::binary);
  require(bool(in), source, "cannot be opened for reading");
  const std::uint64_t size = file_bytes(in);
  const std::string header = read_header(in, size, source);
  std::map<std::string, Tensor> tensors;
  for (const Entry& entry : parse_entries(header, size - kLengthBytes - header.size(), source)) {
    // The bytes of a machine with this processor's order are the file's.
    const Tensor tensor = at::empty(entry.shape, entry.type);
    in.read(static_cast<char*>(tensor.data_ptr()), std::streamsize(tensor.nbytes()));
    require(bool(in), source, str("tensor '", entry.name, "' cannot be read"));
    tensors.emplace(entry.name, tensor);
  }
  return tensors;
}

}  // namespace retort::storage
