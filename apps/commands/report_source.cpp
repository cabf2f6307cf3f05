#include "apps/commands/report_source.h"

#include <algorithm>

#include "apps/commands/folder_kind.h"
#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

ReportSource run_source(const std::string& word) {
  const FolderKind kind = folder_kind(word);
  if (kind == FolderKind::Other) refuse_other_folder(word);
  if (is_study(kind)) {
    throw ConfigError(
        str("'", word, "': is ", folder_text(kind), "; a report tells of single sets"));
  }
  const methods::RunFolder folder{word};
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

std::vector<fs::path> results_beside(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder.empty() ? fs::path(".") : folder)) {
    const std::string name = entry.path().filename().string();
    const bool named = name.starts_with("evaluation-") || name.starts_with("ranking-");
    if (name == "evaluation.json" || (named && name.ends_with(".json"))) {
      found.push_back(folder / name);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace retort::commands
