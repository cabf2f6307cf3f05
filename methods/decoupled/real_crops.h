#pragma once
// Images put together from crops of real ones that a network finds realistic (RDED: Sun et al.,
// CVPR 2024; LINs-lab/RDED, synthesize/main.py).

#include <cstdint>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/progress.h"
#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/data/recorded_views.h"
#include "lib/train/committee.h"

namespace retort::methods::decoupled {

struct RealCropOptions {
  std::int64_t images_per_class = 300;  ///< real images looked at; all of a class that has fewer
  std::int64_t crops = 5;               ///< of each
  std::int64_t factor = 0;  ///< factor x factor crops in an image; 0: 2 from 128 pixels on, else 1
  std::int64_t offset = 0;  ///< best images of a class that are passed over (CV-DD: "medium")
  double smallest_area = 0.08;  ///< of a crop over the image's

  void describe(config::OptionTable& table);
  std::int64_t factor_for(data::ImageShape image) const;
  /// Crops that the network sees, of all classes.
  double looked_at(const data::ImageDataset& dataset) const;
};

/// Square crops, each brought to side x side pixels: bilinear between centres of pixels, and
/// smoothed where that reduces.
/// @param images [n,C,H,W] floating  @param boxes as many for every image, image by image
/// @return [n,boxes/n,C,side,side]
Tensor resized_crops(const Tensor& images, const std::vector<data::PixelBox>& boxes,
                     std::int64_t side);

/// Cross-entropy with one class of every crop, seen in the middle of zeros; no gradient.
/// @param crops [n,m,C,h,w]  @param size of the network's images  @return [n,m]
Tensor crop_losses(const nn::Network& network, const nn::NetworkState& state, const Tensor& crops,
                   std::int64_t label, std::int64_t size);

/// Whether a dataset has what these options ask for, found without computing.
/// @throws ConfigError for images that are not square or are whitened, and for a class with fewer
///         images than crops are needed, naming it
void expect_possible(const data::ImageDataset& dataset, const RealCropOptions& options,
                     std::int64_t ipc);

/// Crops that go through the network at once, on each thread: fewer of larger images.
std::int64_t crops_at_once(const RealCropOptions& options, data::ImageShape image);

/// Images of classes that are finished, uint8 [ipc,C,H,W] on the CPU each; undefined: not yet.
using FinishedClasses = Tensors;

/// Who looks on while images are made.
struct CropWatch {
  const StopFlag* stop = nullptr;
  ProgressSink* progress = nullptr;
  /// Classes in here are taken as they are, others put here once they are finished, before anybody
  /// who asked for a stop gets it. Empty: none is finished. Null: nobody keeps them.
  FinishedClasses* finished = nullptr;
};

/// Of random real images of every class random crops; of each image the crop that `observer` finds
/// most realistic; of these the best, as mosaics. As they are stored: 8-bit pixels, preprocessed.
/// Classes run side by side, each on one thread; what is held does not grow with the number of real
/// images. What is drawn for a class depends on `rng`, the class and its images only.
/// @return float32 [K*ipc,C,H,W] on the CPU, class-major
/// @throws ConfigError as expect_possible; Interrupted when a stop was requested
Tensor realistic_images(const data::ImageDataset& dataset, const train::Member& observer,
                        const RealCropOptions& options, std::int64_t ipc, const Rng& rng,
                        const CropWatch& watch = {});

}  // namespace retort::methods::decoupled
