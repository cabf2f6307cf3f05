#include "experiments/nas/course.h"

#include <algorithm>
#include <span>
#include <utility>

#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/eval/material.h"
#include "lib/synth/parametrization.h"
#include "lib/train/image_lessons.h"

namespace retort::experiments::nas {
namespace {

constexpr const char* kSearch = "search";

void add(Sha256& sha, const std::string& name, const std::string& text) {
  sha.update(std::string_view(str(name, " ", text.size(), " ", text, "\n")));
}

void add(Sha256& sha, const std::string& name, const Tensor& values) {
  const Tensor contiguous = values.detach().cpu().contiguous();
  add(sha, name, shape_text(contiguous));
  sha.update(std::span(static_cast<const std::byte*>(contiguous.const_data_ptr()),
                       std::size_t(contiguous.nbytes())));
}

/// Of all but what is trained on.
Sha256 begun_key(const eval::Protocol& protocol, const data::ImageDataset& tested_on) {
  Sha256 sha;
  for (const auto& [option, value] : protocol.options_in_use()) add(sha, option, value);
  add(sha, "dataset", tested_on.info().sha256);
  add(sha, "device", tested_on.device().str());
  add(sha, "preprocessing", tested_on.preprocessing().description());
  add(sha, "test", tested_on.labels(data::Split::Test));
  add(sha, "mirror", tested_on.info().mirror_changes_class ? "changes class" : "harmless");
  return sha;
}

std::string dataset_key(const eval::Protocol& protocol, const data::ImageDataset& dataset,
                        std::int64_t images) {
  Sha256 sha = begun_key(protocol, dataset);
  add(sha, "images", str(images));
  add(sha, "note", dataset.info().note);
  add(sha, "train", dataset.labels(data::Split::Train));
  return sha.hex();
}

std::string set_key(const eval::Protocol& protocol, const data::ImageDataset& dataset,
                    const data::LabelledImages& training) {
  Sha256 sha = begun_key(protocol, dataset);
  add(sha, "images", training.images);
  add(sha, "classes", data::hard_classes(training.labels));
  const auto* soft = std::get_if<data::SoftLabels>(&training.labels);
  if (soft != nullptr) add(sha, "soft", soft->values);
  return sha.hex();
}

Course dataset_course(const std::string& name, std::int64_t images, const eval::Protocol& protocol,
                      const data::ImageDataset& dataset, std::vector<std::uint64_t> seeds) {
  const auto options = protocol.train_options(dataset.info().mirror_changes_class);
  const auto lessons = std::make_shared<DatasetLessons>(dataset, images, options);
  return {.name = name,
          .lessons = lessons,
          .options = options,
          .images_per_epoch = lessons->images(),
          .tested_on = dataset,
          .seeds = std::move(seeds),
          .stream = name == kReference ? kReference : kSearch,
          .key = dataset_key(protocol, dataset, lessons->images())};
}

}  // namespace

DatasetLessons::DatasetLessons(data::ImageDataset dataset, std::int64_t images,
                               train::TrainOptions options)
    : dataset_(std::move(dataset)),
      images_(std::min(images, dataset_.size(data::Split::Train))),
      options_(std::move(options)) {}

std::int64_t DatasetLessons::steps_per_epoch() const {
  return (images_ + options_.batch_size - 1) / options_.batch_size;
}

train::Lessons::Epoch DatasetLessons::epoch(std::int64_t /*epoch*/, const Rng& rng) const {
  const auto drawn = rng.child("images").sample(dataset_.size(data::Split::Train), images_);
  return [this, rows = at::tensor(drawn, at::kLong), rng](std::int64_t step) {
    const std::int64_t begin = step * options_.batch_size;
    const Tensor batch = rows.narrow(0, begin, std::min(options_.batch_size, images_ - begin));
    return train::image_lesson(train::DatasetData(dataset_, data::Split::Train).batch(batch),
                               dataset_.num_classes(), options_, rng.child("step", step));
  };
}

Course set_course(const std::string& name, const data::SyntheticSet& set,
                  const eval::Protocol& protocol, const data::ImageDataset& held_out,
                  std::vector<std::uint64_t> seeds) {
  const eval::Protocol own = protocol.for_set(set);
  const data::ImageDataset dataset = held_out.with_preprocessing(set.preprocessing);
  const eval::Material material{.training = synth::decode(set)};
  return {.name = name,
          .lessons = eval::make_lessons(own, material, dataset),
          .options = eval::train_options(own, material, dataset.info().mirror_changes_class),
          .images_per_epoch = material.training.images.size(0),
          .tested_on = dataset,
          .seeds = std::move(seeds),
          .stream = kSearch,
          .key = set_key(own, dataset, material.training)};
}

Course early_stopping(const std::string& name, std::int64_t images, const eval::Protocol& protocol,
                      const data::ImageDataset& held_out, std::vector<std::uint64_t> seeds) {
  return dataset_course(name, images, protocol, held_out, std::move(seeds));
}

Course reference_course(const eval::Protocol& protocol, const data::ImageDataset& dataset,
                        std::vector<std::uint64_t> seeds) {
  return dataset_course(kReference, dataset.size(data::Split::Train), protocol, dataset,
                        std::move(seeds));
}

}  // namespace retort::experiments::nas
