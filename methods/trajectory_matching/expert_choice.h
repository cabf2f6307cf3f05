#pragma once
// What trained experts say about images: which to start from, and with which labels.

#include <cstdint>
#include <functional>

#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/expert_file.h"

namespace retort::methods::trajectory_matching {

/// Logits of images, on several threads, without a graph.
/// @param theta [P]  @param images [N,C,H,W]  @return [N,K], on the device of the images
/// @throws Interrupted when a stop was requested
Tensor network_logits(const nn::Network& network, const Tensor& theta, const Tensor& images,
                      const StopFlag* stop);

/// The experts as finished networks: their last snapshots.
class ExpertNetworks {
 public:
  /// All three must outlive this object.
  ExpertNetworks(const storage::ExpertReader& experts, const nn::Network& network,
                 const StopFlag* stop)
      : experts_(experts), network_(network), stop_(stop) {}

  std::int64_t count() const { return experts_.experts(); }
  /// As network_logits.
  Tensor logits(std::int64_t expert, const Tensor& images) const;
  /// The same for training images.  @param indices int64 [N]
  Tensor logits(std::int64_t expert, const data::ImageDataset& dataset,
                const Tensor& indices) const;

 private:
  Tensor last_snapshot(std::int64_t expert) const;

  const storage::ExpertReader& experts_;
  const nn::Network& network_;
  const StopFlag* stop_;
};

/// Images that experts classify correctly, in random order (Guo et al. 2024). The first expert
/// chooses; when a class has no more such images the next one goes on there, and begins with the
/// next class. Where all of them are through, random others are taken.
/// @param right bool [n]: which training images of class `c`, int64 [n], an expert classifies
///        correctly; asked for as few as will do
/// @return int64 [K*per_class], class-major
/// @throws ConfigError when a class has too few images, naming it
Tensor choose_right(
    const data::ImageDataset& dataset, std::int64_t per_class, std::int64_t experts,
    const std::function<Tensor(std::int64_t expert, std::int64_t c, const Tensor& indices)>& right,
    const Rng& rng);
Tensor choose_right(const data::ImageDataset& dataset, std::int64_t per_class,
                    const ExpertNetworks& experts, const Rng& rng);

/// For every class the images nearest to the centres of as many clusters, by the logits of one
/// random expert (Shen et al. 2023); the best of ten k-means.
/// @return int64 [K*per_class], class-major
Tensor choose_representative(const data::ImageDataset& dataset, std::int64_t per_class,
                             const ExpertNetworks& experts, const Rng& rng);

/// Mean logits of the experts that classify an image correctly (LogitMean).
/// @param images [M,C,H,W]  @param classes int64 [M]  @return float32 [M,K], on the CPU
Tensor mean_logits(const ExpertNetworks& experts, const Tensor& images, const Tensor& classes);

}  // namespace retort::methods::trajectory_matching
