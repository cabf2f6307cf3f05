#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/teacher_info.h"
#include "apps/commands/teacher_work.h"
#include "apps/commands/teachers_options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/speed.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/train/supervised.h"
#include "lib/train/teacher_parts.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using storage::Teacher;
using storage::TrainedOn;

using Networks = std::vector<std::unique_ptr<nn::Network>>;

Networks networks_of(const TeachersOptions& options, const data::ImageDataset& dataset) {
  Networks networks;
  if (options.statistics_only) return networks;
  for (const auto& name : options.nets) {
    networks.push_back(nn::make_network(name, dataset.shape(), dataset.num_classes()));
  }
  return networks;
}

/// Of the teacher with this number in its file.
std::uint64_t seed_of(std::int64_t seed, std::int64_t number) {
  return Rng(std::uint64_t(seed)).child("teacher", number).bits();
}

std::string percent(double value) { return value == value ? fixed(value, 2) + " %" : "-"; }

/// Trains the teachers of one command and shows how far it is.
class TeacherMaker {
 public:
  TeacherMaker(TeachersOptions& options, const data::ImageDataset& dataset, cli::Program& program)
      : options_(options), dataset_(dataset), program_(program) {
    const std::int64_t images = dataset.size(data::Split::Train);
    const std::int64_t batch = options.recipe.batch_size;
    steps_ = options.recipe.epochs * ((images + batch - 1) / batch);
  }

  Teacher make(const nn::Network& network, std::int64_t number,
               const train::TeacherParts& parts) const {
    const auto checkpoint = parts.checkpoint(number);
    log::info(str("training ", network.name(), " by recipe ", options_.recipe.name, ": ",
                  dataset_.size(data::Split::Train), " images of ", dataset_.info().name, ", ",
                  options_.recipe.epochs, " epochs",
                  fs::exists(checkpoint) ? ", from where it was left" : ""));
    Teacher teacher =
        train::train_teacher(network, dataset_, options_.recipe, seed_of(options_.seed, number),
                             checkpoint, hooks(network.name()), &program_.stop);
    program_.terminal.finish();
    teacher.options = options_.recorded_text();
    test_teacher(teacher, network, options_, dataset_);
    take_class_statistics(teacher, network, options_, dataset_, &program_.stop);
    return teacher;
  }

 private:
  train::TeacherHooks hooks(const std::string& name) const {
    return {.after_step =
                [this, name](const train::StepReport& report, std::int64_t done) {
                  program_.terminal.update({.phase = str("training ", name, ", steps"),
                                            .done = done,
                                            .total = steps_,
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

  TeachersOptions& options_;
  const data::ImageDataset& dataset_;
  cli::Program& program_;
  std::int64_t steps_;  ///< of one teacher
};

/// @throws ConfigError unless teachers of a file and new ones see the same images
void expect_same_images(const std::string& out, const TrainedOn& theirs, const TrainedOn& mine) {
  if (theirs.dataset_note == mine.dataset_note && theirs.train_images == mine.train_images) return;
  const auto text = [](const TrainedOn& data) {
    return str(data.train_images, " images",
               data.dataset_note.empty() ? "" : " (" + data.dataset_note + ")");
  };
  throw ConfigError(str("'", out, "': its teachers were trained on ", text(theirs),
                        ", these would be on ", text(mine), "; choose another --out"));
}

/// Those that the file holds already, after a look whether they belong to the same images.
std::vector<Teacher> existing(const TeachersOptions& options, const data::ImageDataset& dataset) {
  std::vector<Teacher> teachers;
  if (!fs::exists(options.out)) return teachers;
  const storage::TeacherReader reader(options.out);
  storage::expect_fitting(reader, dataset);
  expect_same_images(options.out, reader.data(), TrainedOn::of(dataset));
  for (std::int64_t i = 0; i < reader.count(); ++i) teachers.push_back(reader.teacher(i));
  return teachers;
}

void report(const TeachersOptions& options, const std::vector<Teacher>& teachers, std::size_t added,
            double seconds) {
  if (options.common.json) {
    json document = {{"schema", "retort.teachers/1"},
                     {"out", options.out},
                     {"added", added},
                     {"bytes", fs::file_size(options.out)},
                     {"wall_seconds", seconds},
                     {"device", options.device.device},
                     {"kernels", kernel_counts()},
                     {"teachers", json::array()}};
    for (const auto& teacher : teachers) document["teachers"].push_back(teacher_json(teacher));
    print_document(document);
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"teacher", "accuracy", "tested on", "training"}};
  for (const auto& teacher : teachers) {
    rows.push_back({teacher.network, percent(teacher.accuracy), teacher.tested_on,
                    duration_text(teacher.wall_seconds)});
  }
  cli::print(str(columns(rows), "\n", options.out, ", ",
                 bytes_text(double(fs::file_size(options.out))), ", ", added, " new, ",
                 duration_text(seconds), "\n"));
}

/// Of all steps, as some of them take here: what comes beside the operations of a small network
/// costs more than these. At no step size to speak of, so that no loss runs away.
double predicted_seconds(const TeachersOptions& options, const nn::Network& network,
                         const data::ImageDataset& dataset) {
  train::TrainOptions training = options.recipe.train_options(dataset.info().mirror_changes_class);
  training.lr = 1e-9;
  const std::int64_t images = dataset.size(data::Split::Train);
  nn::NetworkState state = network.initialize(Rng(0));
  const auto step = [&](std::int64_t count) {
    const Tensor rows = at::arange(count, at::kLong);
    const train::TensorData few(
        {dataset.batch(data::Split::Train, rows),
         data::HardLabels{dataset.labels(data::Split::Train).index_select(0, rows)}});
    training.batch_size = count;
    train::Training(network, few, training, Rng(0)).epoch(state);
  };
  const std::int64_t batch = std::min(options.recipe.batch_size, images);
  return double(images * options.recipe.epochs) * seconds_per_item(batch, 1, step);
}

int report_cost(const TeachersOptions& options, const Networks& networks,
                const data::ImageDataset& dataset) {
  double total = 0;
  json list = json::array();
  std::vector<std::vector<std::string>> rows = {{"teacher", "training"}};
  for (const auto& network : networks) {
    const double seconds = predicted_seconds(options, *network, dataset);
    total += seconds;
    list.push_back({{"network", network->name()}, {"seconds", seconds}});
    rows.push_back({network->name(), duration_text(seconds)});
  }
  rows.push_back({"in all", duration_text(total)});
  if (options.common.json) {
    print_document({{"schema", "retort.teachers-prediction/1"},
                    {"epochs", options.recipe.epochs},
                    {"total_seconds", total},
                    {"teachers", list}});
  } else {
    cli::print(columns(rows));
  }
  return 0;
}

/// The networks by name, one line each, and all other settings.
std::string plan_text(TeachersOptions& options, const TrainedOn& data,
                      std::size_t existing_teachers) {
  return str(options.recorded_text(), "dataset = ", data.dataset,
             "\ndataset-sha256 = ", data.dataset_sha256, "\ndataset-note = ", data.dataset_note,
             "\nnets = ", join(options.nets, ","), "\nafter = ", existing_teachers, "\n");
}

/// What `make` returns; whoever interrupts it is told how it goes on.
template <class Make>
auto saying_where_it_is(const std::string& out, const Make& make) {
  try {
    return make();
  } catch (const Interrupted& e) {
    throw Interrupted(str(e.what(), "; what is done is saved in ",
                          train::TeacherParts::folder_of(out).string(),
                          ", the same command goes on"));
  }
}

/// Trains what the plan asks for, behind those that the file holds.
void make_all(TeachersOptions& options, const data::ImageDataset& dataset, const Networks& networks,
              const train::TeacherParts& parts, std::vector<Teacher>& teachers,
              cli::Program& program) {
  const TrainedOn data = TrainedOn::of(dataset);
  parts.begin(plan_text(options, data, teachers.size()));
  const TeacherMaker maker(options, dataset, program);
  cli::expect_polling();
  for (const auto& network : networks) {
    const auto number = std::int64_t(teachers.size());
    auto teacher = parts.finished(number);
    if (teacher) {
      log::info(str(network->name(), " was finished before: ", percent(teacher->accuracy)));
    } else {
      teacher =
          saying_where_it_is(options.out, [&] { return maker.make(*network, number, parts); });
      parts.keep(number, data, *teacher);
    }
    teachers.push_back(std::move(*teacher));
  }
  parts.finish(data, teachers);
}

/// Adds the network of --import to those that the file holds.
void import_one(TeachersOptions& options, const data::ImageDataset& dataset,
                const nn::Network& network, const train::TeacherParts& parts,
                std::vector<Teacher>& teachers, cli::Program& program) {
  const TrainedOn data = TrainedOn::of(dataset);
  parts.begin(
      str(plan_text(options, data, teachers.size()), "import = ", options.import_file, "\n"));
  Teacher teacher = imported_teacher(network, options, dataset);
  take_class_statistics(teacher, network, options, dataset, &program.stop);
  teachers.push_back(std::move(teacher));
  parts.finish(data, teachers);
}

/// For the teachers that the file holds.
void take_all_statistics(TeachersOptions& options, const data::ImageDataset& dataset,
                         const train::TeacherParts& parts, std::vector<Teacher>& teachers,
                         cli::Program& program) {
  const TrainedOn data = TrainedOn::of(dataset);
  parts.begin(str(plan_text(options, data, teachers.size()), "statistics-only = true\n"));
  cli::expect_polling();
  for (std::size_t i = 0; i < teachers.size(); ++i) {
    Teacher& teacher = teachers[i];
    const auto network = nn::make_network(teacher.network, dataset.shape(), dataset.num_classes());
    if (!network->has_batch_norm()) {
      log::info(str(network->name(), " has no BatchNorm, and so no statistics of classes"));
      continue;
    }
    if (auto finished = parts.finished(std::int64_t(i))) {
      log::info(str(network->name(), " had its statistics before"));
      teacher = std::move(*finished);
      continue;
    }
    saying_where_it_is(options.out, [&] {
      take_class_statistics(teacher, *network, options, dataset, &program.stop);
    });
    parts.keep(std::int64_t(i), data, teacher);
  }
  parts.finish(data, teachers);
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  const double began = wall_seconds();
  TeachersOptions options(args);
  if (!cli::parse_command(command, args, options.table, {})) return 0;
  options.check();
  const at::Device device = options.device.open();
  options.common.apply(program);
  options.kernels.apply();
  const data::ImageDataset dataset =
      options.dataset.open_held_out(std::uint64_t(options.seed), options.hold_out).on(device);
  const Networks networks = networks_of(options, dataset);
  for (const auto& network : networks) expect_batch_norm(*network, options);
  if (options.dry_run) return report_cost(options, networks, dataset);

  expect_writable(options.out);
  // Whatever the file holds is looked at once nobody else can add to it.
  const train::TeacherParts parts(options.out);
  std::vector<Teacher> teachers = existing(options, dataset);
  const std::size_t before = teachers.size();
  // Statistics may have been taken of some only that had the same before.
  if (!options.statistics_only && parts.merged_into(teachers)) {
    log::info("all teachers were finished before");
    parts.tidy_up();
  } else {
    options.expect_wanted();
    if (options.statistics_only) {
      take_all_statistics(options, dataset, parts, teachers, program);
    } else if (!options.import_file.empty()) {
      import_one(options, dataset, *networks.front(), parts, teachers, program);
    } else {
      make_all(options, dataset, networks, parts, teachers, program);
    }
  }
  report(options, teachers, teachers.size() - before, wall_seconds() - began);
  return 0;
}

}  // namespace

cli::Command teachers() {
  return {"teachers",
          "Trains networks on a dataset to the end, for methods that condense what they know.",
          "--dataset NAME --out FILE [options]",
          {"retort teachers --nets ConvNet-3-BN,ResNet-18-BN --dataset cifar10 --epochs 50 --out "
           "teachers.h5",
           "retort teachers --recipe adam --nets ConvNet-3-BN --dataset cifar10 --out teachers.h5 "
           "--add",
           "retort teachers --dataset cifar10 --out teachers.h5 --statistics-only "
           "--class-statistics ema",
           "retort teachers --import weights.safetensors --nets R18m --dataset cifar10 --out "
           "teachers.h5"},
          run};
}

}  // namespace retort::commands
