#include "apps/commands/subset.h"

#include "apps/commands/dataset_options.h"

namespace retort::commands {

std::int64_t subset_per_class(const data::Provenance& provenance) {
  DatasetOptions made_from;
  config::OptionTable table;
  made_from.describe(table);
  made_from.adopt(table, provenance);
  return made_from.images_per_class;
}

}  // namespace retort::commands
