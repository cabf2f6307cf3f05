#include "lib/storage/hdf5_reader_state.h"

#include <algorithm>
#include <limits>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"

namespace retort::storage {
namespace {

using h5::check;

constexpr int kMaxRank = 8;
constexpr std::size_t kCachedChunks = 4;
constexpr std::size_t kMinCacheBytes = 1 << 20;  // HDF5's default
constexpr std::uint64_t kBlockBytes = 1 << 24;
constexpr std::uint64_t kMaxAttributeBytes = 1 << 24;
constexpr std::size_t kMaxDepth = 32;
// Deflate cannot do better than this; a file that promises more is lying about its size.
constexpr std::uint64_t kDeflateRatio = 1032;
// Its bytes lie anywhere in the file and have no declared size to check before they are read.
constexpr const char* kVariableText =
    "holds variable-length text; only fixed-length text is read, which h5py stores for "
    "numpy.array(texts, dtype='S')";

h5::File open_file(const std::filesystem::path& path) {
  const std::string name = str("'", path.string(), "'");
  std::error_code ec;
  if (!std::filesystem::exists(path, ec)) throw StorageError(str(name, ": no such file"));
  if (!std::filesystem::is_regular_file(path, ec)) {
    throw StorageError(str(name, ": is no regular file"));
  }
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 <= 0) {
    H5Eclear2(H5E_DEFAULT);
    throw StorageError(str(name, ": is no HDF5 file, or cannot be opened for reading"));
  }
  h5::PropertyList access(H5Pcreate(H5P_FILE_ACCESS), name);
  // Files are complete once they have their name, and network file systems may have no locks.
  check(H5Pset_file_locking(access, false, true), name);
  return h5::File(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access),
                  str(name, ": cannot be opened; is it damaged or cut short?"));
}

// A text up to its padding: HDF5 knows three kinds.
std::string unpadded(const char* bytes, std::size_t length, H5T_str_t padding) {
  std::string text(bytes, length);
  if (padding == H5T_STR_NULLTERM) return text.substr(0, text.find('\0'));
  const char filler = padding == H5T_STR_SPACEPAD ? ' ' : '\0';
  text.resize(text.find_last_not_of(filler) + 1);
  return text;
}

}  // namespace

H5Reader::State::State(const std::filesystem::path& source)
    : path(source), file(open_file(source)), file_bytes(std::filesystem::file_size(source)) {}

std::string H5Reader::State::what(const std::string& object) const {
  return str("'", path.string(), "': '", object.empty() ? "/" : object, "'");
}

void H5Reader::State::refuse(const std::string& object, const std::string& why) const {
  throw StorageError(str(what(object), ": ", why));
}

bool H5Reader::State::exists(const std::string& object) const {
  std::string prefix;
  for (const std::string& part : h5::components(object)) {
    if (!prefix.empty() && !is_group(prefix)) return false;
    prefix += (prefix.empty() ? "" : "/") + part;
    if (check(H5Lexists(file, prefix.c_str(), H5P_DEFAULT), what(prefix)) == 0) return false;
    H5L_info_t info;
    check(H5Lget_info(file, prefix.c_str(), &info, H5P_DEFAULT), what(prefix));
    if (info.type != H5L_TYPE_HARD) {
      refuse(prefix, "is a soft or external link; only plain objects are read");
    }
  }
  return true;
}

h5::Object H5Reader::State::open(const std::string& object) const {
  if (!exists(object)) refuse(object, "is missing");
  return h5::Object(H5Oopen(file, object.empty() ? "/" : object.c_str(), H5P_DEFAULT),
                    what(object));
}

bool H5Reader::State::is_group(const std::string& object) const {
  return H5Iget_type(open(object)) == H5I_GROUP;
}

std::vector<H5Reader::State::Link> H5Reader::State::links(const std::string& group) const {
  const h5::Object object = open(group);
  if (H5Iget_type(object) != H5I_GROUP) refuse(group, "must be a group, is a dataset");
  std::vector<Link> found;
  check(H5Literate(
            object, H5_INDEX_NAME, H5_ITER_INC, nullptr,
            [](hid_t, const char* name, const H5L_info_t* info, void* out) -> herr_t {
              static_cast<std::vector<Link>*>(out)->push_back({name, info->type});
              return 0;
            },
            &found),
        what(group));
  for (const Link& link : found) {
    if (link.type != H5L_TYPE_HARD) {
      refuse(group,
             str("holds '", link.name, "', a soft or external link; only plain objects are read"));
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Link& a, const Link& b) { return a.name < b.name; });
  return found;
}

void H5Reader::State::walk(const std::string& group, std::size_t depth, std::set<haddr_t>& seen,
                           std::vector<std::string>& groups,
                           std::vector<std::string>& datasets) const {
  if (depth > kMaxDepth) refuse(group, str("groups are nested deeper than ", kMaxDepth));
  for (const Link& link : links(group)) {
    const std::string child = group.empty() ? link.name : str(group, "/", link.name);
    const h5::Object object = open(child);
    H5O_info_t info;
    check(H5Oget_info(object, &info), what(child));
    if (!seen.insert(info.addr).second) refuse(child, "is reached by two names");
    if (info.type == H5O_TYPE_GROUP) {
      groups.push_back(child);
      walk(child, depth + 1, seen, groups, datasets);
    } else if (info.type == H5O_TYPE_DATASET) {
      datasets.push_back(child);
    }
  }
}

H5Reader::State::Opened H5Reader::State::dataset(const std::string& object, hid_t access) const {
  if (!exists(object)) refuse(object, "is missing");
  if (is_group(object)) refuse(object, "must be a dataset, is a group");
  h5::Dataset id(H5Dopen2(file, object.c_str(), access), what(object));
  h5::Type type(H5Dget_type(id), what(object));
  Opened opened{.dataset = std::move(id), .type = std::move(type), .shape = {}};
  const h5::Space space(H5Dget_space(opened.dataset), what(object));
  const H5S_class_t kind = H5Sget_simple_extent_type(space);
  if (kind != H5S_SCALAR && kind != H5S_SIMPLE) refuse(object, "has no extent");
  const int rank = check(H5Sget_simple_extent_ndims(space), what(object));
  if (rank > kMaxRank) refuse(object, str("rank must be at most ", kMaxRank, ", is ", rank));
  std::vector<hsize_t> dims(std::size_t(rank), 0);
  check(H5Sget_simple_extent_dims(space, dims.data(), nullptr), what(object));

  opened.is_text = H5Tget_class(opened.type) == H5T_STRING;
  if (opened.is_text && check(H5Tis_variable_str(opened.type), what(object)) > 0) {
    refuse(object, kVariableText);
  }
  if (!opened.is_text && !h5::recognise(opened.type)) {
    refuse(object, "elements must be little-endian integers or IEEE floats, or text");
  }
  opened.item_bytes = H5Tget_size(opened.type);
  auto bytes = std::int64_t(opened.item_bytes);
  for (const hsize_t size : dims) {
    if (size > std::uint64_t(std::numeric_limits<std::int64_t>::max()) ||
        __builtin_mul_overflow(bytes, std::int64_t(size), &bytes)) {
      refuse(object, str("has a shape of more bytes than can be counted: [", join(dims), "]"));
    }
    opened.shape.push_back(std::int64_t(size));
    opened.count *= std::size_t(size);
  }
  check_storage(object, opened);
  opened.stored = H5Dget_storage_size(opened.dataset);
  return opened;
}

void H5Reader::State::check_storage(const std::string& object, const Opened& opened) const {
  const h5::PropertyList creation(H5Dget_create_plist(opened.dataset), what(object));
  const H5D_layout_t layout = H5Pget_layout(creation);
  if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) {
    refuse(object, "is a virtual dataset; its data would come from other files");
  }
  if (check(H5Pget_external_count(creation), what(object)) > 0) {
    refuse(object, "keeps its data in an external file");
  }
  bool deflated = false;
  const int filters = check(H5Pget_nfilters(creation), what(object));
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(creation, unsigned(i), &flags, &values, nullptr, 0, nullptr, nullptr);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
        filter != H5Z_FILTER_FLETCHER32) {
      refuse(object,
             str("uses filter ", filter, "; known ones are deflate, shuffle and Fletcher-32"));
    }
    deflated = deflated || filter == H5Z_FILTER_DEFLATE;
  }
  if (layout == H5D_CHUNKED) {
    std::vector<hsize_t> chunk(std::size_t(kMaxRank), 1);
    const int rank = check(H5Pget_chunk(creation, kMaxRank, chunk.data()), what(object));
    std::uint64_t bytes = opened.item_bytes;
    for (int i = 0; i < rank; ++i) {
      if (__builtin_mul_overflow(bytes, std::uint64_t(chunk[std::size_t(i)]), &bytes) ||
          bytes > h5::kMaxChunkBytes) {
        refuse(object, str("has chunks of more than ", h5::kMaxChunkBytes, " bytes"));
      }
    }
  }
  const std::uint64_t bytes = opened.count * opened.item_bytes;
  const std::uint64_t stored = H5Dget_storage_size(opened.dataset);
  if (stored > file_bytes || bytes > stored * (deflated ? kDeflateRatio : 1)) {
    refuse(object,
           str("declares ", bytes, " bytes, stores ", stored, " in a file of ", file_bytes));
  }
}

const H5Reader::State::Opened& H5Reader::State::kept_open(const std::string& object) {
  const auto found = kept.find(object);
  if (found != kept.end()) return found->second;
  // Whoever opens a dataset first decides on its cache: it must not be open yet.
  const std::size_t bytes = std::max(kCachedChunks * chunk_bytes(object), kMinCacheBytes);
  const h5::PropertyList access(H5Pcreate(H5P_DATASET_ACCESS), what(object));
  // What was read as a whole is the first to leave.
  check(H5Pset_chunk_cache(access, H5D_CHUNK_CACHE_NSLOTS_DEFAULT, bytes, 1), what(object));
  return kept.emplace(object, dataset(object, access)).first->second;
}

std::size_t H5Reader::State::chunk_bytes(const std::string& object) const {
  const Opened opened = dataset(object);
  const h5::PropertyList creation(H5Dget_create_plist(opened.dataset), what(object));
  if (H5Pget_layout(creation) != H5D_CHUNKED) return 0;
  std::vector<hsize_t> chunk(opened.shape.size(), 1);
  check(H5Pget_chunk(creation, int(chunk.size()), chunk.data()), what(object));
  std::size_t bytes = opened.item_bytes;
  for (const hsize_t size : chunk) bytes *= size;
  return bytes;
}

void H5Reader::State::read_slab(const std::string& object, const Opened& opened, hid_t type,
                                const Slab& slab, void* out) const {
  const h5::Space stored(H5Dget_space(opened.dataset), what(object));
  check(H5Sselect_hyperslab(stored, H5S_SELECT_SET, slab.start.data(), nullptr, slab.count.data(),
                            nullptr),
        what(object));
  const hsize_t elements = hsize_t(check(H5Sget_select_npoints(stored), what(object)));
  const h5::Space dense(H5Screate_simple(1, &elements, nullptr), what(object));
  check(H5Dread(opened.dataset, type, dense, stored, H5P_DEFAULT, out), what(object));
}

Tensor H5Reader::State::row(const std::string& object, const std::vector<std::int64_t>& index) {
  const Opened& opened = kept_open(object);
  const h5::ElementType type = element(object, opened);
  bool inside = index.size() < opened.shape.size();
  for (std::size_t i = 0; inside && i < index.size(); ++i) {
    inside = index[i] >= 0 && index[i] < opened.shape[i];
  }
  if (!inside) {
    refuse(object, str("has shape [", join(opened.shape), "], no row [", join(index), "]"));
  }
  const std::vector<std::int64_t> shape(opened.shape.begin() + std::ptrdiff_t(index.size()),
                                        opened.shape.end());
  Slab slab{.start = {index.begin(), index.end()}, .count = {}};
  slab.start.resize(opened.shape.size(), 0);
  slab.count.assign(index.size(), 1);
  slab.count.insert(slab.count.end(), shape.begin(), shape.end());
  Tensor result = at::empty(shape, type.scalar);
  if (result.numel() > 0) {
    read_slab(object, opened, h5::memory_type(type), slab, result.data_ptr());
  }
  return result;
}

Tensor H5Reader::State::rows(const std::string& object, std::int64_t begin, std::int64_t end) {
  const Opened& opened = kept_open(object);
  const h5::ElementType type = element(object, opened);
  if (opened.shape.empty() || begin < 0 || end < begin || end > opened.shape.front()) {
    refuse(object, str("has shape [", join(opened.shape), "], no rows ", begin, " .. ", end));
  }
  std::vector<std::int64_t> shape = opened.shape;
  shape.front() = end - begin;
  Slab slab{.start = std::vector<hsize_t>(shape.size(), 0), .count = {shape.begin(), shape.end()}};
  slab.start.front() = hsize_t(begin);
  Tensor result = at::empty(shape, type.scalar);
  if (result.numel() > 0) {
    read_slab(object, opened, h5::memory_type(type), slab, result.data_ptr());
  }
  return result;
}

std::string H5Reader::State::sha256(const std::string& object) const {
  const Opened opened = dataset(object);
  if (opened.shape.empty() || opened.count == 0) return sha256_hex(raw_bytes(object));
  const std::int64_t size = opened.shape.front();
  const std::uint64_t row_bytes = opened.count / std::uint64_t(size) * opened.item_bytes;
  const auto block = std::int64_t(std::max<std::uint64_t>(1, kBlockBytes / row_bytes));
  Sha256 hash;
  std::string bytes;
  for (std::int64_t begin = 0; begin < size; begin += block) {
    Slab slab{.start = std::vector<hsize_t>(opened.shape.size(), 0),
              .count = {opened.shape.begin(), opened.shape.end()}};
    slab.start.front() = hsize_t(begin);
    slab.count.front() = hsize_t(std::min(block, size - begin));
    bytes.resize(slab.count.front() * row_bytes);
    read_slab(object, opened, opened.type, slab, bytes.data());
    hash.update(bytes);
  }
  return hash.hex();
}

h5::ElementType H5Reader::State::element(const std::string& object, const Opened& opened) const {
  if (opened.is_text) refuse(object, "must hold numbers, holds text");
  h5::ElementType element = *h5::recognise(opened.type);
  if (!has_attribute(object, h5::kElementAttribute)) return element;
  const std::string kind = text_attribute(object, h5::kElementAttribute);
  if (kind == "bool" && element.scalar == at::kByte) return element;
  if (kind == "bfloat16" && element.name == std::string("uint16")) {
    element.scalar = at::kBFloat16;
    return element;
  }
  refuse(object, str("attribute '", h5::kElementAttribute, "' is '", kind, "' on elements of type ",
                     element.name));
}

std::string H5Reader::State::raw_bytes(const std::string& object) const {
  const Opened opened = dataset(object);
  std::string bytes(opened.count * opened.item_bytes, '\0');
  if (!bytes.empty()) {
    check(H5Dread(opened.dataset, opened.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()),
          what(object));
  }
  return bytes;
}

H5Reader::State::TextValues H5Reader::State::texts(const std::string& object) const {
  const Opened opened = dataset(object);
  if (!opened.is_text) refuse(object, "must hold text, holds numbers");
  if (opened.shape.size() > 1) {
    refuse(object, str("a text must have rank 0 or 1, has rank ", opened.shape.size()));
  }
  const std::string bytes = raw_bytes(object);
  TextValues result;
  result.rank = int(opened.shape.size());
  const H5T_str_t padding = H5Tget_strpad(opened.type);
  for (std::size_t i = 0; i < opened.count; ++i) {
    result.values.push_back(
        unpadded(bytes.data() + i * opened.item_bytes, opened.item_bytes, padding));
  }
  return result;
}

bool H5Reader::State::has_attribute(const std::string& object, const std::string& name) const {
  if (!exists(object)) return false;
  return check(H5Aexists(open(object), name.c_str()), what(object)) > 0;
}

H5Reader::State::OpenedAttribute H5Reader::State::attribute(const std::string& object,
                                                            const std::string& name) const {
  const h5::Object parent = open(object);
  const std::string label = str(object, "@", name);
  if (check(H5Aexists(parent, name.c_str()), what(label)) == 0) {
    refuse(object, str("attribute '", name, "' is missing"));
  }
  h5::Attribute id(H5Aopen(parent, name.c_str(), H5P_DEFAULT), what(label));
  h5::Type type(H5Aget_type(id), what(label));
  const H5T_class_t type_class = H5Tget_class(type);
  OpenedAttribute opened{std::move(id), std::move(type), type_class, std::nullopt};
  if (opened.type_class != H5T_STRING && opened.type_class != H5T_INTEGER &&
      opened.type_class != H5T_FLOAT) {
    refuse(label, "an attribute must be text, integers or floats");
  }
  if (opened.type_class == H5T_STRING && check(H5Tis_variable_str(opened.type), what(label)) > 0) {
    refuse(label, kVariableText);
  }
  const h5::Space space(H5Aget_space(opened.attribute), what(label));
  const int rank = check(H5Sget_simple_extent_ndims(space), what(label));
  if (rank > 1) refuse(label, str("an attribute must have rank 0 or 1, has rank ", rank));
  const hssize_t count = check(H5Sget_simple_extent_npoints(space), what(label));
  const std::uint64_t bytes = H5Tget_size(opened.type);
  if (bytes > kMaxAttributeBytes || std::uint64_t(count) > kMaxAttributeBytes / bytes) {
    refuse(label, str("an attribute must be at most ", kMaxAttributeBytes, " bytes"));
  }
  if (rank == 1) opened.length = std::size_t(count);
  if (rank == 0 && count != 1) refuse(label, "has no extent");
  return opened;
}

std::string H5Reader::State::text_attribute(const std::string& object,
                                            const std::string& name) const {
  const OpenedAttribute opened = attribute(object, name);
  if (opened.type_class != H5T_STRING || opened.count() != 1) {
    refuse(object, str("attribute '", name, "' must be one text"));
  }
  std::string bytes(H5Tget_size(opened.type), '\0');
  check(H5Aread(opened.attribute, opened.type, bytes.data()), what(object));
  return unpadded(bytes.data(), bytes.size(), H5Tget_strpad(opened.type));
}

std::vector<double> H5Reader::State::doubles(const std::string& object,
                                             const std::string& name) const {
  const OpenedAttribute opened = attribute(object, name);
  if (opened.type_class == H5T_STRING) {
    refuse(object, str("attribute '", name, "' must hold numbers, holds text"));
  }
  std::vector<double> values(opened.count());
  if (!values.empty()) {
    check(H5Aread(opened.attribute, H5T_NATIVE_DOUBLE, values.data()), what(object));
  }
  return values;
}

std::pair<std::uint64_t, bool> H5Reader::State::integer(const std::string& object,
                                                        const std::string& name) const {
  const OpenedAttribute opened = attribute(object, name);
  if (opened.type_class != H5T_INTEGER || opened.count() != 1) {
    refuse(object, str("attribute '", name, "' must be one integer"));
  }
  const bool is_unsigned = H5Tget_sign(opened.type) == H5T_SGN_NONE;
  std::uint64_t bits = 0;
  check(H5Aread(opened.attribute, is_unsigned ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT64, &bits),
        what(object));
  return {bits, is_unsigned};
}

}  // namespace retort::storage
