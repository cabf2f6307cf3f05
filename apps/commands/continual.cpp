#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/commands.h"
#include "apps/commands/continual_options.h"
#include "apps/commands/document.h"
#include "apps/commands/finished_networks.h"
#include "apps/commands/run_checks.h"
#include "apps/commands/study_folder.h"
#include "datasets/published.h"
#include "experiments/continual/prediction.h"
#include "experiments/continual/report.h"
#include "experiments/continual/study.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/spread_text.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using namespace experiments::continual;

/// What lies in the folder of a study beside its steps.
struct ContinualFolder : StudyFolder {
  fs::path accuracies() const { return root / "accuracies.csv"; }
  fs::path curve() const { return root / "curve.svg"; }
  /// FinishedNetworks puts ".part" behind it.
  static fs::path networks(const fs::path& step) { return step / "networks.json"; }
};

std::string go_on_command(const ContinualFolder& folder) {
  return str("retort continual --run-dir ", folder.root.string(), " --resume");
}

Study study_of(ContinualOptions& options, const data::ImageDataset& dataset) {
  const methods::MethodFactory& factory = *options.factory;
  Study study{.dataset = dataset,
              .variant = options.variant == "idc" ? Variant::Kept : Variant::Fresh,
              .orders = options.orders,
              .steps = options.steps,
              .ipc = options.ipc,
              .runs = options.runs,
              .seed = std::uint64_t(options.seed),
              .fitted_statistics = !datasets::published_preprocessing(options.dataset.dataset),
              .hold_out = options.hold_out,
              .method = options.method,
              .make_method = [&factory] { return factory.create(); },
              .protocol = options.opened_protocol(),
              .config = options.replay_text()};
  config::OptionTable own = options.factory->options();
  if (own.contains("factor")) {
    const std::int64_t factor = std::stoll(own.find("factor").value());
    const bool all = own.contains("decode-type") && own.find("decode-type").value() == "multi";
    study.images_per_stored = 0;
    for (std::int64_t f = all ? 1 : factor; f <= factor; ++f) study.images_per_stored += f * f;
  }
  return study;
}

/// Before anything is touched.
void check_study(const Study& study) {
  study.classes_of(0);
  check_ipc(study.ipc, study.dataset);
  const auto& dataset = study.dataset;
  with_context("protocol " + study.protocol.name, [&] {
    nn::make_network(study.network(), dataset.shape(), dataset.num_classes());
    study.protocol.train_options(dataset.info().mirror_changes_class);
  });
}

int report_cost(const Study& study, bool json) {
  const Cost cost = predict(study);
  if (json) {
    print_document({{"schema", "retort.continual-prediction/1"},
                    {"steps", study.steps},
                    {"orders", study.orders},
                    {"runs", study.runs},
                    {"condensing_seconds", cost.condensing_seconds()},
                    {"network_seconds", cost.network_seconds()},
                    {"total_seconds", cost.total_seconds()},
                    {"memory_bytes", cost.memory_bytes}});
    return 0;
  }
  const std::int64_t sets = study.orders * study.steps;
  std::vector<std::vector<std::string>> rows{
      {"condensing", str(sets, " sets, ", duration_text(cost.condensing_seconds()))},
      {"networks", str(sets * study.runs, ", ", duration_text(cost.network_seconds()))},
      {"in all", duration_text(cost.total_seconds())}};
  if (cost.memory_bytes > 0) {
    rows.push_back({"memory while condensing, roughly", bytes_text(cost.memory_bytes)});
  }
  cli::print(columns(rows));
  return 0;
}

/// Of every set, but for its configuration.
data::Provenance provenance_of(const Study& study, const ContinualOptions& options) {
  data::Provenance provenance;
  provenance.program_version = cli::program_version();
  provenance.method = study.method;
  provenance.seed = study.seed;
  provenance.dataset = options.dataset.dataset;
  provenance.data_path = options.dataset.data;
  return provenance;
}

std::vector<OrderResult> make_study(const Study& study, const ContinualFolder& folder,
                                    const ContinualOptions& options, cli::Program& program) {
  std::optional<FinishedNetworks> finished;  // of the step at hand
  const auto key = [&](const eval::Material& material, const data::ImageDataset& tested_on,
                       const eval::Protocol& protocol) {
    return evaluation_key(material, tested_on, protocol, study.network(), {});
  };
  Surroundings around{
      .folder = folder.root,
      .provenance = provenance_of(study, options),
      .go_on = go_on_command(folder),
      .keeper =
          [&](const fs::path& step, const eval::Material& material,
              const data::ImageDataset& tested_on, const eval::Protocol& protocol) {
            finished.emplace(ContinualFolder::networks(step));
            return finished->keeper(key(material, tested_on, protocol));
          },
      .key = key,
      .after_step =
          [&](const std::vector<OrderResult>& results) {
            write_text(folder.accuracies(), to_csv(results));
            const StepResult& step = results.back().steps.back();
            log::info(
                str("order ", results.size(), ", step ", results.back().steps.size(), ": ",
                    mean_and_spread(step.networks.mean, step.networks.std, std::size_t(study.runs)),
                    " % on ", step.classes_seen, " classes (protocol ", study.protocol.name, ")"));
          },
      .progress = program.terminal,
      .stop = program.stop};
  return make(study, around);
}

nlohmann::json document_of(const Study& study, const std::vector<OrderResult>& results,
                           const ContinualOptions& options) {
  nlohmann::json document = to_json(study, results);
  document["device"] = options.device.device;
  document["kernels"] = kernel_counts();
  return document;
}

StudyWork work_of(const Study& study, const ContinualFolder& folder,
                  const ContinualOptions& options, cli::Program& program) {
  return {
      .noun = "study",
      .config = study.config,
      .check_finished = [&] { finished_result(folder.results(), study.dataset, study.protocol); },
      .begun = [&] { return fs::exists(folder.root / "order-0" / "step-1" / "set.h5"); },
      .make =
          [&] {
            const auto results = make_study(study, folder, options, program);
            const auto document = document_of(study, results, options);
            write_text(folder.curve(), to_svg(document));
            write_text(folder.results(), document_text(document));
          },
      .unneeded = [](const fs::path& path) { return path.filename() == "networks.json.part"; }};
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  ContinualOptions options(command, args);
  if (options.help) {
    cli::print(options.help_text(command));
    return 0;
  }
  check_run_dir(options.session.run_dir, options.session.resume, options.session.dry_run);
  check_dry_run(options.session.dry_run, options.device.device);
  options.opened_protocol();
  const at::Device device = options.device.open();
  options.common.apply(program);
  options.kernels.apply();
  options.factory->settle(options.ipc);
  if (options.dataset.zca) {
    throw ConfigError(
        "option 'zca': whitening is fitted to the images of all classes, those of later steps too; "
        "leave it away");
  }
  const data::ImageDataset dataset =
      options.dataset.open_held_out(std::uint64_t(options.seed), options.hold_out).on(device);
  const Study study = study_of(options, dataset);
  check_study(study);
  if (options.session.dry_run) return report_cost(study, options.common.json);

  const ContinualFolder folder{options.session.folder(
      str("continual-", options.method, "-", options.dataset.dataset, "-steps", options.steps,
          "-ipc", options.ipc, "-seed", options.seed))};
  log::info(str("class-incremental study of ", options.dataset.dataset, " with ", options.method,
                ", ", options.steps, " steps, into ", folder.root.string()));
  cli::expect_polling();
  work_in(folder, work_of(study, folder, options, program), program);
  const std::string result = read_text(folder.results());
  cli::print(options.common.json ? result : to_table(nlohmann::json::parse(result)));
  return 0;
}

}  // namespace

cli::Command continual() {
  return {"continual",
          "Learns classes step by step from condensed sets of them.",
          "(--method NAME | --preset NAME) --dataset NAME [options]",
          {"retort continual --method dm --dataset cifar100 --steps 5 --ipc 20",
           "retort continual --method dm --help",
           "retort continual --run-dir runs/continual-dm-cifar100-steps5-ipc20-seed0 --resume"},
          run};
}

}  // namespace retort::commands
