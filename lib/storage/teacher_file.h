#pragma once
// Teachers: networks trained on real images, with all that a later stage has to agree with. Schema
// `retort.teachers` 1.2, lib/storage/README.md.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/storage/trained_on.h"

namespace retort::storage {

inline constexpr char kTeacherSchema[] = "retort.teachers";

/// A tensor of a network by its name.
struct NamedTensor {
  std::string name;  ///< "layer1.0.conv1.weight"
  Tensor value;      ///< float32
};

struct Teacher {
  std::string network;  ///< "R18m-w16"
  std::vector<NamedTensor> parameters;
  std::vector<NamedTensor> buffers;  ///< statistics of BatchNorm
  /// Statistics of every class (Xiao and He 2024, LPLD), one tensor [K, ...] per buffer under its
  /// name; empty: none.
  std::vector<NamedTensor> class_statistics;
  /// How they were averaged, "ema" or "mean" (train::class_averages); empty: none, or not known.
  std::string class_average;
  std::string options;  ///< the resolved recipe, `key = value` lines; empty: imported
  std::uint64_t seed = 0;
  std::int64_t epochs = 0;
  double accuracy = 0;      ///< percent, after the last epoch; NaN: not tested
  std::string tested_on;    ///< "test", "held-out", ""
  double wall_seconds = 0;  ///< of its training
  std::string program_version;
  std::string processor;

  /// SHA-256 (hex) of the network, its parameters and buffers, which are all that it answers by:
  /// the same is the same to the bit.
  std::string sha256() const;
  /// Of the statistics of classes, which may be taken later; empty: none.
  std::string statistics_sha256() const;
};

/// Written aside and renamed.
/// @throws StorageError for no teacher, values that are not float32, a name that stands twice or
///         cannot be that of a dataset, statistics of a class that fit no buffer
void write_teachers(const std::filesystem::path& path, const TrainedOn& data,
                    const std::vector<Teacher>& teachers);

/// A file of teachers, opened once.
class TeacherReader {
 public:
  /// @throws StorageError naming file, rule and finding: not HDF5, another schema or a newer
  ///         version, damage, a missing field
  explicit TeacherReader(const std::filesystem::path& path);
  ~TeacherReader();
  TeacherReader(TeacherReader&&) noexcept;

  const std::filesystem::path& path() const;
  const TrainedOn& data() const;
  std::int64_t count() const;
  /// Reads one, whole.
  Teacher teacher(std::int64_t index) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether what the teachers know can be asked about this dataset: image shape, class names in the
/// same order, preprocessing to the bit, dataset. Which of its images either uses is free.
/// @throws DataError naming file, rule and finding
void expect_fitting(const TeacherReader& teachers, const data::ImageDataset& dataset);

}  // namespace retort::storage
