#include "apps/commands/sweep_folder.h"

#include <algorithm>
#include <map>
#include <utility>

#include "lib/config/differences.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "methods/run_folder.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;
using sweep::Stage;

constexpr const char* kRecord = ".cfg";

/// Names of cells by what their records say, and the other way round.
struct Records {
  std::map<std::string, std::string> names;
  std::map<std::string, std::string> texts;
};

Records read_records(const fs::path& folder) {
  Records records;
  if (!fs::is_directory(folder)) return records;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != kRecord) continue;
    const std::string text = read_text(entry.path());
    records.names[text] = entry.path().stem().string();
    records.texts[entry.path().stem().string()] = text;
  }
  return records;
}

/// Labels of a row: of evaluations what differs between them.
sweep::Options labels_of(const SweepEvaluation& evaluation, const std::vector<std::string>& keys) {
  sweep::Options labels;
  for (const auto& key : keys) labels.emplace_back(key, sweep::value_of(evaluation.options, key));
  return labels;
}

/// What differs between evaluations and has no column of its own.
std::vector<std::string> evaluation_keys(const std::vector<SweepCell>& cells) {
  std::vector<sweep::Options> all;
  std::vector<std::string> methods;
  for (const auto& cell : cells) {
    for (const auto& evaluation : cell.evaluations) {
      all.push_back(evaluation.options);
      methods.push_back(sweep::value_of(cell.labels, "method"));
    }
  }
  std::vector<std::string> keys = sweep::varying_keys(all, methods);
  std::erase_if(keys, [](const std::string& key) { return key == "protocol" || key == "nets"; });
  return keys;
}

nlohmann::json read_document(const fs::path& file) {
  auto document = nlohmann::json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (document.is_object()) return document;
  throw StorageError(str("'", file.string(), "': is no result of an evaluation"));
}

/// A set that was made again has other bits; what was said of the old one is not about it.
bool is_about(const nlohmann::json& document, const std::string& sha256, const fs::path& file) {
  if (document.value("set_sha256", "") == sha256) return true;
  log::warn(str(file.string(), " is about another set than the one beside it and is left out; ",
                "remove it, and it is made again"));
  return false;
}

}  // namespace

fs::path SweepFolder::own(const SweepCell& cell, const std::string& ending) const {
  return root_ / "sweep" / (cell.name + ending);
}

void SweepFolder::place(std::vector<SweepCell>& cells) const {
  const Records records = read_records(root_ / "sweep");
  for (auto& cell : cells) {
    const auto known = records.names.find(cell.recorded);
    if (known != records.names.end()) {
      cell.name = known->second;
      continue;
    }
    const auto taken = records.texts.find(cell.name);
    if (taken == records.texts.end()) continue;
    const std::string name = str(cell.name, "-", sha256_hex(cell.recorded).substr(0, 6));
    log::info(str(run(cell).string(), " holds a run with other options (there / here): ",
                  differences_text(config::differences(taken->second, cell.recorded)),
                  "; it stays, and the new one goes to ", name));
    cell.name = name;
  }
}

/// The driver writes the picture after the set, then the configuration of a run that its time
/// ended, whose checkpoint stays; else it removes that last of all.
bool SweepFolder::condensed(const SweepCell& cell) const {
  const methods::RunFolder folder{run(cell)};
  if (!fs::exists(folder.set()) || !fs::exists(folder.grid())) return false;
  if (!fs::exists(folder.checkpoint())) return true;
  return cell.has_budget &&
         storage::read_set(folder.set()).provenance.config == read_text(folder.config());
}

std::size_t SweepFolder::evaluations_left(const SweepCell& cell) const {
  return std::size_t(std::count_if(
      cell.evaluations.begin(), cell.evaluations.end(),
      [&](const SweepEvaluation& how) { return !fs::exists(evaluation(cell, how)); }));
}

bool SweepFolder::begun(const SweepCell& cell) const {
  return fs::exists(run(cell)) && !fs::is_empty(run(cell));
}

std::optional<SweepStep> SweepFolder::next_step(const SweepCell& cell) const {
  if (!condensed(cell)) {
    SweepStep step{Stage::Condense, {"condense"}};
    step.words.insert(step.words.end(), cell.words.begin(), cell.words.end());
    step.words.push_back("--run-dir=" + run(cell).string());
    if (begun(cell)) step.words.emplace_back("--resume");
    return step;
  }
  for (const auto& how : cell.evaluations) {
    if (fs::exists(evaluation(cell, how))) continue;
    SweepStep step{Stage::Evaluate, {"evaluate", methods::RunFolder{run(cell)}.set().string()}};
    step.words.insert(step.words.end(), how.words.begin(), how.words.end());
    step.words.push_back("--out=" + evaluation(cell, how).string());
    return step;
  }
  return std::nullopt;
}

std::optional<FileLock> SweepFolder::try_lock(const SweepCell& cell) const {
  return FileLock::try_now(own(cell, ".lock"));
}

void SweepFolder::record(const SweepCell& cell) const {
  const fs::path path = own(cell, kRecord);
  if (!fs::exists(path)) {
    write_text(path, cell.recorded);
    return;
  }
  const auto differing = config::differences(read_text(path), cell.recorded);
  if (differing.empty()) return;
  throw ConfigError(str("'", path.string(), "' is of a run with other options (there / here): ",
                        differences_text(differing)));
}

std::vector<sweep::Judgement> SweepFolder::judgements(const std::vector<SweepCell>& cells) const {
  const auto keys = evaluation_keys(cells);
  // Cells may be judged in ways that others are not: what is the same has the same file name.
  Groups groups;
  std::vector<sweep::Judgement> found;
  for (const auto& cell : cells) {
    for (const auto& how : cell.evaluations) {
      groups.emplace(std::pair{cell.group, how.file}, groups.size());
    }
  }
  for (const auto& cell : cells) {
    try {
      add_judgements(found, cell, groups, keys);
    } catch (const StorageError& e) {
      log::warn(str(cell.name, ": its results are left out: ", e.what()));
    }
  }
  return found;
}

void SweepFolder::add_judgements(std::vector<sweep::Judgement>& found, const SweepCell& cell,
                                 const Groups& groups, const std::vector<std::string>& keys) const {
  if (!condensed(cell) || evaluations_left(cell) == cell.evaluations.size()) return;
  const fs::path path = methods::RunFolder{run(cell)}.set();
  const auto set = storage::read_set(path);
  const std::string sha256 = sha256_file(path);
  for (const auto& how : cell.evaluations) {
    const fs::path file = evaluation(cell, how);
    if (!fs::exists(file)) continue;
    nlohmann::json document = read_document(file);
    if (!is_about(document, sha256, file)) continue;
    found.push_back({.group = groups.at({cell.group, how.file}),
                     .seed = sweep::value_of(cell.options, "seed"),
                     .labels = cell.labels,
                     .how = labels_of(how, keys),
                     .run = run(cell).string(),
                     .file = file.string(),
                     .version = set.provenance.program_version,
                     .condense_seconds = set.provenance.wall_seconds,
                     .document = std::move(document)});
  }
}

}  // namespace retort::commands
