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

namespace retort::train {

/// How images are labelled, by the defaults of a paper's code.
struct RelabelRecipe {
  std::string name = "fkd";      ///< fkd, cda, cv-dd, static
  std::string labels = "views";  ///< or "static": one label per image as it is
  std::int64_t epochs = 300;
  std::int64_t batch_size = 1024;  ///< no more than there are images are used
  double smallest_area = 0.08;     ///< of a crop over the image's; 1: no crop
  bool flip = true;
  std::string mix = "cutmix";         ///< cutmix, mixup, none
  std::string batch_norm = "eval";    ///< eval, batch
  std::int64_t batch_norm_group = 0;  ///< "batch": images that share statistics; 0: the whole batch
  std::string vote = "equal";         ///< equal; accuracy: of the teachers; priors: as given
  std::vector<double> priors;         ///< percent
  double vote_temperature = 10;
  std::int64_t seed = 0;

  static const std::vector<std::string>& names();
  /// @throws ConfigError for an unknown name
  static RelabelRecipe defaults(const std::string& name);
  /// The options that this recipe has, its name not among them.
  void describe(config::OptionTable& table);
  /// `key = value` lines with the name, and back: what a record says of itself.
  std::string text() const;
  static RelabelRecipe of_text(const std::string& text);
};

/// @throws ConfigError for weights that cannot be
Labeler labeler_of(const RelabelRecipe& recipe, std::vector<Member> committee);

/// Of the whole record, its `recipe` included.
/// @param images decoded ones of the set
data::ViewsInfo views_info(const RelabelRecipe& recipe, std::int64_t images, std::int64_t classes,
                           data::ImageSize size);
std::int64_t batches_per_epoch(const RelabelRecipe& recipe, std::int64_t images);

/// One labelled batch, a function of its arguments alone: whoever was interrupted goes on with the
/// next one.
/// @param images [N,C,H,W] preprocessed, as stored
/// @param index 0 .. epochs * batches_per_epoch - 1
data::ViewBatch labelled_batch(const RelabelRecipe& recipe, const Labeler& labeler,
                               const Tensor& images, std::int64_t index);

/// Logits of every image as it is.  @return float32 [N,K]
Tensor static_labels(const Labeler& labeler, const Tensor& images);

}  // namespace retort::train
