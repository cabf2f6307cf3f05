#pragma once
// The papers' loops of gradient matching written out, one thing after another: Zhao, Mopuri and
// Bilen 2021 (DC), Zhao and Bilen 2021 (DSA) and Kim et al. 2022 (IDC), each with or without the
// mirror images of Son et al. 2024 (FYI). Random numbers come from the streams that the methods
// take them from, so that both see the same networks, batches and augmentations.

#include <cstdint>

#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"

namespace retort::testing {

/// Of both loops; networks have no BatchNorm.
struct PlainSetting {
  const data::ImageDataset& dataset;
  const nn::Network& network;
  Rng rng;  ///< the root stream of the run
  std::int64_t ipc = 2;
  std::int64_t networks = 2;  ///< used one after the other
  std::int64_t period = 3;    ///< matching steps of each

  double lr_images = 0;
  double image_momentum = 0;
  std::int64_t batch_real = 0;
  augment::Strategy augmentation = {};  ///< one draw per class for both halves
  bool fyi = false;

  std::int64_t net_batch = 0;
  double net_lr = 0;
  double net_momentum = 0;
  double net_weight_decay = 0;
  augment::Strategy net_augmentation = {};
};

/// DC and DSA: networks trained on the synthetic set, for some epochs between two matching steps.
/// @param images [K*ipc,C,H,W], preprocessed, where the loop starts
/// @return the images after every matching step
Tensors plain_dc(const PlainSetting& setting, Tensor images, std::int64_t net_epochs);

struct PlainIdc {
  std::int64_t clamp_every = 0;  ///< matching steps
  std::int64_t max_decoded = 0;  ///< images per class
  std::int64_t net_steps = 0;    ///< on real data after every matching step
  double net_cutmix = 0;         ///< probability
};

/// IDC with factor 2: a class at a time, each with a step of the optimiser of all images.
/// @param pixels [K*ipc,C,H,W] in [0,1], H and W even, where the loop starts
/// @return the pixels after every matching step, one of every class
Tensors plain_idc(const PlainSetting& setting, Tensor pixels, const PlainIdc& idc);

}  // namespace retort::testing
