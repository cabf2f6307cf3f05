#include "apps/commands/kept_views.h"

#include <utility>

#include "apps/commands/label_rest.h"

namespace retort::commands {
namespace {

/// Before anything is taken up: what another plan has left there is thrown away then.
KeptViews::What checked(KeptViews::What what) {
  train::expect_label_groups(what.recipe, what.labeler, what.images.size(0));
  return what;
}

}  // namespace

KeptViews::KeptViews(What what, const std::filesystem::path& path, cli::Program& program)
    : what_(checked(std::move(what))),
      labelling_(what_.recipe, what_.labeler, what_.images, path, what_.plan,
                 train::PartsFolder::OtherPlan::Replaced),
      info_(labelling_.info()) {
  info_.sampling = what_.sampling;
  label_rest(labelling_, what_.name, path, program);
  record_ = labelling_.record();
}

}  // namespace retort::commands
