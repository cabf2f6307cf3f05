#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lib/data/synthetic_set.h"
#include "lib/storage/set_labels.h"

namespace retort::storage {

inline constexpr char kSetSchema[] = "retort.set";
inline constexpr std::int64_t kSetMajor = 1;

/// Writes `set.h5`, schema 1.0 (lib/storage/README.md), aside and renamed, with a SHA-256 per
/// dataset in /manifest. Views are taken batch by batch, in order, and not kept.
/// @throws StorageError for a set whose parts do not fit together
void write_set(const std::filesystem::path& path, const data::SyntheticSet& set);

/// Labels of views stay in the file, which the set then keeps open: they are read, and checked,
/// batch by batch. Views of an encoding that is not known are left out, with a warning if they are
/// what a student should train on.
/// @throws StorageError naming file, rule and finding: not HDF5, not a set, unknown major version,
///         damaged data, inconsistent shapes
data::SyntheticSet read_set(const std::filesystem::path& path);

/// Bytes as stored, per part. A set's cost is images and labels. Checksums, padding, attributes and
/// the manifest are not counted.
struct StoredBytes {
  std::uint64_t images = 0;  ///< /images/data or /params/*, the payload of the pictures
  std::uint64_t labels = 0;  ///< /labels/*
  std::uint64_t other = 0;   ///< class index of stored images, preprocessing, schedule, provenance
};
StoredBytes stored_bytes(const std::filesystem::path& path);

/// What `write_set` would store.
StoredBytes stored_bytes(const data::SyntheticSet& set);

/// Compares a file of any schema with its manifest (SHA-256 per dataset, shapes, attributes); of a
/// set also reports pixels that are not finite and what `read_set` objects to, of experts what
/// `damaged_snapshots` finds. One line per finding; empty: all well. @throws StorageError if it is
/// no HDF5 file at all
std::vector<std::string> verify_file(const std::filesystem::path& path);

/// "retort.set", "retort.state", ... from the root attribute `schema`. @throws StorageError
std::string file_schema(const std::filesystem::path& path);
/// Whether it is a file of this schema, whatever else is wrong with it.
bool has_schema(const std::filesystem::path& path, const std::string& schema);

/// Matrices and vectors as float64 datasets of the group, kind as its attribute.
void write_preprocessing(class H5Writer& out, const std::string& group,
                         const data::Preprocessing& preprocessing);
data::Preprocessing read_preprocessing(const class H5Reader& in, const std::string& group);
/// @throws StorageError beginning with `source` unless it preprocesses images of this shape
void expect_preprocessing_of(const data::Preprocessing& preprocessing, data::ImageShape shape,
                             const std::string& source);

}  // namespace retort::storage
