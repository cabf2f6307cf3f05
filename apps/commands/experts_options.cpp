#include "apps/commands/experts_options.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"

namespace retort::commands {
namespace {

using config::any_text;
using config::at_least;
using config::in_range;

train::ExpertRecipe recipe_of(const std::vector<std::string>& args) {
  const std::string name = cli::peek_flag(args, "recipe");
  return train::ExpertRecipe::defaults(name.empty() ? train::ExpertRecipe{}.name : name);
}

/// Recipes with an option of this name.
std::vector<std::string> recipes_with(const std::string& option) {
  std::vector<std::string> found;
  for (const auto& name : train::ExpertRecipe::names()) {
    train::ExpertRecipe recipe = train::ExpertRecipe::defaults(name);
    config::OptionTable options;
    recipe.describe(options);
    if (options.contains(option)) found.push_back(name);
  }
  return found;
}

}  // namespace

ExpertsOptions::ExpertsOptions(const std::vector<std::string>& args) : recipe(recipe_of(args)) {
  table.add("out", out, "file of the experts; until it is there its parts are in OUT.parts/",
            any_text());
  table.add("count", count, "experts to make", in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("net", net, "network; a ConvNet without a depth: as deep as the image size asks",
            any_text());
  describe_recorded(table);
  table.add("add", add, "make them in addition to those that --out holds");
  table.add("merge", merge,
            "train nothing, but take the complete experts of OUT.parts/ into --out");
  table.add("parallel", parallel,
            "experts trained at once, one thread each; 1: one after the other, each over all "
            "threads; 0: whichever is expected to end sooner. Changes no bit",
            at_least(std::int64_t{0}));
  table.add("test-every", test_every,
            "epochs between tests, which only inform; 0: none. The last epoch is always tested",
            at_least(std::int64_t{0}));
  table.add("dry-run", dry_run, "say what it would cost, and stop");
  common.describe(table);
  refuse_other_recipes(args);
}

void ExpertsOptions::describe_recorded(config::OptionTable& into) {
  into.add("recipe", recipe.name,
           "sgd: as for MTT; ftd: GSAM, as for FTD and (100 epochs) DATM; ast: as for AST",
           config::one_of(train::ExpertRecipe::names()));
  recipe.describe(into);
  into.add("seed", seed, "of all experts: number n has streams of its own", at_least(0));
  into.add("hold-out", hold_out,
           "part of every class that experts do not see and are tested on in place of the test "
           "split, the same that `condense` holds out; 0: none",
           share_or_none());
  dataset.describe(into);
  device.describe(into);
  kernels.describe(into);
}

void ExpertsOptions::refuse_other_recipes(const std::vector<std::string>& args) const {
  for (const auto& word : args) {
    if (!word.starts_with("--")) continue;
    std::string name = word.substr(2, word.find('=') - 2);
    std::replace(name.begin(), name.end(), '_', '-');
    if (table.contains(name)) continue;
    const std::vector<std::string> others = recipes_with(name);
    if (others.empty()) continue;
    throw ConfigError(str("unknown option '", name, "': the recipe '", recipe.name,
                          "' has none of this name; an option of ", join(others)));
  }
}

void ExpertsOptions::expect_merge_alone() const {
  const std::set<std::string> read{"merge", "out", "threads", "json", "quiet"};
  for (const auto& option : table.options()) {
    if (option.origin != config::Origin::Flag || read.contains(option.name)) continue;
    throw ConfigError(str("option '", option.name,
                          "' changes nothing with --merge, which takes parts as they are"));
  }
}

void ExpertsOptions::check() {
  if (out.empty() && !dry_run) throw ConfigError("where shall the experts go? Give --out FILE");
  if (std::filesystem::exists(out) && !storage::has_schema(out, storage::kExpertSchema)) {
    throw ConfigError(
        str("option 'out': '", out, "' exists and is no file of experts; choose another name"));
  }
  if (merge) expect_merge_alone();
  if (dry_run && device.device != "cpu") {
    throw ConfigError(str("--dry-run predicts for --device cpu only, found '", device.device, "'"));
  }
}

void ExpertsOptions::check_threads() const {
  if (parallel <= common.threads) return;
  throw ConfigError(str("option 'parallel': every expert takes a thread, expected at most ",
                        common.threads, ", found ", parallel, "; see --threads"));
}

std::string ExpertsOptions::recorded_text() {
  config::OptionTable recorded;
  describe_recorded(recorded);
  std::erase_if(recorded.options(), [](const config::Option& option) {
    return option.name == "dataset" || option.name == "data";
  });
  DatasetOptions::leave_out_machine(recorded);
  return config::config_text(recorded);
}

}  // namespace retort::commands
