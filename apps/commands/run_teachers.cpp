#include "apps/commands/run_teachers.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/stop.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

std::string teachers_text(std::int64_t count) {
  return str(count, count == 1 ? " teacher" : " teachers");
}

std::string file_name(const TeachersOptions& options, const std::string& dataset,
                      const std::string& plan) {
  return str(options.recipe.name, "-", dataset, options.dataset.zca ? "-zca" : "", "-",
             join(options.nets, "+"), "-", options.recipe.epochs, "epochs-seed", options.seed, "-",
             short_id(sha256_hex(plan)), ".h5");
}

}  // namespace

RunTeachers::RunTeachers(const methods::TeachersNeeded& needed, const NetworksOfRun& run,
                         const data::ImageDataset& dataset, const std::string& go_on)
    : dataset_(dataset),
      options_({"--recipe", needed.recipe}),
      statistics_(needed.class_statistics) {
  options_.dataset = run.dataset;
  options_.device = run.device;
  options_.kernels = run.kernels;
  options_.hold_out = run.hold_out;
  options_.seed = run.seed_of_networks();
  options_.common.threads = run.threads;
  options_.nets = needed.nets;
  with_context("option 'make-settings'", [&] { options_.recipe.apply(needed.settings); });
  options_.recipe.epochs = needed.epochs;
  // Statistics of classes are taken once the teachers are there, so that methods with and without
  // share a file. Condensing looks at training images alone.
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

std::string RunTeachers::counted(std::int64_t networks) const { return teachers_text(networks); }

std::vector<storage::Teacher> RunTeachers::stored() const {
  std::vector<storage::Teacher> teachers;
  if (!fs::exists(file_)) return teachers;
  const storage::TeacherReader reader(file_);
  storage::expect_fitting(reader, dataset_);
  std::vector<std::string> networks;
  for (std::int64_t i = 0; i < reader.count(); ++i) {
    teachers.push_back(reader.teacher(i));
    networks.push_back(teachers.back().network);
  }
  if (networks == options_.nets) return teachers;
  throw StorageError(str("'", file_.string(), "': expected teachers ", join(options_.nets),
                         ", found ", join(networks),
                         "; move the file away, or choose another --teachers-dir"));
}

bool RunTeachers::complete() const {
  const std::vector<storage::Teacher> teachers = stored();
  return !teachers.empty() && std::all_of(teachers.begin(), teachers.end(), [&](const auto& t) {
    return statistics_ == "none" || !t.class_statistics.empty();
  });
}

RunPrerequisite::Missing RunTeachers::missing() const {
  const bool finished = !stored().empty();
  const std::int64_t there = finished ? count() : train::TeacherParts::finished_count(file_);
  Missing found{.networks = count() - there};
  if (!dataset_.device().is_cpu()) return found;
  found.seconds = 0;
  for (std::int64_t i = there; i < count(); ++i) {
    *found.seconds += session_->predicted_seconds(*session_->networks()[std::size_t(i)]);
  }
  return found;
}

void RunTeachers::announce(const Missing& found, const std::string& go_on) const {
  log::info(str("no file of teachers was given, and ", file_.string(), " is not there yet: made ",
                "first are ", teachers_text(found.networks), " of ", join(options_.nets),
                ", recipe ", options_.recipe.name, ", ", options_.recipe.epochs, " epochs each",
                found.seconds ? ", predicted to take " + duration_text(*found.seconds) : "",
                ", which count neither as condensing nor against --time-budget"));
  log::info(
      str("--make-epochs N trains for another number of epochs, --make-teachers NET,... other "
          "networks, --teachers FILE takes others; Ctrl-C saves, then ",
          go_on, " goes on"));
}

train::TeacherParts RunTeachers::parts_when_free(cli::Program& program) const {
  for (bool said = false;; said = true) {
    if (auto parts = train::TeacherParts::if_free(file_)) return std::move(*parts);
    if (!said) log::info(str("waiting for another process that works on ", file_.string()));
    session_->saying_where_it_is(
        [&] { leave_if_requested(&program.stop, "waiting for teachers"); });
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

void RunTeachers::go_further(cli::Program& program) {
  expect_writable(file_);
  const train::TeacherParts parts = parts_when_free(program);
  // Another process may have finished them before this one held the lock.
  if (complete()) return;
  std::vector<storage::Teacher> teachers = stored();
  if (teachers.empty()) return session_->make(parts, teachers, program);
  // Else what was planned for training would stand in the way.
  if (parts.merged_into(teachers)) return parts.tidy_up();
  options_.class_statistics = statistics_;
  session_->take_statistics(parts, teachers, program);
}

void RunTeachers::tidy_up() const {
  if (!fs::exists(train::TeacherParts::folder_of(file_))) return;
  const auto parts = train::TeacherParts::if_free(file_);
  if (parts && (parts->empty() || parts->merged_into(stored()))) parts->tidy_up();
}

void RunTeachers::provide(cli::Program& program, const std::string& go_on,
                          methods::RunContext& run) {
  const double began = wall_seconds();
  const Missing found = missing();
  if (found.networks > 0) announce(found, go_on);
  while (!complete()) go_further(program);
  tidy_up();
  made_ = Made{found.networks, wall_seconds() - began};
  log::info(found.networks > 0
                ? str("teachers are made, ", duration_text(made_->seconds),
                      "; condensing begins. They are kept for other runs: ", file_.string())
                : str("teachers of an earlier run are asked: ", file_.string()));
  run.teachers = file_.string();
}

}  // namespace retort::commands
