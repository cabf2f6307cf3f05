#include "apps/commands/sweep_cells.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "apps/commands/commands.h"
#include "apps/commands/condense_options.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/evaluate_words.h"
#include "apps/commands/sweep_vocabulary.h"
#include "datasets/dataset.h"
#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/nn/network.h"

namespace retort::commands {
namespace {

using sweep::Options;
using sweep::Stage;

/// Every option applies somewhere.
void expect_used(const sweep::SweepFile& file, const std::vector<sweep::Cell>& cells,
                 const SweepVocabulary& vocabulary) {
  for (const auto& section : file.sections) {
    if (section.stage != Stage::Condense) continue;
    for (const auto& setting : section.settings) {
      const bool used = std::any_of(cells.begin(), cells.end(), [&](const sweep::Cell& cell) {
        return std::any_of(cell.condense.begin(), cell.condense.end(),
                           [&](const auto& option) { return option.first == setting.key; });
      });
      if (used) continue;
      throw ConfigError(str(file.source, ":", setting.line,
                            ": no method of the sweep has an option '", setting.key,
                            "', which is one of ", join(vocabulary.methods_with(setting.key))));
    }
  }
}

std::int64_t positive_threads(std::int64_t threads) {
  if (threads > 0) return threads;
  throw ConfigError("option 'threads': a cell needs a number of threads, found 0");
}

/// The first device has two names.
void take_device(SweepCell& cell, const std::string& device) {
  if (device == "cpu") return;
  const std::string name = device == "cuda" ? "cuda:0" : device;
  const auto& known = cell.devices;
  if (std::find(known.begin(), known.end(), name) == known.end()) cell.devices.push_back(name);
}

/// `condense` as it would read the words of the cell.
void resolve_run(SweepCell& cell) {
  if (sweep::value_of(cell.options, "threads").empty()) cell.words.push_back("--threads=1");
  const auto flags = flags_of(cell.options);
  cell.words.insert(cell.words.begin(), flags.begin(), flags.end());
  CondenseOptions options(condense(), cell.words);
  cell.threads = positive_threads(options.common.threads);
  if (options.dataset.dataset.empty()) throw ConfigError("which dataset? Give 'dataset = NAME'");
  // As in the configuration of a run that has begun.
  options.dataset.dataset = datasets::find_dataset(options.dataset.dataset).name;
  if (!options.dataset.data.empty()) {
    options.dataset.data =
        std::filesystem::absolute(options.dataset.data).lexically_normal().string();
  }
  options.factory->settle(options.ipc);
  cell.recorded = str(options.replay_text(), "time-budget = ", options.time_budget, "\n");
  cell.predictable = options.device.device == "cpu";
  take_device(cell, options.device.device);
  cell.has_budget = !options.time_budget.empty();
  cell.labels = {
      {"method", options.method}, {"dataset", options.dataset.dataset}, {"ipc", str(options.ipc)}};
}

/// Where sizes are known beforehand, so is whether networks fit.
void expect_networks(const std::vector<std::string>& nets, const std::string& dataset) {
  const auto& size = datasets::find_dataset(dataset).size;
  if (!size) return;
  for (const auto& net : nets) nn::make_network(net, size->shape, size->classes);
}

SweepEvaluation resolve_evaluation(const Options& options, SweepCell& cell) {
  SweepEvaluation evaluation{.options = options, .words = flags_of(options), .file = ""};
  if (sweep::value_of(options, "threads").empty()) {
    evaluation.words.push_back(str("--threads=", cell.threads));
  }
  EvaluateWords words;
  words.take(evaluation.words);
  expect_networks(words.nets(), sweep::value_of(cell.labels, "dataset"));
  if (words.hold_out() > 0) expect_held_out(words.hold_out(), cell.recorded);
  take_device(cell, words.device());
  cell.threads = std::max(cell.threads, positive_threads(words.threads()));
  const std::string protocol = sweep::value_of(options, "protocol");
  const std::string stem = std::filesystem::path(protocol).stem().string();
  evaluation.file = str("evaluation-", protocol.empty() ? "" : sweep::name_part(stem) + "-",
                        sha256_hex(words.recorded()).substr(0, 8), ".json");
  return evaluation;
}

class Resolver {
 public:
  explicit Resolver(sweep::SweepFile& file) : file_(file) { vocabulary_.check(file_); }

  std::vector<SweepCell> cells() {
    const std::vector<sweep::Cell> grid =
        expand(file_, [&](const Options& condense, const std::string& key) {
          return vocabulary_.applies(condense, key);
        });
    expect_used(file_, grid, vocabulary_);
    const std::vector<std::string> names = cell_names(grid);
    std::vector<SweepCell> cells;
    for (std::size_t i = 0; i < grid.size(); ++i) {
      with_context(str(file_.source, ": cell ", names[i]),
                   [&] { cells.push_back(resolved(grid[i], names[i])); });
    }
    label(cells);
    return cells;
  }

 private:
  SweepCell resolved(const sweep::Cell& grid, const std::string& name) {
    SweepCell cell;
    cell.options = grid.condense;
    cell.name = name;
    resolve_run(cell);
    const auto [first, is_new] = made_.emplace(cell.recorded, name);
    if (!is_new) throw ConfigError(str("is the same run as cell ", first->second));
    for (const auto& options : grid.evaluations) {
      SweepEvaluation evaluation = resolve_evaluation(options, cell);
      for (const auto& other : cell.evaluations) {
        if (other.file != evaluation.file) continue;
        throw ConfigError(
            str("two of its evaluations are the same: ", sweep::options_text(options)));
      }
      cell.evaluations.push_back(std::move(evaluation));
    }
    const Options shared = sweep::without(cell.options, "seed");
    cell.group = groups_.emplace(shared, groups_.size()).first->second;
    return cell;
  }

  /// What differs between cells stands in their rows.
  static void label(std::vector<SweepCell>& cells) {
    std::vector<Options> all;
    std::vector<std::string> methods;
    for (const auto& cell : cells) {
      all.push_back(sweep::without(cell.options, "seed"));
      methods.push_back(sweep::value_of(cell.labels, "method"));
    }
    for (const auto& key : sweep::varying_keys(all, methods)) {
      for (auto& cell : cells) {
        const Options& labels = cell.labels;
        const bool stands = std::any_of(labels.begin(), labels.end(),
                                        [&](const auto& label) { return label.first == key; });
        if (!stands) cell.labels.emplace_back(key, sweep::value_of(cell.options, key));
      }
    }
  }

  sweep::SweepFile& file_;
  SweepVocabulary vocabulary_;
  std::map<std::string, std::string> made_;
  std::map<Options, std::size_t> groups_;
};

}  // namespace

std::vector<SweepCell> resolve_cells(sweep::SweepFile file) { return Resolver(file).cells(); }

}  // namespace retort::commands
