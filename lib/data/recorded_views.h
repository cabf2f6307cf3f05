#pragma once
// Labels of augmented views, and what makes the same views again: one record per batch (FKD: Shen
// and Xing 2022; SRe2L: Yin et al. 2023).

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/data/synthetic_set.h"

namespace retort::data {

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const ImageSize&) const = default;
};

/// Whole pixels: rows top .. top + height - 1, columns left .. left + width - 1.
struct PixelBox {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const PixelBox&) const = default;
};

/// "(top 1, left 0, 7 x 8 pixels)"
std::string box_text(const PixelBox& box);

bool lies_inside(const PixelBox& box, ImageSize image);

/// How a batch of views is mixed with a permutation of itself: one lambda and box for all.
struct Mix {
  enum class Kind { None, CutMix, MixUp };
  Kind kind = Kind::None;
  double lambda = 1;  ///< as drawn, a float32 value; MixUp: the weight of an image itself
  PixelBox box;       ///< CutMix: what comes from the partner, on the canvas; may be empty
  std::vector<std::int64_t> partner;  ///< [n] positions in the batch; empty for None
};

/// How the views of one batch come out of its images.
struct BatchViews {
  std::vector<PixelBox> crops;  ///< [n] in source pixels, enlarged to the canvas
  std::vector<bool> flips;      ///< [n] mirrored after the crop
  Mix mix;                      ///< of the views
};

/// One labelled batch.
struct ViewBatch {
  std::int64_t epoch = 0;
  std::vector<std::int64_t> images;  ///< [n] which decoded images, in the order of the labels
  BatchViews views;
  Tensor values;  ///< [n,K] float16, of the mixed views
};

/// What all batches of a record share.
struct ViewsInfo {
  /// How a student's epochs take batches: in their order, or drawn from all of them.
  enum class Sampling { Order, PoolReplace, PoolUnique };

  std::int64_t images = 0;   ///< N, those that labels belong to
  std::int64_t classes = 0;  ///< K
  ImageSize source;          ///< of an image
  ImageSize canvas;          ///< of a view
  std::int64_t epochs = 0;   ///< label epochs, whether or not all of their batches were kept
  std::int64_t batch = 0;    ///< views of a full batch
  SoftLabels::Kind kind = SoftLabels::Kind::Logit;
  double tau0 = 1;         ///< temperature of probabilities
  double prune_ratio = 0;  ///< share of batches left out
  Sampling sampling = Sampling::Order;
  std::uint64_t seed = 0;  ///< of the stream that views were drawn from
  /// How the labels were made, `key = value` lines (train::RelabelRecipe); empty: not known.
  std::string recipe = {};
};

/// A record, batch by batch: it may lie in a file, or be made while it is read.
class RecordedViews {
 public:
  virtual ~RecordedViews() = default;

  virtual const ViewsInfo& info() const = 0;
  virtual std::int64_t batches() const = 0;  ///< M
  virtual std::int64_t views() const = 0;    ///< V, over all batches
  /// @param index 0 .. batches() - 1
  /// @throws StorageError if it lies in a file and is damaged
  virtual ViewBatch batch(std::int64_t index) const = 0;
};

/// One in memory.
class ViewList final : public RecordedViews {
 public:
  explicit ViewList(ViewsInfo info) : info_(std::move(info)) {}
  /// @throws DataError as view_fault says
  void append(ViewBatch batch);

  const ViewsInfo& info() const override { return info_; }
  std::int64_t batches() const override { return std::int64_t(batches_.size()); }
  std::int64_t views() const override { return views_; }
  ViewBatch batch(std::int64_t index) const override { return batches_.at(std::size_t(index)); }

 private:
  ViewsInfo info_;
  std::vector<ViewBatch> batches_;
  std::int64_t views_ = 0;
};

/// The first rule that a record of this kind breaks, beginning with the part that does, and what
/// was found: "crop: expected boxes inside of 8 x 8 pixels, found ..."; empty if there is none.
std::string view_fault(const ViewsInfo& info);
std::string view_fault(const ViewsInfo& info, const ViewBatch& batch);

/// Float16 of logits [n,K]; what is beyond its range becomes its largest value.
Tensor half_logits(const Tensor& logits);

}  // namespace retort::data
