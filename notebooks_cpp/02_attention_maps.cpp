// %% [markdown]
// # What the attention maps match
//
// *DataDAM* (Sajedi et al., ICCV 2023) condenses by comparing where networks look. Every block of a
// convolutional network leaves a stack of feature maps $F$ of $C$ channels. Summed over the
// channels they are one picture, the *spatial attention map* $a = \sum_c |F_c|^p$: large where the
// block has found something. The loss brings the mean maps of real and synthetic images together,
// class by class, at every block but the last, and at the end the mean embeddings as well:
//
// $$L = 100 \sum_l \sum_c |\bar a_l^{R_c} - \bar a_l^{S_c}|^2
//   + 100 \lambda \sum_c |\bar e^{R_c} - \bar e^{S_c}|^2$$
//
// Maps are scaled to unit length before they are averaged. This page shows the maps, takes the loss
// apart, and lets images walk down its gradient by hand, without the driver.

// %% [globals]
#include <cmath>

#include "datasets/dataset.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/synth/picture.h"
#include "methods/attention_matching/attention_matching.h"

using namespace retort;
using methods::attention_matching::AttentionObjective;
using methods::matching::ClassPair;

// %% [markdown]
// ## Maps of a real image
//
// Networks are functions: the architecture is an object that never changes, its parameters are
// passed in. A fresh one will do, for its features are random but not arbitrary: a random filter
// answers to edges too.

// %%
const data::ImageDataset dataset = datasets::open_dataset("shapes", {});
const auto names = dataset.info().class_names;
const auto classes = dataset.num_classes();
const auto network = nn::make_network("ConvNet-3-w64", dataset.shape(), classes);
const nn::NetworkState state = network->initialize(Rng(1).child("network"));

// %% [globals]
/// Small images and maps of all sizes as pictures of one: a picture element becomes a square.
/// @param pixels [N,C,h,h], 0 .. 255  @return uint8 [N,C,80,80]
Tensor enlarged(const Tensor& pixels) {
  return at::upsample_nearest2d(pixels.to(at::kFloat), {80, 80}).to(at::kByte);
}

/// Where the blocks of a network look, white where most is found.
/// @param images [N,C,H,W]  @return per block uint8 [N,1,80,80]
Tensors attention_pictures(const nn::Network& network, const nn::NetworkState& state,
                           const Tensor& images) {
  const at::NoGradGuard no_grad;
  const auto result = network.forward(state, images, {.logits = false, .attention_power = 1});
  Tensors pictures;
  for (const Tensor& map : result.attention) {  // [N,h*h]
    const auto h = std::lround(std::sqrt(double(map.size(1))));
    const Tensor low = map.amin({1}, true);
    const Tensor scaled = 255 * (map - low) / (map.amax({1}, true) - low).clamp_min(1e-12);
    pictures.push_back(enlarged(scaled.view({-1, 1, h, h})));
  }
  return pictures;
}

// %%
Tensors firsts;
for (std::int64_t c = 0; c < classes; ++c)
  firsts.push_back(dataset.class_indices(c).slice(0, 0, 2));
const Tensor some = at::cat(firsts);
const Tensors looks = attention_pictures(*network, state, dataset.batch(data::Split::Train, some));
std::vector<vision::GridRow> rows = {{"image", enlarged(dataset.pixels(data::Split::Train, some))}};
for (std::size_t l = 0; l < looks.size(); ++l) rows.push_back({str("block ", l + 1), looks[l]});
nb::grid(rows, "Two images of every class and their attention maps after each of three blocks",
         {.column_groups = names});

// %% [markdown]
// Deeper maps are coarser: every block halves the side. What is left of the object in the last one
// is mostly that there is one, and the embedding says that already. That is why the last map is
// left out.

// %% [markdown]
// ## The loss, from nothing
//
// The set starts as noise, five images per class. `AttentionObjective` is the loss that the method
// `datadam` uses, with its parts; it knows nothing of optimisers.

// %% [globals]
/// Real and synthetic images of every class, as the objective wants them.
std::vector<ClassPair> pairs_of(const data::ImageDataset& dataset, const Tensor& synthetic,
                                std::int64_t real_per_class, const Rng& rng) {
  std::vector<ClassPair> pairs;
  const Tensors halves = synthetic.chunk(dataset.num_classes());
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    Rng draw = rng.child("real", c);
    const Tensor& all = dataset.class_indices(c);
    const auto chosen = draw.sample(all.size(0), real_per_class);
    pairs.push_back({.class_index = c,
                     .real = dataset.batch(data::Split::Train,
                                           all.index_select(0, at::tensor(chosen, at::kLong))),
                     .synthetic = halves[std::size_t(c)]});
  }
  return pairs;
}

// %%
const std::int64_t ipc = 5;
const AttentionObjective objective(/*power=*/1, /*lambda=*/0.01);
Rng noise = Rng(2).child("noise");
const auto shape = dataset.shape();
const Tensor images =
    noise.normal_tensor({classes * ipc, shape.channels, shape.height, shape.width});
const Tensor start = images.clone();
images.requires_grad_();

const auto first = objective.loss({*network, state}, pairs_of(dataset, images, 64, Rng(3)));
for (const auto& [name, value] : first.parts) nb::out(name, " term: ", fixed(value, 3));

// %% [markdown]
// ## Down the gradient
//
// Every step takes a new random network and new real images, so that no network's quirks are
// learned. Gradients flow through the maps of the synthetic images only. Plain gradient descent,
// one line.

// %%
const std::int64_t steps = nb::fast() ? 10 : 300;
const double step_size = 10;
report::Curve attention{.name = "attention", .x = {}, .y = {}, .spread = {}};
report::Curve embedding{.name = "embedding", .x = {}, .y = {}, .spread = {}};
for (std::int64_t i = 0; i < steps; ++i) {
  const Rng rng = Rng(4).child("step", i);
  const nn::NetworkState fresh = network->initialize(rng.child("network"));
  const auto loss = objective.loss({*network, fresh}, pairs_of(dataset, images, 64, rng));
  loss.total.backward();
  {
    const at::NoGradGuard no_grad;
    images.sub_(step_size * images.grad());
    images.mutable_grad().zero_();
  }
  attention.x.push_back(double(i));
  attention.y.push_back(loss.parts[0].second);
  embedding.x.push_back(double(i));
  embedding.y.push_back(loss.parts[1].second);
}
nb::chart({.title = "The terms of the loss, each step in another network",
           .x_title = "step",
           .y_title = "term",
           .curves = {report::thinned(attention, 100), report::thinned(embedding, 100)}});

// %%
const auto as_pixels = [&](const Tensor& of, std::int64_t c) {
  return synth::to_pixels(of.detach().chunk(classes)[std::size_t(c)], dataset.preprocessing())
      .values;
};
std::vector<vision::GridRow> found;
for (std::int64_t c = 0; c < classes; ++c) {
  found.push_back({names[std::size_t(c)], at::cat({as_pixels(start, c), as_pixels(images, c)})});
}
nb::grid(found, "Synthetic images of every class before and after",
         {.column_groups = {"at the start", "in the end"}});

// %% [markdown]
// ## What has been matched
//
// Mean maps of all classes, in a network that no step has seen: of real images, of the noise, and
// of what it became. Mean maps of the same class should be alike, whatever single images look like;
// that is all the loss asks for.

// %%
const nn::NetworkState unseen = network->initialize(Rng(5).child("unseen"));
const auto mean_look = [&](const Tensor& of, std::size_t block) {
  return attention_pictures(*network, unseen, of)[block].to(at::kFloat).mean(0, true).to(at::kByte);
};
std::vector<vision::GridRow> means;
for (std::int64_t c = 0; c < classes; ++c) {
  const Tensor real = dataset.batch(data::Split::Train, dataset.class_indices(c));
  Tensors columns;
  for (const std::size_t block : {0, 1}) {
    columns.push_back(mean_look(real, block));
    columns.push_back(mean_look(start.chunk(classes)[std::size_t(c)], block));
    columns.push_back(mean_look(images.detach().chunk(classes)[std::size_t(c)], block));
  }
  means.push_back({names[std::size_t(c)], at::cat(columns)});
}
nb::grid(means, "Mean attention maps of every class: real, at the start, in the end",
         {.column_groups = {"block 1: real, start, end", "block 2: real, start, end"}});

// %%
const auto terms = [&](const Tensor& of) {
  return objective.loss({*network, unseen}, pairs_of(dataset, of, 100, Rng(6))).parts;
};
const auto before = terms(start);
const auto after = terms(images.detach());
std::vector<std::vector<std::string>> table;
for (std::size_t i = 0; i < before.size(); ++i) {
  table.push_back({before[i].first, fixed(before[i].second, 3), fixed(after[i].second, 3)});
}
nb::out("in a network that no step has seen, against all real images:");
nb::table({"term", "at the start", "in the end"}, table);

// %% [markdown]
// The method does the same with the driver around it, two more things, and kernels that compute a
// block's map without keeping its channels: `retort condense --method datadam --help`. Real and
// synthetic images go through the same random augmentation, and networks have BatchNorm, as in the
// paper's code. `methods/attention_matching/README.md` says what differs from the paper.
