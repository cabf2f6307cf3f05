#include "lib/eval/material.h"

#include <utility>

#include "lib/augment/pixel_recipes.h"
#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/train/image_lessons.h"
#include "lib/train/norm_groups.h"
#include "lib/train/supervised.h"
#include "lib/train/taught_lessons.h"

namespace retort::eval {
namespace {

/// Augmentation of a mini-batch on its 8-bit pixels.
struct PixelTransform {
  augment::PixelRecipe recipe;
  data::Preprocessing preprocessing;

  Tensor operator()(const Tensor& images, Rng rng) const {
    const auto drawn = augment::draw(recipe, images.size(2), images.size(3), rng);
    return augment::apply(drawn, images, preprocessing);
  }
};

/// Images of a set under its own labels.
class SetLessons final : public train::Lessons {
 public:
  SetLessons(data::LabelledImages training, std::int64_t num_classes, train::TrainOptions options,
             PixelTransform transform)
      : data_(std::move(training)),
        lessons_(data_, num_classes, std::move(options)),
        transform_(std::move(transform)) {}

  std::int64_t steps_per_epoch() const override { return lessons_.steps_per_epoch(); }
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override {
    Epoch lessons = lessons_.epoch(epoch, rng);
    if (transform_.recipe.kind == augment::PixelRecipe::Kind::None) return lessons;
    return [this, lessons = std::move(lessons), rng](std::int64_t step) {
      train::Lesson lesson = lessons(step);
      lesson.images = transform_(lesson.images, rng.child("pixels", step));
      return lesson;
    };
  }

 private:
  train::TensorData data_;
  train::ImageLessons lessons_;
  PixelTransform transform_;
};

/// All real images.
class RealLessons final : public train::Lessons {
 public:
  RealLessons(const data::ImageDataset& dataset, train::TrainOptions options)
      : data_(dataset, data::Split::Train),
        lessons_(data_, dataset.num_classes(), std::move(options)) {}

  std::int64_t steps_per_epoch() const override { return lessons_.steps_per_epoch(); }
  Epoch epoch(std::int64_t epoch, const Rng& rng) const override {
    return lessons_.epoch(epoch, rng);
  }

 private:
  train::DatasetData data_;
  train::ImageLessons lessons_;
};

/// For protocols of the set's own labels: what teachers said of it later is no part of them.
data::LabelledImages own_training(const data::LabelledImages& training, at::Device device) {
  data::LabelledImages own{training.images.to(device), training.labels};
  const auto* soft = std::get_if<data::SoftLabels>(&training.labels);
  if (soft != nullptr && soft->by_teachers()) own.labels = data::HardLabels{soft->classes};
  return own;
}

[[noreturn]] void refuse(const Protocol& protocol, const std::string& lacking) {
  throw ConfigError(str("protocol '", protocol.name, "' trains on labels of teachers, ", lacking));
}

/// What makes labels of views for a protocol.
std::string relabel_command(const Protocol& protocol) {
  return str("`retort relabel SET --teachers FILE --recipe ",
             protocol.batch_norm_group > 0 ? "cv-dd" : "fkd", " --epochs ", protocol.epochs,
             " --batch-size ", protocol.batch_size, " --out FILE`");
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
    refuse(protocol,
           str("view by view, and the set has none; they are made by ", relabel_command(protocol)));
  }
  try {
    return train::replayed_views(material.views, std::move(images), protocol.epochs,
                                 protocol.batch_size);
  } catch (const ConfigError& e) {
    const data::ViewsInfo& info = material.views->info();
    throw ConfigError(str(e.what(), "; labels for protocol '", protocol.name, "' are made by ",
                          relabel_command(protocol), ", or it is changed by --protocol-set ",
                          protocol.epochs > info.epochs ? str("epochs=", info.epochs, ",") : "",
                          "batch-size=", info.batch));
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
           "one per image as it is, and the set has none; they are made by `retort relabel SET "
           "--teachers FILE --recipe static --out FILE`");
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

train::LabelNorm label_norm(const Protocol& protocol, std::int64_t images) {
  if (protocol.teacher_batch_norm == "eval") return {0};
  const std::int64_t group =
      train::norm_group(protocol.batch_norm_group, protocol.batch_size, images);
  return {group > 0 ? group : protocol.batch_size};
}

std::int64_t Material::size(const data::ImageDataset& dataset) const {
  return real_images ? dataset.size(data::Split::Train) : training.images.size(0);
}

train::TrainOptions train_options(const Protocol& protocol, const Material& material,
                                  bool mirror_changes_class) {
  train::TrainOptions options = protocol.train_options(mirror_changes_class);
  if (material.hard_labels) options.loss = {};
  if (!material.real_images) {
    options.batch_norm_group = train::norm_group(options.batch_norm_group, options.batch_size,
                                                 material.training.images.size(0));
  }
  return options;
}

std::unique_ptr<const train::Lessons> make_lessons(const Protocol& protocol,
                                                   const Material& material,
                                                   const data::ImageDataset& dataset) {
  const auto options = train_options(protocol, material, dataset.info().mirror_changes_class);
  if (material.real_images) {
    if (protocol.taught()) refuse(protocol, "and real images have none");
    return std::make_unique<RealLessons>(dataset, options);
  }
  check_fit(material, dataset);
  const at::Device device = dataset.device();
  if (protocol.labels == "set") {
    const PixelTransform transform{protocol.pixel_recipe(dataset.info().mirror_changes_class),
                                   dataset.preprocessing()};
    return std::make_unique<SetLessons>(own_training(material.training, device),
                                        dataset.num_classes(), options, transform);
  }
  auto views = student_views(protocol, material, dataset);  // first: it knows whether there are any
  train::TaughtLessons::What what{.classes = data::hard_classes(material.training.labels),
                                  .num_classes = dataset.num_classes(),
                                  .teaching = teaching(protocol, material, device),
                                  .loss = options.loss,
                                  .mixed_classes = protocol.hard_classes == "mixed"};
  return std::make_unique<train::TaughtLessons>(std::move(views), std::move(what));
}

std::int64_t sgd_steps(const Protocol& protocol, const Material& material,
                       const data::ImageDataset& dataset) {
  return protocol.train_options(false).epochs *
         make_lessons(protocol, material, dataset)->steps_per_epoch();
}

}  // namespace retort::eval
