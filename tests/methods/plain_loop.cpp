#include "tests/methods/plain_loop.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/train/cutmix.h"

namespace retort::testing {
namespace {

/// Rows of class c.
Tensor rows_of(const PlainSetting& s, const Tensor& images, std::int64_t c) {
  return images.slice(0, c * s.ipc, (c + 1) * s.ipc);
}

Tensor one_hot(const PlainSetting& s, const Tensor& labels) {
  return at::one_hot(labels, s.network.num_classes()).to(at::kFloat);
}

/// Of the mean cross-entropy with respect to every parameter, with a graph to the images.
Tensors parameter_gradients(const PlainSetting& s, const nn::NetworkState& net,
                            const Tensor& images, const Tensor& targets) {
  nn::NetworkState leaves;
  for (const Tensor& p : net.parameters) leaves.parameters.push_back(p.detach().requires_grad_());
  const Tensor logits =
      s.network.forward(leaves, images, {.mode = nn::Mode::Train, .second_order = true}).logits;
  const Tensor loss = -(targets * logits.log_softmax(1)).sum(1).mean();
  return torch::autograd::grad({loss}, leaves.parameters, {}, true, /*create_graph=*/true);
}

Tensors class_gradients(const PlainSetting& s, const nn::NetworkState& net, const Tensor& images,
                        std::int64_t c) {
  return parameter_gradients(s, net, images, one_hot(s, at::full({images.size(0)}, c, at::kLong)));
}

/// DC: sum over output rows of 1 - cosine; vectors count nothing.
Tensor distance_by_rows(const Tensors& real, const Tensors& synthetic) {
  Tensor sum = at::zeros({});
  for (std::size_t i = 0; i < real.size(); ++i) {
    if (real[i].dim() == 1) continue;
    const Tensor g = real[i].flatten(1);
    const Tensor h = synthetic[i].flatten(1);
    const Tensor norms = g.square().sum(1).sqrt() * h.square().sum(1).sqrt();
    sum = sum + (1 - (g * h).sum(1) / (norms + 1e-6)).sum();
  }
  return sum;
}

/// IDC: squared distance between the convolutions' weights.
Tensor squared_distance(const Tensors& real, const Tensors& synthetic) {
  Tensor sum = at::zeros({});
  for (std::size_t i = 0; i < real.size(); ++i) {
    if (real[i].dim() == 4) sum = sum + (real[i] - synthetic[i]).square().sum();
  }
  return sum;
}

using Distance = Tensor (*)(const Tensors&, const Tensors&);

/// What one class adds to the loss.  @param real,synthetic [N,C,H,W], preprocessed
Tensor class_loss(const PlainSetting& s, const nn::NetworkState& net, std::int64_t iteration,
                  std::int64_t c, const Tensor& real, Tensor synthetic, Distance distance) {
  if (s.fyi) synthetic = at::cat({synthetic, synthetic.flip(3)});
  Rng rng = s.rng.child("iteration", iteration).child("augment", c);
  const auto draw =
      augment::draw(s.augmentation, augment::Sharing::Siamese, 1, real.size(2), real.size(3), rng);
  Tensors g = class_gradients(s, net, augment::apply(s.augmentation, draw, real), c);
  for (Tensor& part : g) part = part.detach();
  return distance(g, class_gradients(s, net, augment::apply(s.augmentation, draw, synthetic), c));
}

Tensor gradient_in(const Tensor& leaf, const Tensor& loss) {
  return torch::autograd::grad({loss}, {leaf})[0];
}

struct Trained {
  nn::NetworkState net;
  Tensors velocity = {};
};

struct MiniBatch {
  Tensor images;
  Tensor labels;
};

/// One SGD step of a network.
void train_step(const PlainSetting& s, Trained& trained, MiniBatch batch, bool mirrored,
                double cutmix, const Rng& rng) {
  if (mirrored) {
    batch.images = at::cat({batch.images, batch.images.flip(3)});
    batch.labels = at::cat({batch.labels, batch.labels});
  }
  Rng augmenting = rng.child("augment");
  Tensor images = augment::augment_batch(s.net_augmentation, batch.images, augmenting);
  Tensor targets = one_hot(s, batch.labels);
  Rng mixing = rng.child("cutmix");
  if (cutmix > 0 && mixing.uniform() < cutmix) {
    const auto mix = train::draw_cutmix(images.size(0), images.size(2), images.size(3), mixing);
    images = train::mix_images(mix, images);
    targets = train::mix_targets(mix, targets);
  }
  const Tensors gradients = parameter_gradients(s, trained.net, images, targets);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Tensor& w = trained.net.parameters[i];
    const Tensor g = gradients[i].detach() + s.net_weight_decay * w;
    if (trained.velocity.size() <= i) trained.velocity.push_back(at::zeros_like(w));
    trained.velocity[i] = s.net_momentum * trained.velocity[i] + g;
    w = w - s.net_lr * trained.velocity[i];
  }
}

/// Mini-batches in random order, the last one as large as is left.
void train_on_synthetic(const PlainSetting& s, Trained& trained, const Tensor& images,
                        std::int64_t epochs, const Rng& rng) {
  const Tensor labels = at::arange(s.network.num_classes()).repeat_interleave(s.ipc);
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    const Rng own = rng.child("epoch", epoch);
    std::int64_t step = 0;
    for (const Tensor& rows :
         own.child("order").permutation_tensor(images.size(0)).split(s.net_batch)) {
      train_step(s, trained, {images.index_select(0, rows), labels.index_select(0, rows)}, s.fyi, 0,
                 own.child("step", step++));
    }
  }
}

void train_on_real(const PlainSetting& s, Trained& trained, double cutmix, const Rng& rng) {
  const auto picks = rng.child("batch").sample(s.dataset.size(data::Split::Train), s.net_batch);
  const Tensor rows = at::tensor(picks, at::kLong);
  train_step(s, trained,
             {s.dataset.batch(data::Split::Train, rows),
              s.dataset.labels(data::Split::Train).index_select(0, rows)},
             false, cutmix, rng);
}

/// Different images of class c, new ones in every iteration.
Tensor independent_batch(const PlainSetting& s, std::int64_t iteration, std::int64_t c) {
  const Tensor& members = s.dataset.class_indices(c);
  Rng rng = s.rng.child("iteration", iteration).child("real", c);
  const Tensor picks = at::tensor(rng.sample(members.numel(), s.batch_real), at::kLong);
  return s.dataset.batch(data::Split::Train, members.index_select(0, picks));
}

/// The next images of shuffled passes through class c.
Tensor stream_batch(const PlainSetting& s, std::int64_t iteration, std::int64_t c) {
  const Tensor& members = s.dataset.class_indices(c);
  const std::int64_t in_pass = members.numel() / s.batch_real;
  const Tensor order = s.rng.child("real stream", c)
                           .child("pass", iteration / in_pass)
                           .permutation_tensor(members.numel());
  const Tensor picks = order.split(s.batch_real)[std::size_t(iteration % in_pass)];
  return s.dataset.batch(data::Split::Train, members.index_select(0, picks));
}

/// The four quarters of every image, enlarged; all first quarters come first.
Tensor decode(const Tensor& images) {
  const std::int64_t height = images.size(2);
  const std::int64_t width = images.size(3);
  Tensors tiles;
  for (const std::int64_t row : {std::int64_t{0}, height / 2}) {
    for (const std::int64_t column : {std::int64_t{0}, width / 2}) {
      tiles.push_back(images.narrow(2, row, height / 2).narrow(3, column, width / 2));
    }
  }
  return at::upsample_bilinear2d(at::cat(tiles), {height, width}, /*align_corners=*/false);
}

}  // namespace

Tensors plain_dc(const PlainSetting& s, Tensor images, std::int64_t net_epochs) {
  const at::AutoGradMode gradients(true);
  Tensors after;
  Tensor velocity = at::zeros_like(images);
  for (std::int64_t n = 0; n < s.networks; ++n) {
    const Rng own = s.rng.child("networks").child("network", n);
    Trained trained{s.network.initialize(own.child("init"))};
    for (std::int64_t t = 0; t < s.period; ++t) {
      const std::int64_t iteration = n * s.period + t;
      const Tensor leaf = images.clone().requires_grad_();
      Tensor loss = at::zeros({});
      for (std::int64_t c = 0; c < s.network.num_classes(); ++c) {
        loss = loss + class_loss(s, trained.net, iteration, c, independent_batch(s, iteration, c),
                                 rows_of(s, leaf, c), distance_by_rows);
      }
      velocity = s.image_momentum * velocity + gradient_in(leaf, loss);
      images = images - s.lr_images * velocity;
      after.push_back(images);
      if (t + 1 == s.period) break;
      train_on_synthetic(s, trained, images, net_epochs, own.child("use", t + 1));
    }
  }
  return after;
}

Tensors plain_idc(const PlainSetting& s, Tensor pixels, const PlainIdc& idc) {
  const at::AutoGradMode gradients(true);
  Tensors after;
  Tensor velocity = at::zeros_like(pixels);
  for (std::int64_t n = 0; n < s.networks; ++n) {
    const Rng own = s.rng.child("networks").child("network", n);
    Trained trained{s.network.initialize(own.child("init"))};
    for (std::int64_t t = 0; t < s.period; ++t) {
      const std::int64_t iteration = n * s.period + t;
      if (iteration % idc.clamp_every == 0) pixels = pixels.clamp(0, 1);
      for (std::int64_t c = 0; c < s.network.num_classes(); ++c) {
        const Tensor leaf = pixels.clone().requires_grad_();
        const Tensor decoded = decode(rows_of(s, leaf, c));
        Rng choosing = s.rng.child("iteration", iteration).child("decoded", c);
        const Tensor chosen = decoded.index_select(
            0, at::tensor(choosing.sample(decoded.size(0), idc.max_decoded), at::kLong));
        const Tensor loss = class_loss(s, trained.net, iteration, c, stream_batch(s, iteration, c),
                                       s.dataset.preprocessing().apply(chosen), squared_distance);
        velocity = s.image_momentum * velocity + gradient_in(leaf, loss);
        pixels = pixels - s.lr_images * velocity;
      }
      after.push_back(pixels);
      for (std::int64_t step = 0; step < idc.net_steps; ++step) {
        train_on_real(s, trained, idc.net_cutmix, own.child("step", t * idc.net_steps + step));
      }
    }
  }
  return after;
}

}  // namespace retort::testing
