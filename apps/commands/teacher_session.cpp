#include "apps/commands/teacher_session.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "apps/cli/signals.h"
#include "apps/commands/teacher_work.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/speed.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/kernels/uncounted.h"
#include "lib/train/supervised.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using storage::Teacher;
using storage::TrainedOn;

/// Of the teacher with this number in its file.
std::uint64_t seed_of(std::int64_t seed, std::int64_t number) {
  return Rng(std::uint64_t(seed)).child("teacher", number).bits();
}

}  // namespace

std::string percent(double accuracy) {
  return accuracy == accuracy ? fixed(accuracy, 2) + " %" : "-";
}

TeacherSession::TeacherSession(TeachersOptions& options, const data::ImageDataset& dataset,
                               Manner manner)
    : options_(options), dataset_(dataset), manner_(std::move(manner)) {
  if (options.statistics_only) return;
  for (const auto& name : options.nets) {
    networks_.push_back(nn::make_network(name, dataset.shape(), dataset.num_classes()));
    expect_batch_norm(*networks_.back(), options);
  }
}

double TeacherSession::predicted_seconds(const nn::Network& network) const {
  const kernels::Uncounted uncounted;
  train::TrainOptions training =
      options_.recipe.train_options(dataset_.info().mirror_changes_class);
  training.lr = 1e-9;
  const std::int64_t images = dataset_.size(data::Split::Train);
  nn::NetworkState state = network.initialize(Rng(0));
  const auto step = [&](std::int64_t count) {
    const Tensor rows = at::arange(count, at::kLong);
    const train::TensorData few(
        {dataset_.batch(data::Split::Train, rows),
         data::HardLabels{dataset_.labels(data::Split::Train).index_select(0, rows)}});
    training.batch_size = count;
    const auto lessons = options_.recipe.lessons(few, network.num_classes(), training);
    train::Training(network, *lessons, training, Rng(0)).epoch(state);
  };
  const std::int64_t batch = std::min(options_.recipe.batch_size, images);
  return double(images * options_.recipe.epochs) * seconds_per_item(batch, 1, step);
}

std::string TeacherSession::plan_text(std::size_t existing) const {
  const TrainedOn data = TrainedOn::of(dataset_);
  return str(options_.recorded_text(), "dataset = ", data.dataset,
             "\ndataset-sha256 = ", data.dataset_sha256, "\ndataset-note = ", data.dataset_note,
             "\nnets = ", join(options_.nets, ","), "\nafter = ", existing, "\n");
}

void TeacherSession::saying_where_it_is(const std::function<void()>& work) const {
  try {
    work();
  } catch (const Interrupted& e) {
    throw Interrupted(str(e.what(), "; what is done is saved in ",
                          train::TeacherParts::folder_of(options_.out).string(), ", ",
                          manner_.go_on));
  }
}

train::TeacherHooks TeacherSession::hooks(const std::string& name, cli::Program& program) const {
  const std::int64_t images = dataset_.size(data::Split::Train);
  const std::int64_t batch = options_.recipe.batch_size;
  const std::int64_t steps = options_.recipe.epochs * ((images + batch - 1) / batch);
  return {.after_step =
              [&program, name, steps](const train::StepReport& report, std::int64_t done) {
                program.terminal.update({.phase = str("training ", name, ", steps"),
                                         .done = done,
                                         .total = steps,
                                         .earlier = 0,
                                         .loss = report.loss});
              },
          .after_epoch =
              [this, name](const train::EpochReport& report, double seconds) {
                log::info(str(name, ": epoch ", report.epoch + 1, " of ", options_.recipe.epochs,
                              ", training loss ", fixed(report.loss, 4), ", ",
                              fixed(100 * report.accuracy, 1), " %; ", duration_text(seconds)));
              }};
}

Teacher TeacherSession::train_one(const nn::Network& network, std::int64_t number,
                                  const train::TeacherParts& parts, cli::Program& program) const {
  const auto checkpoint = parts.checkpoint(number);
  log::info(str("training ", network.name(), " by recipe ", options_.recipe.name, ": ",
                dataset_.size(data::Split::Train), " images of ", dataset_.info().name, ", ",
                options_.recipe.epochs, " epochs",
                fs::exists(checkpoint) ? ", from where it was left" : ""));
  Teacher teacher =
      train::train_teacher(network, dataset_, options_.recipe, seed_of(options_.seed, number),
                           checkpoint, hooks(network.name(), program), &program.stop);
  program.terminal.finish();
  teacher.options = options_.recorded_text();
  teacher.program_version = cli::program_version();
  teacher.accuracy = std::nan("");
  if (manner_.tested) test_teacher(teacher, network, options_, dataset_);
  take_class_statistics(teacher, network, options_, dataset_, &program.stop);
  return teacher;
}

void TeacherSession::make(const train::TeacherParts& parts, std::vector<Teacher>& teachers,
                          cli::Program& program) const {
  const TrainedOn data = TrainedOn::of(dataset_);
  parts.begin(plan_text(teachers.size()));
  cli::expect_polling();
  for (const auto& network : networks_) {
    const auto number = std::int64_t(teachers.size());
    auto teacher = parts.finished(number);
    if (teacher) {
      log::info(str(network->name(), " was finished before",
                    manner_.tested ? ": " + percent(teacher->accuracy) : ""));
    } else {
      saying_where_it_is([&] { teacher = train_one(*network, number, parts, program); });
      parts.keep(number, data, *teacher);
    }
    teachers.push_back(std::move(*teacher));
  }
  parts.finish(data, teachers);
}

void TeacherSession::take_statistics(const train::TeacherParts& parts,
                                     std::vector<Teacher>& teachers, cli::Program& program) const {
  const TrainedOn data = TrainedOn::of(dataset_);
  parts.begin(str(plan_text(teachers.size()), "statistics-only = true\n"));
  cli::expect_polling();
  for (std::size_t i = 0; i < teachers.size(); ++i) {
    Teacher& teacher = teachers[i];
    const auto network =
        nn::make_network(teacher.network, dataset_.shape(), dataset_.num_classes());
    if (!network->has_batch_norm()) {
      log::info(str(network->name(), " has no BatchNorm, and so no statistics of classes"));
      continue;
    }
    if (auto finished = parts.finished(std::int64_t(i))) {
      log::info(str(network->name(), " had its statistics before"));
      teacher = std::move(*finished);
      continue;
    }
    saying_where_it_is(
        [&] { take_class_statistics(teacher, *network, options_, dataset_, &program.stop); });
    parts.keep(std::int64_t(i), data, teacher);
  }
  parts.finish(data, teachers);
}

}  // namespace retort::commands
