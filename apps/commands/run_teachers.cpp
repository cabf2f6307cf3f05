#include "apps/commands/run_teachers.h"

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/teacher_file.h"
#include "lib/train/teacher_parts.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLettersOfId = 8;

std::string teachers_text(std::int64_t count) {
  return str(count, count == 1 ? " teacher" : " teachers");
}

std::string file_name(const TeachersOptions& options, const std::string& dataset,
                      const std::string& plan) {
  return str(options.recipe.name, "-", dataset, options.dataset.zca ? "-zca" : "", "-",
             join(options.nets, "+"), "-", options.recipe.epochs, "epochs-seed", options.seed, "-",
             sha256_hex(plan).substr(0, kLettersOfId), ".h5");
}

}  // namespace

RunTeachers::RunTeachers(const methods::TeachersNeeded& needed, const NetworksOfRun& run,
                         const data::ImageDataset& dataset, const std::string& go_on)
    : dataset_(dataset), options_({"--recipe", needed.recipe}) {
  options_.dataset = run.dataset;
  options_.device = run.device;
  options_.kernels = run.kernels;
  options_.hold_out = run.hold_out;
  options_.seed = run.seed_of_networks();
  options_.common.threads = run.threads;
  options_.nets = needed.nets;
  options_.class_statistics = needed.class_statistics;
  with_context("option 'make-settings'", [&] { options_.recipe.apply(needed.settings); });
  options_.recipe.epochs = needed.epochs;
  // Condensing looks at training images alone.
  session_.emplace(options_, dataset,
                   TeacherSession::Manner{.tested = false, .go_on = "go on with " + go_on});
  for (const auto& network : session_->networks()) {
    if (!needed.batch_norm || network->has_batch_norm()) continue;
    throw ConfigError(str("option 'make-teachers': ", network->name(), " has no BatchNorm whose ",
                          "statistics could be matched; take another, or r-bn 0"));
  }
  file_ = run.folder / file_name(options_, dataset.info().name, session_->plan_text(0));
  options_.out = file_.string();
}

RunTeachers::Found RunTeachers::look() const {
  std::int64_t there = 0;
  if (fs::exists(file_)) {
    const storage::TeacherReader reader(file_);
    storage::expect_fitting(reader, dataset_);
    std::vector<std::string> networks;
    for (std::int64_t i = 0; i < reader.count(); ++i) networks.push_back(reader.teacher(i).network);
    if (networks != options_.nets) {
      throw StorageError(str("'", file_.string(), "': expected teachers ", join(options_.nets),
                             ", found ", join(networks),
                             "; move the file away, or choose another --teachers-dir"));
    }
    there = count();
  } else {
    there = train::TeacherParts::finished_count(file_);
  }
  Found found{.missing = count() - there, .seconds = 0};
  if (!dataset_.device().is_cpu()) {
    found.seconds.reset();
    return found;
  }
  for (std::int64_t i = there; i < count(); ++i) {
    *found.seconds += session_->predicted_seconds(*session_->networks()[std::size_t(i)]);
  }
  return found;
}

void RunTeachers::announce(const Found& found, const std::string& go_on) const {
  log::info(str("no file of teachers was given, and ", file_.string(), " is not there yet: made ",
                "first are ", teachers_text(found.missing), " of ", join(options_.nets),
                ", recipe ", options_.recipe.name, ", ", options_.recipe.epochs, " epochs each",
                found.seconds ? ", predicted to take " + duration_text(*found.seconds) : "",
                ", which count neither as condensing nor against --time-budget"));
  log::info(
      str("--make-epochs N trains for another number of epochs, --make-teachers NET,... other "
          "networks, --teachers FILE takes others; Ctrl-C saves, then ",
          go_on, " goes on"));
}

void RunTeachers::make(cli::Program& program) const {
  expect_writable(file_);
  const train::TeacherParts parts(file_);
  // Another process may have finished them before this one held the lock.
  if (fs::exists(file_)) return;
  std::vector<storage::Teacher> teachers;
  session_->make(parts, teachers, program);
}

void RunTeachers::provide(cli::Program& program, const std::string& go_on,
                          methods::RunContext& run) {
  const double began = wall_seconds();
  const Found found = look();
  if (found.missing > 0) announce(found, go_on);
  if (!fs::exists(file_)) make(program);
  made_ = Found{found.missing, wall_seconds() - began};
  log::info(found.missing > 0
                ? str("teachers are made, ", duration_text(*made_->seconds),
                      "; condensing begins. They are kept for other runs: ", file_.string())
                : str("teachers of an earlier run are asked: ", file_.string()));
  run.teachers = file_.string();
}

nlohmann::json RunTeachers::prediction() const {
  const Found found = look();
  return {{"file", file_.string()},
          {"count", count()},
          {"missing", found.missing},
          {"seconds", found.seconds ? nlohmann::json(*found.seconds) : nlohmann::json()}};
}

std::string RunTeachers::prediction_text() const {
  const Found found = look();
  if (found.missing == 0) return str(teachers_text(count()), " of ", file_.string());
  return str(found.missing, found.missing < count() ? " more" : "", " to be made first, ",
             duration_text(found.seconds.value_or(0)), ", into ", file_.string());
}

nlohmann::json RunTeachers::outcome() const {
  if (!made_) return {};
  return {{"file", file_.string()},
          {"count", count()},
          {"made", made_->missing},
          {"seconds", *made_->seconds}};
}

std::string RunTeachers::outcome_text() const {
  if (!made_) return "";
  return str(count(), " of ", file_.string(),
             made_->missing > 0 ? str(", ", made_->missing, " made now in ",
                                      duration_text(*made_->seconds), ", besides the time below")
                                : ", made before");
}

}  // namespace retort::commands
