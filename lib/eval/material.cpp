#include "lib/eval/material.h"

#include <utility>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/train/image_lessons.h"
#include "lib/train/supervised.h"
#include "lib/train/taught_lessons.h"

namespace retort::eval {
namespace {

/// Images of a set under its own labels.
class SetLessons final : public train::Lessons {
 public:
  SetLessons(data::LabelledImages training, std::int64_t num_classes, train::TrainOptions options)
      : data_(std::move(training)), lessons_(data_, num_classes, std::move(options)) {}

  std::int64_t steps_per_epoch() const override { return lessons_.steps_per_epoch(); }
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override {
    return lessons_.epoch(epoch, rng);
  }

 private:
  train::TensorData data_;
  train::ImageLessons lessons_;
};

[[noreturn]] void refuse(const Protocol& protocol, const std::string& lacking) {
  throw ConfigError(str("protocol '", protocol.name, "' trains on labels of teachers, ", lacking));
}

std::unique_ptr<const train::StudentViews> student_views(const Protocol& protocol,
                                                         const Material& material,
                                                         const data::ImageDataset& dataset) {
  Tensor images = material.training.images.to(dataset.device());
  if (protocol.labels != "views") {
    return train::drawn_views(protocol.view_recipe(dataset.info().mirror_changes_class),
                              std::move(images));
  }
  if (material.views == nullptr) {
    refuse(protocol, str("view by view, and the set has none; `retort relabel SET --teachers FILE` "
                         "makes them, with --epochs ",
                         protocol.epochs, " and --batch-size ", protocol.batch_size));
  }
  try {
    return train::replayed_views(material.views, std::move(images), protocol.epochs,
                                 protocol.batch_size);
  } catch (const ConfigError& e) {
    throw ConfigError(
        str(e.what(), "; `retort relabel SET --teachers FILE --epochs ", protocol.epochs,
            " --batch-size ", protocol.batch_size, "` makes labels for protocol '", protocol.name,
            "', or change it: ", "--protocol-set epochs=", material.views->info().epochs,
            ",batch-size=", material.views->info().batch));
  }
}

/// Null for hard labels.
train::Teaching teaching(const Protocol& protocol, const Material& material, at::Device device) {
  if (material.hard_labels) return nullptr;
  if (protocol.labels == "views") return train::recorded_teaching(material.views->info());
  if (protocol.labels == "teachers") {
    if (material.labeler == nullptr)
      refuse(protocol, "who are asked view by view: --teachers FILE");
    return train::asked_teaching(material.labeler);
  }
  const auto* soft = std::get_if<data::SoftLabels>(&material.training.labels);
  if (soft == nullptr || soft->kind != data::SoftLabels::Kind::Logit) {
    refuse(protocol,
           "one per image as it is, and the set has none; `retort relabel SET --recipe static "
           "--teachers FILE` makes them");
  }
  return train::interpolated_teaching(soft->values.detach().to(device));
}

void check_fit(const Material& material, const data::ImageDataset& dataset) {
  const auto shape = dataset.shape();
  const data::LabelledImages& training = material.training;
  expect_shape(training.images, {-1, shape.channels, shape.height, shape.width}, "training images");
  if (training.images.size(0) == 0) throw ConfigError("there are no training images");
  train::target_probabilities(training.labels, dataset.num_classes(), at::kFloat);
  if (material.views == nullptr || material.views->info().classes == dataset.num_classes()) return;
  throw ConfigError(str("labels of views: expected ", dataset.num_classes(), " classes, found ",
                        material.views->info().classes));
}

}  // namespace

train::TrainOptions train_options(const Protocol& protocol, const Material& material,
                                  bool mirror_changes_class) {
  train::TrainOptions options = protocol.train_options(mirror_changes_class);
  if (material.hard_labels) options.loss = {};
  return options;
}

std::unique_ptr<const train::Lessons> make_lessons(const Protocol& protocol,
                                                   const Material& material,
                                                   const data::ImageDataset& dataset) {
  check_fit(material, dataset);
  const auto options = train_options(protocol, material, dataset.info().mirror_changes_class);
  const at::Device device = dataset.device();
  if (protocol.labels == "set") {
    return std::make_unique<SetLessons>(
        data::LabelledImages{material.training.images.to(device), material.training.labels},
        dataset.num_classes(), options);
  }
  return std::make_unique<train::TaughtLessons>(
      student_views(protocol, material, dataset),
      train::TaughtLessons::What{.classes = data::hard_classes(material.training.labels),
                                 .num_classes = dataset.num_classes(),
                                 .teaching = teaching(protocol, material, device),
                                 .loss = options.loss,
                                 .mixed_classes = protocol.hard_classes == "mixed"});
}

}  // namespace retort::eval
