#pragma once
// The group /labels/views of a set file (lib/storage/README.md): labels of augmented views and what
// makes the views again, written and read batch by batch.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/recorded_views.h"
#include "lib/storage/hdf5.h"

namespace retort::storage {

inline constexpr char kViewsGroup[] = "labels/views";
/// The labels themselves, by far the largest part: a reader takes them from the file as they are
/// asked for, guarded by the checksums of their chunks.
inline constexpr char kViewsValues[] = "labels/views/values";

/// Writes a record into a file that is being made. Keeps 14 bytes per view and 25 per batch until
/// finish(); labels go to the file at once.
class ViewsWriter {
 public:
  /// @param source begins every message: the file as the user knows it
  /// @throws StorageError for a record that cannot be
  ViewsWriter(H5Writer& out, const data::ViewsInfo& info, const std::string& source);
  /// @throws StorageError naming the batch, the rule that it breaks and what was found
  void append(const data::ViewBatch& batch);
  /// After the last batch, of which there must be one.
  void finish();

 private:
  H5Writer& out_;
  data::ViewsInfo info_;
  std::string source_;
  std::vector<std::uint64_t> batch_ptr_{0};
  std::vector<std::uint32_t> epoch_, image_;
  std::vector<std::uint16_t> crop_, mix_box_, mix_perm_;
  std::vector<std::uint8_t> flip_, mix_kind_;
  std::vector<float> mix_lambda_;
};

/// A record in a set file. Holds what there is per batch; the rest is read when it is asked for.
/// Any thread may read.
class ViewsReader final : public data::RecordedViews {
 public:
  /// @throws StorageError naming file, object, rule and finding: no such group, an encoding that
  ///         this program does not know, parts that do not fit together
  explicit ViewsReader(const std::filesystem::path& set_file);

  const data::ViewsInfo& info() const override { return info_; }
  std::int64_t batches() const override { return std::int64_t(batch_ptr_.size()) - 1; }
  std::int64_t views() const override { return std::int64_t(batch_ptr_.back()); }
  /// @throws StorageError also for an index out of range
  data::ViewBatch batch(std::int64_t index) const override;

 private:
  data::BatchViews views_of(std::int64_t index, std::int64_t begin, std::int64_t end) const;
  void read_batches();
  void check_shapes() const;

  H5Reader in_;
  std::string source_;
  data::ViewsInfo info_;
  std::vector<std::uint64_t> batch_ptr_;  // [M+1]
  Tensor epoch_;                          // int64 [M]
  Tensor mix_kind_;                       // uint8 [M]
  Tensor mix_lambda_;                     // float32 [M]
  Tensor mix_box_;                        // int32 [M,4]
};

/// The record of a file, or null if it has none of an encoding that this program knows.
/// @throws StorageError if it is damaged
std::shared_ptr<const data::RecordedViews> open_views(const H5Reader& set_file);

/// Bytes of elements that ViewsWriter would store: of the labels, and of all that makes the views.
struct ViewsBytes {
  std::uint64_t values = 0;
  std::uint64_t meta = 0;
};
ViewsBytes views_bytes(std::int64_t views, std::int64_t batches, std::int64_t classes);
ViewsBytes views_bytes(const data::RecordedViews& views);

}  // namespace retort::storage
