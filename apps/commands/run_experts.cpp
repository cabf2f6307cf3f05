#include "apps/commands/run_experts.h"

#include <algorithm>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/expert_file.h"
#include "lib/train/expert_parts.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLettersOfId = 8;

/// "gsam-alpha=1"
void apply_settings(train::ExpertRecipe& recipe, const std::vector<std::string>& settings) {
  config::OptionTable table;
  recipe.describe(table);
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    const std::string name = setting.substr(0, equals);
    if (name == "epochs") {
      throw ConfigError("option 'experts-settings': epochs are said by --experts-epochs");
    }
    with_context("option 'experts-settings'",
                 [&] { table.set(name, setting.substr(equals + 1), config::Origin::File); });
  }
}

/// One seed serves runs of all seeds, unless theirs decides which images there are.
std::int64_t seed_for(const ExpertsOfRun& run) {
  return run.dataset.images_per_class > 0 || run.hold_out > 0 ? run.seed : 0;
}

std::string file_name(const ExpertsOptions& options, const storage::ExpertInfo& info,
                      const std::string& id) {
  return str(options.recipe.name, "-", info.dataset, options.dataset.zca ? "-zca" : "", "-",
             info.network, "-", options.recipe.epochs, "epochs-seed", options.seed, "-",
             id.substr(0, kLettersOfId), ".h5");
}

}  // namespace

fs::path experts_folder(const fs::path& run_dir) {
  fs::path folder = fs::absolute(run_dir).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  folder = folder.parent_path() / "experts";
  return run_dir.is_absolute() ? folder : folder.lexically_proximate(fs::current_path());
}

RunExperts::RunExperts(const methods::ExpertsNeeded& needed, const ExpertsOfRun& run,
                       const data::ImageDataset& dataset)
    : needed_(needed), on_cpu_(dataset.device().is_cpu()), options_({"--recipe", needed.recipe}) {
  options_.dataset = run.dataset;
  options_.device = run.device;
  options_.kernels = run.kernels;
  options_.hold_out = run.hold_out;
  options_.seed = seed_for(run);
  options_.net = needed.net;
  options_.test_every = 0;  // condensing looks at training images alone
  options_.add = true;
  apply_settings(options_.recipe, needed.settings);
  options_.recipe.epochs = needed.epochs;
  session_.emplace(options_, dataset);
  id_ = storage::expert_id(session_->info());
  file_ = run.folder / file_name(options_, session_->info(), id_);
  options_.out = file_.string();
}

std::int64_t RunExperts::missing() const {
  if (!fs::exists(file_)) return needed_.count;
  const storage::ExpertSummary found = storage::read_expert_summary(file_);
  if (found.id != id_) {
    throw StorageError(str("'", file_.string(), "': expected experts of id ", id_, ", found ",
                           found.id, "; move the file away, or choose another --experts-dir"));
  }
  const auto complete =
      std::count_if(found.experts.begin(), found.experts.end(),
                    [](const storage::ExpertSummary::Expert& expert) { return expert.complete; });
  return std::max<std::int64_t>(0, needed_.count - complete);
}

std::optional<double> RunExperts::predicted_seconds() {
  options_.count = missing();
  if (options_.count == 0) return 0;
  if (!on_cpu_) return std::nullopt;
  return session_->cost().total_seconds;
}

void RunExperts::announce(std::int64_t missing, const std::string& go_on) {
  log::info(
      str("no file of experts was given: this run follows ", experts_text(needed_.count),
          " of recipe ", needed_.recipe, " to epoch ", needed_.followed, "; ", file_.string(),
          missing == needed_.count ? " is not there yet" : str(" has ", needed_.count - missing)));
  const auto seconds = predicted_seconds();
  log::info(str("made first: ", experts_text(missing), ", ", needed_.epochs, " epochs each",
                seconds ? ", predicted to take " + duration_text(*seconds) : "",
                ", which count neither as condensing nor against --time-budget"));
  log::info(
      str("--experts-count and --experts-epochs choose how many, --experts FILE follows "
          "others; Ctrl-C saves, then ",
          go_on, " goes on"));
}

void RunExperts::provide(cli::Program& program, const std::string& go_on) {
  const double began = wall_seconds();
  Made made{.experts = missing()};
  if (made.experts > 0) announce(made.experts, go_on);
  // A plan that an earlier session has left may only grow.
  for (std::int64_t left = made.experts; left > 0; left = missing()) {
    options_.count = std::max(left, train::ExpertParts::planned(file_));
    session_->make(program, ExpertSession::Others::WaitFor, "go on with " + go_on);
  }
  made.seconds = wall_seconds() - began;
  made_ = made;
  log::info(made.experts > 0
                ? str("experts are made, ", duration_text(made.seconds),
                      "; condensing begins. They are kept for other runs: ", file_.string())
                : str("experts of an earlier run are followed: ", file_.string()));
}

}  // namespace retort::commands
