#include <algorithm>
#include <exception>
#include <filesystem>
#include <map>
#include <system_error>
#include <thread>

#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/folder_kind.h"
#include "apps/commands/sweep_cells.h"
#include "apps/commands/sweep_folder.h"
#include "apps/commands/sweep_plan.h"
#include "apps/commands/sweep_prediction.h"
#include "apps/commands/sweep_runner.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/free_memory.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/sweep/schedule.h"
#include "lib/sweep/sweep_file.h"
#include "lib/sweep/table.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using Predictions = std::map<std::size_t, SweepPrediction>;

struct SweepOptions {
  std::int64_t jobs = 0;
  std::int64_t threads = 0;
  std::string memory;
  std::string shard = "0/1";
  std::string format = "text";
  bool dry_run = false;
  bool table_only = false;
  cli::OutputOptions output;

  void describe(config::OptionTable& table) {
    table.add(
        "jobs", jobs,
        "cells at a time, also on one device; with it only --threads and --memory limit them "
        "further, and without the latter nothing is predicted before the start; 0: as many as "
        "threads and memory allow, one on each device",
        config::in_range(std::int64_t(0), 1024));
    table.add("threads", threads,
              "of all cells at work; each has one, or what the sweep says; 0: all cores, and with "
              "--jobs no limit",
              config::in_range(std::int64_t(0), 4096));
    table.add("memory", memory,
              "of all cells at work, as predicted: 16G, 900M; else what machine and container have "
              "free at the start",
              config::any_text());
    table.add("shard", shard,
              "i/n: of the cells only every n-th from the i-th on, i of 0 .. n-1, for the array "
              "jobs of a cluster; a call without it then joins them",
              config::any_text());
    table.add("format", format, "of the table on stdout",
              config::one_of({"text", "csv", "latex", "json"}));
    table.add("dry-run", dry_run, "say what would run and what it is predicted to cost, and stop");
    table.add("table-only", table_only, "join what is there, run nothing")
        .not_with("dry-run", {"true"});
    output.describe(table);
  }
};

/// "runs/NAME" for the file NAME.sweep, unless it says where.
fs::path root_of(const sweep::SweepFile& file, const std::string& path) {
  const fs::path root =
      file.out.empty() ? fs::path("runs") / fs::path(path).stem() : fs::path(file.out);
  const FolderKind kind = fs::is_directory(root) ? folder_kind(root) : FolderKind::Other;
  if (kind == FolderKind::Other || kind == FolderKind::Sweep) return root;
  throw ConfigError(str(path, ": 'out' leads to '", root.string(), "', which is ",
                        is_study(kind) ? folder_text(kind) : "the folder of a run"));
}

/// One sweep, from its file to its table.
class Sweep {
 public:
  Sweep(const SweepOptions& options, const std::string& path, cli::Program& program)
      : options_(options),
        program_(program),
        shard_(sweep::parse_shard(options.shard)),
        budget_(budget_of(options)),
        path_(path),
        file_(sweep::parse_sweep(read_text(path), path)),
        root_(root_of(file_, path)),
        folder_(root_),
        cells_(resolve_cells(file_)) {
    folder_.place(cells_);
    for (std::size_t i = 0; i < cells_.size(); ++i) {
      const SweepCell& cell = cells_[i];
      if (!shard_.has(i)) continue;
      mine_.push_back(&cell);
      if (!finished(cell)) open_.push_back(&cell);
    }
  }

  int execute() {
    expect_threads();
    if (options_.dry_run) {
      print_plan({path_, root_, mine_, folder_, predict(), budget_}, options_.output.json);
      return 0;
    }
    std::vector<SweepFailure> failures;
    if (!options_.table_only && !open_.empty()) failures = run();
    return report(failures);
  }

 private:
  static sweep::Budget budget_of(const SweepOptions& options) {
    sweep::Budget budget{
        .jobs = options.jobs, .threads = options.threads, .shared_devices = options.jobs > 0};
    if (budget.threads == 0 && options.jobs == 0) {
      budget.threads = std::int64_t(std::thread::hardware_concurrency());
    }
    if (!options.memory.empty()) {
      budget.memory_bytes = sweep::parse_bytes("memory", options.memory);
    } else if (options.jobs == 0) {
      budget.memory_bytes = free_memory_bytes();
    }
    return budget;
  }

  void expect_threads() const {
    for (const auto* const cell : open_) {
      if (budget_.threads == 0 || cell->threads <= budget_.threads) continue;
      throw ConfigError(str("cell ", cell->name, " computes with ", cell->threads,
                            " threads, more than the ", budget_.threads, " of --threads"));
    }
  }

  void expect_memory(const Predictions& predictions) const {
    if (options_.memory.empty()) return;
    for (const auto* const cell : open_) {
      const auto known = predictions.find(cell->group);
      if (known == predictions.end()) continue;
      const double needed = known->second.bytes_of(folder_.condensed(*cell));
      if (needed <= budget_.memory_bytes) continue;
      throw ConfigError(str("cell ", cell->name, " is predicted to need ", bytes_text(needed),
                            ", more than the ", bytes_text(budget_.memory_bytes), " of --memory"));
    }
  }

  Predictions predict() const { return predict_cells(folder_, open_, budget_, program_); }

  std::vector<SweepFailure> run() {
    log::info(str(open_.size(), " of ", mine_.size(), mine_.size() == 1 ? " cell" : " cells",
                  " to finish in ", root_.string(),
                  shard_.count > 1 ? str(", shard ", options_.shard, " of ", cells_.size()) : ""));
    const bool limited = budget_.memory_bytes > 0;
    const Predictions predictions = limited ? predict() : Predictions{};
    expect_memory(predictions);
    return SweepRunner(folder_, open_, predictions, budget_, program_).run();
  }

  /// Of all shards, as far as they are.
  sweep::Table table() const {
    sweep::Table table;
    table.rows = join_results(folder_.judgements(cells_));
    table.notes = notes_on(table.rows);
    table.cells = cells_.size();
    table.finished = std::size_t(std::count_if(
        cells_.begin(), cells_.end(), [&](const SweepCell& cell) { return finished(cell); }));
    return table;
  }

  /// One whose files are damaged is not.
  bool finished(const SweepCell& cell) const {
    try {
      return folder_.finished(cell);
    } catch (const Error& e) {
      log::warn(str(cell.name, ": ", e.what()));
      return false;
    }
  }

  /// What took hours is said before anything is written: that may fail.
  int report(const std::vector<SweepFailure>& failures) const {
    const sweep::Table joined = table();
    nlohmann::json document = table_json(joined);
    document["file"] = path_;
    document["out"] = root_.string();
    document["failed"] = nlohmann::json::array();
    for (const auto& failure : failures) {
      document["failed"].push_back({{"cell", failure.cell},
                                    {"stage", failure.stage},
                                    {"why", failure.why},
                                    {"log", failure.log.string()}});
    }
    std::exception_ptr unsaid;
    try {
      print(joined, document);
    } catch (const Error&) {
      unsaid = std::current_exception();  // stdout may be full where the folder is not
    }
    const bool written = write_tables(joined, document);
    if (unsaid) std::rethrow_exception(unsaid);
    fail_for(failures);
    return written ? 0 : 1;
  }

  bool write_tables(const sweep::Table& joined, const nlohmann::json& document) const {
    std::error_code unknown;
    if (!fs::exists(root_, unknown)) return true;
    bool all = true;
    const auto write = [&](const char* ending, const std::string& text) {
      try {
        write_text(folder_.table(ending), text);
      } catch (const StorageError& e) {
        log::warn(e.what());
        all = false;
      }
    };
    write(".txt", table_text(joined));
    write(".csv", table_csv(joined));
    write(".tex", table_latex(joined));
    write(".json", document_text(document));
    return all;
  }

  void print(const sweep::Table& joined, const nlohmann::json& document) const {
    if (options_.output.json || options_.format == "json") {
      print_document(document);
    } else if (options_.format == "csv") {
      cli::print(table_csv(joined));
    } else if (options_.format == "latex") {
      cli::print(table_latex(joined));
    } else {
      cli::print(table_text(joined));
    }
  }

  void fail_for(const std::vector<SweepFailure>& failures) const {
    if (failures.empty()) return;
    std::string text = str(failures.size(), " of ", open_.size(), " cells failed");
    for (const auto& failure : failures) {
      text += str("\n  ", failure.cell, ": ", failure.stage, ", ", failure.why, "; ",
                  failure.log.string(), failure.last_lines.empty() ? "" : " ends with\n",
                  failure.last_lines);
    }
    throw Error(text);
  }

  const SweepOptions& options_;
  cli::Program& program_;
  sweep::Shard shard_;
  sweep::Budget budget_;
  std::string path_;
  sweep::SweepFile file_;
  fs::path root_;
  SweepFolder folder_;
  std::vector<SweepCell> cells_;
  std::vector<const SweepCell*> mine_;  ///< of the shard
  std::vector<const SweepCell*> open_;  ///< of these, those that are not finished
};

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  SweepOptions options;
  config::OptionTable table;
  options.describe(table);
  const auto words = cli::parse_command(command, args, table, {{"FILE"}, 1});
  if (!words) return 0;
  options.output.apply(program);
  return Sweep(options, words->front(), program).execute();
}

}  // namespace

cli::Command sweep() {
  return {"sweep",
          "Runs a grid of methods, datasets, sizes, seeds and networks: what is missing of it, "
          "several at a time, and joins the results in one table. FILE holds options of condense "
          "and of evaluate, `ipc = 1, 10` under [condense], `protocol = dsa-300` under [evaluate]; "
          "[condense if method = dm] changes some cells. The README has one.",
          "FILE [options]",
          {"retort sweep study.sweep --dry-run", "retort sweep study.sweep --jobs 2",
           "retort sweep study.sweep --shard 0/8",
           "retort sweep study.sweep --table-only --format latex"},
          run};
}

}  // namespace retort::commands
