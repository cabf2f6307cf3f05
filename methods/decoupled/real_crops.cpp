#include "methods/decoupled/real_crops.h"

#include <algorithm>
#include <mutex>

#include "lib/augment/views.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/data/pixels.h"
#include "methods/decoupled/mosaic.h"

namespace retort::methods::decoupled {
namespace {

using data::PixelBox;

constexpr std::int64_t kMany = 1'000'000;
constexpr std::int64_t kMosaicsFrom = 128;  // pixels of a side
// Of all crops that go through the network at once, on every thread: keeps memory flat in the side.
constexpr std::int64_t kPixelsAtOnce = 1 << 18;

/// What is chosen from, and how much of it.
struct Job {
  const data::ImageDataset& dataset;
  const train::Member& observer;
  const RealCropOptions& options;
  std::int64_t factor;
  std::int64_t wanted;  // crops of a class
  const StopFlag* stop;

  std::int64_t size() const { return dataset.shape().height; }
  std::int64_t crop_side() const { return size() / factor; }
  std::int64_t images_at_once() const {
    return crops_at_once(options, dataset.shape()) / options.crops;
  }
};

/// The images of one class that are looked at, and the crops of each.
class ClassCrops {
 public:
  ClassCrops(const Job& job, std::int64_t label, const Rng& rng) : job_(job), label_(label) {
    const Tensor& members = job.dataset.class_indices(label);
    const std::int64_t count = std::min(job.options.images_per_class, members.numel());
    const auto picks = rng.child("images").sample(members.numel(), count);
    images_ = members.index_select(0, at::tensor(picks, at::kLong));
    const data::ImageSize size{job.size(), job.size()};
    const augment::ViewPolicy policy{
        .smallest_area = job.options.smallest_area, .narrowest = 1, .widest = 1, .flip = false};
    for (std::int64_t i = 0; i < count; ++i) {
      Rng crops = rng.child("crops", images_[i].item<std::int64_t>());
      for (std::int64_t k = 0; k < job.options.crops; ++k) {
        boxes_.push_back(augment::draw_crop(policy, size, crops));
      }
    }
  }

  /// [images,crops]
  Tensor losses() const {
    Tensors parts;
    const std::int64_t at_once = job_.images_at_once();
    for (std::int64_t i = 0; i < images_.numel(); i += at_once) {
      leave_if_requested(job_.stop, "choosing crops of real images");
      const std::int64_t count = std::min(at_once, images_.numel() - i);
      const auto first = boxes_.begin() + i * job_.options.crops;
      const std::vector<PixelBox> boxes(first, first + count * job_.options.crops);
      const Tensor crops =
          resized_crops(batch(images_.narrow(0, i, count)), boxes, job_.crop_side());
      parts.push_back(
          crop_losses(*job_.observer.network, job_.observer.state, crops, label_, job_.size())
              .to(at::kCPU));
    }
    return at::cat(parts);
  }

  /// [ranked,C,h,w]
  Tensor chosen(const RankedCrops& ranked) const {
    Tensors crops;
    for (std::int64_t i = 0; i < ranked.image.numel(); ++i) {
      const auto image = ranked.image[i].item<std::int64_t>();
      const auto crop = ranked.crop[i].item<std::int64_t>();
      const auto box = boxes_[std::size_t(image * job_.options.crops + crop)];
      crops.push_back(
          resized_crops(batch(images_.narrow(0, image, 1)), {box}, job_.crop_side()).squeeze(1));
    }
    return at::cat(crops);
  }

 private:
  Tensor batch(const Tensor& images) const {
    return job_.dataset.batch(data::Split::Train, images);
  }

  const Job& job_;
  std::int64_t label_;
  Tensor images_;                // int64, training images
  std::vector<PixelBox> boxes_;  // image by image
};

/// uint8 [ipc,C,H,W] on the CPU
Tensor images_of_class(const Job& job, std::int64_t label, const Rng& rng) {
  const ClassCrops crops(job, label, rng);
  const RankedCrops ranked = rank_crops(crops.losses(), job.wanted, job.options.offset);
  const Tensor mosaics = make_mosaics(crops.chosen(ranked), job.factor, job.size());
  return data::truncated_bytes(job.dataset.preprocessing(), mosaics).to(at::kCPU);
}

/// Says how many classes are finished, and when the others will be.
class ClassProgress {
 public:
  ClassProgress(ProgressSink* sink, const FinishedClasses& finished)
      : sink_(sink), classes_(std::int64_t(finished.size())), began_(wall_seconds()) {
    for (const Tensor& images : finished) earlier_ += images.defined() ? 1 : 0;
  }

  void one_more() {
    if (sink_ == nullptr) return;
    const std::lock_guard lock(mutex_);
    ++made_;
    const std::int64_t done = earlier_ + made_;
    const double each = (wall_seconds() - began_) / double(made_);
    sink_->update({.phase = "choosing crops, classes",
                   .done = done,
                   .total = classes_,
                   .earlier = earlier_,
                   .loss = {},
                   .seconds_left = each * double(classes_ - done)});
  }

 private:
  ProgressSink* sink_;
  std::int64_t classes_;
  double began_;
  std::int64_t earlier_ = 0;
  std::mutex mutex_;
  std::int64_t made_ = 0;
};

}  // namespace

void RealCropOptions::describe(config::OptionTable& table) {
  using config::in_range;
  table.add("crop-images", images_per_class,
            "random real images of every class that are looked at; all of a class that has fewer",
            in_range(std::int64_t{1}, kMany));
  table.add("crops", crops, "random square crops of each of them; the best one counts",
            in_range(std::int64_t{1}, 1000));
  table.add("mosaic", factor,
            "N: every image is made of N x N crops; 0: 2 for images of 128 pixels and more, else 1",
            in_range(std::int64_t{0}, 8));
  table.add("crop-offset", offset,
            "best crops of a class that are passed over (CV-DD takes medium ones)",
            in_range(std::int64_t{0}, kMany));
  table.add("crop-smallest-area", smallest_area, "of a crop, as a part of the real image",
            in_range(1e-4, 1));
}

std::int64_t RealCropOptions::factor_for(data::ImageShape image) const {
  if (factor > 0) return factor;
  return image.height >= kMosaicsFrom ? 2 : 1;
}

double RealCropOptions::looked_at(const data::ImageDataset& dataset) const {
  double images = 0;
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    images += double(std::min(images_per_class, dataset.class_indices(c).numel()));
  }
  return images * double(crops);
}

void expect_possible(const data::ImageDataset& dataset, const RealCropOptions& options,
                     std::int64_t ipc) {
  const data::ImageShape shape = dataset.shape();
  const data::Preprocessing& preprocessing = dataset.preprocessing();
  if (preprocessing.kind() != data::Preprocessing::Kind::MeanStd) {
    throw ConfigError("crops of real images: expected preprocessing by mean and std, found " +
                      preprocessing.description());
  }
  const std::int64_t factor = options.factor_for(shape);
  if (shape.height != shape.width || factor > shape.height) {
    throw ConfigError(str("crops of real images: expected square images of ", factor,
                          " or more pixels a side, found ", shape.height, " x ", shape.width));
  }
  const std::int64_t needed = ipc * factor * factor + options.offset;
  const std::string reason =
      str(needed, " are needed, one per crop: ipc ", ipc, " x ", factor, " x ", factor,
          options.offset > 0 ? str(", after the first ", options.offset) : "");
  if (options.images_per_class < needed) {
    throw ConfigError(str("crop-images ", options.images_per_class, ": ", reason));
  }
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    const std::int64_t available = dataset.class_indices(c).numel();
    if (available >= needed) continue;
    throw ConfigError(str("class '", dataset.info().class_names[std::size_t(c)], "' has ",
                          available, " training images, but ", reason));
  }
}

std::int64_t crops_at_once(const RealCropOptions& options, data::ImageShape image) {
  const std::int64_t pixels = options.crops * image.height * image.width;
  return options.crops * std::max<std::int64_t>(1, kPixelsAtOnce / pixels);
}

Tensor resized_crops(const Tensor& images, const std::vector<PixelBox>& boxes, std::int64_t side) {
  const auto count = std::int64_t(boxes.size());
  if (count == 0 || count % images.size(0) != 0) {
    throw ConfigError(
        str("crops: expected as many for each of ", images.size(0), " images, found ", count));
  }
  const std::int64_t each = count / images.size(0);
  Tensors crops;
  for (std::int64_t i = 0; i < count; ++i) {
    const PixelBox& box = boxes[std::size_t(i)];
    const Tensor crop =
        images.narrow(0, i / each, 1).narrow(2, box.top, box.height).narrow(3, box.left, box.width);
    crops.push_back(at::_upsample_bilinear2d_aa(crop, {side, side}, /*align_corners=*/false));
  }
  return at::cat(crops).unflatten(0, {images.size(0), each});
}

Tensor crop_losses(const nn::Network& network, const nn::NetworkState& state, const Tensor& crops,
                   std::int64_t label, std::int64_t size) {
  const at::NoGradGuard no_grad;
  const Tensor seen = centered_in_zeros(crops.flatten(0, 1), size);
  return realism_losses(network.forward(state, seen).logits, label)
      .view({crops.size(0), crops.size(1)});
}

Tensor realistic_images(const data::ImageDataset& dataset, const train::Member& observer,
                        const RealCropOptions& options, std::int64_t ipc, const Rng& rng,
                        const CropWatch& watch) {
  expect_possible(dataset, options, ipc);
  const std::int64_t factor = options.factor_for(dataset.shape());
  const Job job{.dataset = dataset,
                .observer = observer,
                .options = options,
                .factor = factor,
                .wanted = ipc * factor * factor,
                .stop = watch.stop};
  const std::int64_t classes = dataset.num_classes();
  FinishedClasses own;
  FinishedClasses& finished = watch.finished != nullptr ? *watch.finished : own;
  finished.resize(std::size_t(classes));
  ClassProgress progress(watch.progress, finished);
  parallel_tasks(classes, [&](std::int64_t c) {
    Tensor& images = finished[std::size_t(c)];
    if (images.defined()) return;
    images = images_of_class(job, c, rng.child("class", c));
    progress.one_more();
  });
  // On the CPU, where the bits of stored images are made again.
  return dataset.preprocessing().apply(at::cat(finished));
}

}  // namespace retort::methods::decoupled
