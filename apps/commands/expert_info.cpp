#include "apps/commands/expert_info.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <sstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "apps/cli/help.h"
#include "apps/commands/document.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/expert_file.h"

namespace retort::commands {
namespace {

using nlohmann::json;
using storage::ExpertInfo;
using storage::ExpertSummary;
using storage::SnapshotLog;
using Rows = std::vector<std::vector<std::string>>;

struct Column {
  const char* heading;
  const char* key;  // in the document
  double SnapshotLog::*field;
  int digits;
};

const std::vector<Column>& all_columns() {
  static const std::vector<Column> all = {
      {"train loss", "train_loss", &SnapshotLog::train_loss, 4},
      {"train %", "train_accuracy", &SnapshotLog::train_accuracy, 2},
      {"test loss", "test_loss", &SnapshotLog::test_loss, 4},
      {"test %", "test_accuracy", &SnapshotLog::test_accuracy, 2},
      {"norm", "norm", &SnapshotLog::norm, 3},
      {"step norm", "step_norm", &SnapshotLog::step_norm, 3},
      {"seconds", "wall_seconds", &SnapshotLog::wall_seconds, 1},
  };
  return all;
}

/// Over the experts that are so far and were measured there; NaN if there are none.
double mean_of(const ExpertSummary& summary, std::size_t snapshot, double SnapshotLog::*field) {
  double sum = 0;
  std::int64_t count = 0;
  for (const auto& expert : summary.experts) {
    if (snapshot >= expert.log.size() || std::isnan(expert.log[snapshot].*field)) continue;
    sum += expert.log[snapshot].*field;
    ++count;
  }
  return count > 0 ? sum / double(count) : std::numeric_limits<double>::quiet_NaN();
}

std::size_t snapshots_so_far(const ExpertSummary& summary) {
  std::size_t most = 0;
  for (const auto& expert : summary.experts) most = std::max(most, expert.log.size());
  return most;
}

double seconds_of(const ExpertSummary& summary) {
  double sum = 0;
  for (const auto& expert : summary.experts) {
    for (const auto& entry : expert.log) sum += entry.wall_seconds;
  }
  return sum;
}

std::int64_t parameters_of(const ExpertInfo& info) {
  std::int64_t count = 0;
  for (const auto& parameter : info.layout) count += parameter.numel();
  return count;
}

std::string file_text(const std::string& path, const ExpertSummary& summary) {
  if (!summary.part) {
    return str(path, ", ", summary.experts.size(),
               summary.experts.size() == 1 ? " expert trajectory" : " expert trajectories");
  }
  const auto& expert = summary.experts.front();
  return str(path, ", expert ", *summary.part, " of a run, ",
             expert.complete ? std::string("complete")
                             : str("still running: ", expert.log.size(), " of ",
                                   summary.info.epochs.size(), " snapshots"));
}

std::string snapshots_text(const ExpertInfo& info) {
  const std::int64_t last = info.epochs.back();
  const bool all = last + 1 == std::int64_t(info.epochs.size());
  const std::string which =
      all ? str("every epoch from 0 to ", last) : str("after epochs ", join(info.epochs, " "));
  return str(info.epochs.size(), " per expert, ", which);
}

std::string size_text(const std::string& path, const ExpertInfo& info) {
  const bool whole = info.store == ExpertInfo::Store::F32;
  return str(bytes_text(double(std::filesystem::file_size(path))), ", numbers stored as ",
             whole ? "float32" : "bfloat16");
}

Rows description(const std::string& path, const ExpertSummary& summary) {
  const ExpertInfo& info = summary.info;
  Rows rows;
  const auto add = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) rows.push_back({name, text});
  };
  add("file", file_text(path, summary));
  add("recipe", info.recipe);
  add("network", str(info.network, ", ", parameters_of(info), " parameters in ", info.layout.size(),
                     " tensors"));
  add("snapshots", snapshots_text(info));
  add("size", size_text(path, info));
  add("dataset", str(info.dataset, ", SHA-256 ", info.dataset_sha256.substr(0, 16), "..."));
  add("trained on", str(info.train_images, " images of ", info.image.channels, "x",
                        info.image.height, "x", info.image.width));
  add("note", cli::wrapped(info.dataset_note, 100, 15));
  add("classes", cli::wrapped(join(info.class_names), 100, 15));
  add("preprocessing", info.preprocessing.description());
  add("training took", duration_text(seconds_of(summary)));
  add("processor", info.processor);
  add("program", info.program_version);
  add("id", summary.id);
  if (!summary.part) add("SHA-256", storage::ExpertReader(path).sha256());
  return rows;
}

std::string options_text(const std::string& options) {
  if (options.empty()) return "";
  std::string text = "options\n";
  std::istringstream lines(options);
  for (std::string line; std::getline(lines, line);) text += str("  ", line, "\n");
  return text;
}

std::string log_text(const ExpertSummary& summary) {
  Rows rows = {{"epoch"}};
  for (const Column& column : all_columns()) rows.front().emplace_back(column.heading);
  for (std::size_t s = 0; s < snapshots_so_far(summary); ++s) {
    std::vector<std::string> row = {str(summary.info.epochs[s])};
    for (const Column& column : all_columns()) {
      const double mean = mean_of(summary, s, column.field);
      row.push_back(std::isnan(mean) ? "-" : fixed(mean, column.digits));
    }
    rows.push_back(std::move(row));
  }
  const std::string over =
      summary.experts.size() == 1 ? "" : str(", mean over ", summary.experts.size(), " experts");
  return str("log", over, "\n", columns(rows, {.indent = "  ", .numbers_from = 0}));
}

json log_json(const ExpertSummary& summary) {
  json log = json::array();
  for (std::size_t s = 0; s < snapshots_so_far(summary); ++s) {
    json entry = {{"epoch", summary.info.epochs[s]}};
    for (const Column& column : all_columns()) {
      const double mean = mean_of(summary, s, column.field);
      entry[column.key] = std::isfinite(mean) ? json(mean) : json();
    }
    log.push_back(std::move(entry));
  }
  return log;
}

json experts_json(const ExpertSummary& summary) {
  json experts = json::array();
  for (const auto& expert : summary.experts) {
    experts.push_back({{"init_seed", expert.seeds.init},
                       {"data_seed", expert.seeds.data},
                       {"aug_seed", expert.seeds.augment},
                       {"complete", expert.complete},
                       {"snapshots", expert.log.size()}});
  }
  return experts;
}

json summary_json(const std::string& path, const ExpertSummary& summary) {
  const ExpertInfo& info = summary.info;
  return {{"schema", "retort.experts-info/1"},
          {"file", path},
          {"part", summary.part ? json(*summary.part) : json()},
          {"id", summary.id},
          {"sha256", summary.part ? json() : json(storage::ExpertReader(path).sha256())},
          {"method", info.recipe},
          {"network", info.network},
          {"parameters", parameters_of(info)},
          {"store", info.store == ExpertInfo::Store::F32 ? "f32" : "bf16"},
          {"bytes", std::filesystem::file_size(path)},
          {"epochs", info.epochs},
          {"dataset", info.dataset},
          {"dataset_sha256", info.dataset_sha256},
          {"dataset_note", info.dataset_note},
          {"train_images", info.train_images},
          {"shape", {info.image.channels, info.image.height, info.image.width}},
          {"class_names", info.class_names},
          {"preprocessing", info.preprocessing.description()},
          {"options", info.options},
          {"wall_seconds", seconds_of(summary)},
          {"program", info.program_version},
          {"processor", info.processor},
          {"experts", experts_json(summary)},
          {"log", log_json(summary)}};
}

}  // namespace

void print_experts(const std::string& path, bool as_json) {
  const ExpertSummary summary = storage::read_expert_summary(path);
  if (as_json) {
    print_document(summary_json(path, summary));
    return;
  }
  cli::print(columns(description(path, summary)) + options_text(summary.info.options) +
             log_text(summary));
}

}  // namespace retort::commands
