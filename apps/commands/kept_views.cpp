#include "apps/commands/kept_views.h"

#include <utility>

#include "apps/cli/signals.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

/// Every view of the labelling, those of an earlier process included.
void label_rest(train::Labelling& labelling, const std::string& name, const std::string& folder,
                cli::Program& program) {
  const std::int64_t earlier = labelling.views_done();
  if (earlier > 0) {
    log::info(
        str(earlier, " of ", labelling.views(), " views of ", name, " have labels in ", folder));
  }
  cli::expect_polling();
  try {
    labelling.run(
        [&](std::int64_t done) {
          program.terminal.update({.phase = str("labelling ", name, ", views"),
                                   .done = done,
                                   .total = labelling.views(),
                                   .earlier = earlier,
                                   .loss = {}});
        },
        &program.stop);
  } catch (const Interrupted& e) {
    throw Interrupted(
        str(e.what(), "; what is done is saved in ", folder, ", the same command goes on"));
  }
  program.terminal.finish();
}

}  // namespace

KeptViews::KeptViews(What what, const std::filesystem::path& path, cli::Program& program)
    : what_(std::move(what)),
      labelling_(what_.recipe, what_.labeler, what_.images, path, what_.plan,
                 train::PartsFolder::OtherPlan::Replaced),
      info_(labelling_.info()) {
  train::expect_label_groups(what_.recipe, what_.labeler, what_.images.size(0));
  info_.sampling = what_.sampling;
  label_rest(labelling_, what_.name, train::PartsFolder::of(path).string(), program);
  record_ = labelling_.record();
}

}  // namespace retort::commands
