#include "apps/commands/run_experts.h"

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/expert_file.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using train::ExpertParts;

std::string file_name(const ExpertsOptions& options, const storage::ExpertInfo& info,
                      const std::string& id) {
  return str(options.recipe.name, "-", info.dataset, options.dataset.zca ? "-zca" : "", "-",
             info.network, "-", options.recipe.epochs, "epochs-seed", options.seed, "-",
             short_id(id), ".h5");
}

}  // namespace

RunExperts::RunExperts(const methods::ExpertsNeeded& needed, const NetworksOfRun& run,
                       const data::ImageDataset& dataset)
    : needed_(needed), on_cpu_(dataset.device().is_cpu()), options_({"--recipe", needed.recipe}) {
  options_.dataset = run.dataset;
  options_.device = run.device;
  options_.kernels = run.kernels;
  options_.hold_out = run.hold_out;
  options_.seed = run.seed_of_networks();
  options_.net = needed.net;
  options_.test_every = 0;  // condensing looks at training images alone
  with_context("option 'make-settings'", [&] { options_.recipe.apply(needed.settings); });
  options_.recipe.epochs = needed.epochs;
  session_.emplace(options_, dataset);
  id_ = storage::expert_id(session_->info());
  file_ = run.folder / file_name(options_, session_->info(), id_);
  options_.out = file_.string();
}

RunExperts::Found RunExperts::look() const {
  if (fs::exists(file_)) {
    const std::string found = storage::read_expert_summary(file_).id;
    if (found != id_) {
      throw StorageError(str("'", file_.string(), "': expected experts of id ", id_, ", found ",
                             found, "; move the file away, or choose another --experts-dir"));
    }
  }
  Found found{.stock = ExpertParts::stock(file_, std::uint64_t(options_.seed), needed_.count),
              .seconds = {}};
  if (found.stock.missing == 0) {
    found.seconds = 0;
  } else if (on_cpu_) {
    found.seconds = session_->cost(found.stock.missing).total_seconds;
  }
  return found;
}

RunPrerequisite::Missing RunExperts::missing() const {
  const Found found = look();
  return {found.stock.missing, found.seconds};
}

std::string RunExperts::counted(std::int64_t networks) const { return experts_text(networks); }

void RunExperts::announce(const Found& found, const std::string& go_on) const {
  const auto [in_file, finished, missing] = found.stock;
  log::info(str("no file of experts was given: this run follows ", experts_text(needed_.count),
                " of recipe ", needed_.recipe, " to epoch ", needed_.followed, "; ", file_.string(),
                in_file > 0 ? str(" has ", in_file) : " is not there yet",
                finished > 0 ? str(", ", finished, " more finished in ",
                                   ExpertParts::folder_of(file_).string())
                             : ""));
  log::info(str("made first: ", experts_text(missing), ", ", needed_.epochs, " epochs each",
                found.seconds ? ", predicted to take " + duration_text(*found.seconds) : "",
                ", which count neither as condensing nor against --time-budget"));
  log::info(
      str("--make-experts N asks for another number, --experts FILE follows others; Ctrl-C "
          "saves, then ",
          go_on, " goes on, and a new run with fewer takes those that are finished"));
}

void RunExperts::provide(cli::Program& program, const std::string& go_on,
                         methods::RunContext& run) {
  const double began = wall_seconds();
  const Found found = look();
  Made made{.networks = found.stock.missing};
  if (made.networks > 0) announce(found, go_on);
  if (found.stock.in_file < needed_.count) {
    session_->make_up_to(needed_.count, program, "go on with " + go_on);
  }
  made.seconds = wall_seconds() - began;
  made_ = made;
  log::info(made.networks > 0
                ? str("experts are made, ", duration_text(made.seconds),
                      "; condensing begins. They are kept for other runs: ", file_.string())
                : str("experts of an earlier run are followed: ", file_.string()));
  run.experts = file_.string();
}

}  // namespace retort::commands
