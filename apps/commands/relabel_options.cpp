#include "apps/commands/relabel_options.h"

#include <filesystem>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

train::RelabelRecipe recipe_of(const std::vector<std::string>& args) {
  const std::string name = cli::peek_flag(args, "recipe");
  return train::RelabelRecipe::defaults(name.empty() ? train::RelabelRecipe{}.name : name);
}

/// Labels by batch statistics belong to a batch; an image labelled as it is has none.
void expect_batches(const train::RelabelRecipe& recipe, const std::vector<std::string>& args) {
  if (!recipe.is_static()) return;
  for (const char* option : {"batch-norm", "batch-norm-group"}) {
    if (cli::peek_flag(args, option).empty()) continue;
    throw ConfigError(str("option '", option,
                          "': recipe static labels every image once and alone, by the statistics "
                          "of training; statistics of batches are for recipes fkd, cda and cv-dd"));
  }
}

}  // namespace

RelabelOptions::RelabelOptions(const std::vector<std::string>& args) : recipe(recipe_of(args)) {
  expect_batches(recipe, args);
  table.add("teachers", teachers, "file of the teachers, see `retort teachers`",
            config::any_text());
  table.add("teacher-names", teacher_names,
            "those of them that label, by the name of their network or their number; else all",
            config::any_text());
  out.describe(table, "set file to write; until it is there labels lie in OUT.parts/");
  table.add("recipe", recipe.name,
            "fkd: views as for SRe2L; cda: in smaller batches; cv-dd: a committee that normalises "
            "by groups of views; static: one label per image",
            config::one_of(train::RelabelRecipe::names()));
  recipe.describe(table);
  table.add("dry-run", dry_run, "say what it would cost, and stop");
  dataset.describe(table);
  device.describe(table);
  kernels.describe(table);
  common.describe(table);
}

void RelabelOptions::check(const std::string& set) const {
  if (teachers.empty()) {
    throw ConfigError("which teachers? Give --teachers FILE, which `retort teachers` makes");
  }
  if (!dry_run) check_out(set);
  if (dry_run && device.device != "cpu") {
    throw ConfigError(str("--dry-run predicts for --device cpu only, found '", device.device, "'"));
  }
}

void RelabelOptions::check_out(const std::string& set) const {
  if (out.path.empty()) {
    throw ConfigError(str("where shall the labelled set go? Give --out FILE; '", set,
                          "' itself is replaced by --out ", set, " --force"));
  }
  std::error_code ignored;
  if (!std::filesystem::equivalent(out.path, set, ignored)) {
    out.check(FileKind::Set, "");
  } else if (!out.force) {
    throw ConfigError(str("option 'out': '", out.path,
                          "' is the set that is read; --force replaces it by itself with labels"));
  }
}

void RelabelOptions::settle_flip(const data::ImageDataset& opened) {
  if (recipe.is_static() || !recipe.flip || !opened.info().mirror_changes_class) return;
  if (table.find("flip").origin == config::Origin::Flag) return;
  recipe.flip = false;
  log::info(str("views are not mirrored: that changes classes of ", opened.info().name));
}

}  // namespace retort::commands
