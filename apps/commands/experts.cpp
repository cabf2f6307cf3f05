#include "lib/train/experts.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/expert_session.h"
#include "apps/commands/experts_options.h"
#include "lib/config/options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/evaluator.h"
#include "lib/storage/expert_file.h"
#include "lib/train/expert_parts.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using train::ExpertParts;

/// An option of the recipe as it was recorded; "" if it was not.
std::string recorded(const storage::ExpertInfo& info, const std::string& key) {
  for (const auto& entry : config::parse_config(info.options, "options of the experts")) {
    if (entry.key == key) return entry.value;
  }
  return "";
}

/// Percent after the last epoch, of the experts that were tested then.
std::vector<double> last_accuracies(const storage::ExpertReader& experts) {
  const auto last = std::int64_t(experts.info().epochs.size()) - 1;
  std::vector<double> accuracies;
  for (std::int64_t expert = 0; expert < experts.experts(); ++expert) {
    const double accuracy = experts.log(expert, last).test_accuracy;
    if (accuracy == accuracy) accuracies.push_back(accuracy);
  }
  return accuracies;
}

/// What a command has done to a file of experts.
struct Outcome {
  ExpertParts::Merge merge;
  double wall_seconds = 0;
};

std::string tested_on(const storage::ExpertInfo& info) {
  const std::string held = recorded(info, "hold-out");
  return held.empty() || held == "0" ? "test" : "held-out training images";
}

json accuracy_json(const std::vector<double>& accuracies) {
  if (accuracies.empty()) return {};
  const eval::Spread spread = eval::spread(accuracies);
  return {{"mean", spread.mean}, {"std", spread.std}, {"runs", accuracies}};
}

json outcome_json(const ExpertsOptions& options, const Outcome& outcome) {
  json document = {{"schema", "retort.experts/1"},
                   {"out", options.out},
                   {"added", outcome.merge.merged},
                   {"unfinished", outcome.merge.unfinished},
                   {"wall_seconds", outcome.wall_seconds}};
  if (!options.merge) {
    document["device"] = options.device.device;
    document["kernels"] = kernel_counts();
  }
  if (!fs::exists(options.out)) return document;
  const storage::ExpertReader experts(options.out);
  const storage::ExpertInfo& info = experts.info();
  document["id"] = experts.id();
  document["recipe"] = recorded(info, "recipe");
  document["dataset"] = info.dataset;
  document["train_images"] = info.train_images;
  document["network"] = info.network;
  document["parameters"] = experts.parameters();
  document["experts"] = experts.experts();
  document["snapshot_epochs"] = info.epochs;
  document["accuracy"] = accuracy_json(last_accuracies(experts));
  document["tested_on"] = tested_on(info);
  document["bytes"] = fs::file_size(options.out);
  return document;
}

std::string accuracy_text(const std::vector<double>& accuracies, const std::string& images) {
  const eval::Spread spread = eval::spread(accuracies);
  return str(fixed(spread.mean, 2), " ± ", fixed(spread.std, 2), " % on ",
             images == "test" ? "the test split" : images,
             " after the last epoch; nothing is chosen by it");
}

std::string outcome_table(const ExpertsOptions& options, const Outcome& outcome) {
  std::vector<std::vector<std::string>> rows;
  if (fs::exists(options.out)) {
    const storage::ExpertReader experts(options.out);
    const storage::ExpertInfo& info = experts.info();
    rows.push_back(
        {"experts", str(options.out, ", ", bytes_text(double(fs::file_size(options.out))))});
    rows.push_back({"in it", str(experts.experts(), ", ", outcome.merge.merged, " of them new")});
    rows.push_back({"recipe", recorded(info, "recipe")});
    rows.push_back(
        {"network", str(info.network, " on ", info.dataset, ", ", info.train_images, " images")});
    rows.push_back({"epochs", str(info.epochs.back(), ", ", info.epochs.size(), " snapshots of ",
                                  experts.parameters(), " parameters")});
    const auto accuracies = last_accuracies(experts);
    if (!accuracies.empty()) {
      rows.push_back({"accuracy", accuracy_text(accuracies, tested_on(info))});
    }
  }
  if (!outcome.merge.done()) {
    rows.push_back({"unfinished", str(outcome.merge.unfinished.size(), ", in ",
                                      ExpertParts::folder_of(options.out).string())});
  }
  rows.push_back({"time", duration_text(outcome.wall_seconds)});
  return columns(rows);
}

void warn_of_guessing(const ExpertsOptions& options) {
  if (!fs::exists(options.out)) return;
  const std::string guessing = train::guessing_experts(storage::ExpertReader(options.out));
  if (guessing.empty()) return;
  log::warn(str("experts that have learned nothing: ", guessing,
                "; the step size --lr is the usual cause"));
}

void report(const ExpertsOptions& options, const Outcome& outcome) {
  warn_of_guessing(options);
  if (options.common.json) {
    print_document(outcome_json(options, outcome));
  } else {
    cli::print(outcome_table(options, outcome));
  }
}

int report_cost(const ExpertsOptions& options, const ExpertCost& cost) {
  if (options.common.json) {
    print_document({{"schema", "retort.experts-prediction/1"},
                    {"experts", options.count},
                    {"epochs", options.recipe.epochs},
                    {"epoch_seconds", cost.epoch_seconds},
                    {"total_seconds", cost.total_seconds},
                    {"memory_bytes", cost.memory_bytes},
                    {"file_bytes", cost.file_bytes}});
    return 0;
  }
  cli::print(columns({
      {"experts", str(options.count, ", ", options.recipe.epochs, " epochs each")},
      {"each epoch of one", duration_text(cost.epoch_seconds)},
      {"in all", duration_text(cost.total_seconds)},
      {"memory in all, roughly", bytes_text(cost.memory_bytes)},
      {"file", bytes_text(cost.file_bytes)},
  }));
  return 0;
}

int merge(const ExpertsOptions& options) {
  const double began = wall_seconds();
  const ExpertParts::Merge merged = ExpertParts::merge_complete(options.out);
  report(options, {merged, wall_seconds() - began});
  return 0;
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  const double began = wall_seconds();
  ExpertsOptions options(args);
  if (!cli::parse_command(command, args, options.table, {})) return 0;
  options.check();
  const at::Device device = options.device.open();
  options.common.apply(program);
  options.kernels.apply();
  options.check_threads();
  if (options.merge) return merge(options);
  if (!options.dry_run) ExpertParts::expect_new(options.out, options.add);

  const data::ImageDataset dataset =
      options.dataset.open_held_out(std::uint64_t(options.seed), options.hold_out).on(device);
  ExpertSession session(options, dataset);
  if (options.dry_run) return report_cost(options, session.cost(options.count));
  const ExpertParts::Merge merged = session.make(program, "the same command goes on");
  if (!merged.done()) {
    log::info(str("other processes still train ",
                  experts_text(std::int64_t(merged.unfinished.size())),
                  "; the last of them writes ", options.out));
  }
  report(options, {merged, wall_seconds() - began});
  return 0;
}

}  // namespace

cli::Command experts() {
  return {"experts",
          "Trains networks on a dataset and keeps their trajectories, for methods that match them.",
          "--dataset NAME --out FILE [options]",
          {"retort experts --recipe ftd --dataset cifar10 --net ConvNet-3 --count 10 --epochs 50 "
           "--out experts.h5",
           "retort experts --recipe ftd --dataset cifar10 --count 10 --out experts.h5 --add",
           "retort experts --merge --out experts.h5", "retort experts --recipe ast --help"},
          run};
}

}  // namespace retort::commands
