#pragma once
// What reader and writer of HDF5 files share: handles that close themselves, HDF5's error stack as
// one exception, the table of element types, the text of a manifest. Private to lib/storage.

// The functions as they were in 1.10, whichever version is installed.
#define H5_USE_110_API 1
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <c10/core/ScalarType.h>
#include <hdf5.h>

namespace retort::storage::h5 {

/// Held during every use of the library: one at a time, no printing by HDF5 itself, and no error
/// stack left behind in this thread (a stack alive at thread exit upsets HDF5's own shutdown).
class Guard {
 public:
  Guard();
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

/// Turns HDF5's error stack into a StorageError that begins with `what`, and clears the stack.
[[noreturn]] void fail(const std::string& what);

/// hid_t, herr_t, htri_t and ssize_t all report errors as negative values.
template <class Result>
Result check(Result result, const std::string& what) {
  if (result < 0) fail(what);
  return result;
}

template <herr_t (*Close)(hid_t)>
class Handle {
 public:
  Handle(hid_t id, const std::string& what) : id_(check(id, what)) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) Close(id_);
  }
  operator hid_t() const { return id_; }
  /// Whoever writes closes by hand: a failure to close is a failure to write.
  void close(const std::string& what) { check(Close(std::exchange(id_, H5I_INVALID_HID)), what); }

 private:
  hid_t id_;
};

using File = Handle<H5Fclose>;
using Group = Handle<H5Gclose>;
using Object = Handle<H5Oclose>;
using Dataset = Handle<H5Dclose>;
using Attribute = Handle<H5Aclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using PropertyList = Handle<H5Pclose>;

/// How elements lie in a file. Unsigned kinds above 8 bits have no full LibTorch counterpart: they
/// are read into the next larger signed type.
struct ElementType {
  const char* name;        ///< "float32"
  at::ScalarType scalar;   ///< in memory
  std::size_t file_bytes;  ///< of one element in the file
};

/// The stored type of a tensor; bool is uint8 and bfloat16 is uint16 with attribute `element`.
/// @throws StorageError for a type that is not stored, naming `what`
ElementType element_of(at::ScalarType scalar, const std::string& what);
/// Little-endian type in the file.
Type file_type(const ElementType& element);
/// What H5Dread is asked for so that the bytes fit `element.scalar`.
Type memory_type(const ElementType& element);
/// The stored type of an opened dataset or attribute, or nothing if it is not one of ours.
std::optional<ElementType> recognise(hid_t type);

/// Larger chunks are neither written nor read.
inline constexpr std::uint64_t kMaxChunkBytes = 1 << 28;

/// Attribute that tells bool and bfloat16 from plain integers.
inline constexpr char kElementAttribute[] = "element";

/// Fixed-length UTF-8, null padded.
Type text_type(std::size_t length);

/// One line of /manifest/structure each; both sides must produce the same text.
std::string dataset_line(const std::string& path, const std::string& element,
                         const std::vector<std::int64_t>& shape);
std::string attribute_line(const std::string& path, const std::string& name,
                           const std::string& value);
std::string value_text(std::int64_t value);
std::string value_text(std::uint64_t value);
/// Shortest text that reads back as the same bits, elements joined with a space.
std::string value_text(const std::vector<double>& values);

/// Groups a manifest says nothing about: itself, and what is added to finished files.
bool outside_manifest(const std::string& path);

/// "a/b/c" -> {"a", "b", "c"}. @throws StorageError for empty components
std::vector<std::string> components(const std::string& path);

}  // namespace retort::storage::h5
