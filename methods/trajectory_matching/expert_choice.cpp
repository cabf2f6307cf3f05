#include "methods/trajectory_matching/expert_choice.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/synth/selection.h"
#include "methods/trajectory_matching/labels.h"

namespace retort::methods::trajectory_matching {
namespace {

constexpr std::int64_t kForwardChunk = 64;
/// Images that are classified at a time while some are looked for.
constexpr std::int64_t kLookAhead = 256;
constexpr int kRestarts = 10;

void expect_images(const data::ImageDataset& dataset, std::int64_t c, std::int64_t wanted) {
  const std::int64_t found = dataset.class_indices(c).numel();
  if (found >= wanted) return;
  throw ConfigError(str("class '", dataset.info().class_names[std::size_t(c)], "': ", wanted,
                        " training images are wanted, it has ", found));
}

/// The images of one class that are left, in random order, and those chosen.
struct Search {
  std::vector<std::int64_t> left;
  std::vector<std::int64_t> chosen;

  /// Goes through what is left until `wanted` are chosen.
  void choose(std::int64_t wanted, const std::function<Tensor(const Tensor& indices)>& right) {
    std::vector<std::int64_t> passed;
    std::size_t next = 0;
    while (next < left.size() && std::int64_t(chosen.size()) < wanted) {
      const std::size_t end = std::min(left.size(), next + std::size_t(kLookAhead));
      const std::vector<std::int64_t> batch(left.begin() + std::ptrdiff_t(next),
                                            left.begin() + std::ptrdiff_t(end));
      const Tensor answers = right(at::tensor(batch, at::kLong)).to(at::kCPU).contiguous();
      const bool* answer = answers.const_data_ptr<bool>();
      for (std::size_t i = 0; i < batch.size(); ++i, ++next) {
        if (std::int64_t(chosen.size()) == wanted) break;
        (answer[i] ? chosen : passed).push_back(batch[i]);
      }
    }
    passed.insert(passed.end(), left.begin() + std::ptrdiff_t(next), left.end());
    left = std::move(passed);
  }
};

double spread(const Tensor& rows, const synth::KMeansResult& clusters) {
  const Tensor centres = clusters.centroids.to(at::kDouble)
                             .index_select(0, at::tensor(clusters.assignment, at::kLong));
  return (rows.to(at::kDouble) - centres).square().sum().item<double>();
}

/// @param images gives `count` of them from the `first` on
Tensor logits_in_chunks(const nn::Network& network, const Tensor& theta, std::int64_t total,
                        const std::function<Tensor(std::int64_t first, std::int64_t count)>& images,
                        const StopFlag* stop) {
  const at::NoGradGuard no_grad;
  const std::int64_t chunks = (total + kForwardChunk - 1) / kForwardChunk;
  Tensors parts(static_cast<std::size_t>(chunks));
  parallel_tasks(chunks, [&](std::int64_t chunk) {
    leave_if_requested(stop, "looking at images through experts");
    const std::int64_t first = chunk * kForwardChunk;
    const Tensor batch = images(first, std::min(kForwardChunk, total - first));
    const nn::NetworkState state{nn::unflatten(theta.to(batch.options()), network.parameters()),
                                 {}};
    parts[std::size_t(chunk)] = network.forward(state, batch).logits;
  });
  return at::cat(parts);
}

}  // namespace

Tensor network_logits(const nn::Network& network, const Tensor& theta, const Tensor& images,
                      const StopFlag* stop) {
  const auto rows = [&](std::int64_t first, std::int64_t count) {
    return images.narrow(0, first, count);
  };
  return logits_in_chunks(network, theta, images.size(0), rows, stop);
}

Tensor ExpertNetworks::last_snapshot(std::int64_t expert) const {
  return experts_.snapshot(expert, std::int64_t(experts_.info().epochs.size()) - 1);
}

Tensor ExpertNetworks::logits(std::int64_t expert, const Tensor& images) const {
  return network_logits(network_, last_snapshot(expert), images, stop_);
}

Tensor ExpertNetworks::logits(std::int64_t expert, const data::ImageDataset& dataset,
                              const Tensor& indices) const {
  const auto rows = [&](std::int64_t first, std::int64_t count) {
    return dataset.batch(data::Split::Train, indices.narrow(0, first, count));
  };
  return logits_in_chunks(network_, last_snapshot(expert), indices.numel(), rows, stop_);
}

Tensor choose_right(const data::ImageDataset& dataset, std::int64_t per_class, std::int64_t experts,
                    const std::function<Tensor(std::int64_t, std::int64_t, const Tensor&)>& right,
                    const Rng& rng) {
  std::vector<std::int64_t> chosen;
  std::int64_t expert = 0;
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    expect_images(dataset, c, per_class);
    Rng order = rng.child("class", c);
    const Tensor shuffled = dataset.class_indices(c).index_select(
        0, order.permutation_tensor(dataset.class_indices(c).numel()));
    const auto* all = shuffled.const_data_ptr<std::int64_t>();
    Search search{{all, all + shuffled.numel()}, {}};
    for (std::int64_t tried = 0;; ++tried, expert = (expert + 1) % experts) {
      search.choose(per_class, [&](const Tensor& indices) { return right(expert, c, indices); });
      if (std::int64_t(search.chosen.size()) == per_class) break;
      if (tried + 1 < experts) continue;
      const std::int64_t missing = per_class - std::int64_t(search.chosen.size());
      log::info(str("class '", dataset.info().class_names[std::size_t(c)],
                    "': no expert classifies enough images correctly, ", missing,
                    " others are taken"));
      search.chosen.insert(search.chosen.end(), search.left.begin(), search.left.begin() + missing);
      break;
    }
    chosen.insert(chosen.end(), search.chosen.begin(), search.chosen.end());
  }
  return at::tensor(chosen, at::kLong);
}

Tensor choose_right(const data::ImageDataset& dataset, std::int64_t per_class,
                    const ExpertNetworks& experts, const Rng& rng) {
  const auto right = [&](std::int64_t expert, std::int64_t c, const Tensor& indices) {
    return experts.logits(expert, dataset, indices).argmax(1).eq(c);
  };
  return choose_right(dataset, per_class, experts.count(), right, rng);
}

Tensor choose_representative(const data::ImageDataset& dataset, std::int64_t per_class,
                             const ExpertNetworks& experts, const Rng& rng) {
  Rng pick = rng.child("expert");
  const std::int64_t expert = pick.integer(experts.count());
  Tensors chosen;
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    expect_images(dataset, c, per_class);
    const Tensor& members = dataset.class_indices(c);
    const Tensor rows = experts.logits(expert, dataset, members).to(at::kCPU);
    std::vector<std::int64_t> nearest;
    double smallest = std::numeric_limits<double>::infinity();
    for (int restart = 0; restart < kRestarts; ++restart) {
      auto clusters =
          synth::k_means(rows, per_class, rng.child("class", c).child("restart", restart));
      const double found = spread(rows, clusters);
      if (!nearest.empty() && found >= smallest) continue;
      smallest = found;
      nearest = std::move(clusters.nearest);
    }
    chosen.push_back(members.index_select(0, at::tensor(nearest, at::kLong)));
  }
  return at::cat(chosen);
}

Tensor mean_logits(const ExpertNetworks& experts, const Tensor& images, const Tensor& classes) {
  LogitMean mean(classes);
  for (std::int64_t e = 0; e < experts.count(); ++e) mean.add(experts.logits(e, images));
  return mean.result();
}

}  // namespace retort::methods::trajectory_matching
