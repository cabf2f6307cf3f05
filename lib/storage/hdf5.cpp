#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5_internal.h"

namespace retort::storage::h5 {
namespace {

/// Files close with whoever opened them. A file on a full disk cannot be closed, and HDF5, which
/// tries once more when the program ends, crashes then: it is told not to.
std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  [[maybe_unused]] static const herr_t told = H5dont_atexit();
  return mutex;
}

/// What the system said, where HDF5 quotes it among places and sizes.
std::string system_message(const std::string& description) {
  constexpr std::string_view kQuote = "error message = '";
  const auto begin = description.find(kQuote);
  if (begin == std::string::npos) return description;
  const auto text = begin + kQuote.size();
  return description.substr(text, description.find('\'', text) - text);
}

// What may be written, then what is only read.
constexpr std::array kElements{
    ElementType{"uint8", at::kByte, 1},    ElementType{"int8", at::kChar, 1},
    ElementType{"int16", at::kShort, 2},   ElementType{"int32", at::kInt, 4},
    ElementType{"int64", at::kLong, 8},    ElementType{"float16", at::kHalf, 2},
    ElementType{"float32", at::kFloat, 4}, ElementType{"float64", at::kDouble, 8},
    ElementType{"uint16", at::kInt, 2},    ElementType{"uint32", at::kLong, 4},
    ElementType{"uint64", at::kLong, 8},
};
constexpr std::size_t kWritable = 8;

// IEEE half. The order of the calls matters: fields first, or the size does not fit them.
Type float16_type() {
  Type type(H5Tcopy(H5T_IEEE_F32LE), "float16 type");
  check(H5Tset_fields(type, 15, 10, 5, 0, 10), "float16 fields");
  check(H5Tset_size(type, 2), "float16 size");
  check(H5Tset_ebias(type, 15), "float16 bias");
  return type;
}

hid_t standard_type(const std::string& name) {
  if (name == "uint8") return H5T_STD_U8LE;
  if (name == "int8") return H5T_STD_I8LE;
  if (name == "int16") return H5T_STD_I16LE;
  if (name == "int32") return H5T_STD_I32LE;
  if (name == "int64") return H5T_STD_I64LE;
  if (name == "float32") return H5T_IEEE_F32LE;
  if (name == "float64") return H5T_IEEE_F64LE;
  if (name == "uint16") return H5T_STD_U16LE;
  if (name == "uint32") return H5T_STD_U32LE;
  return H5T_STD_U64LE;
}

}  // namespace

Guard::Guard() : lock_(library_mutex()) {
  // The switch is per thread. Plugins would let a file choose which code is loaded.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

Guard::~Guard() { H5Eclear2(H5E_DEFAULT); }

void fail(const std::string& what) {
  std::vector<std::string> stack;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
        static_cast<std::vector<std::string>*>(out)->push_back(entry->desc ? entry->desc : "");
        return 0;
      },
      &stack);
  H5Eclear2(H5E_DEFAULT);
  // The innermost entry is the cause, the outermost what was being done.
  std::string text = stack.empty() ? "no reason given" : system_message(stack.front());
  if (stack.size() > 1) text += " (" + stack.back() + ")";
  throw StorageError(str(what, ": HDF5: ", text));
}

ElementType element_of(at::ScalarType scalar, const std::string& what) {
  if (scalar == at::kBool) scalar = at::kByte;
  if (scalar == at::kBFloat16) return {"uint16", at::kBFloat16, 2};
  for (std::size_t i = 0; i < kWritable; ++i) {
    if (kElements[i].scalar == scalar) return kElements[i];
  }
  throw StorageError(str(what, ": elements of type ", c10::toString(scalar), " cannot be stored"));
}

Type file_type(const ElementType& element) {
  if (element.name == std::string("float16")) return float16_type();
  return Type(H5Tcopy(standard_type(element.name)), "element type");
}

Type memory_type(const ElementType& element) {
  // uint64 is read as it is and refused by the reader where the sign bit is set.
  if (element.name == std::string("uint16") && element.scalar == at::kInt) {
    return Type(H5Tcopy(H5T_STD_I32LE), "element type");
  }
  if (element.name == std::string("uint32")) return Type(H5Tcopy(H5T_STD_I64LE), "element type");
  return file_type(element);
}

std::optional<ElementType> recognise(hid_t type) {
  for (const ElementType& element : kElements) {
    if (check(H5Tequal(type, file_type(element)), "comparing types") > 0) return element;
  }
  return std::nullopt;
}

Type text_type(std::size_t length) {
  Type type(H5Tcopy(H5T_C_S1), "text type");
  check(H5Tset_size(type, std::max<std::size_t>(length, 1)), "text length");
  check(H5Tset_strpad(type, H5T_STR_NULLPAD), "text padding");
  check(H5Tset_cset(type, H5T_CSET_UTF8), "text encoding");
  return type;
}

std::string dataset_line(const std::string& path, const std::string& element,
                         const std::vector<std::int64_t>& shape) {
  return str(path, ": ", element, " [", join(shape), "]");
}

std::string attribute_line(const std::string& path, const std::string& name,
                           const std::string& value) {
  std::string escaped;
  for (const char c : value) escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
  return str(path, "@", name, " = ", escaped);
}

std::string value_text(std::int64_t value) { return std::to_string(value); }
std::string value_text(std::uint64_t value) { return std::to_string(value); }

std::string value_text(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (const double value : values) {
    std::array<char, 32> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    texts.emplace_back(buffer.data(), end);
  }
  return join(texts, " ");
}

bool outside_manifest(const std::string& path) {
  return path == "manifest" || path.starts_with("manifest/") || path == "evaluations" ||
         path.starts_with("evaluations/");
}

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (!path.empty() && begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    if (parts.back().empty() || parts.back() == ".") {
      throw StorageError(str("'", path, "' is no name of an object in an HDF5 file"));
    }
    begin = end + 1;
  }
  return parts;
}

}  // namespace retort::storage::h5
