#include <algorithm>
#include <filesystem>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/folder_kind.h"
#include "apps/commands/label_rest.h"
#include "apps/commands/labelling_plan.h"
#include "apps/commands/relabel_options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/speed.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/kernels/uncounted.h"
#include "lib/storage/set_file.h"
#include "lib/storage/views_file.h"
#include "lib/synth/parametrization.h"
#include "lib/train/labelling.h"

namespace retort::commands {
namespace {

using data::SyntheticSet;
using nlohmann::json;
using train::Labelling;
using train::Member;

/// What one command works with.
struct Work {
  SyntheticSet set;
  Tensor images;  ///< decoded, on the device
  std::vector<Member> committee;
};

Work open_work(RelabelOptions& options, const std::string& path, at::Device device) {
  Work work;
  work.set = storage::read_set(path);
  const data::ImageDataset dataset =
      open_for_set(options.dataset, options.table, work.set).on(device);
  work.committee = train::load_committee(options.teachers, options.teacher_names, dataset);
  options.settle_flip(dataset);
  options.recipe.settle(work.committee, options.dry_run ? nullptr : &dataset);
  work.images = synth::decode(work.set).images.to(device);
  if (options.dry_run) return work;
  const std::size_t count = work.committee.size();
  log::info(str("asking ", count, count == 1 ? " teacher of " : " teachers of ", options.teachers,
                " about training images of ", dataset.info().name));
  train::expect_knowing(work.committee, options.teachers, dataset, Rng(0).child("knowing"));
  return work;
}

/// Of how many images labels are asked for.
std::int64_t views_of(const train::RelabelRecipe& recipe, std::int64_t images) {
  return recipe.is_static() ? images : images * recipe.epochs;
}

/// Of so many views or images, as some of them take here, and not counted.
double predicted_seconds(const RelabelOptions& options, const Work& work, std::int64_t views) {
  if (views == 0) return 0;
  const kernels::Uncounted uncounted;
  train::RelabelRecipe recipe = options.recipe;
  if (recipe.priors.empty()) recipe.vote = "equal";  // still to be measured
  const std::int64_t images = work.images.size(0);
  const train::Labeler labeler = train::labeler_of(recipe, work.committee, images);
  const std::int64_t tasks = work.images.is_cpu() ? thread_count() : 1;
  const auto label = [&](std::int64_t count) {
    recipe.batch_size = count;
    parallel_tasks(tasks, [&](std::int64_t i) {
      if (recipe.is_static()) {
        labeler(work.images.narrow(0, 0, count));
      } else {
        train::labelled_batch(recipe, labeler, work.images, i);
      }
    });
  };
  const std::int64_t batch = std::min(recipe.batch_size, images);
  const bool groups = recipe.batch_norm == "batch" && recipe.batch_norm_group > 0;
  const std::int64_t unit = groups ? std::min(labeler.norm().group, batch) : 1;
  return double(views) * seconds_per_item(batch, unit, label) / double(tasks);
}

/// Bytes of labels, and of what makes their views again.
storage::ViewsBytes predicted_bytes(const train::RelabelRecipe& recipe, std::int64_t images,
                                    std::int64_t classes) {
  const auto count = std::uint64_t(images * classes);
  if (recipe.is_static()) return {.values = count * sizeof(c10::Half), .meta = 0};
  return storage::views_bytes(views_of(recipe, images),
                              recipe.epochs * train::batches_per_epoch(recipe, images), classes);
}

json teachers_json(const std::vector<Member>& committee) {
  json list = json::array();
  for (const Member& member : committee) {
    list.push_back(
        {{"network", member.name}, {"number", member.number}, {"sha256", member.sha256}});
  }
  return list;
}

int report_cost(const RelabelOptions& options, const std::string& path, const Work& work) {
  const std::int64_t images = data::hard_classes(work.set.labels).numel();
  const std::int64_t views = views_of(options.recipe, images);
  const double seconds = predicted_seconds(options, work, views);
  const auto bytes = predicted_bytes(options.recipe, images, work.set.num_classes());
  if (options.common.json) {
    print_document({{"schema", "retort.relabel-prediction/1"},
                    {"set", path},
                    {"recipe", options.recipe.text()},
                    {"teachers", teachers_json(work.committee)},
                    {"views", views},
                    {"bytes", {{"label_values", bytes.values}, {"label_meta", bytes.meta}}},
                    {"total_seconds", seconds}});
    return 0;
  }
  cli::print(columns({{"labels", str(views, " of ", images, " images")},
                      {"size", str(bytes_text(double(bytes.values)), ", and ",
                                   bytes_text(double(bytes.meta)), " that make the views")},
                      {"time", duration_text(seconds)}}));
  return 0;
}

/// Says by whom the set is labelled now, and no longer by whom it was.
void name_labelers(const RelabelOptions& options, const std::vector<Member>& committee,
                   SyntheticSet& set) {
  std::erase_if(set.assets, [](const data::Asset& asset) { return asset.role == data::kLabelers; });
  data::Asset labelers = train::asset_of(committee, options.teachers, data::kLabelers);
  if (options.recipe.is_static()) {
    // Views say it themselves.
    labelers.note += str("; one label per image, vote ", options.recipe.vote);
    if (options.recipe.vote == "priors") {
      labelers.note += str(" ", join(options.recipe.priors), " at temperature ",
                           options.recipe.vote_temperature);
    }
  }
  set.assets.push_back(std::move(labelers));
}

void warn_of_replaced(const SyntheticSet& set, bool is_static) {
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  if (soft != nullptr && soft->by_teachers()) {
    log::info("the labels that teachers gave to the images themselves are replaced");
  } else if (is_static && soft != nullptr) {
    log::warn(str("the ",
                  soft->learned ? "labels that the set has learned" : "soft labels of the set",
                  " are replaced"));
  }
  if (set.views != nullptr) {
    log::info(str(set.views->views(), " views that the set has labels of are replaced"));
  }
}

/// Labels every view and writes the set, part by part.
class ViewLabelling {
 public:
  ViewLabelling(const RelabelOptions& options, const Work& work, const train::Labeler& labeler)
      : options_(options),
        labelling_(
            options.recipe, labeler, work.images, options.out.path,
            labelling_plan(options.recipe, work.images, data::hard_classes(work.set.labels),
                           train::asset_of(work.committee, options.teachers, data::kLabelers))) {}

  std::int64_t views_missing() const { return labelling_.views() - labelling_.views_done(); }

  void run(cli::Program& program) { label_rest(labelling_, "", options_.out.path, program); }

  /// A set names one committee: what another one said of its images goes.
  void write(SyntheticSet& set) {
    const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
    if (soft != nullptr && soft->by_teachers()) set.labels = data::HardLabels{soft->classes};
    set.views = labelling_.record();
    storage::write_set(options_.out.path, set);
    labelling_.tidy_up();
  }

 private:
  const RelabelOptions& options_;
  Labelling labelling_;
};

struct Outcome {
  double predicted_seconds = 0;  ///< of what was to do
  std::int64_t labels_made = 0;  ///< by this command
};

Outcome announced(const RelabelOptions& options, const Work& work, std::int64_t views) {
  const Outcome outcome{predicted_seconds(options, work, views), views};
  log::info(str("labelling ", views, options.recipe.is_static() ? " images" : " views",
                " by recipe ", options.recipe.name, ", about ",
                duration_text(outcome.predicted_seconds)));
  return outcome;
}

Outcome label_views(const RelabelOptions& options, Work& work, const train::Labeler& labeler,
                    cli::Program& program) {
  ViewLabelling labelling(options, work, labeler);
  const Outcome outcome = announced(options, work, labelling.views_missing());
  labelling.run(program);
  labelling.write(work.set);
  return outcome;
}

Outcome label_images(const RelabelOptions& options, Work& work, const train::Labeler& labeler) {
  const Outcome outcome = announced(options, work, work.images.size(0));
  work.set.labels = train::image_labels(options.recipe, labeler, work.images,
                                        data::hard_classes(work.set.labels));
  work.set.views = nullptr;
  storage::write_set(options.out.path, work.set);
  return outcome;
}

void report(const RelabelOptions& options, const std::string& path, const Work& work,
            const Outcome& outcome, double seconds) {
  const std::string& out = options.out.path;
  const auto bytes = storage::label_bytes(out);
  const bool is_static = options.recipe.is_static();
  const std::uint64_t values = is_static ? bytes.soft : bytes.views_values;
  const std::uint64_t images = storage::stored_bytes(out).images;
  const std::int64_t views = views_of(options.recipe, work.images.size(0));
  if (options.common.json) {
    print_document(
        {{"schema", "retort.relabel/1"},
         {"set", path},
         {"out", out},
         {"recipe", options.recipe.text()},
         {"teachers", teachers_json(work.committee)},
         {"images", work.images.size(0)},
         {"views", views},
         {"labels_made", outcome.labels_made},
         {"bytes",
          {{"images", images}, {"label_values", values}, {"label_meta", bytes.views_meta}}},
         {"predicted_seconds", outcome.predicted_seconds},
         {"wall_seconds", seconds},
         {"device", options.device.device},
         {"kernels", kernel_counts()}});
    return;
  }
  const auto labelers = train::asset_of(work.committee, options.teachers, data::kLabelers);
  std::vector<std::vector<std::string>> rows = {
      {"set", out},
      {"teachers", labelers.note},
      {"labels", is_static ? str("one per image, ", views)
                           : str(views, " views of ", work.images.size(0), " images, recipe ",
                                 options.recipe.name)},
      {"size",
       str("images ", bytes_text(double(images)), ", labels ", bytes_text(double(values)),
           is_static ? "" : str(", what makes the views ", bytes_text(double(bytes.views_meta))))},
      {"time",
       str(duration_text(seconds), ", predicted ", duration_text(outcome.predicted_seconds))}};
  cli::print(columns(rows));
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  const double began = wall_seconds();
  RelabelOptions options(args);
  const auto words = cli::parse_command(command, args, options.table, {{"SET|RUN"}, 1});
  if (!words) return 0;
  const std::string path = set_file(words->front());
  options.check(path);
  const at::Device device = options.device.open();
  options.common.apply(program);
  options.kernels.apply();
  Work work = open_work(options, path, device);
  if (options.dry_run) return report_cost(options, path, work);

  expect_writable(options.out.path);
  const train::Labeler labeler =
      train::labeler_of(options.recipe, work.committee, work.images.size(0));
  train::expect_label_groups(options.recipe, labeler, work.images.size(0));
  warn_of_replaced(work.set, options.recipe.is_static());
  name_labelers(options, work.committee, work.set);
  const Outcome outcome = options.recipe.is_static() ? label_images(options, work, labeler)
                                                     : label_views(options, work, labeler, program);
  report(options, path, work, outcome, wall_seconds() - began);
  return 0;
}

}  // namespace

cli::Command relabel() {
  return {"relabel",
          "Has teachers label the images of a set, view by view or as they are, and writes the set "
          "with these labels.",
          "SET|RUN --teachers FILE --out FILE [options]",
          {"retort relabel set.h5 --teachers teachers.h5 --out labelled.h5",
           "retort relabel set.h5 --teachers teachers.h5 --recipe cv-dd --priors 63,65.3 --out "
           "labelled.h5"},
          run};
}

}  // namespace retort::commands
