#include "apps/commands/sweep_runner.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "apps/cli/signals.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using sweep::Stage;

constexpr double kSecondsBetweenTries = 0.5;
constexpr std::size_t kLastLines = 5;

std::uintmax_t size_of(const fs::path& file) {
  std::error_code missing;
  const std::uintmax_t size = fs::file_size(file, missing);
  return missing ? 0 : size;
}

/// The last lines of what stands behind `from`.
std::string tail(const fs::path& file, std::uintmax_t from) {
  std::ifstream in(file, std::ios::binary);
  in.seekg(std::streamoff(from));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back("    " + line);
  }
  if (lines.size() > kLastLines) lines.erase(lines.begin(), lines.end() - kLastLines);
  return join(lines, "\n");
}

std::string reason(const cli::Ended& ended) {
  const bool killed = ended.signal == SIGKILL;
  return ended.text() + (killed ? ", as the kernel does when memory runs out" : "");
}

/// On a full disk not even the log could tell.
std::string full_disk(const fs::path& file) {
  constexpr std::uintmax_t kLittle = 1 << 20;
  std::error_code unknown;
  const fs::space_info space = fs::space(file.parent_path(), unknown);
  if (unknown || space.available >= kLittle) return "";
  return str("; the disk is full, ", space.available, " bytes are free");
}

}  // namespace

SweepRunner::SweepRunner(const SweepFolder& folder, std::vector<const SweepCell*> cells,
                         const std::map<std::size_t, SweepPrediction>& predictions,
                         const sweep::Budget& budget, cli::Program& program)
    : folder_(folder),
      predictions_(predictions),
      budget_(budget),
      program_(program),
      total_(cells.size()) {
  for (const auto* const cell : cells) {
    Task task{
        .cell = cell, .demand = {.threads = cell->threads, .devices = cell->devices}, .left = {}};
    unless_broken(*cell, [&] {
      demand_memory(task);
      update_left(task);
      waiting_.push_back(task);
    });
  }
}

void SweepRunner::demand_memory(Task& task) const {
  const auto known = predictions_.find(task.cell->group);
  if (known == predictions_.end()) return;
  task.demand.memory_bytes = known->second.bytes_of(folder_.condensed(*task.cell));
  // A budget that nobody set is no reason to leave a cell undone: it then runs alone.
  if (budget_.memory_bytes > 0) {
    task.demand.memory_bytes = std::min(task.demand.memory_bytes, budget_.memory_bytes);
  }
}

template <class Work>
bool SweepRunner::unless_broken(const SweepCell& cell, const Work& work) {
  try {
    work();
    return true;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& e) {
    record_failure({.cell = cell.name,
                    .stage = "files",
                    .why = e.what(),
                    .log = folder_.log(cell),
                    .last_lines = ""});
    return false;
  }
}

void SweepRunner::record_failure(SweepFailure failure) {
  failures_.push_back(std::move(failure));
  log::warn(str(failures_.back().cell, ": ", failures_.back().stage, " failed, ",
                failures_.back().why, "; the others go on"));
}

std::vector<SweepFailure> SweepRunner::run() {
  cli::expect_polling();
  while (true) {
    pass_on_stop();
    look_after_children();
    if (!stopping_) start_what_fits();
    if (active_.empty() && (stopping_ || waiting_.empty())) break;
    show();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  program_.terminal.finish();
  if (finished_ + failures_.size() < total_) {
    throw Interrupted(str("the sweep was stopped, ", finished_, " of ", total_,
                          " cells were finished; what ran has saved, the same command goes on"));
  }
  return std::move(failures_);
}

void SweepRunner::pass_on_stop() {
  if (stopping_ || !program_.stop.requested()) return;
  stopping_ = true;
  for (const auto& active : active_) active.child->interrupt();
}

void SweepRunner::look_after_children() {
  for (auto active = active_.begin(); active != active_.end();) {
    const auto ended = active->child->poll();
    bool at_work = true;
    const auto look = [&] { at_work = !ended || go_on(*active, *ended); };
    if (!unless_broken(*active->task.cell, look) || !at_work) {
      active = active_.erase(active);
    } else {
      ++active;
    }
  }
}

bool SweepRunner::go_on(Active& active, const cli::Ended& ended) {
  const SweepCell& cell = *active.task.cell;
  if (!ended.well()) {
    if (!stopping_) fail(active, reason(ended));
    return false;
  }
  const double seconds = wall_seconds() - active.since;
  if (active.step.stage == Stage::Condense) {
    pace_.condensed(active.task.left.condense, seconds);
  } else {
    pace_.evaluated(seconds);
  }
  update_left(active.task);
  auto next = folder_.next_step(cell);
  if (!next) {
    count_finished(cell);
    active.lock.remove_file();
    return false;
  }
  if (next->words == active.step.words) {
    fail(active, "it ended well but left no result");
    return false;
  }
  if (stopping_) return false;
  start(active, std::move(*next));
  return true;
}

void SweepRunner::fail(const Active& active, const std::string& why) {
  const SweepCell& cell = *active.task.cell;
  active.lock.remove_file();
  record_failure({.cell = cell.name,
                  .stage = stage_name(active.step.stage),
                  .why = why + full_disk(folder_.log(cell)),
                  .log = folder_.log(cell),
                  .last_lines = tail(folder_.log(cell), active.log_begins)});
}

void SweepRunner::count_finished(const SweepCell& cell) {
  ++finished_;
  log::info(str(cell.name, ": finished, ", finished_, " of ", total_));
}

std::vector<sweep::Demand> SweepRunner::running() const {
  std::vector<sweep::Demand> demands;
  for (const auto& active : active_) demands.push_back(active.task.demand);
  return demands;
}

void SweepRunner::start_what_fits() {
  const double now = wall_seconds();
  for (auto task = waiting_.begin(); task != waiting_.end();) {
    const bool due = task->retry_at <= now;
    if (!due || !budget_.fits(running(), task->demand)) {
      ++task;
      continue;
    }
    const Task next = *task;
    task = waiting_.erase(task);
    begin(next);
  }
  if (said_waiting_ || !waits_only_for_others()) return;
  said_waiting_ = true;
  log::info(str("waiting for ", waiting_.size(), waiting_.size() == 1 ? " cell" : " cells",
                " that other processes work on"));
}

bool SweepRunner::waits_only_for_others() const {
  return active_.empty() && !waiting_.empty() &&
         std::all_of(waiting_.begin(), waiting_.end(),
                     [](const Task& task) { return task.retry_at > 0; });
}

void SweepRunner::begin(Task task) {
  const SweepCell& cell = *task.cell;
  std::optional<FileLock> lock;
  const auto take = [&] {
    if (auto taken = folder_.try_lock(cell)) lock.emplace(std::move(*taken));
  };
  if (!unless_broken(cell, take)) return;
  if (!lock) {
    task.retry_at = wall_seconds() + kSecondsBetweenTries;
    waiting_.push_back(task);
    return;
  }
  std::optional<SweepStep> step;
  const bool whole = unless_broken(cell, [&] {
    folder_.record(cell);
    update_left(task);
    step = folder_.next_step(cell);
  });
  if (!step) {
    if (whole) count_finished(cell);
    lock->remove_file();
    return;
  }
  active_.push_back({.task = task, .lock = std::move(*lock), .step = {}, .child = {}});
  const auto begin_step = [&] { start(active_.back(), std::move(*step)); };
  if (!unless_broken(cell, begin_step)) active_.pop_back();
}

void SweepRunner::start(Active& active, SweepStep step) {
  const fs::path log = folder_.log(*active.task.cell);
  active.step = std::move(step);
  active.log_begins = size_of(log);
  active.since = wall_seconds();
  active.child.reset();
  active.child.emplace(active.step.words, cli::ChildProcess::Outputs{log, log},
                       active.lock.descriptor());
}

void SweepRunner::update_left(Task& task) const {
  task.left.evaluations = std::int64_t(folder_.evaluations_left(*task.cell));
  task.left.condense = 0;
  if (folder_.condensed(*task.cell)) return;
  const auto known = predictions_.find(task.cell->group);
  task.left.condense = known == predictions_.end() ? std::nullopt : known->second.seconds;
}

void SweepRunner::show() {
  std::vector<sweep::Left> left;
  double running_seconds = 0;
  for (const auto& task : waiting_) left.push_back(task.left);
  for (const auto& active : active_) {
    left.push_back(active.task.left);
    running_seconds += wall_seconds() - active.since;
  }
  const auto seconds = pace_.seconds_left(left, std::int64_t(active_.size()), running_seconds);
  std::string phase = str("cells (", active_.size(), " running, ", waiting_.size(), " waiting");
  if (!failures_.empty()) phase += str(", ", failures_.size(), " failed");
  program_.terminal.update({.phase = phase + ")",
                            .done = std::int64_t(finished_),
                            .total = std::int64_t(total_),
                            .loss = {},
                            .seconds_left = seconds.value_or(-1)});
}

}  // namespace retort::commands
