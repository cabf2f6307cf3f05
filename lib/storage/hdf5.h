#pragma once
// A small RAII layer over the HDF5 C API. One mutex guards every call.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::storage {

/// A group of an open file, for writing. Paths are relative ("labels/hard"); missing groups are made.
class H5Writer {
 public:
  /// Creates a temporary file, lets `write` fill it, closes, syncs and renames it to `path`.
  static void create(const std::filesystem::path& path,
                     const std::function<void(H5Writer& file)>& write);
  ~H5Writer();
  H5Writer(const H5Writer&) = delete;
  H5Writer& operator=(const H5Writer&) = delete;

  /// Chunked with Fletcher-32; any of uint8, int16, int32, int64, float16, bfloat16 (as uint16),
  /// float32, float64, bool (as uint8). Rank 0 is stored without chunks.
  void tensor(const std::string& path, const Tensor& value);
  /// Stores int64 values as int32 (labels, class indices). @throws StorageError out of range
  void tensor_as_int32(const std::string& path, const Tensor& value);
  void text(const std::string& path, const std::string& value);  ///< rank-0 fixed-length UTF-8
  void texts(const std::string& path, const std::vector<std::string>& values);

  /// Attributes of the group or dataset `path` ("" is the root), which must exist or is made.
  void attribute(const std::string& path, const std::string& name, const std::string& value);
  void attribute(const std::string& path, const std::string& name, const char* value);
  void attribute(const std::string& path, const std::string& name, std::int64_t value);
  void attribute(const std::string& path, const std::string& name, std::uint64_t value);
  void attribute(const std::string& path, const std::string& name, double value);
  void attribute(const std::string& path, const std::string& name,
                 const std::vector<double>& values);

 private:
  struct State;
  explicit H5Writer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// An open file, read-only. External storage, soft and external links, virtual layouts and unknown
/// filters are refused before anything is allocated.
class H5Reader {
 public:
  explicit H5Reader(const std::filesystem::path& path);
  ~H5Reader();
  H5Reader(H5Reader&&) noexcept;

  const std::filesystem::path& path() const;
  bool has(const std::string& path) const;
  std::vector<std::string> children(const std::string& group) const;  ///< sorted by name
  bool is_group(const std::string& path) const;

  /// CPU tensor of the stored type (see H5Writer::tensor). @throws StorageError
  Tensor tensor(const std::string& path) const;
  std::vector<std::int64_t> dataset_shape(const std::string& path) const;
  std::uint64_t stored_bytes(const std::string& path) const;  ///< of one dataset, as stored
  std::string text(const std::string& path) const;
  std::vector<std::string> texts(const std::string& path) const;

  bool has_attribute(const std::string& path, const std::string& name) const;
  std::vector<std::string> attribute_names(const std::string& path) const;
  std::string text_attribute(const std::string& path, const std::string& name) const;
  std::int64_t int_attribute(const std::string& path, const std::string& name) const;
  std::uint64_t uint_attribute(const std::string& path, const std::string& name) const;
  double double_attribute(const std::string& path, const std::string& name) const;
  std::vector<double> doubles_attribute(const std::string& path, const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::storage
