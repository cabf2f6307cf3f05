#pragma once
// The labels of a whole record while they are made.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "lib/core/stop.h"
#include "lib/data/recorded_views.h"
#include "lib/train/parts_folder.h"
#include "lib/train/relabel.h"

namespace retort::train {

/// One label per image as it is, by a recipe that is static: the logits of the committee in half
/// precision, as they are stored.
/// @param images [N,C,H,W] preprocessed, as stored  @param classes int64 [N]
data::SoftLabels image_labels(const RelabelRecipe& recipe, const Labeler& labeler,
                              const Tensor& images, const Tensor& classes);

/// Labels batch by batch, on all threads, and keeps what is done in OUT.parts/ beside the file OUT
/// that the record is to go to. Views are drawn again when they are asked for, so the parts hold
/// labels alone; of these, 32 MB or one batch each, one is in memory while labels are made. A
/// killed process costs what was labelled in the seconds since the last save; the next one goes on
/// to the same bits, which do not depend on the number of threads either.
class Labelling {
 public:
  /// Takes the lock, and up what is there.
  /// @param labeler, images must outlive it; images [N,C,H,W] preprocessed, as stored
  /// @param plan `key = value` lines of all that decides what becomes of the labels
  /// @throws ConfigError if another process works there, or made something by another plan that is
  ///         not to be replaced
  Labelling(RelabelRecipe recipe, const Labeler& labeler, const Tensor& images,
            const std::filesystem::path& out, const std::string& plan,
            PartsFolder::OtherPlan other = PartsFolder::OtherPlan::Refused);

  const data::ViewsInfo& info() const { return info_; }
  std::int64_t batches() const { return batches_; }
  std::int64_t views() const { return info_.images * info_.epochs; }
  /// Views that have their labels.
  std::int64_t views_done() const { return views_done_; }
  /// Makes all that is missing.
  /// @param progress views done; called by several threads
  /// @throws Interrupted when `stop` was requested; all that was done is saved then
  void run(const std::function<void(std::int64_t views_done)>& progress, const StopFlag* stop);
  /// The record, which keeps as many parts at hand as there are threads; the parts, and this
  /// object, must be there while it is used.
  std::shared_ptr<const data::RecordedViews> record() const;
  /// Removes the parts, once the record is where it belongs.
  void tidy_up() const { folder_.tidy_up(); }

 private:
  struct Part;

  Part load(std::int64_t number) const;
  void save(const Part& part) const;
  void make(Part& part, const std::function<void(std::int64_t)>& progress, const StopFlag* stop);

  RelabelRecipe recipe_;
  const Labeler& labeler_;
  const Tensor& images_;
  data::ViewsInfo info_;
  std::int64_t batches_;
  std::int64_t part_batches_;  ///< batches of a part
  PartsFolder folder_;
  std::int64_t views_done_ = 0;
};

}  // namespace retort::train
