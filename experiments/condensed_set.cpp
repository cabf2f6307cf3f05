#include "experiments/condensed_set.h"

#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "methods/driver.h"
#include "methods/run_folder.h"

namespace retort::experiments {

namespace fs = std::filesystem;

std::optional<data::SyntheticSet> finished_set(const fs::path& root, const std::string& config,
                                               const std::string& dataset_sha256) {
  const methods::RunFolder folder{root};
  const bool whole =
      fs::exists(folder.set()) && fs::exists(folder.grid()) && !fs::exists(folder.checkpoint());
  if (!whole) return std::nullopt;
  data::SyntheticSet set = storage::read_set(folder.set());
  if (set.provenance.config != config) return std::nullopt;
  const std::string& made = set.provenance.dataset_sha256;
  if (made != dataset_sha256) {
    throw DataError(str("'", folder.set().string(), "' was condensed from other data: SHA-256 ",
                        made.substr(0, 12), "..., the dataset has ", dataset_sha256.substr(0, 12),
                        "...; choose another folder"));
  }
  return set;
}

data::SyntheticSet condensed_set(const SetPlan& plan, ProgressSink& progress,
                                 const StopFlag& stop) {
  methods::DriverOptions driver;
  driver.run_dir = plan.folder;
  driver.resume = fs::exists(plan.folder);
  driver.go_on = plan.go_on;
  driver.grid_every = plan.method.iterations();  // a picture of the finished set alone
  driver.config_text = plan.config;
  driver.provenance = plan.provenance;
  driver.provenance.config = plan.config;
  auto outcome = methods::run(plan.method, plan.context, driver, progress, stop);
  return std::move(outcome.set);
}

}  // namespace retort::experiments
