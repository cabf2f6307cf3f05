#include "lib/train/class_statistics.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

constexpr double kStep = 0.1;  // of BatchNorm's own running statistics
constexpr std::int64_t kImagesPerTask = 16;

/// Of every image alone, per BatchNorm layer: mean and biased variance [N,C] over positions. An
/// image's do not depend on the others, so that no class needs a pass of its own.
using PerImage = std::vector<nn::BatchStatistics>;

PerImage statistics_of_images(const nn::Network& network, const nn::NetworkState& state,
                              const Tensor& images) {
  const at::NoGradGuard no_grad;
  return network
      .forward(state, images,
               {.logits = false, .batch_norm_statistics = true, .batch_norm_group = 1})
      .batch_norm_statistics;
}

PerImage joined(const std::vector<PerImage>& parts) {
  PerImage all(parts.front().size());
  for (std::size_t layer = 0; layer < all.size(); ++layer) {
    // A layer that no image passes through has none.
    if (!parts.front()[layer].mean.defined()) continue;
    Tensors means;
    Tensors variances;
    for (const PerImage& part : parts) {
      means.push_back(part[layer].mean);
      variances.push_back(part[layer].variance);
    }
    all[layer] = {at::cat(means).to(at::kCPU, at::kDouble),
                  at::cat(variances).to(at::kCPU, at::kDouble)};
  }
  return all;
}

/// Images are shared out among the threads.
PerImage statistics_of_batch(const nn::Network& network, const nn::NetworkState& state,
                             const data::ImageDataset& dataset, const Tensor& indices) {
  const Tensors shares = indices.split(kImagesPerTask);
  std::vector<PerImage> parts(shares.size());
  parallel_tasks(std::int64_t(shares.size()), [&](std::int64_t task) {
    const auto t = std::size_t(task);
    parts[t] = statistics_of_images(network, state, dataset.batch(data::Split::Train, shares[t]));
  });
  return joined(parts);
}

/// The images of some classes together: mean and second moment [P,C] of the P classes present.
struct Moments {
  Tensor mean;
  Tensor square;
};

Moments moments_of_classes(const nn::BatchStatistics& images, const Tensor& row,
                           const Tensor& counts) {
  const auto sums = [&](const Tensor& values) {
    return at::zeros({counts.numel(), values.size(1)}, at::kDouble).index_add(0, row, values);
  };
  const Tensor per_class = counts.unsqueeze(1);
  return {sums(images.mean).div(per_class),
          sums(images.variance + images.mean.square()).div(per_class)};
}

Tensor variance_of(const Moments& moments) {
  return (moments.square - moments.mean.square()).clamp_min(0);
}

/// Statistics of all classes for one layer, batch by batch.
class ClassAverages {
 public:
  ClassAverages(std::int64_t classes, std::int64_t channels, bool ema)
      : ema_(ema),
        mean_(at::zeros({classes, channels}, at::kDouble)),
        second_(ema ? at::ones_like(mean_) : at::zeros_like(mean_)) {}

  /// @param classes int64 [P], all different  @param counts [P] images of each in the batch
  /// @param before [P] images of each in earlier batches
  void add(const Tensor& classes, const Tensor& counts, const Tensor& before,
           const Moments& batch) {
    // The step of a mean over all images is their share of those seen.
    const Tensor step = ema_ ? at::full_like(counts, kStep) : counts / (before + counts);
    move(mean_, classes, step, batch.mean);
    move(second_, classes, step, ema_ ? variance_of(batch) : batch.square);
  }

  Tensor mean() const { return mean_; }
  Tensor variance() const { return ema_ ? second_ : variance_of({mean_, second_}); }

 private:
  static void move(Tensor& values, const Tensor& classes, const Tensor& step, const Tensor& to) {
    const Tensor from = values.index_select(0, classes);
    values.index_copy_(0, classes, at::lerp(from, to, step.unsqueeze(1)));
  }

  bool ema_;
  Tensor mean_;    // [K,C]
  Tensor second_;  // of `ema` the variance, else the second moment, which may be averaged
};

std::vector<ClassAverages> start(const nn::Network& network, std::int64_t classes, bool ema) {
  std::vector<ClassAverages> layers;
  for (std::size_t i = 0; i < network.buffers().size(); i += 2) {
    layers.emplace_back(classes, network.buffers()[i].shape.front(), ema);
  }
  return layers;
}

std::vector<storage::NamedTensor> named(const nn::Network& network,
                                        const std::vector<ClassAverages>& layers) {
  std::vector<storage::NamedTensor> result;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    const auto& buffers = network.buffers();
    result.push_back({buffers[2 * layer].name, layers[layer].mean().to(at::kFloat)});
    result.push_back({buffers[2 * layer + 1].name, layers[layer].variance().to(at::kFloat)});
  }
  return result;
}

}  // namespace

const std::vector<std::string>& class_averages() {
  static const std::vector<std::string> all = {"ema", "mean"};
  return all;
}

std::vector<storage::NamedTensor> class_statistics(
    const nn::Network& network, const nn::NetworkState& state, const data::ImageDataset& dataset,
    const std::string& average, std::int64_t batch_size, Rng rng, const StopFlag* stop) {
  if (std::find(class_averages().begin(), class_averages().end(), average) ==
      class_averages().end()) {
    throw ConfigError(unknown_name_message("average of classes", average, class_averages()));
  }
  if (!network.has_batch_norm()) {
    throw ConfigError(
        str("statistics of classes are those of BatchNorm, ", network.name(), " has none"));
  }
  auto layers = start(network, dataset.num_classes(), average == "ema");
  Tensor seen = at::zeros({dataset.num_classes()}, at::kDouble);
  const Tensor order = rng.permutation_tensor(dataset.size(data::Split::Train));
  for (const Tensor& indices : order.split(batch_size)) {
    leave_if_requested(stop, "taking statistics of classes");
    const PerImage images = statistics_of_batch(network, state, dataset, indices);
    const Tensor labels = dataset.labels(data::Split::Train).index_select(0, indices);
    const auto [classes, row, count] = at::_unique2(labels, true, true, true);
    const Tensor counts = count.to(at::kDouble);
    const Tensor before = seen.index_select(0, classes);
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      if (!images[layer].mean.defined()) continue;
      layers[layer].add(classes, counts, before, moments_of_classes(images[layer], row, counts));
    }
    seen.index_add_(0, classes, counts);
  }
  return named(network, layers);
}

}  // namespace retort::train
