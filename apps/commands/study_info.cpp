#include "apps/commands/study_info.h"

#include <vector>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "apps/commands/document.h"
#include "apps/commands/shell_word.h"
#include "apps/commands/study_folder.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// What a study is of and whether it is finished.
struct StudySummary {
  FolderKind kind = FolderKind::Other;
  std::vector<config::ConfigEntry> config;
  bool finished = false;
  std::string finding;  ///< what cannot be read; empty: nothing
};

std::string command_of(FolderKind kind) {
  switch (kind) {
    case FolderKind::Study:
      return "continual";
    case FolderKind::Search:
      return "nas";
    case FolderKind::Sweep:
      return "sweep";
    case FolderKind::Run:
    case FolderKind::Other:
      break;
  }
  throw Error("the folder of no study is of no command");
}

StudySummary summarise(const fs::path& root, FolderKind kind) {
  StudySummary study;
  study.kind = kind;
  if (kind == FolderKind::Sweep) return study;  // what is left of it only its file knows
  const StudyFolder folder{root};
  try {
    if (fs::exists(folder.config())) {
      study.config = config::parse_config(read_text(folder.config()), folder.config().string());
    }
    if (fs::exists(folder.results())) {
      study.finished = json::parse(read_text(folder.results())).contains("schema");
    }
  } catch (const Error& e) {
    study.finding = e.what();
  } catch (const json::exception& e) {
    study.finding = str("'", folder.results().string(), "': ", e.what());
  }
  return study;
}

std::string text_of(const std::string& path, const StudySummary& study) {
  std::vector<std::vector<std::string>> rows = {
      {"folder", str(path, ", ", folder_text(study.kind))}};
  for (const auto& entry : study.config) {
    if (!entry.value.empty()) rows.push_back({entry.key, entry.value});
  }
  if (study.kind == FolderKind::Sweep) {
    rows.push_back({"to go on", "retort sweep FILE --dry-run tells what is left"});
  } else if (!study.finding.empty()) {
    rows.push_back({"damaged", study.finding});
  } else if (study.finished) {
    rows.push_back({"results.json", "finished"});
  } else {
    rows.push_back({"to go on", str("retort ", command_of(study.kind), " --run-dir ",
                                    shell_word(path), " --resume")});
  }
  return columns(rows);
}

json document_of(const std::string& path, const StudySummary& study) {
  json config = json::object();
  for (const auto& entry : study.config) config[entry.key] = entry.value;
  return {{"schema", "retort.study-info/1"},
          {"folder", path},
          {"command", command_of(study.kind)},
          {"config", config},
          {"finished", study.kind == FolderKind::Sweep ? json() : json(study.finished)},
          {"finding", study.finding.empty() ? json() : json(study.finding)}};
}

}  // namespace

void print_study(const std::string& folder, FolderKind kind, bool as_json) {
  const StudySummary study = summarise(folder, kind);
  if (as_json) {
    print_document(document_of(folder, study));
  } else {
    cli::print(text_of(folder, study));
  }
  if (!study.finding.empty()) {
    throw StorageError(str("'", folder, "' holds a file that cannot be read: ", study.finding));
  }
}

}  // namespace retort::commands
