#include <cctype>
#include <filesystem>
#include <set>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/attack_options.h"
#include "apps/commands/baselines.h"
#include "apps/commands/commands.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/document.h"
#include "apps/commands/evaluate_words.h"
#include "apps/commands/kernel_options.h"
#include "apps/commands/output_file.h"
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
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

struct EvaluateOptions {
  std::string protocol = "dsa-300";
  std::vector<std::string> protocol_changes;
  std::string teachers;
  std::vector<std::string> teacher_names;
  bool no_hard = false;
  AttackOptions attacks;
  std::vector<std::string> nets;
  std::int64_t runs = 0;
  std::vector<std::int64_t> seeds;
  std::vector<std::string> baselines;
  std::int64_t baseline_seed = 0;
  double hold_out = 0;
  OutputFile out;

  void describe(config::OptionTable& table) {
    table.add("protocol", protocol,
              "how networks are trained and tested: a name or a file, see "
              "`retort list protocols`",
              config::any_text());
    table.add("protocol-set", protocol_changes,
              "change options of the protocol, as in epochs=200,batch-size=16; its name says so",
              config::any_text());
    table.add("teachers", teachers,
              "file of teachers, for protocols that ask them while students train, and for "
              "baselines under labels of teachers",
              config::any_text());
    table
        .add("teacher-names", teacher_names, "these of the file, by network or number",
             config::any_text())
        .not_with("teachers", {""});
    table.add("no-hard", no_hard,
              "under labels of teachers do not also train on the classes of the set alone");
    attacks.describe(table);
    table.add("nets", nets, "networks to train; else the protocol's", config::any_text())
        .aliases = {"net"};
    table.add("runs", runs, "networks of each kind, with seeds 0, 1, ...; 0: the protocol's number",
              config::in_range(std::int64_t(0), 10'000));
    table.add("seeds", seeds, "these seeds instead of --runs", config::at_least(0));
    table.add("baselines", baselines,
              "real images of the same size beside: random, k-means, herding, k-center; with "
              "-packed shrunk and packed like a multi-formation set",
              config::any_text());
    table.add("baseline-seed", baseline_seed, "of the choice of these images", config::at_least(0))
        .not_with("baselines", {""});
    table.add("hold-out", hold_out,
              "test on this part of every class's training images, which the set was condensed "
              "without, instead of the test images: for choosing settings",
              share_or_none());
    out.describe(table,
                 "also write the JSON document here; else into the run folder of a set "
                 "that lies in one");
  }
};

/// A network or a baseline that is named twice would count twice.
template <class T>
void expect_different(const std::string& option, const std::vector<T>& values) {
  if (std::set<T>(values.begin(), values.end()).size() == values.size()) return;
  throw ConfigError(str("option '", option, "': each may be named once, found ", join(values)));
}

std::vector<std::uint64_t> seeds_of(const EvaluateOptions& options,
                                    const eval::Protocol& protocol) {
  if (!options.seeds.empty()) {
    if (options.runs > 0) throw ConfigError("give --runs or --seeds, not both");
    expect_different("seeds", options.seeds);
    return {options.seeds.begin(), options.seeds.end()};
  }
  const std::int64_t count = options.runs > 0 ? options.runs : protocol.networks;
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) seeds.push_back(std::uint64_t(i));
  return seeds;
}

/// Protocol, networks and tested images of a result: another one of the same takes its place.
struct MeasuredBy {
  std::string protocol;
  std::string tested_on;
  std::vector<std::string> nets;
  bool operator==(const MeasuredBy&) const = default;
};

/// Of the document at `path`; nothing in it if it is no such document.
MeasuredBy measured_by(const fs::path& path) {
  const nlohmann::json document =
      nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  MeasuredBy found;
  try {
    found.protocol = document.at("protocol").get<std::string>();
    found.tested_on = document.at("tested_on").get<std::string>();
    for (const auto& result : document.at("results")) {
      found.nets.push_back(result.at("network").get<std::string>());
    }
  } catch (const nlohmann::json::exception&) {
    return {};
  }
  return found;
}

/// "evaluation-dsa.json", and with the networks behind the protocol where that is taken by others.
fs::path name_beside(const fs::path& folder, const MeasuredBy& mine) {
  const auto named = [&](const std::string& text) {
    std::string name;
    for (const char c : text) {
      const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
      if (plain || c == '/')
        name += plain ? c : '_';
      else if (!name.empty() && name.back() != '-')
        name += '-';
    }
    if (name.ends_with('-')) name.pop_back();
    return folder / str("evaluation-", name, ".json");
  };
  const std::string how =
      mine.tested_on == "test" ? mine.protocol : str(mine.protocol, "-", mine.tested_on);
  const fs::path short_name = named(how);
  if (!fs::exists(short_name) || measured_by(short_name) == mine) return short_name;
  return named(str(how, "-", join(mine.nets, "-")));
}

/// In the run folder that the set lies in, or nothing. A result of another protocol or of other
/// networks there stays: a quick look must not cost what took an hour.
fs::path report_in_run_folder(const std::string& set, const MeasuredBy& mine) {
  const fs::path folder = fs::path(set).parent_path();
  if (!fs::exists(folder / "config.cfg")) return {};
  const fs::path usual = folder / "evaluation.json";
  if (!fs::exists(usual)) return usual;
  const MeasuredBy theirs = measured_by(usual);
  if (theirs == mine) return usual;
  log::info(str(usual.string(), " holds a result of ",
                theirs.protocol != mine.protocol     ? "another protocol"
                : theirs.tested_on != mine.tested_on ? "other tested images"
                                                     : "other networks",
                " and is kept"));
  return name_beside(folder, mine);
}

/// Where the document goes besides stdout; empty: nowhere.
fs::path report_path(const eval::EvaluationReport& report, const std::vector<std::string>& nets,
                     const EvaluateOptions& options) {
  if (!options.out.path.empty()) return options.out.path;
  return report_in_run_folder(report.set, {report.protocol.name, report.tested_on, nets});
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

std::vector<Baseline> parse_baselines(const std::vector<std::string>& texts) {
  std::vector<Baseline> baselines;
  expect_different("baselines", texts);
  for (const auto& text : texts) baselines.push_back(parse_baseline(text));
  return baselines;
}

/// What the options alone can say wrongly is found before the set is read.
eval::EvaluationReport plan_report(const EvaluateOptions& options) {
  eval::EvaluationReport report;
  report.protocol =
      eval::changed(experiments::load_protocol(options.protocol), options.protocol_changes);
  report.attacks = options.attacks.parsed();
  expect_teachers_for(report.protocol, !options.teachers.empty(), !options.baselines.empty());
  if (options.no_hard && !report.protocol.taught()) {
    throw ConfigError(str("option 'no-hard' changes nothing: protocol '", report.protocol.name,
                          "' trains on the labels of the set"));
  }
  report.hard_labels_left_out = options.no_hard;
  report.seeds = seeds_of(options, report.protocol);
  report.tested_on = tested_on_text(options.hold_out);
  return report;
}

/// Whether everything asked for fits the set, and where the document would go.
void check_fit(const EvaluateOptions& options, const eval::EvaluationReport& report,
               const data::SyntheticSet& set, const std::vector<Baseline>& baselines) {
  if (!options.out.path.empty()) {
    options.out.check(FileKind::Evaluation, report.set);
    expect_writable(options.out.path);
  }
  for (const auto& baseline : baselines) baseline_title(baseline, set);
  if (options.hold_out > 0) expect_held_out(options.hold_out, set.provenance.config);
  warn_of_learned_lr(set, report.protocol);
  warn_of_labels_of_teachers(set, report.protocol);
}

/// The names asked for, else the protocol's. @throws ConfigError for one that does not fit the data
std::vector<std::string> networks_for(const EvaluateOptions& options,
                                      const eval::Protocol& protocol,
                                      const data::ImageDataset& dataset) {
  std::vector<std::string> nets = options.nets;
  if (nets.empty()) nets.push_back(protocol.network_for(dataset.shape()));
  for (const auto& net : nets) nn::make_network(net, dataset.shape(), dataset.num_classes());
  return nets;
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
  const auto words = cli::parse_command(command, args, line.table, {{"SET"}, 1});
  if (!words) return 0;
  eval::EvaluationReport report = plan_report(options);
  report.set = words->front();
  const std::vector<Baseline> baselines = parse_baselines(options.baselines);
  const at::Device device = line.device.open();
  line.common.apply(program);
  line.kernels.apply();

  const data::SyntheticSet set = storage::read_set(report.set);
  check_fit(options, report, set, baselines);
  const data::ImageDataset whole = open_for_set(line.dataset, line.table, set);
  const data::ImageDataset dataset =
      (options.hold_out > 0 ? held_out(whole, set.provenance.seed, options.hold_out) : whole)
          .on(device);
  const std::vector<std::string> nets = networks_for(options, report.protocol, dataset);
  describe_data(report, set, dataset);
  report.protocol.batch_size = report.protocol.for_set(set).batch_size;
  StudentTeachers teachers = open_teachers(options, report, set, dataset);
  // Whether the set has the labels that the protocol trains on, before anything is made.
  eval::make_lessons(report.protocol, teachers.material(set, report.protocol), dataset);
  const fs::path out = report_path(report, nets, options);
  FinishedNetworks finished(out);
  announce_finished(finished);
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
  parse_baselines(line.evaluate.baselines);
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
  return config::config_text(own) + config::config_text(recipe);
}

cli::Command evaluate() {
  return {
      "evaluate",
      "Trains fresh networks on a set and tests them on real images.",
      "SET [options]",
      {"retort evaluate set.h5 --protocol dsa --nets ConvNet-3,ResNet-18 --runs 5 "
       "--baselines random,k-means",
       "retort evaluate labelled.h5 --protocol fkd-300 --teachers teachers.h5 --baselines random"},
      run};
}

}  // namespace retort::commands
