#pragma once
// The group /labels of a set file (lib/storage/README.md): classes, soft labels, and those of
// views, whose records views_file.h reads and writes.

#include <cstdint>
#include <filesystem>
#include <string>

#include "lib/data/synthetic_set.h"

namespace retort::storage {

class H5Reader;
class H5Writer;

inline constexpr char kSoftValues[] = "labels/soft/values";

/// Classes that the labels know: those of soft ones, else of the set.
std::int64_t label_classes(const data::SyntheticSet& set);

/// What must hold on both sides of a file. @throws StorageError beginning with `source`
void check_labels(const data::SyntheticSet& set, const std::string& source);
/// That views are of the images that labels belong to. @throws StorageError
void check_views(const data::SyntheticSet& set, const std::string& source);

void write_labels(H5Writer& out, const data::SyntheticSet& set, const std::string& source);
/// Without views. @throws StorageError for a layout or kinds that this program does not know
data::Labels read_labels(const H5Reader& in, const std::string& source);
/// Views of an encoding from the future leave the other labels usable: says that they are used.
void warn_without_views(const H5Reader& in, const data::SyntheticSet& set,
                        const std::string& source);

/// Bytes of /labels alone, as stored, per part.
struct LabelBytes {
  std::uint64_t hard = 0;
  std::uint64_t soft = 0;
  std::uint64_t views_values = 0;  ///< of views, the labels
  std::uint64_t views_meta = 0;    ///< what makes the views again
  std::uint64_t generator = 0;
  std::uint64_t backbone = 0;
};
LabelBytes label_bytes(const std::filesystem::path& path);

/// What `write_set` would store.
LabelBytes label_bytes(const data::SyntheticSet& set);

}  // namespace retort::storage
