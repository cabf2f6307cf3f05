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

void TeachersOptions::expect_wanted() const {
  if (add || !std::filesystem::exists(out)) return;
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
  return config::config_text(recorded);
}

}  // namespace retort::commands
