#include "apps/commands/folder_kind.h"

#include <algorithm>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "methods/run_folder.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

/// Options that only studies and searches have.
bool configures(const fs::path& config, const std::string& option) {
  if (!fs::is_regular_file(config)) return false;
  try {
    const auto entries = config::parse_config(read_text(config), config.string());
    return std::any_of(entries.begin(), entries.end(),
                       [&](const config::ConfigEntry& entry) { return entry.key == option; });
  } catch (const Error&) {
    return false;
  }
}

/// A record of every cell lies in it.
bool holds_records(const fs::path& folder) {
  if (!fs::is_directory(folder)) return false;
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const auto& entry) { return entry.path().extension() == ".cfg"; });
}

}  // namespace

FolderKind folder_kind(const fs::path& folder) {
  const methods::RunFolder run{folder};
  // Only runs have these, whatever a person puts beside them.
  if (fs::exists(run.set()) || fs::exists(run.checkpoint())) return FolderKind::Run;
  const auto has = [&](const char* name) { return fs::is_directory(folder / name); };
  if (has("order-0") || configures(run.config(), "orders")) return FolderKind::Study;
  if (has("trainings") || configures(run.config(), "proxies")) return FolderKind::Search;
  if (holds_records(folder / "sweep")) return FolderKind::Sweep;
  return fs::exists(run.config()) ? FolderKind::Run : FolderKind::Other;
}

bool is_study(FolderKind kind) { return kind != FolderKind::Run && kind != FolderKind::Other; }

std::string folder_text(FolderKind kind) {
  switch (kind) {
    case FolderKind::Study:
      return "the folder of a study of `retort continual`: its result is in results.json and "
             "curve.svg, single sets lie in order-*/step-*";
    case FolderKind::Search:
      return "the folder of a search of `retort nas`: its result is in results.json and "
             "scatter-*.svg, single sets lie in sets/";
    case FolderKind::Sweep:
      return "the folder of a sweep: table.txt joins what is finished, every run lies in a folder "
             "below";
    case FolderKind::Run:
    case FolderKind::Other:
      break;
  }
  throw Error("the folder of no study has no text");
}

void refuse_other_folder(const std::string& word) {
  throw StorageError(str("'", word, "': is a folder, but of no run: expected config.cfg, ",
                         "checkpoint.h5 or set.h5 in it, found none"));
}

std::string set_file(const std::string& word) {
  if (!fs::is_directory(word)) return word;
  const FolderKind kind = folder_kind(word);
  if (is_study(kind)) throw ConfigError(str("'", word, "': is ", folder_text(kind)));
  if (kind == FolderKind::Other) refuse_other_folder(word);
  const fs::path set = methods::RunFolder{word}.set();
  if (fs::exists(set)) return set.string();
  throw StorageError(str("'", word, "': is the folder of a run without a set; retort info ", word,
                         " tells how far it is"));
}

}  // namespace retort::commands
