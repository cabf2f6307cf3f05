#include "apps/commands/teachers_options.h"

#include <algorithm>
#include <filesystem>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "lib/train/teacher_parts.h"

namespace retort::commands {
namespace {

using config::any_text;
using config::at_least;

train::TeacherRecipe recipe_of(const std::vector<std::string>& args) {
  const std::string name = cli::peek_flag(args, "recipe");
  return train::TeacherRecipe::defaults(name.empty() ? train::TeacherRecipe{}.name : name);
}

}  // namespace

TeachersOptions::TeachersOptions(const std::vector<std::string>& args) : recipe(recipe_of(args)) {
  table.add("out", out, "file of the teachers; until it is there they lie in OUT.parts/",
            any_text());
  table
      .add("nets", nets, "networks to train, one teacher each; see `retort list networks`",
           any_text())
      .aliases = {"net"};
  describe_recorded(table);
  table.add("import", import_file,
            "weights of a network that was trained elsewhere, in place of training one: a "
            "safetensors file, or a .pt file of a dict of tensors, by PyTorch's names",
            any_text());
  table.add("statistics-only", statistics_only,
            "train nothing: take statistics of classes for the teachers that --out holds");
  table.add("add", add, "train them in addition to those that --out holds");
  table.add("dry-run", dry_run, "say what it would cost, and stop");
  common.describe(table);
}

void TeachersOptions::describe_recorded(config::OptionTable& into) {
  into.add("recipe", recipe.name, "sgd: as for SRe2L; adam: as for CV-DD",
           config::one_of(train::TeacherRecipe::names()));
  recipe.describe(into);
  into.add("seed", seed, "of all teachers: the n-th of a file has a stream of its own",
           at_least(0));
  into.add("class-statistics", class_statistics,
           "statistics of BatchNorm of every class, for LPLD: from one pass over the training "
           "images, as a moving average like the paper's code, or a mean",
           config::one_of({"none", "ema", "mean"}));
  into.add("hold-out", hold_out,
           "part of every class that teachers do not see and are tested on in place of the test "
           "split, the same that `condense` holds out; 0: none",
           share_or_none());
  dataset.describe(into);
  device.describe(into);
  kernels.describe(into);
}

void TeachersOptions::check() {
  if (out.empty() && !dry_run) throw ConfigError("where shall the teachers go? Give --out FILE");
  if (!import_file.empty()) check_import();
  if (statistics_only) check_statistics_only();
  if (nets.empty()) throw ConfigError("which networks? Give --nets NAME,...");
  if (recipe.warmup_epochs > recipe.epochs) {
    throw ConfigError(
        str("warmup-epochs ", recipe.warmup_epochs, ": expected at most epochs, ", recipe.epochs));
  }
  if (std::filesystem::exists(out) && !storage::has_schema(out, storage::kTeacherSchema)) {
    throw ConfigError(
        str("option 'out': '", out, "' exists and is no file of teachers; choose another name"));
  }
  // Another process may have left what is only to be tidied up.
  if (!dry_run && !train::TeacherParts::under_way(out)) expect_wanted();
  if (dry_run && device.device != "cpu") {
    throw ConfigError(str("--dry-run predicts for --device cpu only, found '", device.device, "'"));
  }
}

void TeachersOptions::refuse_training_flags(const std::string& because) {
  config::OptionTable training;
  train::TeacherRecipe described = recipe;
  described.describe(training);
  std::vector<std::string> names = {"recipe", "dry-run"};
  for (const auto& option : training.options()) names.push_back(option.name);
  for (const auto& name : names) {
    // How many images share their statistics is no matter of training alone.
    if (name == "batch-size" && class_statistics != "none") continue;
    if (!table.contains(name) || table.find(name).origin != config::Origin::Flag) continue;
    throw ConfigError(str("--", name, " means nothing with ", because, ", which trains nothing"));
  }
}

void TeachersOptions::check_import() {
  refuse_training_flags("--import");
  if (statistics_only) throw ConfigError("--import and --statistics-only exclude each other");
  if (nets.size() != 1) {
    throw ConfigError(
        str("--import holds one network, --nets names ", nets.size(), ": ", join(nets)));
  }
  if (!std::filesystem::exists(import_file)) {
    throw ConfigError(str("option 'import': there is no file '", import_file, "'"));
  }
}

void TeachersOptions::check_statistics_only() {
  refuse_training_flags("--statistics-only");
  if (class_statistics == "none") {
    throw ConfigError("--statistics-only: which? Give --class-statistics ema or mean");
  }
  for (const char* name : {"nets", "add"}) {
    if (table.find(name).origin != config::Origin::Flag) continue;
    throw ConfigError(str("--", name, " means nothing with --statistics-only, which is for all ",
                          "teachers that --out holds"));
  }
  if (!std::filesystem::exists(out)) {
    throw ConfigError(str("--statistics-only: there is no file '", out, "'"));
  }
}

void TeachersOptions::expect_wanted() const {
  if (add || statistics_only || !std::filesystem::exists(out)) return;
  throw ConfigError(str("'", out, "' exists; --add trains more teachers for it"));
}

std::string TeachersOptions::recorded_text() {
  config::OptionTable recorded;
  describe_recorded(recorded);
  // The bits of networks with BatchNorm depend on it.
  recorded.add("threads", common.threads, "", at_least(0));
  std::erase_if(recorded.options(), [](const config::Option& option) {
    return option.name == "dataset" || option.name == "data";
  });
  DatasetOptions::leave_out_machine(recorded);
  return config::config_text(recorded);
}

}  // namespace retort::commands
