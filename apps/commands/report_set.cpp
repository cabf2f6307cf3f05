#include "apps/commands/report_set.h"

#include <algorithm>
#include <map>
#include <set>

#include "apps/commands/commands.h"
#include "apps/commands/condense_options.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/report_images.h"
#include "apps/commands/set_text.h"
#include "apps/commands/shell_word.h"
#include "apps/commands/subset.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/spread_text.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/data/recorded_views.h"
#include "lib/storage/set_file.h"
#include "lib/storage/state_file.h"
#include "lib/synth/picture.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

const std::string kNoBreak = "\u00A0";  // a blank that lines do not end at

void add_fact(std::vector<report::Fact>& facts, const std::string& name, const std::string& text) {
  if (!text.empty()) facts.emplace_back(name, text);
}

std::string dataset_text(const data::Provenance& provenance) {
  const std::int64_t subset = subset_per_class(provenance);
  if (subset == 0) return provenance.dataset;
  return str(provenance.dataset, ", a subset of ", subset, " training images per class");
}

std::string all_labels_text(const data::SyntheticSet& set) {
  if (set.views == nullptr) return labels_text(set.labels);
  return str(labels_text(set.labels), "; of teachers, of ", set.views->views(), " augmented views");
}

void add_facts(report::SetReport& report, const data::SyntheticSet& set, const fs::path& path) {
  const data::Provenance& made = set.provenance;
  const storage::StoredBytes bytes = storage::stored_bytes(path);
  auto& facts = report.facts;
  add_fact(facts, "method", made.method);
  add_fact(facts, "dataset", dataset_text(made));
  add_fact(facts, "seed", str(made.seed));
  add_fact(facts, "iterations", str(made.iterations));
  add_fact(facts, "stored images", stored_images_text(set));
  add_fact(facts, "decoder",
           str(data::decoder_text(set.decoder), ": ", data::hard_classes(set.labels).numel(),
               " training images"));
  add_fact(facts, "labels", all_labels_text(set));
  add_fact(facts, "size",
           str("images ", bytes_text(double(bytes.images)), ", labels ",
               bytes_text(double(bytes.labels)), ", the rest ", bytes_text(double(bytes.other))));
  add_fact(facts, "preprocessing", set.preprocessing.description());
  if (set.learned_lr) {
    add_fact(facts, "learned step size", config::number_text(*set.learned_lr));
  }
}

void add_cost(report::SetReport& report, const data::SyntheticSet& set) {
  const data::Provenance& made = set.provenance;
  for (const data::Asset& asset : set.assets) {
    add_fact(report.cost, str("training of ", asset.role, ", summed"),
             str(duration_text(asset.wall_seconds), " for ", asset.count,
                 asset.count == 1 ? " network" : " networks"));
  }
  if (made.wall_seconds == 0) {
    report.gaps.push_back({"Cost", "The set does not say what making it took.", ""});
    return;
  }
  add_fact(report.cost, "wall time of condensing", duration_text(made.wall_seconds));
  add_fact(report.cost, "processor time", duration_text(made.cpu_seconds));
  add_fact(report.cost, "peak memory", bytes_text(made.peak_memory_bytes));
  add_fact(report.cost, "threads", str(made.threads));
  add_fact(report.cost, "processor", made.processor);
  add_fact(report.cost, "program", made.program_version);
}

/// Which command a configuration is of.
enum class Origin { Condense, Continual, Unknown };

Origin origin_of(const std::string& config) {
  std::map<std::string, std::string> values;
  for (const auto& entry : config::parse_config(config, "configuration of the set")) {
    values[entry.key] = entry.value;
  }
  if (!values.contains("method")) return Origin::Unknown;
  const auto known = [&](config::OptionTable table) {
    return std::all_of(values.begin(), values.end(),
                       [&](const auto& value) { return table.contains(value.first); });
  };
  const std::vector<std::string> method{"--method=" + values["method"], "--help"};
  try {
    if (known(CondenseOptions(condense(), method).options())) return Origin::Condense;
  } catch (const ConfigError&) {
    return Origin::Unknown;  // a method that this program does not have
  }
  const bool step = values.contains("order") && values.contains("step") && values.contains("steps");
  return step ? Origin::Continual : Origin::Unknown;
}

/// Of a step of a study, whose folder lies around that of its order.
void add_study(report::SetReport& report, const ReportSource& source) {
  report.repeat_intro = "The set is one step of a study; this command makes the whole again:";
  if (source.run) {
    const fs::path root = fs::absolute(source.run->root).lexically_normal();
    const fs::path config =
        (root.has_filename() ? root : root.parent_path()).parent_path().parent_path() /
        "config.cfg";
    if (fs::exists(config)) {
      report.repeat = str("retort continual --config ", shell_word(config.string()));
      return;
    }
  }
  report.repeat = "retort continual --config config.cfg";
  report.gaps.push_back({"Configuration",
                         "Save the configuration below, without order, step and classes, as "
                         "config.cfg first.",
                         ""});
}

void add_configuration(report::SetReport& report, const ReportSource& source,
                       const std::string& config) {
  report.config = config;
  const Origin origin = config.empty() ? Origin::Unknown : origin_of(config);
  if (config.empty()) {
    report.gaps.push_back({"Configuration", "The set does not say how it was made.", ""});
  } else if (origin == Origin::Continual) {
    add_study(report, source);
  } else if (origin == Origin::Unknown) {
    report.gaps.push_back({"Configuration",
                           "The set was not made by `retort condense` of this version: no command "
                           "is known that makes it again.",
                           ""});
  } else if (source.run) {
    report.repeat = str("retort condense --config ", shell_word(source.run->config().string()));
  } else {
    report.repeat = "retort condense --config config.cfg";
    report.gaps.push_back(
        {"Configuration", "Save the configuration below as config.cfg first.", ""});
  }
}

void add_images(report::SetReport& report, const data::SyntheticSet& set,
                const ReportExtent& extent, const DatasetOpener& open_dataset,
                bool dataset_asked_for, const StopFlag& stop) {
  std::optional<data::ImageDataset> dataset;
  const auto leave_out = [&](const Error& why, const std::string& command) {
    report.gaps.push_back(
        {"Images", str("The nearest real images are left out: ", why.what(), "."), command});
  };
  const std::string elsewhere = str("retort report ", shell_word(report.name), " --data PATH");
  if (!extent.nearest) {
    report.gaps.push_back({"Images", "The nearest real images were not asked for.", ""});
  } else {
    try {
      dataset = open_dataset(set);
    } catch (const datasets::FilesNotFound& e) {
      if (dataset_asked_for) throw;
      leave_out(e, elsewhere);
    } catch (const OtherDataset& e) {
      if (dataset_asked_for) throw;
      leave_out(e, elsewhere);
    } catch (const Error& e) {
      if (dataset_asked_for) throw;
      leave_out(e, "");
    }
  }
  report.galleries = galleries(set, extent.per_class, dataset ? &*dataset : nullptr, stop);
}

void add_evolution(report::SetReport& report, const ReportSource& source,
                   const data::SyntheticSet& set) {
  if (!source.run) {
    report.gaps.push_back({"Evolution",
                           "Only a run folder keeps pictures of earlier iterations; give that in "
                           "the place of the set:",
                           "retort report RUN"});
    return;
  }
  report.evolution = evolution(*source.run, set);
  if (!report.evolution.strips.empty()) return;
  report.gaps.push_back(
      {"Evolution",
       "The run kept no pictures of this set on its way; one of ten iterations or more does, and "
       "with --grid-every N as often as it is told.",
       ""});
}

void add_pixels(report::SetReport& report, const data::SyntheticSet& set) {
  report.pixels = pixel_histogram(set);
  const double clipped = synth::to_pixels(set.images, set.preprocessing).clipped_fraction;
  report.pixels_note = str(fixed(100 * clipped, 2),
                           " % of the values lie outside black to white, in another colour below; "
                           "pictures show them as black or white.");
}

/// "18 of 200": what the metrics tell of may be more than what a resumed run begins with.
std::string iterations_text(const methods::RunFolder& run, const report::SetReport& report,
                            const std::string& planned) {
  const std::int64_t saved =
      fs::exists(run.checkpoint())
          ? storage::StateReader(run.checkpoint()).integer("driver/next_iteration")
          : 0;
  std::int64_t done = saved;
  if (!report.metrics.empty()) {
    done = std::max(done, std::int64_t(report.metrics.front().x.back()) + 1);
  }
  return str(done, " of ", planned, done > saved ? str(", saved after ", saved) : "");
}

/// Of a run that has not finished: its configuration, curves and latest picture.
void add_unfinished(report::SetReport& report, const ReportSource& source) {
  const methods::RunFolder& run = *source.run;
  const auto config = methods::stored_config(run.root);
  if (config) {
    add_configuration(report, source, config->text);
    for (const auto& entry : config::parse_config(config->text, config->source)) {
      for (const char* key : {"method", "dataset", "ipc", "seed"}) {
        if (entry.key == key) add_fact(report.facts, key, entry.value);
      }
      if (entry.key == "iterations") {
        add_fact(report.facts, entry.key, iterations_text(run, report, entry.value));
      }
    }
  }
  report.last_picture = last_picture(run);
  const std::string go_on = str("retort condense --run-dir ", shell_word(source.name), " --resume");
  report.gaps.push_back(
      {"Overview", "The run is not finished and has no set yet; to go on:", go_on});
  for (const char* section : {"Images", "Evolution", "Pixel values", "Cost"}) {
    report.gaps.push_back({section, "There is no set yet.", ""});
  }
}

std::string evaluate_command(const ReportSource& source, const std::string& more) {
  const std::string set = shell_word(source.set->string());
  if (source.run) return str("retort evaluate ", set, more);
  return str("retort evaluate ", set, more, " --out judged.json; retort report ", set,
             " --evaluations judged.json");
}

/// Of a study, which judges its sets together.
bool is_step(const report::SetReport& report) {
  return report.repeat.starts_with("retort continual");
}

/// Whether several architectures were judged, or one under several augmentations.
bool compares_networks(const std::vector<report::Evaluation>& evaluations) {
  return std::any_of(evaluations.begin(), evaluations.end(), [](const auto& evaluation) {
    std::set<std::string> networks;
    for (const auto& judged : evaluation.judged) networks.insert(report::network_text(judged));
    return networks.size() > 1;
  });
}

/// "95.25 ± 0.75 % (ConvNet-3)" of every network.
std::string headline(const report::Evaluation& evaluation) {
  std::vector<std::string> parts;
  for (const report::Judged& judged : evaluation.judged) {
    if (judged.baseline) continue;
    std::string accuracy = mean_and_spread(judged.mean, judged.std, judged.runs.size());
    for (std::size_t at = 0; (at = accuracy.find(' ', at)) != std::string::npos;) {
      accuracy.replace(at, 1, kNoBreak);
    }
    parts.push_back(str(accuracy, kNoBreak, "% (", report::network_text(judged), ")"));
  }
  return join(parts);
}

/// A line per way of judging, so that sets beside each other are compared by the same.
void add_headlines(std::vector<report::Fact>& facts,
                   const std::vector<report::Evaluation>& evaluations) {
  for (const auto& evaluation : evaluations) {
    const std::string name =
        str("accuracy on ", evaluation.tested_on, ", protocol ", evaluation.protocol);
    const auto known = std::find_if(facts.begin(), facts.end(),
                                    [&](const report::Fact& fact) { return fact.first == name; });
    if (known == facts.end()) {
      add_fact(facts, name, headline(evaluation));
    } else {
      known->second += "; " + headline(evaluation);
    }
  }
}

}  // namespace

report::SetReport collect_set(const ReportSource& source, const ReportExtent& extent,
                              const DatasetOpener& open_dataset, bool dataset_asked_for,
                              const StopFlag& stop) {
  report::SetReport report;
  report.name = source.name;
  add_curves_of_run(report, source);
  if (!source.set) {
    add_unfinished(report, source);
    return report;
  }
  const data::SyntheticSet set = storage::read_set(*source.set);
  add_facts(report, set, *source.set);
  add_images(report, set, extent, open_dataset, dataset_asked_for, stop);
  add_evolution(report, source, set);
  add_pixels(report, set);
  add_cost(report, set);
  add_configuration(report, source, set.provenance.config);
  return report;
}

void add_evaluations(report::SetReport& report, const ReportSource& source,
                     std::vector<report::Evaluation> evaluations) {
  if (!source.set) {
    report.gaps.push_back({"Accuracy", "There is no set to be judged yet.", ""});
    return;
  }
  if (evaluations.empty() && is_step(report)) {
    report.gaps.push_back(
        {"Accuracy", "The study judges its sets together, in its results.json.", ""});
  } else if (evaluations.empty()) {
    if (report.scores.empty()) {
      report.gaps.push_back({"Accuracy",
                             "No result of an evaluation of this set was found; for one:",
                             evaluate_command(source, " --runs 5 --baselines random,k-means")});
    }
  } else {
    add_headlines(report.facts, evaluations);
    for (const auto& evaluation : evaluations) {
      for (const auto& judged : evaluation.judged) {
        if (judged.baseline) continue;
        add_fact(report.cost,
                 str("judging, ", report::network_text(judged), ", ", evaluation.protocol),
                 duration_text(judged.seconds));
      }
    }
  }
  if (!compares_networks(evaluations) && !is_step(report)) {
    report.gaps.push_back({"Across architectures and augmentations",
                           "Networks of several architectures were not judged; to do so:",
                           evaluate_command(source, " --nets ConvNet-3,ResNet-18")});
  }
  if (evaluations.empty()) {
    report.gaps.push_back({"Classes", "Nothing is known before an evaluation.", ""});
  }
  report.evaluations = std::move(evaluations);
}

}  // namespace retort::commands
