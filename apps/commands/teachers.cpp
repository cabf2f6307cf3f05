#include <filesystem>

#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/teacher_info.h"
#include "apps/commands/teacher_session.h"
#include "apps/commands/teacher_work.h"
#include "apps/commands/teachers_options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/train/teacher_parts.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using storage::Teacher;
using storage::TrainedOn;

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

int report_cost(const TeachersOptions& options, const TeacherSession& session) {
  double total = 0;
  json list = json::array();
  std::vector<std::vector<std::string>> rows = {{"teacher", "training"}};
  for (const auto& network : session.networks()) {
    const double seconds = session.predicted_seconds(*network);
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

/// Adds the network of --import to those that the file holds.
void import_one(TeachersOptions& options, const data::ImageDataset& dataset,
                const TeacherSession& session, const train::TeacherParts& parts,
                std::vector<Teacher>& teachers, cli::Program& program) {
  const nn::Network& network = *session.networks().front();
  const TrainedOn data = TrainedOn::of(dataset);
  parts.begin(str(session.plan_text(teachers.size()), "import = ", options.import_file, "\n"));
  Teacher teacher = imported_teacher(network, options, dataset);
  take_class_statistics(teacher, network, options, dataset, &program.stop);
  teachers.push_back(std::move(teacher));
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
  const TeacherSession session(options, dataset, {});
  if (options.dry_run) return report_cost(options, session);

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
      session.take_statistics(parts, teachers, program);
    } else if (!options.import_file.empty()) {
      import_one(options, dataset, session, parts, teachers, program);
    } else {
      session.make(parts, teachers, program);
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
