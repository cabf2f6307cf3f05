#include "methods/trajectory_matching/wanted_experts.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/train/experts.h"

namespace retort::methods::trajectory_matching {
namespace {

train::ExpertRecipe wanted_recipe(const TrajectoryOptions& options) {
  train::ExpertRecipe recipe = train::ExpertRecipe::defaults(options.recipe);
  with_context("option 'make-settings'", [&] { recipe.apply(options.make_settings); });
  recipe.epochs = options.make_epochs > 0 ? options.make_epochs : options.usual_epochs();
  return recipe;
}

/// "gsam-alpha=1" -> " --gsam-alpha 1"
std::string flag_text(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  return str(" --", setting.substr(0, equals), " ", setting.substr(equals + 1));
}

/// Whether more hangs on the number of epochs than how far experts can be followed.
bool last_snapshot_matters(const TrajectoryOptions& options, const train::ExpertRecipe& recipe) {
  const bool chooses =
      options.init_set.empty() && (options.init == "right" || options.init == "representative");
  return chooses || options.labels == "learned" || recipe.lr_drop != 1;
}

}  // namespace

std::string experts_command(const TrajectoryOptions& options, const RunContext& run,
                            const std::string& out) {
  const data::ImageDataset& dataset = run.dataset;
  const bool zca = dataset.preprocessing().kind() == data::Preprocessing::Kind::Zca;
  const std::int64_t count =
      options.experts_count > 0 ? options.experts_count : options.make_experts;
  std::string text =
      str("retort experts --recipe ", options.recipe, " --dataset ", dataset.info().name,
          zca ? " --zca" : "", " --net ", options.net, " --epochs ", wanted_recipe(options).epochs);
  for (const std::string& setting : options.make_settings) text += flag_text(setting);
  text += str(" --count ", count);
  if (run.hold_out > 0) text += " --hold-out " + config::number_text(run.hold_out);
  // It chooses the images of a subset, and those held out.
  if (!dataset.info().note.empty() && run.seed != 0) text += str(" --seed ", run.seed);
  return str(text, " --out ", out);
}

std::vector<config::Difference> recipe_differences(const storage::ExpertInfo& experts,
                                                   const TrajectoryOptions& options) {
  const std::string recipe = train::recipe_name(experts);
  if (recipe != options.recipe) return {{"recipe", recipe, options.recipe}};
  train::ExpertRecipe wanted = wanted_recipe(options);
  const bool long_enough =
      experts.epochs.back() >= wanted.epochs || !last_snapshot_matters(options, wanted);
  config::OptionTable table;
  wanted.describe(table);
  auto found = config::differences(experts.options, config::config_text(table));
  std::erase_if(found, [&](const config::Difference& d) {
    // How they are stored is not how they were trained, and not every file says everything.
    return !table.contains(d.key) || d.key == "keep-every" || d.key == "store" ||
           d.theirs.empty() || (d.key == "epochs" && long_enough);
  });
  return found;
}

}  // namespace retort::methods::trajectory_matching
