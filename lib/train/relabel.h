#pragma once
// Labels that teachers give to the images of a set: per augmented view (FKD: Shen and Xing 2022;
// SRe2L: Yin et al. 2023; batch-specific: Cui et al. 2025), or one per image (Zhang et al. 2025,
// INFER).

#include <cstdint>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/tensor.h"
#include "lib/data/recorded_views.h"
#include "lib/train/committee.h"
#include "lib/train/voting.h"

namespace retort::train {

/// How images are labelled, by the defaults of a paper's code:
///   fkd     Yin et al. 2023 (SRe2L): views with CutMix in batches of 1024, BatchNorm in evaluation
///   cda     Yin and Shen 2024: the same in batches of 128
///   cv-dd   Cui et al. 2025: batches of 16, BatchNorm on groups of 8, teachers vote by priors
///   static  Zhang et al. 2025 (INFER): the mean of the logits for every image as it is
struct RelabelRecipe {
  std::string name = "fkd";
  std::int64_t epochs = 300;
  std::int64_t batch_size = 1024;  ///< no more than there are images are used
  double smallest_area = 0.08;     ///< of a crop over the image's; 1: no crop
  bool flip = true;
  std::string mix = "cutmix";  ///< cutmix, mixup, none
  /// eval: the statistics of training; batch: those of each `batch_norm_group` images; halves:
  /// those of each half of a batch, as CV-DD's code does, so that groups of the last batch of an
  /// epoch may be smaller.
  std::string batch_norm = "eval";
  std::int64_t batch_norm_group = 0;    ///< 0: the whole batch; of few images see norm_group
  std::string vote = "equal";           ///< equal; priors: softmax(priors / vote_temperature)
  std::vector<double> priors;           ///< percent, one per teacher; none: to be measured
  std::int64_t priors_measured_on = 0;  ///< training images; 0: the priors were given
  double vote_temperature = kRelabelTemperature;
  std::int64_t seed = 0;

  static const std::vector<std::string>& names();
  /// @throws ConfigError for an unknown name
  static RelabelRecipe defaults(const std::string& name);
  /// One label per image as it is, not per view.
  bool is_static() const { return name == "static"; }
  /// The options that this recipe has, its name not among them.
  void describe(config::OptionTable& table);
  /// Measures priors that decide and were not given (measured_knowledge), so that a record shows
  /// the numbers taken and where they are from.
  /// @param dataset null: nothing is measured, priors may stay open
  /// @throws ConfigError for priors that these teachers cannot have
  void settle(const std::vector<Member>& committee, const data::ImageDataset* dataset);
  /// `key = value` lines with the name, and back: what a record says of itself.
  std::string text() const;
  /// @throws ConfigError for another text
  static RelabelRecipe of_text(const std::string& text);
};

/// @param images decoded ones of the set, which say how large the groups of BatchNorm are
/// @throws ConfigError as RelabelRecipe::settle, and for priors that are still open
Labeler labeler_of(const RelabelRecipe& recipe, std::vector<Member> committee, std::int64_t images);

/// Of the whole record, its `recipe` included.
/// @param images decoded ones of the set
data::ViewsInfo views_info(const RelabelRecipe& recipe, std::int64_t images, std::int64_t classes,
                           data::ImageSize size);
std::int64_t batches_per_epoch(const RelabelRecipe& recipe, std::int64_t images);

/// That no batch leaves a teacher's BatchNorm a single value per channel: a group of one image
/// where maps have one pixel. Everything else that a record needs is possible then.
/// @param images decoded ones of the set
/// @throws ConfigError naming the teacher, the group and what to do
void expect_label_groups(const RelabelRecipe& recipe, const Labeler& labeler, std::int64_t images);

/// A batch without its labels. Every epoch goes through all images once, in an order of its own.
/// @param info as views_info says
/// @param index 0 .. epochs * batches_per_epoch - 1
data::ViewBatch drawn_batch(const RelabelRecipe& recipe, const data::ViewsInfo& info,
                            std::int64_t index);

/// One labelled batch, a function of its arguments alone: whoever was interrupted goes on with the
/// next one.
/// @param images [N,C,H,W] preprocessed, as stored
data::ViewBatch labelled_batch(const RelabelRecipe& recipe, const Labeler& labeler,
                               const Tensor& images, std::int64_t index);

/// The labels of a batch that was drawn.  @return float16 [n,K], on the CPU
Tensor labels_of_batch(const RelabelRecipe& recipe, const Labeler& labeler, const Tensor& images,
                       const data::ViewBatch& batch);

/// What `labels_of_batch` says of images that are viewed already, in full.
/// @param seen [n,C,H,W]  @return [n,K] float32
Tensor labels_of_views(const RelabelRecipe& recipe, const Labeler& labeler, const Tensor& seen);

/// Logits of every image as it is, over all threads.  @return float32 [N,K], on the CPU
Tensor static_labels(const Labeler& labeler, const Tensor& images);

}  // namespace retort::train
