#pragma once
// What a reader knows about its file, and the checks that every object passes before anything is
// allocated for it. The caller holds an h5::Guard. Private to lib/storage.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/storage/hdf5.h"
#include "lib/storage/hdf5_internal.h"

namespace retort::storage {

struct H5Reader::State {
  /// What was checked about a dataset before anything was allocated for it.
  struct Opened {
    h5::Dataset dataset;
    h5::Type type;
    std::vector<std::int64_t> shape;
    std::size_t count = 1;       // elements
    std::size_t item_bytes = 0;  // in the file
    std::uint64_t stored = 0;    // bytes of storage
    bool is_text = false;
  };
  struct OpenedAttribute {
    h5::Attribute attribute;
    h5::Type type;
    H5T_class_t type_class;
    std::optional<std::size_t> length;  // rank 1, else a scalar
    std::size_t count() const { return length.value_or(1); }
  };

  /// A box in a dataset: where it begins, how large it is.
  struct Slab {
    std::vector<hsize_t> start;
    std::vector<hsize_t> count;
  };

  struct Link {
    std::string name;
    H5L_type_t type;
  };
  struct TextValues {
    std::vector<std::string> values;
    int rank = 0;
  };

  explicit State(const std::filesystem::path& source);

  std::string what(const std::string& object) const;
  [[noreturn]] void refuse(const std::string& object, const std::string& why) const;

  bool exists(const std::string& object) const;
  h5::Object open(const std::string& object) const;
  bool is_group(const std::string& object) const;
  std::vector<Link> links(const std::string& group) const;
  void walk(const std::string& group, std::size_t depth, std::set<haddr_t>& seen,
            std::vector<std::string>& groups, std::vector<std::string>& datasets) const;

  Opened dataset(const std::string& object, hid_t access = H5P_DEFAULT) const;
  void check_storage(const std::string& object, const Opened& opened) const;
  h5::ElementType element(const std::string& object, const Opened& opened) const;
  std::string raw_bytes(const std::string& object) const;
  const Opened& kept_open(const std::string& object);
  std::size_t chunk_bytes(const std::string& object) const;
  void read_slab(const std::string& object, const Opened& opened, hid_t type, const Slab& slab,
                 void* out) const;
  Tensor row(const std::string& object, const std::vector<std::int64_t>& index);
  Tensor rows(const std::string& object, std::int64_t begin, std::int64_t end);
  std::string sha256(const std::string& object) const;
  TextValues texts(const std::string& object) const;

  bool has_attribute(const std::string& object, const std::string& name) const;
  OpenedAttribute attribute(const std::string& object, const std::string& name) const;
  std::string text_attribute(const std::string& object, const std::string& name) const;
  std::vector<double> doubles(const std::string& object, const std::string& name) const;
  /// The one integer, and whether it is stored without a sign.
  std::pair<std::uint64_t, bool> integer(const std::string& object, const std::string& name) const;

  std::filesystem::path path;
  h5::File file;
  std::uint64_t file_bytes;
  std::map<std::string, Opened> kept;  ///< datasets that are read row by row
};

}  // namespace retort::storage
