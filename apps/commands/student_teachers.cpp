#include "apps/commands/student_teachers.h"

#include <algorithm>
#include <utility>

#include "apps/commands/labelling_plan.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/synth/parametrization.h"
#include "lib/train/labelling.h"
#include "lib/train/relabel.h"

namespace retort::commands {
namespace {

constexpr std::int64_t kBatchesAtOnce = 32;

const data::Asset* labelers_of(const data::SyntheticSet& set) {
  const auto found =
      std::find_if(set.assets.begin(), set.assets.end(),
                   [](const data::Asset& asset) { return asset.role == data::kLabelers; });
  return found == set.assets.end() ? nullptr : &*found;
}

/// How the views of `set` were labelled, for as many epochs as students train.
train::RelabelRecipe recipe_of(const data::SyntheticSet& set, const eval::Protocol& protocol) {
  if (set.views == nullptr) throw ConfigError("the set has no labels of views");
  const data::ViewsInfo& info = set.views->info();
  if (info.recipe.empty()) {
    throw ConfigError(
        "the set does not say how its views were labelled, so no baseline can be labelled in the "
        "same way; leave --baselines away");
  }
  train::RelabelRecipe recipe = train::RelabelRecipe::of_text(info.recipe);
  if (info.sampling == data::ViewsInfo::Sampling::Order) {
    recipe.epochs = std::min(recipe.epochs, protocol.epochs);
  }
  return recipe;
}

/// How the images of `set` were labelled as they are.
train::RelabelRecipe static_recipe_of(const data::SyntheticSet& set) {
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  if (soft == nullptr) throw ConfigError("the set has no labels of images as they are");
  if (!soft->by_teachers()) {
    throw ConfigError(
        "the set does not say how its images were labelled, so no baseline can be labelled in the "
        "same way; leave --baselines away");
  }
  return train::RelabelRecipe::of_text(soft->recipe);
}

/// Batch after batch, some at a time, each on one thread.
std::shared_ptr<const data::RecordedViews> labelled_views(const train::RelabelRecipe& recipe,
                                                          const train::Labeler& labeler,
                                                          const Tensor& images,
                                                          const data::ViewsInfo& like,
                                                          cli::Program& program) {
  const std::int64_t count = images.size(0);
  train::expect_label_groups(recipe, labeler, count);
  data::ViewsInfo info = train::views_info(recipe, count, like.classes, like.source);
  info.sampling = like.sampling;
  auto list = std::make_shared<data::ViewList>(info);
  const std::int64_t all = recipe.epochs * train::batches_per_epoch(recipe, count);
  for (std::int64_t begin = 0; begin < all; begin += kBatchesAtOnce) {
    leave_if_requested(&program.stop, "labelling a baseline");
    std::vector<data::ViewBatch> batches(std::size_t(std::min(kBatchesAtOnce, all - begin)));
    parallel_tasks(std::int64_t(batches.size()), [&](std::int64_t i) {
      batches[std::size_t(i)] = train::labelled_batch(recipe, labeler, images, begin + i);
    });
    for (auto& batch : batches) list->append(std::move(batch));
    program.terminal.update({.phase = "labelling a baseline",
                             .done = begin + std::int64_t(batches.size()),
                             .total = all,
                             .loss = {}});
  }
  program.terminal.finish();
  return list;
}

}  // namespace

StudentTeachers::StudentTeachers(const std::filesystem::path& file,
                                 const std::vector<std::string>& names,
                                 const data::ImageDataset& dataset)
    : members_(train::load_committee(file, names, dataset)), file_(file) {
  train::expect_knowing(members_, file, dataset, Rng(0).child("knowing"));
}

std::shared_ptr<const train::Labeler> StudentTeachers::asked(const eval::Protocol& protocol,
                                                             std::int64_t images) const {
  if (members_.empty() || protocol.labels != "teachers") return nullptr;
  std::vector<double> weights(members_.size(), 1.0 / double(members_.size()));
  return std::make_shared<train::Labeler>(members_, std::move(weights),
                                          eval::label_norm(protocol, images));
}

data::Asset StudentTeachers::asset() const {
  return train::asset_of(members_, file_, data::kLabelers);
}

std::uint64_t StudentTeachers::bytes() const {
  std::uint64_t values = 0;
  for (const train::Member& member : members_) {
    for (const Tensors* part : {&member.state.parameters, &member.state.buffers}) {
      for (const Tensor& tensor : *part) values += std::uint64_t(tensor.numel());
    }
  }
  return values * sizeof(float);
}

void StudentTeachers::expect_labelers_of(const data::SyntheticSet& set,
                                         const eval::Protocol& protocol) const {
  const data::Asset* recorded = labelers_of(set);
  if (recorded == nullptr) {
    log::warn(
        "the set does not say who labelled it; whether baselines are labelled by the same "
        "teachers cannot be checked");
    return;
  }
  const data::Asset mine = asset();
  if (mine.sha256 == recorded->sha256) return;
  throw ConfigError(
      str("protocol '", protocol.name, "' trains on labels that the set holds, given by ",
          recorded->note, " of ", recorded->file,
          ". --teachers labels baselines in the same way and must be the same, found ", mine.note,
          " of '", file_.string(),
          "'; name all of those and no others (--teacher-names), or leave --teachers "
          "and --baselines away"));
}

void StudentTeachers::label(const Unlabelled& baseline, const data::SyntheticSet& set,
                            const eval::Protocol& protocol, const data::ImageDataset& dataset,
                            cli::Program& program) {
  if (protocol.labels != "views" && protocol.labels != "static") return;
  const data::LabelledImages decoded = synth::decode(baseline.set);
  const Tensor images = decoded.images.to(dataset.device());
  const Tensor& classes = data::hard_classes(decoded.labels);
  const bool fixed = protocol.labels == "static";
  const train::RelabelRecipe recipe = fixed ? static_recipe_of(set) : recipe_of(set, protocol);
  const train::Labeler labeler = train::labeler_of(recipe, members_, images.size(0));
  if (fixed) {
    baseline.set.labels = train::image_labels(recipe, labeler, images, classes);
  } else if (baseline.kept.empty()) {
    baseline.set.views = labelled_views(recipe, labeler, images, set.views->info(), program);
  } else {
    kept_.push_back(std::make_shared<KeptViews>(
        KeptViews::What{.name = baseline.name,
                        .recipe = recipe,
                        .labeler = labeler,
                        .images = images,
                        .sampling = set.views->info().sampling,
                        .plan = labelling_plan(recipe, images, classes, asset())},
        baseline.kept, program));
    baseline.set.views = kept_.back();
  }
}

void StudentTeachers::remove_kept() const {
  for (const auto& views : kept_) views->remove();
}

eval::Material StudentTeachers::material(const data::SyntheticSet& set,
                                         const eval::Protocol& protocol) const {
  data::LabelledImages training = synth::decode(set);
  const std::int64_t images = training.images.size(0);
  return {.training = std::move(training),
          .views = protocol.labels == "views" ? set.views : nullptr,
          .labeler = asked(protocol, images)};
}

void warn_of_other_groups(const data::SyntheticSet& set, const eval::Protocol& protocol) {
  if (protocol.labels != "views" || set.views == nullptr) return;
  const data::ViewsInfo& info = set.views->info();
  if (info.recipe.empty()) return;
  const auto recipe = train::RelabelRecipe::of_text(info.recipe);
  // 0: by whole batches, or not by batches at all, as is usual.
  const std::int64_t labelled = recipe.batch_norm == "eval"     ? 0
                                : recipe.batch_norm == "halves" ? (recipe.batch_size + 1) / 2
                                                                : recipe.batch_norm_group;
  if (labelled == protocol.batch_norm_group) return;
  const auto text = [](std::int64_t group) {
    return group > 0 ? str("in groups of ", group, " views") : std::string("without such groups");
  };
  log::warn(str("the set's labels were given with BatchNorm ", text(labelled),
                ", students of protocol '", protocol.name, "' normalise ",
                text(protocol.batch_norm_group), ": the papers use the same for both"));
}

void expect_teachers_for(const eval::Protocol& protocol, bool given, bool baselines) {
  if (given && !protocol.taught()) {
    throw ConfigError(str("option 'teachers' changes nothing: protocol '", protocol.name,
                          "' trains on the labels of the set"));
  }
  if (given) return;
  if (protocol.labels == "teachers") {
    throw ConfigError(
        str("protocol '", protocol.name, "' asks teachers while students train: --teachers FILE"));
  }
  if (protocol.taught() && baselines) {
    throw ConfigError(str("under protocol '", protocol.name,
                          "' baselines are labelled by the teachers that labelled the set: "
                          "--teachers FILE"));
  }
}

}  // namespace retort::commands
