#pragma once
// What the networks of an evaluation are trained on, and how a protocol makes lessons of it.

#include <cstdint>
#include <memory>

#include "lib/data/image_dataset.h"
#include "lib/data/recorded_views.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/protocol.h"
#include "lib/train/committee.h"
#include "lib/train/lessons.h"

namespace retort::eval {

struct Material {
  data::LabelledImages training;  ///< decoded images and labels of a set
  /// Labels of views of these images, for protocols with `labels = views`.
  std::shared_ptr<const data::RecordedViews> views = nullptr;
  /// Who labels while students train, for protocols with `labels = teachers`.
  std::shared_ptr<const train::Labeler> labeler = nullptr;
  /// The views of the protocol, but no label of a teacher: cross-entropy with the classes of the
  /// images, of mixed ones with both.
  bool hard_labels = false;
  /// All training images of the dataset under their classes, and nothing of the above.
  bool real_images = false;

  /// Images that an epoch goes through.
  std::int64_t size(const data::ImageDataset& dataset) const;
};

/// How teachers normalise who are asked while students train on so many images.
train::LabelNorm label_norm(const Protocol& protocol, std::int64_t images);

/// The options that `material` is trained with.
train::TrainOptions train_options(const Protocol& protocol, const Material& material,
                                  bool mirror_changes_class);

/// Lessons in the preprocessing and on the device of `dataset`.
/// @throws ConfigError for material that lacks what the protocol trains on, or does not fit the
///         dataset
std::unique_ptr<const train::Lessons> make_lessons(const Protocol& protocol,
                                                   const Material& material,
                                                   const data::ImageDataset& dataset);

/// Optimiser steps of one network.
std::int64_t sgd_steps(const Protocol& protocol, const Material& material,
                       const data::ImageDataset& dataset);

}  // namespace retort::eval
