#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/nas_options.h"
#include "apps/commands/nas_proxies.h"
#include "apps/commands/run_checks.h"
#include "apps/commands/study_folder.h"
#include "experiments/nas/course.h"
#include "experiments/nas/prediction.h"
#include "experiments/nas/report.h"
#include "experiments/nas/study.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using namespace experiments::nas;

/// What lies in the folder of a search beside its sets and records.
struct SearchFolder : StudyFolder {
  fs::path architectures() const { return root / "architectures.csv"; }
  fs::path picture(const std::string& proxy) const { return root / str("scatter-", proxy, ".svg"); }
};

/// @throws ConfigError for a k that is none of so many architectures
std::vector<std::int64_t> top_of(std::vector<std::int64_t> asked, std::size_t architectures) {
  if (asked.empty()) return default_top(std::int64_t(architectures));
  std::sort(asked.begin(), asked.end());
  asked.erase(std::unique(asked.begin(), asked.end()), asked.end());
  if (asked.back() > std::int64_t(architectures)) {
    throw ConfigError(
        str("option 'top': there are ", architectures, " architectures, found ", asked.back()));
  }
  return asked;
}

/// All that a study looks at and does not own.
struct Subject {
  data::ImageDataset dataset;
  data::ImageDataset held_out;
  std::vector<Architecture> grid;
  Networks networks;
};

Subject subject_of(NasOptions& options, at::Device device) {
  auto grid = architectures(options.grid);
  const data::ImageDataset dataset = options.dataset.open(std::uint64_t(options.seed)).on(device);
  auto networks = make_networks(grid, dataset.shape(), dataset.num_classes());
  const auto cut = held_out(dataset, std::uint64_t(options.seed), options.hold_out).on(device);
  return {dataset, cut, std::move(grid), std::move(networks)};
}

Study study_of(NasOptions& options, const Subject& subject) {
  return {.dataset = subject.dataset,
          .held_out = subject.held_out,
          .hold_out = options.hold_out,
          .grid = subject.grid,
          .networks = subject.networks,
          .proxies = proxies_of(options),
          .ipc = options.ipc,
          .seeds = options.seeds,
          .protocol = options.opened_protocol(options.epochs),
          .reference_images_per_class = options.reference_images_per_class,
          .reference_seeds = options.reference_seeds,
          .reference_protocol = options.opened_protocol(options.reference_epochs),
          .top = top_of(options.top, subject.grid.size()),
          .seed = std::uint64_t(options.seed),
          .config = options.replay_text()};
}

/// Early stopping takes as many steps as on `ipc` images of every class.
void warn_of_other_sizes(const Study& study) {
  const bool early = std::any_of(study.proxies.begin(), study.proxies.end(), [](const Proxy& p) {
    return p.kind == Proxy::Kind::EarlyStopping;
  });
  if (!early) return;
  const std::int64_t expected = study.ipc * study.held_out.num_classes();
  for (const Proxy& proxy : study.proxies) {
    std::int64_t images = expected * proxy.images_per_stored;
    if (proxy.kind == Proxy::Kind::Set) images = data::hard_classes(proxy.set->labels).numel();
    if (images == expected) continue;
    log::warn(str("early-stopping takes the steps of ", expected, " images per epoch (--ipc), the ",
                  "set of '", proxy.name, "' has ", images, ": they are not compared alike"));
  }
}

/// Before anything is touched.
void check_study(const Study& study) {
  warn_of_other_sizes(study);
  check_ipc(study.ipc, study.held_out);
  with_context("protocol " + study.protocol.name,
               [&] { study.protocol.train_options(study.dataset.info().mirror_changes_class); });
  for (const Proxy& proxy : study.proxies) {
    with_context(str("proxy '", proxy.name, "'"), [&] {
      if (proxy.kind == Proxy::Kind::Set) {
        set_course(proxy.name, *proxy.set, study.protocol, study.held_out, {});
      }
      if (proxy.kind == Proxy::Kind::Method) {
        methods::RunContext context{.dataset = study.held_out, .ipc = study.ipc};
        proxy.make_method()->check(context);
      }
    });
  }
}

int report_cost(const Study& study, bool json) {
  const Cost cost = predict(study);
  if (json) {
    print_document({{"schema", "retort.nas-prediction/1"},
                    {"architectures", study.grid.size()},
                    {"proxies", study.proxies.size()},
                    {"proxy_trainings", cost.proxy_trainings},
                    {"reference_trainings", cost.reference_trainings},
                    {"condensing_seconds", cost.condensing_seconds},
                    {"proxy_seconds", cost.proxy_seconds},
                    {"reference_seconds", cost.reference_seconds},
                    {"total_seconds", cost.total_seconds()},
                    {"memory_bytes", cost.memory_bytes}});
    return 0;
  }
  const auto trainings = [](std::size_t count, double seconds) {
    return str(count, count == 1 ? " training, " : " trainings, ", duration_text(seconds));
  };
  cli::print(columns({{"architectures", str(study.grid.size())},
                      {"condensing", duration_text(cost.condensing_seconds)},
                      {"on proxies", trainings(cost.proxy_trainings, cost.proxy_seconds)},
                      {"reference", trainings(cost.reference_trainings, cost.reference_seconds)},
                      {"in all", duration_text(cost.total_seconds())},
                      {"memory, roughly", bytes_text(cost.memory_bytes)}}));
  return 0;
}

Outcome make_study(const Study& study, const SearchFolder& folder, const NasOptions& options,
                   cli::Program& program) {
  data::Provenance provenance;
  provenance.program_version = cli::program_version();
  provenance.seed = study.seed;
  provenance.dataset = options.dataset.dataset;
  provenance.data_path = options.dataset.data;
  return make(study, {.folder = folder.root,
                      .provenance = provenance,
                      .go_on = str("retort nas --run-dir ", folder.root.string(), " --resume"),
                      .progress = program.terminal,
                      .stop = program.stop});
}

void write_results(const SearchFolder& folder, const Study& study, const Outcome& outcome,
                   const NasOptions& options) {
  nlohmann::json document = to_json(study, outcome);
  document["device"] = options.device.device;
  document["kernels"] = kernel_counts();
  write_text(folder.architectures(), to_csv(document));
  for (const Proxy& proxy : study.proxies) {
    write_text(folder.picture(proxy.name), to_svg(document, proxy.name));
  }
  write_text(folder.results(), document_text(document));
}

/// Whether the result of a finished search is of these data, protocols and sets. @throws
/// ConfigError
void expect_same_contents(const SearchFolder& folder, const Study& study) {
  const auto document = finished_result(folder.results(), study.dataset, study.protocol);
  const nlohmann::json& reference = document.at("reference");
  if (reference.at("protocol_options") !=
      nlohmann::json(study.reference_protocol.options_in_use())) {
    refuse_result(folder.results(), "another protocol of the reference");
  }
  for (const Proxy& proxy : study.proxies) {
    if (proxy.kind != Proxy::Kind::Set) continue;
    const Course now = set_course(proxy.name, *proxy.set, study.protocol, study.held_out, {});
    for (const nlohmann::json& entry : document.at("proxies")) {
      if (entry.at("name") != proxy.name || entry.value("key", "") == now.key) continue;
      refuse_result(folder.results(), str("another set '", proxy.name, "'"));
    }
  }
}

StudyWork work_of(const Study& study, const SearchFolder& folder, const NasOptions& options,
                  cli::Program& program) {
  return {
      .noun = "search",
      .config = study.config,
      .check_finished = [&] { expect_same_contents(folder, study); },
      .begun =
          [&] { return fs::exists(folder.root / "sets") || fs::exists(folder.root / "trainings"); },
      .make =
          [&] {
            const Outcome outcome = make_study(study, folder, options, program);
            write_results(folder, study, outcome, options);
          },
      .unneeded = {}};
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  NasOptions options(command, args);
  if (options.help) {
    cli::print(options.help_text(command));
    return 0;
  }
  // The same command goes on where it was stopped.
  const StudySession& session = options.session;
  const bool begun = !session.run_dir.empty() && fs::exists(StudyFolder{session.run_dir}.config());
  check_run_dir(session.run_dir, session.resume || begun, session.dry_run);
  check_dry_run(session.dry_run, options.device.device);
  options.opened_protocol(options.epochs);
  const at::Device device = options.device.open();
  options.common.apply(program);
  options.kernels.apply();
  const Subject subject = subject_of(options, device);
  const Study study = study_of(options, subject);
  check_study(study);
  if (session.dry_run) return report_cost(study, options.common.json);

  const SearchFolder folder{
      options.session.folder(str("nas-", options.dataset.dataset, "-", study.grid.size(), "-ipc",
                                 options.ipc, "-seed", options.seed))};
  log::info(str("search among ", study.grid.size(), " ConvNets on ", options.dataset.dataset,
                ", into ", folder.root.string()));
  cli::expect_polling();
  work_in(folder, work_of(study, folder, options, program), program);
  const std::string result = read_text(folder.results());
  cli::print(options.common.json ? result : to_table(nlohmann::json::parse(result)));
  return 0;
}

}  // namespace

cli::Command nas() {
  return {"nas",
          "Searches among 720 ConvNets by small sets, and judges sets by how they rank them.",
          "--dataset NAME [options]",
          {"retort nas --dataset cifar10 --proxies random,herding,dm --ipc 50 --dry-run",
           "retort nas --dataset fashion-mnist --widths 32,64 --depths 2,3 --norms none,IN,BN "
           "--poolings average --proxies random,dm --method-set dm:iterations=300 "
           "--reference-images-per-class 1000 --reference-epochs 5",
           "retort nas --run-dir runs/nas-cifar10-720-ipc50-seed0 --resume"},
          run};
}

}  // namespace retort::commands
