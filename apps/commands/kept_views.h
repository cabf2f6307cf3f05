#pragma once
// Labels of the views of a baseline, made while a set is evaluated.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "apps/cli/command.h"
#include "lib/data/recorded_views.h"
#include "lib/train/labelling.h"

namespace retort::commands {

/// They lie in PATH.parts/ until the evaluation is whole: one that is interrupted, or killed, goes
/// on with them, and memory does not grow with them.
class KeptViews final : public data::RecordedViews {
 public:
  struct What {
    std::string name;  ///< of the baseline
    train::RelabelRecipe recipe;
    train::Labeler labeler;
    Tensor images;  ///< [N,C,H,W] decoded
    data::ViewsInfo::Sampling sampling = data::ViewsInfo::Sampling::Order;
    std::string plan;  ///< what was labelled by another one is thrown away
  };

  /// Takes up what is there and labels the rest.
  /// @throws ConfigError as train::expect_label_groups, before what is there is touched, and if
  ///         another process works there; Interrupted when all that was done is saved
  KeptViews(What what, const std::filesystem::path& path, cli::Program& program);

  const data::ViewsInfo& info() const override { return info_; }
  std::int64_t batches() const override { return record_->batches(); }
  std::int64_t views() const override { return record_->views(); }
  data::ViewBatch batch(std::int64_t index) const override { return record_->batch(index); }
  /// The evaluation is whole. Nothing can be read any more.
  void remove() const { labelling_.tidy_up(); }

 private:
  What what_;
  train::Labelling labelling_;
  data::ViewsInfo info_;
  std::shared_ptr<const data::RecordedViews> record_;
};

}  // namespace retort::commands
