#include <filesystem>
#include <optional>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/baselines.h"
#include "apps/commands/commands.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/document.h"
#include "apps/commands/evaluate_options.h"
#include "apps/commands/evaluate_words.h"
#include "apps/commands/folder_kind.h"
#include "apps/commands/kernel_options.h"
#include "apps/commands/output_file.h"
#include "apps/commands/ranking.h"
#include "apps/commands/result_place.h"
#include "apps/commands/student_teachers.h"
#include "apps/commands/subject_evaluation.h"
#include "apps/commands/subset.h"
#include "experiments/protocols.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/data/recorded_views.h"
#include "lib/eval/evaluator.h"
#include "lib/eval/report.h"
#include "lib/nn/naming.h"
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

/// Where the document goes besides stdout; empty: nowhere.
fs::path report_path(const eval::EvaluationReport& report, const std::vector<NetworkRuns>& nets,
                     const std::vector<std::string>& baselines, const EvaluateOptions& options) {
  if (!options.out.path.empty()) return options.out.path;
  if (report.protocol.ranks()) {
    const std::string how = report.tested_on == "test"
                                ? report.protocol.name
                                : str(report.protocol.name, "-", report.tested_on);
    return ranking_in_run_folder(report.set, how, nets.front().network, report.seeds.size());
  }
  std::vector<std::string> names;
  for (const auto& runs : nets) {
    for (const auto& augmentation : report.augmentations) {
      names.push_back(under_augmentation(runs.network, augmentation));
    }
    if (report.augmentations.empty()) names.push_back(runs.network);
  }
  return evaluation_in_run_folder(
      report.set, {report.protocol.name, report.tested_on, names, report.seeds, baselines});
}

void write_report(const eval::EvaluationReport& report, const fs::path& out,
                  const std::string& device, bool json) {
  nlohmann::json document = eval::to_json(report);
  document["device"] = device;
  document["kernels"] = kernel_counts();
  if (!out.empty()) {
    write_text(out, document_text(document));
    log::info(str("written to ", out.string()));
  }
  cli::print(json ? document_text(document) : eval::to_table(report));
}

/// Most protocols train at steps of their own.
void warn_of_learned_lr(const data::SyntheticSet& set, const eval::Protocol& protocol) {
  if (!set.learned_lr || protocol.step_size == "learned") return;
  log::warn(str("the set has learned a step size, ", config::number_text(*set.learned_lr),
                ", which protocol '", protocol.name,
                "' does not use: networks train at the protocol's own and may fall short of what "
                "the set can do"));
}

/// Teachers labelled the set for other protocols than this one.
void warn_of_labels_of_teachers(const data::SyntheticSet& set, const eval::Protocol& protocol) {
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  if (protocol.labels != "set" || soft == nullptr || !soft->by_teachers()) return;
  std::vector<std::string> users;
  for (const auto& name : experiments::protocol_names()) {
    if (experiments::load_protocol(name).labels == "static") users.push_back(name);
  }
  log::warn(str("teachers have labelled the images of the set, which protocol '", protocol.name,
                "' does not use: networks train on classes; these labels are for ", join(users)));
}

/// One command line. Not copyable: the table is bound to its fields.
struct CommandLine {
  cli::CommonOptions common;
  DatasetOptions dataset;
  EvaluateOptions evaluate;
  DeviceOptions device;
  KernelOptions kernels;
  config::OptionTable table;

  CommandLine() {
    evaluate.describe(table);
    dataset.describe(table);
    device.describe(table);
    kernels.describe(table);
    common.describe(table);
  }
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;
};

/// What the options alone can say wrongly is found before the set is read.
eval::EvaluationReport plan_report(const EvaluateOptions& options) {
  eval::EvaluationReport report;
  report.protocol =
      eval::changed(experiments::load_protocol(options.protocol), options.protocol_changes);
  report.attacks = options.attacks.parsed();
  // Random images of a score are labelled as baselines are.
  const bool others = !options.baselines.empty() || report.protocol.ranks();
  expect_teachers_for(report.protocol, !options.teachers.empty(), others);
  options.check_networks();
  options.check_ranking(report.protocol);
  options.check_augmentations(report.protocol);
  report.augmentations = options.augment;
  if (options.no_hard && !report.protocol.taught()) {
    throw ConfigError(str("option 'no-hard' changes nothing: protocol '", report.protocol.name,
                          "' trains on the labels of the set"));
  }
  report.hard_labels_left_out = options.no_hard;
  report.seeds = options.seeds_under(report.protocol);
  report.tested_on = tested_on_text(options.hold_out);
  return report;
}

/// Whether everything asked for fits the set, and where the document would go.
void check_fit(const EvaluateOptions& options, const eval::EvaluationReport& report,
               const data::SyntheticSet& set, const std::vector<Baseline>& baselines) {
  if (!options.out.path.empty()) {
    options.out.check(report.protocol.ranks() ? FileKind::Ranking : FileKind::Evaluation,
                      report.set);
    expect_writable(options.out.path);
  }
  for (const auto& baseline : baselines) baseline_title(baseline, set);
  if (options.hold_out > 0) expect_held_out(options.hold_out, set.provenance.config);
  warn_of_learned_lr(set, report.protocol);
  warn_of_labels_of_teachers(set, report.protocol);
}

/// The network that the set was condensed in, as its configuration says; empty: it does not.
std::string network_of_set(const data::SyntheticSet& set) {
  for (const auto& entry : config::parse_config(set.provenance.config, "provenance of the set")) {
    if (entry.key == "net") return entry.value;
  }
  return "";
}

std::optional<eval::CrossArchitecture> cross_architecture(const EvaluateOptions& options,
                                                          const data::SyntheticSet& set,
                                                          const eval::Protocol& protocol,
                                                          const data::ImageDataset& dataset) {
  if (options.cross_arch.empty()) return std::nullopt;
  const nn::ImageShape shape = dataset.shape();
  const std::string own = network_of_set(set);
  const std::string source = own.empty() ? protocol.network_for(shape) : own;
  const auto network = nn::make_network(nn::with_depth(source, nn::default_convnet_depth(shape)),
                                        shape, dataset.num_classes());
  return eval::CrossArchitecture{options.pool_text(), network->name(), !own.empty()};
}

/// Empty where students learn no label that a teacher left in the set.
std::string recipe_of_labels(const data::SyntheticSet& set, const eval::Protocol& protocol) {
  if (protocol.labels == "views" && set.views != nullptr) return set.views->info().recipe;
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  return protocol.labels == "static" && soft != nullptr ? soft->recipe : "";
}

/// What is trained on and tested on.
void describe_data(eval::EvaluationReport& report, const data::SyntheticSet& set,
                   const data::ImageDataset& dataset) {
  report.label_recipe = recipe_of_labels(set, report.protocol);
  report.set_sha256 = sha256_file(report.set);
  report.dataset = dataset.info().name;
  report.dataset_sha256 = dataset.info().sha256;
  report.subset_per_class = subset_per_class(set.provenance);
  report.mirror_changes_class = dataset.info().mirror_changes_class;
  report.class_names = dataset.info().class_names;
}

void announce_finished(const FinishedNetworks& finished) {
  if (finished.count() == 0) return;
  log::info(str("an interrupted evaluation left ", finished.count(), " finished networks in ",
                finished.path().string(), "; those that belong to this one are not made again"));
}

/// The teachers asked for, if they are who they should be.
StudentTeachers open_teachers(const EvaluateOptions& options, eval::EvaluationReport& report,
                              const data::SyntheticSet& set, const data::ImageDataset& dataset) {
  warn_of_other_groups(set, report.protocol);
  if (options.teachers.empty()) return {};
  StudentTeachers teachers(options.teachers, options.teacher_names, dataset);
  if (report.protocol.labels != "teachers") {
    teachers.expect_labelers_of(set, report.protocol);
  }
  report.teachers = teachers.asset();
  report.teacher_bytes = teachers.bytes();
  return teachers;
}

/// Sets of real images beside the set, made before anything trains: what is wrong with a baseline
/// must not cost the networks that came before it.
std::vector<data::SyntheticSet> make_baselines(const std::vector<Baseline>& baselines,
                                               const data::SyntheticSet& set,
                                               const data::ImageDataset& dataset,
                                               std::uint64_t seed, const StopFlag& stop) {
  cli::expect_polling();
  if (!baselines.empty()) {
    log::info(
        str("baselines are chosen from ", dataset.size(data::Split::Train), " training images"));
  }
  std::vector<data::SyntheticSet> sets;
  for (const auto& baseline : baselines) {
    sets.push_back(make_baseline(baseline, set, dataset, seed, stop));
  }
  return sets;
}

/// As the set was labelled, with what is kept until the evaluation is whole beside its result.
/// @param names of the baselines  @param others their sets  @param out of the result, or empty
void label_baselines(StudentTeachers& teachers, const std::vector<std::string>& names,
                     std::vector<data::SyntheticSet>& others, const data::SyntheticSet& set,
                     const eval::Protocol& protocol, const fs::path& out,
                     const data::ImageDataset& dataset, cli::Program& program) {
  for (std::size_t i = 0; i < others.size(); ++i) {
    const fs::path kept = out.empty() ? fs::path() : fs::path(str(out.string(), ".", names[i]));
    teachers.label({names[i], others[i], kept}, set, protocol, dataset, program);
  }
}

/// Trains on the set, on its classes alone beside labels of teachers, and on every baseline.
/// @param others the sets of `baselines`
void judge(eval::EvaluationReport& report, const SubjectEvaluation& evaluation,
           const data::SyntheticSet& set, const std::vector<Baseline>& baselines,
           const std::vector<data::SyntheticSet>& others) {
  report.subject = evaluation({report.set, set, report.set});
  if (report.protocol.taught() && !report.hard_labels_left_out) {
    report.hard_labels = evaluation({"hard labels", set, report.set, true});
  }
  for (std::size_t i = 0; i < baselines.size(); ++i) {
    report.baselines.push_back(evaluation({baseline_title(baselines[i], set), others[i], ""}));
  }
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  CommandLine line;
  const EvaluateOptions& options = line.evaluate;
  const auto words = cli::parse_command(command, args, line.table, {{"SET|RUN"}, 1});
  if (!words) return 0;
  eval::EvaluationReport report = plan_report(options);
  report.set = set_file(words->front());
  const std::vector<Baseline> baselines = options.parsed_baselines();
  const at::Device device = line.device.open();
  line.common.apply(program);
  line.kernels.apply();

  const data::SyntheticSet set = storage::read_set(report.set);
  check_fit(options, report, set, baselines);
  const data::ImageDataset whole = open_for_set(line.dataset, line.table, set);
  const data::ImageDataset dataset =
      (options.hold_out > 0 ? held_out(whole, set.provenance.seed, options.hold_out) : whole)
          .on(device);
  const std::vector<NetworkRuns> nets =
      options.networks_under(report.protocol, dataset.shape(), dataset.num_classes());
  report.cross_architecture = cross_architecture(options, set, report.protocol, dataset);
  describe_data(report, set, dataset);
  report.protocol.batch_size = report.protocol.for_set(set).batch_size;
  StudentTeachers teachers = open_teachers(options, report, set, dataset);
  // Whether the set has the labels that the protocol trains on, before anything is made.
  eval::make_lessons(report.protocol, teachers.material(set, report.protocol), dataset);
  std::vector<std::string> titles;
  for (const Baseline& baseline : baselines) titles.push_back(baseline_title(baseline, set));
  const fs::path out = report_path(report, nets, titles, options);
  FinishedNetworks finished(out);
  announce_finished(finished);
  if (report.protocol.ranks()) {
    rank({.options = options,
          .about = report,
          .set = set,
          .dataset = dataset,
          .network = nets.front().network,
          .out = out,
          .device = line.device.device,
          .json = line.common.json},
         teachers, finished, program);
    finished.remove();
    return 0;
  }
  auto others =
      make_baselines(baselines, set, dataset, std::uint64_t(options.baseline_seed), program.stop);
  label_baselines(teachers, options.baselines, others, set, report.protocol, out, dataset, program);
  const SubjectEvaluation evaluation(dataset, report, nets, teachers, finished, program);
  judge(report, evaluation, set, baselines, others);
  write_report(report, out, line.device.device, line.common.json);
  finished.remove();
  teachers.remove_kept();
  return 0;
}

}  // namespace

struct EvaluateWords::State {
  CommandLine line;
  eval::Protocol protocol;
};

EvaluateWords::EvaluateWords() : state_(std::make_unique<State>()) {}
EvaluateWords::~EvaluateWords() = default;

config::OptionTable& EvaluateWords::table() { return state_->line.table; }

void EvaluateWords::take(const std::vector<std::string>& flags) {
  CommandLine& line = state_->line;
  cli::apply_flags(line.table, cli::parse_arguments(flags, line.table));
  state_->protocol = plan_report(line.evaluate).protocol;
  line.evaluate.parsed_baselines();
  if (state_->protocol.ranks()) {
    throw ConfigError(str("protocol '", state_->protocol.name,
                          "' ends in a score, and a sweep joins accuracies"));
  }
}

const std::vector<std::string>& EvaluateWords::nets() const { return state_->line.evaluate.nets; }
std::int64_t EvaluateWords::threads() const { return state_->line.common.threads; }
double EvaluateWords::hold_out() const { return state_->line.evaluate.hold_out; }
const std::string& EvaluateWords::device() const { return state_->line.device.device; }

std::string EvaluateWords::recorded() const {
  config::OptionTable own;
  state_->line.evaluate.describe(own);
  state_->line.dataset.describe(own);
  state_->line.device.describe(own);
  state_->line.kernels.describe(own);
  config::OptionTable recipe;
  eval::Protocol protocol = state_->protocol;
  protocol.describe(recipe);
  std::string text = config::config_text(own);
  // An option that came later: results from before it keep their names.
  constexpr std::string_view kNoneLeftOut = "without = \n";
  if (const auto at = text.find(kNoneLeftOut); at != std::string::npos) {
    text.erase(at, kNoneLeftOut.size());
  }
  return text + config::config_text(recipe);
}

cli::Command evaluate() {
  return {
      "evaluate",
      "Trains fresh networks on a set and tests them on real images.",
      "SET|RUN [options]",
      {"retort evaluate set.h5 --protocol dsa --nets ConvNet-3,ResNet-18 --runs 5 "
       "--baselines random,k-means",
       "retort evaluate set.h5 --cross-arch dc --runs 3 --runs-of ResNet-18=1",
       "retort evaluate set.h5 --protocol ddranking-lrs --real-accuracy 84.8",
       "retort evaluate labelled.h5 --protocol fkd-300 --teachers teachers.h5 --baselines random"},
      run};
}

}  // namespace retort::commands
