#include <algorithm>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/baselines.h"
#include "apps/commands/commands.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/document.h"
#include "apps/commands/finished_networks.h"
#include "apps/commands/kernel_options.h"
#include "apps/commands/output_file.h"
#include "apps/commands/subset.h"
#include "experiments/protocols.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/eval/evaluator.h"
#include "lib/eval/report.h"
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

struct EvaluateOptions {
  std::string protocol = "dsa-300";
  std::vector<std::string> nets;
  std::int64_t runs = 0;
  std::vector<std::int64_t> seeds;
  std::vector<std::string> baselines;
  std::int64_t baseline_seed = 0;
  OutputFile out;

  void describe(config::OptionTable& table) {
    table.add("protocol", protocol,
              "how networks are trained and tested: a name or a file, see "
              "`retort list protocols`",
              config::any_text());
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

/// Everything that trains and tests in one command.
class Evaluation {
 public:
  Evaluation(const data::ImageDataset& dataset, eval::EvaluationReport& report,
             const std::vector<std::string>& nets, FinishedNetworks& finished,
             cli::Program& program)
      : dataset_(dataset), report_(report), nets_(nets), finished_(finished), program_(program) {}

  eval::SubjectResult subject(const std::string& name, const data::SyntheticSet& set,
                              const storage::StoredBytes& bytes) const {
    const data::LabelledImages training = synth::decode(set);
    eval::SubjectResult result;
    result.name = name;
    result.image_bytes = bytes.images;
    result.label_bytes = bytes.labels;
    result.decoded_images = training.images.size(0);
    const eval::Protocol protocol = report_.protocol.for_set(set);
    result.lr = protocol.lr;
    result.sgd_steps = protocol.sgd_steps(result.decoded_images);
    cli::expect_polling();
    for (const auto& net : nets_) {
      log::info(str("training ", net, " on ", name));
      result.networks.push_back(train_and_test(training, protocol, net));
      program_.terminal.finish();
    }
    return result;
  }

 private:
  eval::NetworkResult train_and_test(const data::LabelledImages& training,
                                     const eval::Protocol& protocol, const std::string& net) const {
    const auto keeper = finished_.keeper(evaluation_key(training, dataset_, protocol, net));
    const eval::Evaluator evaluator(dataset_, protocol);
    try {
      return evaluator.evaluate(training, net, report_.seeds, program_.terminal, &program_.stop,
                                keeper.get());
    } catch (const Interrupted& e) {
      if (finished_.path().empty()) {
        throw Interrupted(str(e.what(),
                              "; nothing was kept, which takes --out FILE or a set that "
                              "lies in its run folder"));
      }
      throw Interrupted(str(e.what(), "; ", finished_.count(), " finished networks are kept in ",
                            finished_.path().string(), ", the same command goes on from there"));
    }
  }

  const data::ImageDataset& dataset_;
  const eval::EvaluationReport& report_;
  const std::vector<std::string>& nets_;
  FinishedNetworks& finished_;
  cli::Program& program_;
};

/// Protocol and networks of a result: another one of the same takes its place.
struct MeasuredBy {
  std::string protocol;
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
    std::string name = str("evaluation-", text, ".json");
    std::replace(name.begin(), name.end(), '/', '_');
    return folder / name;
  };
  const fs::path short_name = named(mine.protocol);
  if (!fs::exists(short_name) || measured_by(short_name) == mine) return short_name;
  return named(str(mine.protocol, "-", join(mine.nets, "-")));
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
                theirs.protocol == mine.protocol ? "other networks" : "another protocol",
                " and is kept"));
  return name_beside(folder, mine);
}

/// Where the document goes besides stdout; empty: nowhere.
fs::path report_path(const eval::EvaluationReport& report, const std::vector<std::string>& nets,
                     const EvaluateOptions& options) {
  if (!options.out.path.empty()) return options.out.path;
  return report_in_run_folder(report.set, {report.protocol.name, nets});
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
  report.protocol = experiments::load_protocol(options.protocol);
  report.seeds = seeds_of(options, report.protocol);
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
  warn_of_learned_lr(set, report.protocol);
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

/// What is trained on and tested on.
void describe_data(eval::EvaluationReport& report, const data::SyntheticSet& set,
                   const data::ImageDataset& dataset) {
  report.set_sha256 = sha256_file(report.set);
  report.dataset = dataset.info().name;
  report.dataset_sha256 = dataset.info().sha256;
  report.subset_per_class = subset_per_class(set.provenance);
  report.mirror_changes_class = dataset.info().mirror_changes_class;
  report.tested_on = "test";
  report.class_names = dataset.info().class_names;
}

void announce_finished(const FinishedNetworks& finished) {
  if (finished.count() == 0) return;
  log::info(str("an interrupted evaluation left ", finished.count(), " finished networks in ",
                finished.path().string(), "; those that belong to this one are not made again"));
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

/// Trains on the set and on every baseline.
/// @param others the sets of `baselines`
void judge(eval::EvaluationReport& report, const Evaluation& evaluation,
           const data::SyntheticSet& set, const std::vector<Baseline>& baselines,
           const std::vector<data::SyntheticSet>& others) {
  report.subject = evaluation.subject(report.set, set, storage::stored_bytes(report.set));
  for (std::size_t i = 0; i < baselines.size(); ++i) {
    report.baselines.push_back(evaluation.subject(baseline_title(baselines[i], set), others[i],
                                                  storage::stored_bytes(others[i])));
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
  const data::ImageDataset dataset = open_for_set(line.dataset, line.table, set).on(device);
  const std::vector<std::string> nets = networks_for(options, report.protocol, dataset);
  describe_data(report, set, dataset);
  const fs::path out = report_path(report, nets, options);
  FinishedNetworks finished(out);
  announce_finished(finished);
  const auto others =
      make_baselines(baselines, set, dataset, std::uint64_t(options.baseline_seed), program.stop);
  const Evaluation evaluation(dataset, report, nets, finished, program);
  judge(report, evaluation, set, baselines, others);
  write_report(report, out, line.device.device, line.common.json);
  finished.remove();
  return 0;
}

}  // namespace

cli::Command evaluate() {
  return {"evaluate",
          "Trains fresh networks on a set and tests them on real images.",
          "SET [options]",
          {"retort evaluate set.h5 --protocol dsa --nets ConvNet-3,ResNet-18 --runs 5 "
           "--baselines random,k-means"},
          run};
}

}  // namespace retort::commands
