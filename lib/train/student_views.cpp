#include "lib/train/student_views.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/augment/mix.h"
#include "lib/augment/patches.h"
#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

using Sampling = data::ViewsInfo::Sampling;

data::ImageSize size_of(const Tensor& images) { return {images.size(2), images.size(3)}; }

std::int64_t batches_for(std::int64_t images, std::int64_t batch) {
  return (images + batch - 1) / batch;
}

class ReplayedViews final : public StudentViews {
 public:
  ReplayedViews(std::shared_ptr<const data::RecordedViews> record, Tensor images)
      : record_(std::move(record)), images_(std::move(images)) {}

  /// Label epochs without their last partial batch make a pool (LPLD).
  std::int64_t steps_per_epoch() const override {
    const data::ViewsInfo& info = record_->info();
    return info.sampling == Sampling::Order ? batches_for(info.images, info.batch)
                                            : std::max<std::int64_t>(1, info.images / info.batch);
  }

  Epoch epoch(std::int64_t epoch, const Rng& rng) const override {
    return [this, batches = batches_of(epoch, rng)](std::int64_t step) {
      return view(batches.at(std::size_t(step)));
    };
  }

 private:
  std::vector<std::int64_t> batches_of(std::int64_t epoch, const Rng& rng) const {
    const std::int64_t steps = steps_per_epoch();
    Rng pool = rng.child("pool");
    if (record_->info().sampling == Sampling::PoolUnique) {
      return pool.sample(record_->batches(), steps);
    }
    const bool in_order = record_->info().sampling == Sampling::Order;
    std::vector<std::int64_t> batches;
    for (std::int64_t step = 0; step < steps; ++step) {
      batches.push_back(in_order ? epoch * steps + step : pool.integer(record_->batches()));
    }
    return batches;
  }

  StudentView view(std::int64_t index) const {
    const data::ViewBatch batch = record_->batch(index);
    const Tensor rows = at::tensor(batch.images, at::kLong);
    const Tensor plain = images_.index_select(0, rows.to(images_.device()));
    return {rows, plain, augment::apply_views(batch.views, plain, record_->info().canvas),
            batch.views.mix, batch.values};
  }

  std::shared_ptr<const data::RecordedViews> record_;
  Tensor images_;
};

class DrawnViews final : public StudentViews {
 public:
  DrawnViews(ViewRecipe recipe, Tensor images)
      : recipe_(std::move(recipe)), images_(std::move(images)) {}

  std::int64_t steps_per_epoch() const override {
    return batches_for(images_.size(0), recipe_.batch_size);
  }

  Epoch epoch(std::int64_t /*epoch*/, const Rng& rng) const override {
    const Tensor order = rng.child("order").permutation_tensor(images_.size(0));
    return [this, order, rng](std::int64_t step) {
      const std::int64_t begin = step * recipe_.batch_size;
      const std::int64_t count = std::min(recipe_.batch_size, order.size(0) - begin);
      return view(order.narrow(0, begin, count), rng.child("step", step));
    };
  }

 private:
  StudentView view(const Tensor& rows, const Rng& rng) const {
    const data::ImageSize size = size_of(images_);
    const std::int64_t count = rows.size(0);
    const Tensor plain = images_.index_select(0, rows.to(images_.device()));
    Tensor images = augment::shuffle_patches(plain, recipe_.patches, rng.child("patches"));
    if (!recipe_.augmentation.operations.empty()) {
      Rng augmenting = rng.child("augment");
      images = augment::augment_batch(recipe_.augmentation, images, augmenting);
    }
    data::BatchViews views = augment::draw_views(recipe_.view, count, size, rng.child("views"));
    views.mix = augment::draw_mix(recipe_.mix, count, size, rng.child("mix"));
    return {rows, plain, augment::apply_views(views, images, size), views.mix, {}};
  }

  ViewRecipe recipe_;
  Tensor images_;
};

void expect_images_of(const data::ViewsInfo& info, const Tensor& images) {
  expect_shape(images, {-1, -1, -1, -1}, "images of a student");
  if (images.size(0) == info.images && size_of(images) == info.source &&
      info.canvas == info.source) {
    return;
  }
  throw ConfigError(str("labels of views are for ", info.images, " images of ", info.source.height,
                        " x ", info.source.width, " pixels, seen at ", info.canvas.height, " x ",
                        info.canvas.width, "; found ", shape_text(images)));
}

void expect_batches_of(const data::ViewsInfo& info, std::int64_t batch_size) {
  const std::int64_t taken = std::min(batch_size, info.images);
  const std::int64_t recorded = std::min(info.batch, info.images);
  if (taken == recorded) return;
  throw ConfigError(str("labels of views come in batches of ", recorded,
                        ", and belong to these batches as a whole; the steps of the training take ",
                        taken));
}

void expect_epochs_of(const data::RecordedViews& record, std::int64_t steps, std::int64_t epochs) {
  const data::ViewsInfo& info = record.info();
  if (info.sampling == Sampling::PoolReplace) return;
  if (info.sampling == Sampling::PoolUnique) {
    if (record.batches() >= steps) return;
    throw ConfigError(str("a pool of ", record.batches(), " batches of views: an epoch needs ",
                          steps, " different ones"));
  }
  if (record.batches() != info.epochs * steps) {
    throw ConfigError(str("labels of views: expected ", steps, " batches in each of ", info.epochs,
                          " epochs, found ", record.batches(), " in all; a record of which some ",
                          "were left out is a pool"));
  }
  if (info.epochs >= epochs) return;
  throw ConfigError(
      str("labels of views last for ", info.epochs, " epochs, the training has ", epochs));
}

}  // namespace

double own_share(const data::Mix& mix, data::ImageSize image) {
  switch (mix.kind) {
    case data::Mix::Kind::None:
      return 1;
    case data::Mix::Kind::CutMix:
      return 1 - double(mix.box.height * mix.box.width) / double(image.height * image.width);
    case data::Mix::Kind::MixUp:
      return mix.lambda;
  }
  throw Error("a mix that nobody knows");
}

std::unique_ptr<const StudentViews> replayed_views(
    std::shared_ptr<const data::RecordedViews> record, Tensor images, std::int64_t epochs,
    std::int64_t batch_size) {
  expect_images_of(record->info(), images);
  expect_batches_of(record->info(), batch_size);
  auto views = std::make_unique<ReplayedViews>(record, std::move(images));
  expect_epochs_of(*record, views->steps_per_epoch(), epochs);
  return views;
}

std::unique_ptr<const StudentViews> drawn_views(const ViewRecipe& recipe, Tensor images) {
  return std::make_unique<DrawnViews>(recipe, std::move(images));
}

}  // namespace retort::train
