#include "apps/commands/sweep_plan.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "apps/commands/document.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

using nlohmann::json;

std::string state_of(const SweepPlan& plan, const SweepCell& cell) {
  if (plan.folder.finished(cell)) return "finished";
  if (plan.folder.condensed(cell)) return "to be judged";
  return plan.folder.begun(cell) ? "goes on" : "to be run";
}

/// Nothing for a cell that has its set, or of which nothing is known.
std::optional<SweepPrediction> prediction_of(const SweepPlan& plan, const SweepCell& cell) {
  const auto known = plan.predictions.find(cell.group);
  if (known == plan.predictions.end() || plan.folder.condensed(cell)) return std::nullopt;
  return known->second;
}

struct Sums {
  std::size_t finished = 0;
  std::size_t runs = 0;
  std::size_t unknown = 0;  ///< of the runs, those without a prediction
  std::size_t evaluations = 0;
  double seconds = 0;
  double longest = 0;
  double memory_bytes = 0;  ///< of the largest
  std::int64_t threads = 1;
};

Sums sums_of(const SweepPlan& plan) {
  Sums sums;
  for (const auto* const cell : plan.cells) {
    if (plan.folder.finished(*cell)) ++sums.finished;
    sums.evaluations += plan.folder.evaluations_left(*cell);
    sums.threads = std::max(sums.threads, cell->threads);
    if (plan.folder.condensed(*cell)) continue;
    ++sums.runs;
    const auto prediction = prediction_of(plan, *cell);
    if (!prediction || !prediction->seconds) {
      ++sums.unknown;
      continue;
    }
    sums.seconds += *prediction->seconds;
    sums.longest = std::max(sums.longest, *prediction->seconds);
    sums.memory_bytes = std::max(sums.memory_bytes, prediction->memory_bytes);
  }
  return sums;
}

/// Cells at a time, if all took as much as the largest.
std::int64_t lanes(const SweepPlan& plan, const Sums& sums) {
  std::vector<sweep::Demand> running;
  const sweep::Demand largest{.threads = sums.threads, .memory_bytes = sums.memory_bytes};
  while (running.size() < plan.cells.size() && plan.budget.fits(running, largest)) {
    running.push_back(largest);
  }
  return std::max<std::int64_t>(1, std::int64_t(running.size()));
}

double elapsed(const Sums& sums, std::int64_t at_a_time) {
  return std::max(sums.longest, sums.seconds / double(at_a_time));
}

std::string plan_text(const SweepPlan& plan) {
  std::vector<std::vector<std::string>> rows{
      {"cell", "state", "threads", "condensing", "memory", "to judge"}};
  for (const auto* const cell : plan.cells) {
    const auto prediction = prediction_of(plan, *cell);
    const bool timed = prediction && prediction->seconds;
    rows.push_back({cell->name, state_of(plan, *cell), str(cell->threads),
                    timed ? duration_text(*prediction->seconds) : "-",
                    prediction ? bytes_text(prediction->memory_bytes) : "-",
                    str(plan.folder.evaluations_left(*cell))});
  }
  const Sums sums = sums_of(plan);
  const std::int64_t at_a_time = lanes(plan, sums);
  std::string text = columns(rows, {.numbers_from = 2});
  text +=
      str("\n", plan.cells.size(), plan.cells.size() == 1 ? " cell, " : " cells, ", sums.finished,
          " finished; ", sums.runs, " to condense, predicted ", duration_text(sums.seconds),
          " in all, ", duration_text(elapsed(sums, at_a_time)), " with ", at_a_time, " at a time",
          sums.unknown > 0 ? str(" (", sums.unknown, " not predicted)") : "", "; ",
          sums.evaluations, " evaluations, whose time is not predicted\n");
  return text;
}

json plan_json(const SweepPlan& plan) {
  json cells = json::array();
  for (const auto* const cell : plan.cells) {
    const auto prediction = prediction_of(plan, *cell);
    const bool timed = prediction && prediction->seconds;
    cells.push_back({{"cell", cell->name},
                     {"run", plan.folder.run(*cell).string()},
                     {"state", state_of(plan, *cell)},
                     {"threads", cell->threads},
                     {"condense_seconds", timed ? json(*prediction->seconds) : json()},
                     {"memory_bytes", prediction ? json(prediction->memory_bytes) : json()},
                     {"evaluations", plan.folder.evaluations_left(*cell)}});
  }
  const Sums sums = sums_of(plan);
  const std::int64_t at_a_time = lanes(plan, sums);
  return {{"schema", "retort.sweep-plan/1"},
          {"file", plan.file},
          {"out", plan.root.string()},
          {"cells", cells},
          {"at_a_time", at_a_time},
          {"total_seconds", sums.seconds},
          {"elapsed_seconds", elapsed(sums, at_a_time)}};
}

}  // namespace

void print_plan(const SweepPlan& plan, bool as_json) {
  if (as_json) {
    print_document(plan_json(plan));
  } else {
    cli::print(plan_text(plan));
  }
}

}  // namespace retort::commands
