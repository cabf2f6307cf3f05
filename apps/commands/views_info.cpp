#include "apps/commands/views_info.h"

#include <nlohmann/json.hpp>

#include "apps/cli/help.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

using data::Mix;
using data::ViewsInfo;

/// A record is mixed by one kind; its first batch says which.
std::string mix_name(const data::RecordedViews& views) {
  switch (views.batch(0).views.mix.kind) {
    case Mix::Kind::None:
      return "none";
    case Mix::Kind::CutMix:
      return "cutmix";
    case Mix::Kind::MixUp:
      return "mixup";
  }
  throw Error("unknown kind of mix");
}

std::string sampling_name(ViewsInfo::Sampling sampling) {
  switch (sampling) {
    case ViewsInfo::Sampling::Order:
      return "order";
    case ViewsInfo::Sampling::PoolReplace:
      return "pool_replace";
    case ViewsInfo::Sampling::PoolUnique:
      return "pool_unique";
  }
  throw Error("unknown sampling of views");
}

std::string kind_name(const ViewsInfo& info) {
  return info.kind == data::SoftLabels::Kind::Logit ? "logit" : "probability";
}

/// "fkd, epochs 300, batch-size 100"
std::string recipe_text(const std::string& recipe) {
  if (recipe.empty()) return "not recorded";
  std::vector<std::string> parts;
  for (const auto& entry : config::parse_config(recipe, "recipe of the views")) {
    if (entry.value.empty()) continue;
    parts.push_back(entry.key == "recipe" ? entry.value : str(entry.key, " ", entry.value));
  }
  return join(parts);
}

}  // namespace

std::vector<std::vector<std::string>> views_rows(const data::RecordedViews& views,
                                                 const storage::LabelBytes& bytes) {
  const ViewsInfo& info = views.info();
  return {{"views", cli::wrapped(str(views.views(), " of ", info.images, " images in ", info.epochs,
                                     " epochs, ", views.batches(), " batches of up to ", info.batch,
                                     ", mix ", mix_name(views), ", labels as ", kind_name(info),
                                     info.sampling == ViewsInfo::Sampling::Order
                                         ? ""
                                         : ", drawn by " + sampling_name(info.sampling)),
                                 100, 18)},
          {"views by", cli::wrapped(recipe_text(info.recipe), 100, 18)},
          {"size of views", str("labels ", bytes_text(double(bytes.views_values)),
                                ", what makes the views ", bytes_text(double(bytes.views_meta)))}};
}

nlohmann::json views_json(const data::RecordedViews& views, const storage::LabelBytes& bytes) {
  const ViewsInfo& info = views.info();
  return {{"views", views.views()},
          {"images", info.images},
          {"epochs", info.epochs},
          {"batches", views.batches()},
          {"batch", info.batch},
          {"canvas", {info.canvas.height, info.canvas.width}},
          {"kind", kind_name(info)},
          {"mix", mix_name(views)},
          {"sampling", sampling_name(info.sampling)},
          {"prune_ratio", info.prune_ratio},
          {"seed", info.seed},
          {"recipe", info.recipe},
          {"bytes", {{"values", bytes.views_values}, {"meta", bytes.views_meta}}}};
}

}  // namespace retort::commands
