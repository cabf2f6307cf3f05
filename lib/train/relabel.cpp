#include "lib/train/relabel.h"

#include <algorithm>
#include <utility>

#include "lib/augment/mix.h"
#include "lib/augment/views.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/rng.h"
#include "lib/core/str.h"
#include "lib/train/norm_groups.h"

namespace retort::train {
namespace {

using data::ImageSize;
using data::Mix;

constexpr char kMeasuredOn[] = "priors-measured-on";

/// Where no image depends on another a batch is cut, so that maps stay in the cache and memory does
/// not grow with it. From the number of images alone: the same cut gives the same bits.
constexpr std::int64_t kImagesAtOnce = 32;

Mix::Kind mix_kind(const std::string& name) {
  if (name == "cutmix") return Mix::Kind::CutMix;
  if (name == "mixup") return Mix::Kind::MixUp;
  return Mix::Kind::None;
}

std::int64_t batch_of(const RelabelRecipe& recipe, std::int64_t images) {
  return std::min(recipe.batch_size, images);
}

/// Views of the last batch of an epoch.
std::int64_t last_batch(const RelabelRecipe& recipe, std::int64_t images) {
  return images - (batches_per_epoch(recipe, images) - 1) * batch_of(recipe, images);
}

augment::ViewPolicy policy_of(const RelabelRecipe& recipe) {
  augment::ViewPolicy policy;
  policy.crop = recipe.smallest_area < 1;
  policy.smallest_area = recipe.smallest_area;
  policy.flip = recipe.flip;
  return policy;
}

LabelNorm norm_of(const RelabelRecipe& recipe, std::int64_t images) {
  if (recipe.batch_norm == "eval") return {0};
  // A group as large as a batch: the labeler is asked batch by batch, or half by half.
  const bool groups = recipe.batch_norm == "batch" && recipe.batch_norm_group > 0;
  return {groups ? norm_group(recipe.batch_norm_group, recipe.batch_size, images)
                 : recipe.batch_size};
}

/// Sizes of pieces of `size`, the last one of what is left.
std::vector<std::int64_t> piece_sizes(std::int64_t images, std::int64_t size) {
  std::vector<std::int64_t> sizes(std::size_t(images / size), size);
  if (images % size > 0) sizes.push_back(images % size);
  return sizes;
}

/// The images that share statistics in a batch of so many, group after group.
std::vector<std::int64_t> groups_of(const RelabelRecipe& recipe, LabelNorm norm,
                                    std::int64_t images) {
  if (recipe.batch_norm == "halves") {
    if (images < 2) return {images};
    return {images / 2, images - images / 2};
  }
  return piece_sizes(images, norm.group);
}

/// Pieces of so many images, asked on their own.
Tensor in_pieces(const Labeler& labeler, const Tensor& images,
                 const std::vector<std::int64_t>& sizes) {
  const Tensors pieces = images.split_with_sizes(sizes);
  Tensors labels(pieces.size());
  parallel_tasks(std::int64_t(pieces.size()),
                 [&](std::int64_t i) { labels[std::size_t(i)] = labeler(pieces[std::size_t(i)]); });
  return labels.size() == 1 ? labels[0] : at::cat(labels);
}

/// Of images whose labels do not depend on each other.
Tensor independent_labels(const Labeler& labeler, const Tensor& images) {
  // A device wants them all at once.
  if (!images.is_cpu()) return labeler(images);
  return in_pieces(labeler, images, piece_sizes(images.size(0), kImagesAtOnce));
}

void expect_one_image_possible(const Member& member, const std::string& advice) {
  const nn::ImageShape shape = member.network->input();
  const Tensor image = at::zeros({1, shape.channels, shape.height, shape.width},
                                 member.state.parameters.at(0).options());
  try {
    const at::NoGradGuard no_grad;
    member.network->forward(member.state, image, {.mode = nn::Mode::Batch});
  } catch (const ConfigError& e) {
    throw ConfigError(str("teacher ", member.name, ": ", advice, "; ", e.what()));
  }
}

void expect_one_each(const std::vector<double>& priors, const std::vector<Member>& committee) {
  if (priors.size() == committee.size()) return;
  throw ConfigError(
      str("priors: expected ", committee.size(), ", one per teacher, found ", priors.size()));
}

}  // namespace

const std::vector<std::string>& RelabelRecipe::names() {
  static const std::vector<std::string> all = {"fkd", "cda", "cv-dd", "static"};
  return all;
}

RelabelRecipe RelabelRecipe::defaults(const std::string& name) {
  const auto& known = names();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw ConfigError(unknown_name_message("recipe of labels", name, known));
  }
  RelabelRecipe recipe;
  recipe.name = name;
  if (name == "cda") recipe.batch_size = 128;
  if (name == "cv-dd") {
    recipe.batch_size = 16;
    recipe.batch_norm = "batch";
    recipe.batch_norm_group = 8;
    recipe.vote = "priors";
  }
  return recipe;
}

void RelabelRecipe::describe(config::OptionTable& table) {
  using namespace config;
  if (!is_static()) {
    table.add("epochs", epochs, "how often every image is viewed and labelled",
              in_range(std::int64_t{1}, std::int64_t{100000}));
    table.add(
        "batch-size", batch_size,
        "views that are mixed with each other and go to a student together; at most all images",
        in_range(std::int64_t{1}, std::int64_t{65535}));
    table.add("smallest-area", smallest_area, "of a crop, over the image's; 1: no crops",
              in_range(0.01, 1.0));
    table.add("flip", flip, "mirror half of the views");
    table.add("mix", mix, "each batch with a permutation of itself",
              one_of({"cutmix", "mixup", "none"}));
    table.add(
        "batch-norm", batch_norm,
        "what the teachers' BatchNorm normalises by: the statistics of training (eval), those "
        "of groups of the batch, or of each half of it (the code of CV-DD)",
        one_of({"eval", "batch", "halves"}));
    table
        .add("batch-norm-group", batch_norm_group,
             "consecutive views that share statistics, or as large a part of fewer images than "
             "batch-size; 0: the whole batch",
             in_range(std::int64_t{0}, std::int64_t{65535}))
        .only_with("batch-norm", {"batch"});
    table.add("seed", seed, "of orders, views and mixes", at_least(std::int64_t{0}));
  }
  table.add("vote", vote, "all teachers count alike, or by softmax(priors / vote-temperature)",
            one_of({"equal", "priors"}));
  table
      .add("priors", priors,
           "percent, one per teacher: what students reach on images recovered from it alone; none: "
           "percent of training images that each teacher knows",
           in_range(0.0, 100.0))
      .only_with("vote", {"priors"});
  table.add("vote-temperature", vote_temperature, "larger: more alike", positive())
      .only_with("vote", {"priors"});
}

void RelabelRecipe::settle(const std::vector<Member>& committee,
                           const data::ImageDataset* dataset) {
  if (vote != "priors") return;
  if (!priors.empty()) {
    expect_one_each(priors, committee);
    return;
  }
  if (dataset == nullptr) return;
  const Knowledge knowledge = measured_knowledge(committee, *dataset);
  priors = knowledge.percent;
  priors_measured_on = knowledge.images;
  log::info(
      str("priors measured on ", priors_measured_on, " training images: ", join(priors), " %"));
}

std::string RelabelRecipe::text() const {
  RelabelRecipe described = *this;
  config::OptionTable table;
  described.describe(table);
  const std::string measured =
      priors_measured_on > 0 ? str(kMeasuredOn, " = ", priors_measured_on, "\n") : "";
  return str("recipe = ", name, "\n", config::config_text(table), measured);
}

RelabelRecipe RelabelRecipe::of_text(const std::string& text) {
  const std::string source = "recipe of recorded labels";
  std::vector<config::ConfigEntry> entries = config::parse_config(text, source);
  const auto named = std::find_if(entries.begin(), entries.end(),
                                  [](const auto& entry) { return entry.key == "recipe"; });
  if (named == entries.end()) throw ConfigError(source + ": expected a line 'recipe = ...'");
  RelabelRecipe recipe = defaults(named->value);
  entries.erase(named);
  config::OptionTable table;
  recipe.describe(table);
  // No option: it says where numbers are from.
  table.add(kMeasuredOn, recipe.priors_measured_on, "", config::at_least(std::int64_t{0}));
  config::apply_config(table, entries, source, config::Origin::File);
  return recipe;
}

Labeler labeler_of(const RelabelRecipe& recipe, std::vector<Member> committee,
                   std::int64_t images) {
  const bool by_priors = recipe.vote == "priors";
  if (by_priors) expect_one_each(recipe.priors, committee);
  std::vector<double> weights =
      by_priors ? voting_weights(recipe.priors, recipe.vote_temperature)
                : std::vector<double>(committee.size(), 1.0 / double(committee.size()));
  return {std::move(committee), std::move(weights), norm_of(recipe, images)};
}

data::ViewsInfo views_info(const RelabelRecipe& recipe, std::int64_t images, std::int64_t classes,
                           ImageSize size) {
  return {.images = images,
          .classes = classes,
          .source = size,
          .canvas = size,
          .epochs = recipe.epochs,
          .batch = batch_of(recipe, images),
          .seed = std::uint64_t(recipe.seed),
          .recipe = recipe.text()};
}

std::int64_t batches_per_epoch(const RelabelRecipe& recipe, std::int64_t images) {
  const std::int64_t batch = batch_of(recipe, images);
  return (images + batch - 1) / batch;
}

void expect_label_groups(const RelabelRecipe& recipe, const Labeler& labeler, std::int64_t images) {
  if (recipe.batch_norm == "eval") return;
  for (const std::int64_t batch : {batch_of(recipe, images), last_batch(recipe, images)}) {
    const std::vector<std::int64_t> groups = groups_of(recipe, labeler.norm(), batch);
    if (*std::min_element(groups.begin(), groups.end()) > 1) continue;
    const std::string advice =
        str("a batch of ", batch, " views has a group of one for BatchNorm (", join(groups, " + "),
            "); choose another --batch-size or --batch-norm-group, or --batch-norm eval");
    for (const Member& member : labeler.committee()) {
      if (member.network->has_batch_norm()) expect_one_image_possible(member, advice);
    }
  }
}

Tensor labels_of_views(const RelabelRecipe& recipe, const Labeler& labeler, const Tensor& seen) {
  if (recipe.batch_norm == "eval") return independent_labels(labeler, seen);
  if (recipe.batch_norm == "batch") return labeler(seen);
  return in_pieces(labeler, seen, groups_of(recipe, labeler.norm(), seen.size(0)));
}

data::ViewBatch drawn_batch(const RelabelRecipe& recipe, const data::ViewsInfo& info,
                            std::int64_t index) {
  const std::int64_t per_epoch = batches_per_epoch(recipe, info.images);
  const std::int64_t begin = index % per_epoch * info.batch;
  const std::int64_t views = std::min(info.batch, info.images - begin);
  data::ViewBatch batch;
  batch.epoch = index / per_epoch;
  const Rng epoch = Rng(std::uint64_t(recipe.seed)).child("relabel", batch.epoch);
  const std::vector<std::int64_t> order = epoch.child("order").permutation(info.images);
  batch.images.assign(order.begin() + begin, order.begin() + begin + views);
  const Rng stream = epoch.child("batch", index % per_epoch);
  batch.views = augment::draw_views(policy_of(recipe), views, info.source, stream);
  batch.views.mix =
      augment::draw_mix(mix_kind(recipe.mix), views, info.canvas, stream.child("mix"));
  return batch;
}

Tensor labels_of_batch(const RelabelRecipe& recipe, const Labeler& labeler, const Tensor& images,
                       const data::ViewBatch& batch) {
  const Tensor rows = at::tensor(batch.images, at::kLong).to(images.device());
  const Tensor seen = augment::apply_views(batch.views, images.index_select(0, rows),
                                           {images.size(2), images.size(3)});
  return data::half_logits(labels_of_views(recipe, labeler, seen)).cpu();
}

data::ViewBatch labelled_batch(const RelabelRecipe& recipe, const Labeler& labeler,
                               const Tensor& images, std::int64_t index) {
  const std::int64_t classes = labeler.committee().front().network->num_classes();
  const data::ViewsInfo info =
      views_info(recipe, images.size(0), classes, {images.size(2), images.size(3)});
  data::ViewBatch batch = drawn_batch(recipe, info, index);
  batch.values = labels_of_batch(recipe, labeler, images, batch);
  return batch;
}

Tensor static_labels(const Labeler& labeler, const Tensor& images) {
  return independent_labels(labeler, images).cpu();
}

}  // namespace retort::train
