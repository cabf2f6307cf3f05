#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/commands.h"
#include "apps/commands/condense_options.h"
#include "apps/commands/document.h"
#include "apps/commands/output_file.h"
#include "apps/commands/run_checks.h"
#include "apps/commands/run_experts.h"
#include "apps/commands/run_teachers.h"
#include "experiments/protocols.h"
#include "lib/config/options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/set_file.h"
#include "methods/driver.h"
#include "methods/prediction.h"
#include "methods/run_folder.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

/// "runs/dm-cifar10-ipc10-seed0"
fs::path named_run_dir(const CondenseOptions& options) {
  return new_run_dir(str(options.method, "-", options.dataset.dataset, "-ipc", options.ipc, "-seed",
                         options.seed));
}

/// Images for checks during the run leave the training split only when checks were asked for.
bool holds_out(const CondenseOptions& options) {
  return options.eval_every > 0 && options.eval_on != "test";
}

data::ImageDataset training_view(const CondenseOptions& options, data::ImageDataset dataset) {
  if (!holds_out(options)) return dataset;
  log::info(str("checks during the run use ", options.hold_out * 100,
                " % of the training images, which the method does not see"));
  return held_out(dataset, std::uint64_t(options.seed), options.hold_out);
}

/// What the method needs and was not given; null: nothing.
std::unique_ptr<RunPrerequisite> prerequisite_of(const CondenseOptions& options,
                                                 const fs::path& run_dir,
                                                 const methods::DistillationMethod& method,
                                                 const methods::RunContext& context) {
  const methods::Prerequisites needed = method.prerequisites();
  NetworksOfRun run{.folder = {},
                    .dataset = options.dataset,
                    .device = options.device,
                    .kernels = options.kernels,
                    .seed = options.seed,
                    .hold_out = context.hold_out,
                    .threads = options.common.threads};
  const auto folder = [&](const std::string& given, const std::string& usual) {
    return given.empty() ? folder_beside(run_dir, usual) : fs::path(given);
  };
  if (needed.experts) {
    run.folder = folder(needed.experts->folder, "experts");
    return std::make_unique<RunExperts>(*needed.experts, run, context.dataset);
  }
  if (needed.teachers) {
    run.folder = folder(needed.teachers->folder, "teachers");
    return std::make_unique<RunTeachers>(*needed.teachers, run, context.dataset,
                                         methods::resume_command(run_dir));
  }
  return nullptr;
}

/// How checks inside of a run train. @throws ConfigError for an unknown name, and for one that
/// trains on labels that a set in the making has not
eval::Protocol check_protocol(const std::string& name) {
  eval::Protocol protocol = experiments::load_protocol(name);
  if (!protocol.taught()) return protocol;
  throw ConfigError(str("option 'eval-protocol': '", name,
                        "' trains on labels of teachers, which a set gets when it is finished"));
}

/// @param began wall_seconds() when the command began
methods::DriverOptions driver_options(CondenseOptions& options, const fs::path& run_dir,
                                      double began) {
  methods::DriverOptions driver;
  driver.run_dir = run_dir;
  if (!options.out.empty()) driver.out = options.out;
  if (!options.time_budget.empty()) {
    driver.time_budget_seconds = cli::parse_duration("time-budget", options.time_budget);
  }
  driver.began = began;
  driver.checkpoint_every = options.checkpoint_every;
  driver.eval_every = options.eval_every;
  driver.eval_on_test = options.eval_on == "test";
  if (options.eval_every > 0) {
    driver.eval_protocol = check_protocol(options.eval_protocol);
  }
  driver.grid_every = options.grid_every;
  driver.tensorboard = options.tensorboard;
  driver.resume = options.resume;
  driver.config_text = options.replay_text();
  driver.provenance.program_version = cli::program_version();
  driver.provenance.method = options.method;
  driver.provenance.config = driver.config_text;
  driver.provenance.seed = std::uint64_t(options.seed);
  driver.provenance.dataset = options.dataset.dataset;
  driver.provenance.data_path = options.dataset.data;
  return driver;
}

int report_cost(const CondenseOptions& options, methods::DistillationMethod& method,
                methods::RunContext& context, const RunPrerequisite* needed) {
  method.check(context);
  methods::Prediction cost = methods::predict(method, context);
  // The program and the dataset are there already; what is predicted counts the pixels again.
  const double loaded = double(peak_memory_bytes());
  cost.memory_bytes =
      loaded + std::max(0.0, cost.memory_bytes - methods::pixel_bytes(context.dataset));
  if (options.common.json) {
    nlohmann::json document = {{"schema", "retort.prediction/1"},
                               {"iterations", method.iterations()},
                               {"setup_seconds", cost.setup_seconds},
                               {"iteration_seconds", cost.iteration_seconds},
                               {"total_seconds", cost.total_seconds},
                               {"memory_loaded_bytes", std::int64_t(loaded)},
                               {"memory_bytes", cost.memory_bytes},
                               {"experts", nullptr},
                               {"teachers", nullptr}};
    if (needed != nullptr) document[needed->name()] = needed->prediction();
    print_document(document);
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {
      {"iterations", std::to_string(method.iterations())},
      {"preparation", duration_text(cost.setup_seconds)},
      {"each iteration", duration_text(cost.iteration_seconds)},
      {"in all", duration_text(cost.total_seconds)},
      {"memory with the data loaded", bytes_text(std::int64_t(loaded))},
      {"memory in all, roughly", bytes_text(cost.memory_bytes)},
  };
  if (needed != nullptr) rows.insert(rows.begin(), {needed->name(), needed->prediction_text()});
  cli::print(columns(rows));
  return 0;
}

void report_outcome(const CondenseOptions& options, const methods::DriverOptions& driver,
                    const methods::RunOutcome& outcome, std::int64_t planned,
                    const RunPrerequisite* needed) {
  const bool provided = needed != nullptr && !needed->outcome().is_null();
  const std::string set = (driver.run_dir / "set.h5").string();
  const storage::StoredBytes bytes = storage::stored_bytes(set);
  if (options.common.json) {
    nlohmann::json document = {{"schema", "retort.condense/1"},
                               {"run_dir", driver.run_dir.string()},
                               {"set", set},
                               {"method", outcome.set.provenance.method},
                               {"dataset", outcome.set.provenance.dataset},
                               {"ipc", options.ipc},
                               {"seed", outcome.set.provenance.seed},
                               {"iterations", outcome.iterations},
                               {"iterations_planned", planned},
                               {"bytes", {{"images", bytes.images}, {"labels", bytes.labels}}},
                               {"wall_seconds", outcome.wall_seconds},
                               {"already_finished", outcome.already_finished}};
    if (outcome.last_loss) document["loss"] = *outcome.last_loss;
    document["device"] = options.device.device;
    document["kernels"] = kernel_counts();
    if (provided) document[needed->name()] = needed->outcome();
    if (outcome.out) document["out"] = outcome.out->string();
    print_document(document);
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"set", set}};
  if (outcome.out) rows.push_back({"copy", outcome.out->string()});
  rows.push_back({"size", str("images ", bytes_text(double(bytes.images)), ", labels ",
                              bytes_text(double(bytes.labels)))});
  rows.push_back({"iterations", str(outcome.iterations, " of ", planned)});
  if (outcome.last_loss && planned > 1) {
    char loss[32];
    std::snprintf(loss, sizeof loss, "%.5g", *outcome.last_loss);
    rows.push_back({"last loss", loss});
  }
  if (provided) rows.push_back({needed->name(), needed->outcome_text()});
  rows.push_back({"time", duration_text(outcome.wall_seconds)});
  cli::print(columns(rows));
}

/// Of what is allowed, as scripts rely on it, but may be a slip of the hand.
void warn_of_surprises(const CondenseOptions& options, std::int64_t iterations) {
  if (options.resume && !fs::exists(options.run_dir)) {
    log::warn(str("--resume: there is no folder '", options.run_dir, "' yet, a new run starts"));
  }
  if (options.eval_every > iterations) {
    log::warn(str("eval-every ", options.eval_every, " is above the ", iterations,
                  " iterations of the run: no check will be made",
                  options.eval_on == "held-out" ? ", yet images are held out for it" : ""));
  }
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  const double began = wall_seconds();
  CondenseOptions options(command, args);
  if (options.help) {
    cli::print(options.help_text(command));
    return 0;
  }
  check_run_dir(options.run_dir, options.resume, options.dry_run);
  if (!options.time_budget.empty()) cli::parse_duration("time-budget", options.time_budget);
  if (options.eval_every > 0) check_protocol(options.eval_protocol);
  if (!options.out.empty()) OutputFile{options.out, options.force}.check(FileKind::Set, "");
  check_dry_run(options.dry_run, options.device.device);
  const at::Device device = options.device.open();
  options.common.apply(program);
  options.kernels.apply();
  options.factory->settle(options.ipc);

  const auto seed = std::uint64_t(options.seed);
  const data::ImageDataset full = options.dataset.open(seed);
  const data::ImageDataset dataset = training_view(options, full).on(device);
  check_ipc(options.ipc, dataset);
  methods::RunContext context{.dataset = dataset,
                              .ipc = options.ipc,
                              .rng = Rng(seed),
                              .seed = seed,
                              .hold_out = holds_out(options) ? options.hold_out : 0};
  const auto method = options.factory->create();
  const fs::path run_dir =
      options.run_dir.empty() ? named_run_dir(options) : fs::path(options.run_dir);
  const auto needed = prerequisite_of(options, run_dir, *method, context);
  if (options.dry_run) return report_cost(options, *method, context, needed.get());

  methods::DriverOptions driver = driver_options(options, run_dir, began);
  if (needed) {
    driver.provide = [&](methods::RunContext& run) {
      needed->provide(program, methods::resume_command(run_dir), run);
    };
  }
  log::info(str("condensing ", options.dataset.dataset, " with ", options.method, ", ", options.ipc,
                options.ipc == 1 ? " image" : " images", " per class, into ",
                driver.run_dir.string()));
  warn_of_surprises(options, method->iterations());
  cli::expect_polling();
  const methods::RunOutcome outcome =
      methods::run(*method, context, driver, program.terminal, program.stop);
  report_outcome(options, driver, outcome, method->iterations(), needed.get());
  return 0;
}

}  // namespace

cli::Command condense() {
  return {"condense",
          "Condenses a dataset into a small synthetic set.",
          "(--method NAME | --preset NAME) --dataset NAME [options]",
          {"retort condense --method dm --dataset fashion-mnist --ipc 10 --out set.h5",
           "retort condense --method dm --help",
           "retort condense --config runs/dm-fashion-mnist-ipc10-seed0/config.cfg",
           "retort condense --run-dir runs/dm-fashion-mnist-ipc10-seed0 --resume"},
          run};
}

}  // namespace retort::commands
