#include "apps/commands/report_source.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

/// A study has a configuration too, but no set of its own.
void refuse_study(const std::string& word) {
  const fs::path step = fs::path(word) / "order-0" / "step-1";
  if (!fs::exists(step)) return;
  throw ConfigError(
      str("'", word, "': is the folder of a study of `retort continual`: its result is ",
          "in results.json and curve.svg; a report tells of single sets, as of ", step.string()));
}

/// So has a search.
void refuse_search(const std::string& word) {
  const fs::path sets = fs::path(word) / "sets";
  if (!fs::exists(sets) && !fs::exists(fs::path(word) / "trainings")) return;
  throw ConfigError(str("'", word,
                        "': is the folder of a search of `retort nas`: its result is in ",
                        "results.json and scatter-*.svg; a report tells of single sets, as of ",
                        "those in ", sets.string()));
}

ReportSource run_source(const std::string& word) {
  refuse_study(word);
  refuse_search(word);
  const methods::RunFolder folder{word};
  if (!fs::exists(folder.config()) && !fs::exists(folder.checkpoint()) &&
      !fs::exists(folder.set())) {
    throw StorageError(str("'", word, "': is a folder, but of no run: expected config.cfg, ",
                           "checkpoint.h5 or set.h5 in it, found none"));
  }
  ReportSource source{.name = word, .set = std::nullopt, .run = folder};
  if (fs::exists(folder.set())) source.set = folder.set();
  return source;
}

ReportSource set_source(const std::string& word) {
  const fs::path path = word;
  ReportSource source{.name = word, .set = path, .run = std::nullopt};
  const methods::RunFolder folder{path.has_parent_path() ? path.parent_path() : fs::path(".")};
  const bool made_here = path.filename() == folder.set().filename();
  if (made_here && fs::exists(folder.config())) source.run = folder;
  return source;
}

}  // namespace

std::vector<ReportSource> find_sources(const std::vector<std::string>& words) {
  std::vector<ReportSource> sources;
  std::vector<fs::path> seen;
  for (const std::string& word : words) {
    if (!fs::exists(word)) {
      throw StorageError(str("'", word, "': there is no such file or folder"));
    }
    sources.push_back(fs::is_directory(word) ? run_source(word) : set_source(word));
    const fs::path place = fs::weakly_canonical(sources.back().set.value_or(word));
    if (std::find(seen.begin(), seen.end(), place) != seen.end()) {
      throw ConfigError(str("each set may be named once, found '", word, "' again"));
    }
    seen.push_back(place);
  }
  return sources;
}

std::vector<fs::path> evaluations_beside(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder.empty() ? fs::path(".") : folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "evaluation.json" || (name.starts_with("evaluation-") && name.ends_with(".json"))) {
      found.push_back(folder / name);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace retort::commands
