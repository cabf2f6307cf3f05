#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lib/data/synthetic_set.h"

namespace retort::storage {

/// Writes `set.h5`, schema 1.0 (lib/storage/README.md), aside and renamed, with a SHA-256 per
/// dataset in /manifest.
void write_set(const std::filesystem::path& path, const data::SyntheticSet& set);

/// @throws StorageError naming file, rule and finding: not HDF5, not a set, unknown major version,
///         damaged data, inconsistent shapes
data::SyntheticSet read_set(const std::filesystem::path& path);

/// Bytes as stored, per part: "images", "labels", "params", "preprocessing", "schedule", ...
/// A set's cost is images + params and labels; Fletcher-32 and padding are not counted.
struct StoredBytes {
  std::uint64_t images = 0;  ///< /images/data or /params/*, the payload of the pictures
  std::uint64_t labels = 0;  ///< /labels/*
  std::uint64_t other = 0;   ///< preprocessing, provenance, manifest
};
StoredBytes stored_bytes(const std::filesystem::path& path);

/// The same counts for a set in memory.
StoredBytes stored_bytes(const data::SyntheticSet& set);

/// Re-hashes every dataset against the manifest. Returns one line per mismatch; empty: all well.
std::vector<std::string> verify_file(const std::filesystem::path& path);

/// "retort.set", "retort.checkpoint", ... from the root attribute `schema`.
std::string file_schema(const std::filesystem::path& path);

void write_preprocessing(class H5Writer& out, const std::string& group,
                         const data::Preprocessing& preprocessing);
data::Preprocessing read_preprocessing(const class H5Reader& in, const std::string& group);

}  // namespace retort::storage
