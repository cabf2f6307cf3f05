#include "apps/commands/sweep_prediction.h"

#include <chrono>
#include <filesystem>
#include <list>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "apps/cli/child_process.h"
#include "apps/cli/signals.h"
#include "lib/config/text.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

/// Removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(fs::temp_directory_path() / str("retort-sweep-", ::getpid())) {
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// One `condense --dry-run` under way.
struct Asked {
  const SweepCell* cell;
  cli::ChildProcess::Outputs outputs;
  cli::ChildProcess child;
};

std::vector<std::string> question(const SweepFolder& folder, const SweepCell& cell) {
  std::vector<std::string> words{"condense"};
  words.insert(words.end(), cell.words.begin(), cell.words.end());
  words.push_back("--run-dir=" + folder.run(cell).string());
  for (const char* const word : {"--dry-run", "--json", "--quiet"}) words.emplace_back(word);
  return words;
}

}  // namespace

SweepPrediction read_prediction(const std::string& text) {
  try {
    const auto document = nlohmann::json::parse(text);
    SweepPrediction prediction{.seconds = document.at("total_seconds").get<double>(),
                               .memory_bytes = document.at("memory_bytes").get<double>(),
                               .judging_bytes = document.at("memory_loaded_bytes").get<double>()};
    for (const char* const needed : {"experts", "teachers"}) {
      const auto& first = document.at(needed);
      if (first.is_object() && first.at("seconds").is_number()) {
        *prediction.seconds += first.at("seconds").get<double>();
      }
    }
    return prediction;
  } catch (const nlohmann::json::exception& e) {
    throw StorageError(str("what `condense --dry-run` said is no prediction: ", e.what()));
  }
}

namespace {

class Asking {
 public:
  Asking(const SweepFolder& folder, const sweep::Budget& budget, cli::Program& program)
      : folder_(folder), budget_(budget), program_(program) {}

  std::map<std::size_t, SweepPrediction> of(std::vector<const SweepCell*> cells) {
    const auto total = std::int64_t(cells.size());
    while (!cells.empty() || !asked_.empty()) {
      leave_if_requested(&program_.stop, "predicting what the cells cost");
      while (!cells.empty() && budget_.fits(running(), {.threads = cells.back()->threads})) {
        ask(*cells.back());
        cells.pop_back();
      }
      listen();
      const std::int64_t open = std::int64_t(cells.size() + asked_.size());
      program_.terminal.update(
          {.phase = "predicting costs", .done = total - open, .total = total, .loss = {}});
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    program_.terminal.finish();
    return std::move(found_);
  }

 private:
  std::vector<sweep::Demand> running() const {
    std::vector<sweep::Demand> demands;
    for (const auto& asked : asked_) demands.push_back({.threads = asked.cell->threads});
    return demands;
  }

  void ask(const SweepCell& cell) {
    const fs::path stem = answers_.path() / str(cell.group);
    const cli::ChildProcess::Outputs outputs{stem.string() + ".json", stem.string() + ".txt"};
    asked_.push_back({&cell, outputs, {question(folder_, cell), outputs}});
  }

  void take_answer(const Asked& asked, const cli::Ended& ended) {
    if (!ended.well()) {
      throw Error(str(ended.text(), "; ", config::trimmed(read_text(asked.outputs.err))));
    }
    found_[asked.cell->group] = read_prediction(read_text(asked.outputs.out));
  }

  void listen() {
    for (auto asked = asked_.begin(); asked != asked_.end();) {
      const auto ended = asked->child.poll();
      if (!ended) {
        ++asked;
        continue;
      }
      try {
        take_answer(*asked, *ended);
      } catch (const Error& e) {
        log::warn(str(asked->cell->name, ": its cost is not known, ", e.what()));
      }
      asked = asked_.erase(asked);
    }
  }

  const SweepFolder& folder_;
  const sweep::Budget& budget_;
  cli::Program& program_;
  TemporaryFolder answers_;
  std::list<Asked> asked_;
  std::map<std::size_t, SweepPrediction> found_;
};

}  // namespace

std::map<std::size_t, SweepPrediction> predict_cells(const SweepFolder& folder,
                                                     const std::vector<const SweepCell*>& cells,
                                                     const sweep::Budget& budget,
                                                     cli::Program& program) {
  std::map<std::size_t, const SweepCell*> first;
  for (const auto* const cell : cells) {
    if (cell->predictable) first.emplace(cell->group, cell);
  }
  std::vector<const SweepCell*> asked;
  for (auto cell = first.rbegin(); cell != first.rend(); ++cell) asked.push_back(cell->second);
  if (asked.empty()) return {};
  cli::expect_polling();
  return Asking(folder, budget, program).of(std::move(asked));
}

}  // namespace retort::commands
