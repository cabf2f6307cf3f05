#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/hdf5_internal.h"

namespace retort::storage {
namespace {

using h5::check;

constexpr std::int64_t kChunkBytes = 1 << 20;
constexpr std::size_t kMaxCompactBytes = 32768;
constexpr std::size_t kMinCacheBytes = 1 << 20;  // HDF5's default

// Times in the object headers would make two files of the same content differ.
h5::PropertyList without_times(hid_t property_class, const std::string& what) {
  h5::PropertyList list(H5Pcreate(property_class), what);
  check(H5Pset_obj_track_times(list, false), what);
  return list;
}

h5::File create_file(const std::filesystem::path& path) {
  const std::string what = str("'", path.string(), "': cannot be created");
  h5::PropertyList access(H5Pcreate(H5P_FILE_ACCESS), what);
  // The 1.8 format: readable everywhere, and every object header carries a checksum.
  check(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), what);
  // Nobody else knows the temporary name, and network file systems may have no locks.
  check(H5Pset_file_locking(access, false, true), what);
  const auto creation = without_times(H5P_FILE_CREATE, what);
  // The index of a chunked dataset begins with one node: of 0.5 kB instead of 4.
  check(H5Pset_istore_k(creation, 4), what);
  return h5::File(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), what);
}

// Even pieces of about kChunkBytes, cut along the first dimensions.
std::vector<hsize_t> chunk_shape(const std::vector<std::int64_t>& shape, std::size_t item_bytes) {
  std::int64_t bytes = std::int64_t(item_bytes);
  for (const std::int64_t size : shape) bytes *= size;
  std::vector<hsize_t> chunk;
  for (const std::int64_t size : shape) {
    const std::int64_t pieces = std::min(size, (bytes + kChunkBytes - 1) / kChunkBytes);
    chunk.push_back(hsize_t((size + pieces - 1) / pieces));
    bytes = bytes / size * std::int64_t(chunk.back());
  }
  return chunk;
}

std::string padded(const std::string& text, std::size_t width) {
  std::string result = text;
  result.resize(width, '\0');
  return result;
}

void check_text(const std::string& value, const std::string& what) {
  if (value.find('\0') != std::string::npos) {
    throw StorageError(str(what, ": a text with a zero byte cannot be stored"));
  }
}

// How many rows [shape.back()] a dataset has.
std::int64_t count_rows(const std::vector<std::int64_t>& shape, std::size_t item_bytes,
                        const std::string& where) {
  std::int64_t count = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) count *= shape[i];
  if (shape.size() < 2 || count < 1 || shape.back() < 1) {
    throw StorageError(str(where, ": rows need a shape of rank 2 or more and positive sizes, not [",
                           join(shape), "]"));
  }
  const std::uint64_t row_bytes = std::uint64_t(shape.back()) * item_bytes;
  if (row_bytes > h5::kMaxChunkBytes) {
    throw StorageError(
        str(where, ": a row may have ", h5::kMaxChunkBytes, " bytes, has ", row_bytes));
  }
  return count;
}

void check_row(const Tensor& row, at::ScalarType type, std::int64_t size,
               const std::string& where) {
  if (row.scalar_type() == type && row.dim() == 1 && row.numel() == size) return;
  throw StorageError(str(where, ": expected shape [", size, "] of type ", c10::toString(type),
                         ", found [", join(row.sizes()), "] of type ",
                         c10::toString(row.scalar_type())));
}

// Where row `index` begins.
std::vector<hsize_t> row_start(std::int64_t index, const std::vector<std::int64_t>& shape) {
  std::vector<hsize_t> start(shape.size(), 0);
  for (std::size_t d = shape.size() - 1; d-- > 0; index /= shape[d]) {
    start[d] = hsize_t(index % shape[d]);
  }
  return start;
}

}  // namespace

struct H5Writer::State {
  /// A matrix that is not complete yet.
  struct Growing {
    h5::Dataset dataset;
    h5::ElementType element;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    Sha256 hash = {};  // of the rows so far
  };

  State(std::filesystem::path temporary_path, const std::string& shown)
      : temporary(std::move(temporary_path)), name(shown), file(create_file(temporary)) {}

  std::string what(const std::string& path) const { return str("'", name, "': '", path, "'"); }

  void ensure_group(const std::string& path);
  void write_dataset(const std::string& path, hid_t type, const std::string& element,
                     std::size_t item_bytes, const std::vector<std::int64_t>& shape,
                     const void* bytes);
  h5::Dataset create_rows(const std::string& path, hid_t type,
                          const std::vector<std::int64_t>& shape);
  h5::Dataset create_growing(const std::string& path, hid_t type, std::int64_t columns,
                             std::int64_t rows_per_chunk, std::size_t chunk_bytes);
  void finish_growing();
  void write_attribute(const std::string& path, const std::string& attribute, hid_t type,
                       std::optional<hsize_t> length, const void* bytes, const std::string& text);
  void record(const std::string& path, const std::string& digest, const std::string& line);

  std::filesystem::path temporary;
  std::string name;  // of the file as the user knows it
  h5::File file;
  std::map<std::string, std::string> digests;    // dataset -> SHA-256 of its bytes
  std::map<std::string, std::string> structure;  // dataset or path@name -> line of the manifest
  std::map<std::string, Growing> growing;
};

void H5Writer::State::ensure_group(const std::string& path) {
  std::string prefix;
  for (const std::string& part : h5::components(path)) {
    prefix += (prefix.empty() ? "" : "/") + part;
    if (check(H5Lexists(file, prefix.c_str(), H5P_DEFAULT), what(prefix)) > 0) continue;
    const auto creation = without_times(H5P_GROUP_CREATE, what(prefix));
    h5::Group group(H5Gcreate2(file, prefix.c_str(), H5P_DEFAULT, creation, H5P_DEFAULT),
                    what(prefix));
    group.close(what(prefix));
  }
}

void H5Writer::State::write_dataset(const std::string& path, hid_t type, const std::string& element,
                                    std::size_t item_bytes, const std::vector<std::int64_t>& shape,
                                    const void* bytes) {
  const std::string where = what(path);
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos) ensure_group(path.substr(0, slash));
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= std::size_t(size);

  const auto creation = without_times(H5P_DATASET_CREATE, where);
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  if (shape.empty()) {
    // Only the object header has a checksum that covers a single value; larger ones stay outside.
    if (item_bytes <= kMaxCompactBytes) check(H5Pset_layout(creation, H5D_COMPACT), where);
  } else if (count > 0) {
    const auto chunk = chunk_shape(shape, item_bytes);
    check(H5Pset_chunk(creation, int(chunk.size()), chunk.data()), where);
    // Otherwise the unused end of the last chunk would hold whatever was in memory.
    check(H5Pset_fill_time(creation, H5D_FILL_TIME_ALLOC), where);
    check(H5Pset_fletcher32(creation), where);
  }
  const h5::Space space(shape.empty() ? H5Screate(H5S_SCALAR)
                                      : H5Screate_simple(int(dims.size()), dims.data(), nullptr),
                        where);
  h5::Dataset dataset(
      H5Dcreate2(file, path.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT), where);
  if (count > 0) check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes), where);
  dataset.close(where);

  const std::string_view view(static_cast<const char*>(bytes), count * item_bytes);
  if (h5::outside_manifest(path)) return;
  record(path, sha256_hex(view), h5::dataset_line(path, element, shape));
}

void H5Writer::State::record(const std::string& path, const std::string& digest,
                             const std::string& line) {
  digests[path] = digest;
  structure[path] = line;
}

h5::Dataset H5Writer::State::create_rows(const std::string& path, hid_t type,
                                         const std::vector<std::int64_t>& shape) {
  const std::string where = what(path);
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos) ensure_group(path.substr(0, slash));
  const auto creation = without_times(H5P_DATASET_CREATE, where);
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  std::vector<hsize_t> most = dims;
  most.front() = H5S_UNLIMITED;
  std::vector<hsize_t> chunk(dims.size(), 1);
  chunk.back() = dims.back();
  check(H5Pset_chunk(creation, int(chunk.size()), chunk.data()), where);
  // A chunk is written as a whole or not at all: filling it before would write it twice.
  check(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_INCR), where);
  check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), where);
  check(H5Pset_fletcher32(creation), where);
  const h5::Space space(H5Screate_simple(int(dims.size()), dims.data(), most.data()), where);
  return h5::Dataset(
      H5Dcreate2(file, path.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT), where);
}

h5::Dataset H5Writer::State::create_growing(const std::string& path, hid_t type,
                                            std::int64_t columns, std::int64_t rows_per_chunk,
                                            std::size_t chunk_bytes) {
  const std::string where = what(path);
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos) ensure_group(path.substr(0, slash));
  const auto creation = without_times(H5P_DATASET_CREATE, where);
  const std::array<hsize_t, 2> chunk{hsize_t(rows_per_chunk), hsize_t(columns)};
  check(H5Pset_chunk(creation, 2, chunk.data()), where);
  // Otherwise the unused end of the last chunk would hold whatever was in memory.
  check(H5Pset_fill_time(creation, H5D_FILL_TIME_ALLOC), where);
  check(H5Pset_fletcher32(creation), where);
  // A chunk that is not full yet waits in the cache for the next rows.
  const h5::PropertyList access(H5Pcreate(H5P_DATASET_ACCESS), where);
  const std::size_t cache = std::max(2 * chunk_bytes, kMinCacheBytes);
  check(H5Pset_chunk_cache(access, H5D_CHUNK_CACHE_NSLOTS_DEFAULT, cache, 1), where);
  const std::array<hsize_t, 2> dims{0, hsize_t(columns)};
  const std::array<hsize_t, 2> most{H5S_UNLIMITED, hsize_t(columns)};
  const h5::Space space(H5Screate_simple(2, dims.data(), most.data()), where);
  return h5::Dataset(H5Dcreate2(file, path.c_str(), type, space, H5P_DEFAULT, creation, access),
                     where);
}

void H5Writer::State::finish_growing() {
  for (auto& [path, matrix] : growing) {
    matrix.dataset.close(what(path));
    if (h5::outside_manifest(path)) continue;
    record(path, matrix.hash.hex(),
           h5::dataset_line(path, matrix.element.name, {matrix.rows, matrix.columns}));
  }
  growing.clear();
}

void H5Writer::State::write_attribute(const std::string& path, const std::string& attribute,
                                      hid_t type, std::optional<hsize_t> length, const void* bytes,
                                      const std::string& text) {
  const std::string where = str(what(path), " attribute '", attribute, "'");
  ensure_group(path);
  const h5::Object object(H5Oopen(file, path.empty() ? "/" : path.c_str(), H5P_DEFAULT), where);
  if (check(H5Aexists(object, attribute.c_str()), where) > 0) {
    check(H5Adelete(object, attribute.c_str()), where);
  }
  const h5::Space space(length ? H5Screate_simple(1, &*length, nullptr) : H5Screate(H5S_SCALAR),
                        where);
  h5::Attribute created(
      H5Acreate2(object, attribute.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), where);
  if (!length || *length > 0) check(H5Awrite(created, type, bytes), where);
  created.close(where);
  if (h5::outside_manifest(path)) return;
  structure[str(path, "@", attribute)] = h5::attribute_line(path, attribute, text);
}

H5Writer::H5Writer(std::unique_ptr<State> state) : state_(std::move(state)) {}

H5Writer::~H5Writer() {
  const h5::Guard guard;
  state_.reset();
}

void H5Writer::create(const std::filesystem::path& path,
                      const std::function<void(H5Writer& file)>& write) {
  write_atomically(path, [&](const std::filesystem::path& temporary) {
    const auto open = [&] {
      const h5::Guard guard;
      return std::make_unique<State>(temporary, path.string());
    };
    H5Writer writer(open());
    write(writer);
    writer.write_manifest();
    const h5::Guard guard;
    const std::string what = str("'", path.string(), "': cannot be written");
    check(H5Fflush(writer.state_->file, H5F_SCOPE_GLOBAL), what);
    writer.state_->file.close(what);
  });
}

void H5Writer::write_manifest() {
  {
    const h5::Guard guard;
    state_->finish_growing();
  }
  std::vector<std::string> paths;
  std::vector<std::string> digests;
  for (const auto& [path, digest] : state_->digests) {
    paths.push_back(path);
    digests.push_back(digest);
  }
  std::vector<std::string> lines;
  for (const auto& [key, line] : state_->structure) lines.push_back(line);
  texts("manifest/paths", paths);
  texts("manifest/sha256", digests);
  text("manifest/structure", join(lines, "\n"));
}

void H5Writer::tensor(const std::string& path, const Tensor& value) {
  const h5::Guard guard;
  if (!value.defined()) throw StorageError(str(state_->what(path), ": the tensor is undefined"));
  const Tensor stored = value.detach().to(at::kCPU).contiguous();
  const auto element = h5::element_of(stored.scalar_type(), state_->what(path));
  state_->write_dataset(path, h5::file_type(element), element.name, element.file_bytes,
                        stored.sizes().vec(), stored.const_data_ptr());
  mark_element(path, stored.scalar_type());
}

void H5Writer::tensor_as_int32(const std::string& path, const Tensor& value) {
  if (value.numel() > 0) {
    const auto [low, high] =
        std::pair(value.min().item<std::int64_t>(), value.max().item<std::int64_t>());
    if (low < std::numeric_limits<std::int32_t>::min() ||
        high > std::numeric_limits<std::int32_t>::max()) {
      throw StorageError(
          str(state_->what(path), ": values ", low, " .. ", high, " do not fit into 32 bits"));
    }
  }
  tensor(path, value.to(at::kInt));
}

void H5Writer::uint64s(const std::string& path, const std::vector<std::uint64_t>& values) {
  const h5::Guard guard;
  state_->write_dataset(path, H5T_STD_U64LE, "uint64", sizeof(std::uint64_t),
                        {std::int64_t(values.size())}, values.data());
}

void H5Writer::uint32s(const std::string& path, const std::vector<std::uint32_t>& values) {
  const h5::Guard guard;
  state_->write_dataset(path, H5T_STD_U32LE, "uint32", sizeof(std::uint32_t),
                        {std::int64_t(values.size())}, values.data());
}

void H5Writer::uint16s(const std::string& path, const std::vector<std::uint16_t>& values,
                       std::optional<std::int64_t> columns) {
  const h5::Guard guard;
  const auto count = std::int64_t(values.size());
  std::vector<std::int64_t> shape{count};
  if (columns) shape = {count / *columns, *columns};
  state_->write_dataset(path, H5T_STD_U16LE, "uint16", sizeof(std::uint16_t), shape, values.data());
}

void H5Writer::rows(const std::string& path, at::ScalarType type,
                    const std::vector<std::int64_t>& shape,
                    const std::function<Tensor(std::int64_t index)>& row) {
  const h5::Guard guard;
  const std::string where = state_->what(path);
  const auto element = h5::element_of(type, where);
  const std::int64_t count = count_rows(shape, element.file_bytes, where);
  const h5::Type file_type = h5::file_type(element);
  h5::Dataset dataset = state_->create_rows(path, file_type, shape);
  const auto row_size = hsize_t(shape.back());
  const h5::Space dense(H5Screate_simple(1, &row_size, nullptr), where);
  const h5::Space stored(H5Dget_space(dataset), where);
  std::vector<hsize_t> size(shape.size(), 1);
  size.back() = row_size;
  Sha256 hash;
  for (std::int64_t i = 0; i < count; ++i) {
    const Tensor values = row(i).detach().to(at::kCPU).contiguous();
    check_row(values, type, shape.back(), str(where, ": row ", i));
    const std::vector<hsize_t> start = row_start(i, shape);
    check(H5Sselect_hyperslab(stored, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
          where);
    check(H5Dwrite(dataset, file_type, dense, stored, H5P_DEFAULT, values.const_data_ptr()), where);
    hash.update({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
  }
  dataset.close(where);
  if (!h5::outside_manifest(path)) {
    state_->record(path, hash.hex(), h5::dataset_line(path, element.name, shape));
  }
  mark_element(path, type);
}

void H5Writer::growing(const std::string& path, at::ScalarType type, std::int64_t columns,
                       std::int64_t rows_per_chunk) {
  const h5::Guard guard;
  const std::string where = state_->what(path);
  const auto element = h5::element_of(type, where);
  count_rows({rows_per_chunk, columns}, element.file_bytes, where);
  const std::size_t chunk_bytes =
      std::size_t(rows_per_chunk) * std::size_t(columns) * element.file_bytes;
  if (chunk_bytes > h5::kMaxChunkBytes) {
    throw StorageError(
        str(where, ": a chunk may have ", h5::kMaxChunkBytes, " bytes, has ", chunk_bytes));
  }
  state_->growing.emplace(
      path, State::Growing{.dataset = state_->create_growing(path, h5::file_type(element), columns,
                                                             rows_per_chunk, chunk_bytes),
                           .element = element,
                           .columns = columns});
  mark_element(path, type);
}

void H5Writer::append(const std::string& path, const Tensor& rows) {
  const h5::Guard guard;
  const std::string where = state_->what(path);
  const auto found = state_->growing.find(path);
  if (found == state_->growing.end()) throw StorageError(str(where, ": is no matrix that grows"));
  State::Growing& matrix = found->second;
  const Tensor values = rows.detach().to(at::kCPU).contiguous();
  if (values.dim() != 2) {
    throw StorageError(str(where, ": expected rows [n, ", matrix.columns, "], found [",
                           join(values.sizes()), "]"));
  }
  if (values.numel() == 0) return;
  check_row(values[0], matrix.element.scalar, matrix.columns, where);
  const std::array<hsize_t, 2> start{hsize_t(matrix.rows), 0};
  const std::array<hsize_t, 2> size{hsize_t(values.size(0)), hsize_t(matrix.columns)};
  const std::array<hsize_t, 2> dims{start[0] + size[0], size[1]};
  check(H5Dset_extent(matrix.dataset, dims.data()), where);
  const h5::Space dense(H5Screate_simple(2, size.data(), nullptr), where);
  const h5::Space stored(H5Dget_space(matrix.dataset), where);
  check(H5Sselect_hyperslab(stored, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
        where);
  check(H5Dwrite(matrix.dataset, h5::file_type(matrix.element), dense, stored, H5P_DEFAULT,
                 values.const_data_ptr()),
        where);
  matrix.hash.update({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
  matrix.rows = std::int64_t(dims[0]);
}

void H5Writer::mark_element(const std::string& path, at::ScalarType type) {
  if (type == at::kBool) attribute(path, h5::kElementAttribute, "bool");
  if (type == at::kBFloat16) attribute(path, h5::kElementAttribute, "bfloat16");
}

void H5Writer::group(const std::string& path) {
  const h5::Guard guard;
  state_->ensure_group(path);
}

void H5Writer::text(const std::string& path, const std::string& value) {
  const h5::Guard guard;
  check_text(value, state_->what(path));
  const std::string stored = padded(value, std::max<std::size_t>(value.size(), 1));
  state_->write_dataset(path, h5::text_type(stored.size()), "text", stored.size(), {},
                        stored.data());
}

void H5Writer::texts(const std::string& path, const std::vector<std::string>& values) {
  const h5::Guard guard;
  std::size_t width = 1;
  for (const std::string& value : values) {
    check_text(value, state_->what(path));
    width = std::max(width, value.size());
  }
  std::string stored;
  for (const std::string& value : values) stored += padded(value, width);
  state_->write_dataset(path, h5::text_type(width), "text", width, {std::int64_t(values.size())},
                        stored.data());
}

void H5Writer::attribute(const std::string& path, const std::string& name,
                         const std::string& value) {
  const h5::Guard guard;
  check_text(value, state_->what(path));
  const std::string stored = padded(value, std::max<std::size_t>(value.size(), 1));
  state_->write_attribute(path, name, h5::text_type(stored.size()), std::nullopt, stored.data(),
                          value);
}

void H5Writer::attribute(const std::string& path, const std::string& name, const char* value) {
  attribute(path, name, std::string(value));
}

void H5Writer::attribute(const std::string& path, const std::string& name, std::int64_t value) {
  const h5::Guard guard;
  state_->write_attribute(path, name, H5T_STD_I64LE, std::nullopt, &value, h5::value_text(value));
}

void H5Writer::attribute(const std::string& path, const std::string& name, std::uint64_t value) {
  const h5::Guard guard;
  state_->write_attribute(path, name, H5T_STD_U64LE, std::nullopt, &value, h5::value_text(value));
}

void H5Writer::attribute(const std::string& path, const std::string& name, double value) {
  const h5::Guard guard;
  state_->write_attribute(path, name, H5T_IEEE_F64LE, std::nullopt, &value,
                          h5::value_text(std::vector<double>{value}));
}

void H5Writer::attribute(const std::string& path, const std::string& name,
                         const std::vector<double>& values) {
  const h5::Guard guard;
  state_->write_attribute(path, name, H5T_IEEE_F64LE, hsize_t(values.size()), values.data(),
                          h5::value_text(values));
}

}  // namespace retort::storage
