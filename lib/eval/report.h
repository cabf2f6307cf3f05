#pragma once
// evaluation.json (schema retort.evaluation/1) and the table people read.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/eval/evaluator.h"

namespace retort::eval {

struct SubjectResult {
  std::string name;  ///< set path, or baseline "random", "random packed 2x2"
  std::vector<NetworkResult> networks;
  std::uint64_t image_bytes = 0;
  std::uint64_t label_bytes = 0;  ///< of the labels that the protocol trains on
  std::uint64_t view_bytes = 0;   ///< of label_bytes, what makes views again: all but labels
  std::int64_t decoded_images = 0;
  std::int64_t sgd_steps = 0;
  double lr = 0;  ///< what its networks were trained with at the start
};

/// Networks of a pool, most of which the set was not condensed in.
struct CrossArchitecture {
  std::string pool;
  std::string source;  ///< the network that the set was condensed in: the others are transfer
  bool said = false;   ///< by the set; else it is the protocol's
};

/// Mean over the networks other than `source`.
struct Transfer {
  std::size_t networks = 0;
  double mean = 0;  ///< percent, of the means of the networks; NaN without any
};
Transfer transfer(const SubjectResult& subject, const std::string& source);

/// One network on one training set under several augmentations.
struct AugmentationSummary {
  std::string network;
  std::string best;      ///< augmentation, chosen on the images that are tested on
  double best_mean = 0;  ///< percent
  double mean = 0;       ///< percent, over the augmentations
};
/// Of results that stand network by network; none where no augmentation was asked for.
std::vector<AugmentationSummary> over_augmentations(const SubjectResult& subject);

struct EvaluationReport {
  std::string set;
  std::string set_sha256;  ///< of the file
  Protocol protocol;
  std::string dataset;
  std::string dataset_sha256;
  /// Training images per class that the set was condensed from, when a subset; 0: all there are.
  std::int64_t subset_per_class = 0;
  bool mirror_changes_class = false;  ///< of the dataset: which augmentation the protocol takes
  std::string tested_on;              ///< "test" or "held-out training images"
  std::vector<std::uint64_t> seeds;
  std::vector<std::string> class_names;
  std::vector<Attack> attacks;  ///< what every network was tested under besides
  /// Who was asked while students trained, or labelled the baselines.
  std::optional<data::Asset> teachers;
  std::uint64_t teacher_bytes = 0;  ///< of their parameters and buffers as float32
  /// How the labels that students learn were made, `key = value` lines (train::RelabelRecipe);
  /// empty: those of the set, or asked for while students train.
  std::string label_recipe;
  SubjectResult subject;
  /// Under labels of teachers: the same images, views and protocol, but the classes alone.
  std::optional<SubjectResult> hard_labels;
  bool hard_labels_left_out = false;  ///< on request
  std::optional<CrossArchitecture> cross_architecture;
  /// What networks were trained under in the place of the protocol's augmentation; empty: nothing.
  std::vector<std::string> augmentations;
  std::vector<SubjectResult> baselines;
};

/// "protocol dsa: 1001 epochs, batch 256, augmentation color_crop_..."
std::string protocol_line(const Protocol& protocol, bool mirror_changes_class);
nlohmann::json to_json(const EvaluationReport& report);
/// The table of `retort evaluate`: one line per subject and network, protocol named above it.
std::string to_table(const EvaluationReport& report);

}  // namespace retort::eval
