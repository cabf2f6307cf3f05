#include <map>

#include <nlohmann/json.hpp>

#include "apps/cli/signals.h"
#include "apps/commands/commands.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/document.h"
#include "apps/commands/output_file.h"
#include "apps/commands/report_set.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/report/page.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMostSets = 16;

struct ReportOptions {
  OutputFile out{.path = "report.html"};
  std::string title;
  std::int64_t per_class = 10;
  bool no_nearest = false;
  std::vector<std::string> evaluations;

  void describe(config::OptionTable& table) {
    out.describe(table, "page to write");
    table.add("title", title, "of the page; else it says what was condensed", config::any_text());
    table.add("per-class", per_class, "images of each class; 0: all", config::at_least(0));
    table.add("no-nearest", no_nearest,
              "do not look for the real training images nearest to those of the set");
    table.add("evaluations", evaluations,
              "results of `retort evaluate --out` that do not lie in the folder of their set",
              config::any_text());
  }
};

/// One command line. Not copyable: the table is bound to its fields.
struct CommandLine {
  cli::CommonOptions common;
  DatasetOptions dataset;
  ReportOptions report;
  config::OptionTable table;

  CommandLine() {
    report.describe(table);
    dataset.describe(table);
    common.describe(table);
  }
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  bool names_dataset() {
    return table.find("dataset").origin == config::Origin::Flag ||
           table.find("data").origin == config::Origin::Flag;
  }
};

/// Every set may be of another dataset: what flags leave open is taken from each anew.
data::ImageDataset open_dataset(const config::OptionTable& flags, const data::SyntheticSet& set) {
  DatasetOptions options;
  config::OptionTable table;
  options.describe(table);
  for (const config::Option& flag : flags.options()) {
    if (flag.origin == config::Origin::Flag && table.contains(flag.name)) {
      table.set(flag.name, flag.value(), config::Origin::Flag);
    }
  }
  return open_for_set(options, table, set);
}

/// All that is known of how good a set is.
struct SetResults {
  std::vector<report::Evaluation> evaluations;
  std::vector<report::Score> scores;
};

/// Results by the SHA-256 of the set they are about; each is read once, for its own set.
class Results {
 public:
  /// @throws ConfigError for a file that is about none of the sets; StorageError
  Results(const std::vector<ReportSource>& sources, const std::vector<std::string>& files)
      : of_source_(sources.size()) {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      hashes_.push_back(sources[i].set ? sha256_file(*sources[i].set) : "");
    }
    for (std::size_t i = 0; i < sources.size(); ++i) take_from_folder(sources[i], i);
    for (const auto& file : files) take_named(sources, file);
  }

  SetResults of(std::size_t source) const {
    SetResults all;
    for (const auto& [path, result] : of_source_[source]) {
      if (const auto* evaluation = std::get_if<report::Evaluation>(&result)) {
        all.evaluations.push_back(*evaluation);
      } else {
        all.scores.push_back(std::get<report::Score>(result));
      }
    }
    return all;
  }

 private:
  /// A folder may also hold results of other sets, or of the same file before it was made again.
  void take_from_folder(const ReportSource& source, std::size_t index) {
    if (!source.set) return;
    for (const auto& path : results_beside(source.set->parent_path())) {
      ResultFile file = read_result(path, source.name);
      if (file.set_sha256 == hashes_[index]) {
        of_source_[index].insert_or_assign(fs::weakly_canonical(path), std::move(file.result));
      } else {
        log::info(str(path.string(), " is about another file than ", source.set->string(),
                      " and is left out"));
      }
    }
  }

  void take_named(const std::vector<ReportSource>& sources, const std::string& path) {
    const std::string about = read_result(path, "").set_sha256;
    bool taken = false;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (about.empty() || hashes_[i] != about) continue;
      of_source_[i].insert_or_assign(fs::weakly_canonical(path),
                                     read_result(path, sources[i].name).result);
      taken = true;
    }
    if (taken) return;
    throw ConfigError(str("option 'evaluations': '", path, "' is about a set with SHA-256 ",
                          about.substr(0, 12), "..., none of those to report"));
  }

  std::vector<std::string> hashes_;  ///< of set files
  std::vector<std::map<fs::path, decltype(ResultFile::result)>> of_source_;
};

std::string fact(const report::SetReport& set, const std::string& name) {
  for (const auto& [key, text] : set.facts) {
    if (key == name) return text;
  }
  return "";
}

std::string title_of(const std::vector<report::SetReport>& sets) {
  if (sets.size() > 1) return str(sets.size(), " condensed sets beside each other");
  const std::string method = fact(sets.front(), "method");
  const std::string dataset = fact(sets.front(), "dataset");
  if (method.empty() || dataset.empty()) return sets.front().name;
  return str(dataset, " condensed with ", method, ": ", sets.front().name);
}

json set_json(const ReportSource& source, const report::SetReport& set) {
  json gaps = json::array();
  for (const report::Gap& gap : set.gaps) {
    gaps.push_back({{"section", gap.section},
                    {"reason", gap.reason},
                    {"command", gap.command.empty() ? json() : json(gap.command)}});
  }
  json evaluations = json::array();
  for (const auto& evaluation : set.evaluations) evaluations.push_back(evaluation.file);
  json scores = json::array();
  for (const auto& score : set.scores) scores.push_back(score.file);
  return {{"name", set.name},
          {"set", source.set ? json(source.set->string()) : json()},
          {"run_dir", source.run ? json(source.run->root.string()) : json()},
          {"evaluations", evaluations},
          {"scores", scores},
          {"sections", report::filled_sections(set)},
          {"missing", gaps}};
}

std::string set_text(const report::SetReport& set) {
  std::string text = str(set.name, ": ", join(report::filled_sections(set)), "\n");
  for (const report::Gap& gap : set.gaps) {
    text += str("  ", gap.section, ": ", gap.reason,
                gap.command.empty() ? "" : str(" ", gap.command), "\n");
  }
  return text;
}

void print_result(const std::string& out, std::size_t bytes,
                  const std::vector<ReportSource>& sources, const report::ReportData& data,
                  bool as_json) {
  if (as_json) {
    json sets = json::array();
    for (std::size_t i = 0; i < sources.size(); ++i) {
      sets.push_back(set_json(sources[i], data.sets[i]));
    }
    print_document({{"schema", "retort.report/1"}, {"out", out}, {"bytes", bytes}, {"sets", sets}});
    return;
  }
  std::string text = str(out, ", ", bytes_text(double(bytes)), "\n");
  for (const auto& set : data.sets) text += set_text(set);
  cli::print(text);
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  CommandLine line;
  const ReportOptions& options = line.report;
  const cli::Words expected{std::vector<std::string>(kMostSets, "RUN|SET"), 1};
  const auto words = cli::parse_command(command, args, line.table, expected);
  if (!words) return 0;
  line.common.apply(program);
  const std::vector<ReportSource> sources = find_sources(*words);
  for (const auto& source : sources) {
    options.out.check(FileKind::Report, source.set ? source.set->string() : "");
  }
  for (const auto& file : options.evaluations) options.out.check(FileKind::Report, file);
  expect_writable(options.out.path);
  const Results results(sources, options.evaluations);
  cli::expect_polling();
  report::ReportData data;
  data.program = "retort " + cli::program_version();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    report::SetReport set = collect_set(
        sources[i], {.per_class = options.per_class, .nearest = !options.no_nearest},
        [&](const data::SyntheticSet& of) { return open_dataset(line.table, of); },
        line.names_dataset(), program.stop);
    SetResults found = results.of(i);
    set.scores = std::move(found.scores);
    add_evaluations(set, sources[i], std::move(found.evaluations));
    data.sets.push_back(std::move(set));
  }
  data.title = options.title.empty() ? title_of(data.sets) : options.title;
  const std::string page = report::page(data);
  write_text(options.out.path, page);
  print_result(options.out.path, page.size(), sources, data, line.common.json);
  return 0;
}

}  // namespace

cli::Command report_sets() {
  return {"report",
          "Writes one page, readable offline, of what sets hold, how they were made and how they "
          "were judged.",
          "RUN|SET... [options]",
          {"retort report runs/dm-fashion-mnist-ipc10-seed0 --out report.html",
           "retort report runs/dm runs/dc --out beside.html",
           "retort report set.h5 --evaluations judged.json"},
          run};
}

}  // namespace retort::commands
