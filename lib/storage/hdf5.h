#pragma once
// A small RAII layer over the HDF5 C API. One mutex guards every call.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::storage {

/// A group of an open file, for writing. Paths are relative ("labels/hard"); missing groups are
/// made.
class H5Writer {
 public:
  /// Creates a temporary file, lets `write` fill it, adds /manifest (a SHA-256 per dataset, shapes
  /// and attributes), closes, syncs and renames it to `path`. The same content gives the same
  /// bytes.
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
  /// What LibTorch has no full type for: seeds, offsets. uint64 [n].
  void uint64s(const std::string& path, const std::vector<std::uint64_t>& values);
  void uint32s(const std::string& path, const std::vector<std::uint32_t>& values);
  /// [n], or with `columns` the matrix [n / columns, columns].
  void uint16s(const std::string& path, const std::vector<std::uint16_t>& values,
               std::optional<std::int64_t> columns = {});
  /// A dataset that need not fit into memory. `row` is asked for every row [shape.back()] of this
  /// type, in order, and none is kept. One chunk per row with Fletcher-32, allocated when it is
  /// written; the first dimension may grow.
  /// @param shape rank 2 or more, every size positive
  void rows(const std::string& path, at::ScalarType type, const std::vector<std::int64_t>& shape,
            const std::function<Tensor(std::int64_t index)>& row);
  /// A matrix [0,columns] that grows by append() until the file is complete. Chunks of so many rows
  /// with Fletcher-32.
  void growing(const std::string& path, at::ScalarType type, std::int64_t columns,
               std::int64_t rows_per_chunk);
  /// @param rows [n,columns] of the type the matrix has
  void append(const std::string& path, const Tensor& rows);
  void group(const std::string& path);                           ///< may be there already
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
  void write_manifest();
  /// Tells bool and bfloat16 from the integers they are stored as.
  void mark_element(const std::string& path, at::ScalarType type);
  std::unique_ptr<State> state_;
};

/// An open file, read-only. External storage, soft and external links, virtual layouts, unknown
/// filters, variable-length types and sizes that the file cannot hold are refused before anything
/// is allocated. Every error is a StorageError naming file, object, rule and finding.
class H5Reader {
 public:
  explicit H5Reader(const std::filesystem::path& path);
  ~H5Reader();
  H5Reader(H5Reader&&) noexcept;

  const std::filesystem::path& path() const;
  bool has(const std::string& path) const;
  std::vector<std::string> children(const std::string& group) const;  ///< sorted by name
  bool is_group(const std::string& path) const;
  std::vector<std::string> datasets() const;  ///< paths of all datasets, sorted
  std::vector<std::string> groups() const;    ///< paths of all groups but the root, sorted

  /// CPU tensor of the stored type (see H5Writer::tensor); uint16 comes as int32, uint32 and uint64
  /// as int64. @throws StorageError
  Tensor tensor(const std::string& path) const;
  std::vector<std::uint64_t> uint64s(const std::string& path) const;  ///< of type uint64, rank 1
  /// The entries at `index` of the first dimensions, of the shape that is left. The dataset stays
  /// open with a cache of four chunks or more. Truth values come as uint8.
  Tensor row(const std::string& path, const std::vector<std::int64_t>& index) const;
  /// Entries begin .. end - 1 of the first dimension, otherwise like row().
  Tensor rows(const std::string& path, std::int64_t begin, std::int64_t end) const;
  std::vector<std::int64_t> dataset_shape(const std::string& path) const;
  std::uint64_t stored_bytes(const std::string& path) const;   ///< storage, checksums included
  std::uint64_t payload_bytes(const std::string& path) const;  ///< elements alone, as stored
  std::string text(const std::string& path) const;
  std::vector<std::string> texts(const std::string& path) const;

  bool has_attribute(const std::string& path, const std::string& name) const;
  std::vector<std::string> attribute_names(const std::string& path) const;
  std::string text_attribute(const std::string& path, const std::string& name) const;
  std::int64_t int_attribute(const std::string& path, const std::string& name) const;
  std::uint64_t uint_attribute(const std::string& path, const std::string& name) const;
  double double_attribute(const std::string& path, const std::string& name) const;
  std::vector<double> doubles_attribute(const std::string& path, const std::string& name) const;
  /// Any attribute as text: numbers in the shortest form that reads back, joined with spaces.
  std::string attribute_text(const std::string& path, const std::string& name) const;

  /// SHA-256 of a dataset's bytes as stored: little-endian, row-major, texts padded. Holds some MB
  /// of it at a time, or one entry of its first dimension.
  std::string sha256(const std::string& path) const;
  /// Compares every dataset, shape and attribute with /manifest. One line per difference, the
  /// absence of a manifest included; empty: all well.
  std::vector<std::string> verify() const;
  /// The same, but what was added since and the manifest does not know is no difference. The
  /// contents of the datasets `unread` are left to whoever reads them.
  std::vector<std::string> damage(const std::set<std::string>& unread = {}) const;

 private:
  struct State;
  /// The lines /manifest/structure should have.
  std::set<std::string> structure() const;
  std::unique_ptr<State> state_;
};

/// @throws StorageError unless the root attributes say `schema`, version `major`.x
void expect_schema(const H5Reader& file, const std::string& schema, std::int64_t major);

}  // namespace retort::storage
