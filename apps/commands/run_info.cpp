#include "apps/commands/run_info.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "apps/commands/document.h"
#include "apps/commands/folder_kind.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/set_file.h"
#include "lib/storage/state_file.h"
#include "methods/run_folder.h"

namespace retort::commands {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// What the files of a run say, as far as they can be read.
struct RunSummary {
  std::vector<config::ConfigEntry> config;     ///< of the run as planned, or as done
  std::optional<std::int64_t> finished_after;  ///< iterations, of set.h5
  std::optional<std::int64_t> saved_after;     ///< iterations, of checkpoint.h5
  std::vector<std::string> findings;           ///< one per file that cannot be read
};

std::string value_of(const RunSummary& run, const std::string& key) {
  for (const auto& entry : run.config) {
    if (entry.key == key) return entry.value;
  }
  return "";
}

/// Nothing happens without the file; what is wrong with it becomes a finding.
void look_at(const fs::path& file, RunSummary& run, const std::function<void()>& read) {
  if (!fs::exists(file)) return;
  try {
    read();
  } catch (const Error& e) {
    run.findings.emplace_back(e.what());
  }
}

RunSummary summarise(const std::string& path) {
  const methods::RunFolder folder{path};
  if (folder_kind(path) == FolderKind::Other) refuse_other_folder(path);
  RunSummary run;
  look_at(folder.set(), run,
          [&] { run.finished_after = storage::read_set(folder.set()).provenance.iterations; });
  look_at(folder.checkpoint(), run, [&] {
    run.saved_after = storage::StateReader(folder.checkpoint()).integer("driver/next_iteration");
  });
  look_at(path, run, [&] {
    const auto stored = methods::stored_config(path);
    if (stored) run.config = config::parse_config(stored->text, stored->source);
  });
  return run;
}

std::string iterations_text(std::int64_t count) {
  return str(count, count == 1 ? " iteration" : " iterations");
}

std::string run_text(const std::string& path, const RunSummary& run) {
  std::vector<std::vector<std::string>> rows = {{"folder", str(path, ", of a run")}};
  for (const char* key : {"method", "dataset", "ipc", "seed", "iterations"}) {
    const std::string value = value_of(run, key);
    if (!value.empty()) rows.push_back({key, value});
  }
  if (run.finished_after) {
    rows.push_back({"set.h5", "finished after " + iterations_text(*run.finished_after)});
  }
  if (run.saved_after) {
    rows.push_back({"checkpoint.h5", "after " + iterations_text(*run.saved_after)});
    // Of a finished run the checkpoint stays if its time budget ended it.
    rows.push_back({"to go on", str("retort condense --resume --run-dir ", path,
                                    run.finished_after ? " --time-budget 0" : "")});
  }
  for (const auto& finding : run.findings) rows.push_back({"damaged", finding});
  return columns(rows);
}

json run_json(const std::string& path, const RunSummary& run) {
  const auto number = [](const std::optional<std::int64_t>& value) {
    return value ? json(*value) : json();
  };
  json config = json::object();
  for (const auto& entry : run.config) config[entry.key] = entry.value;
  return {{"schema", "retort.run-info/1"},
          {"folder", path},
          {"config", config},
          {"finished_after", number(run.finished_after)},
          {"saved_after", number(run.saved_after)},
          {"findings", run.findings}};
}

}  // namespace

void print_run(const std::string& folder, bool as_json) {
  const RunSummary run = summarise(folder);
  if (as_json) {
    print_document(run_json(folder, run));
  } else {
    cli::print(run_text(folder, run));
  }
  if (run.findings.empty()) return;
  throw StorageError(str("'", folder, "' holds ", run.findings.size(),
                         run.findings.size() == 1 ? " file" : " files",
                         " that cannot be read: ", run.findings.front()));
}

}  // namespace retort::commands
