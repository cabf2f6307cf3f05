#pragma once
// What `retort report` is asked to tell of.

#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/report/report_data.h"
#include "methods/run_folder.h"

namespace retort::commands {

/// A run folder, a set in one, or a set alone.
struct ReportSource {
  std::string name;                          ///< as it was given
  std::optional<std::filesystem::path> set;  ///< none: the run has not made it yet
  std::optional<methods::RunFolder> run;     ///< of a set: the run that made it
};

/// @throws StorageError for what is not there, and for a folder of no run; ConfigError for the same
///         thing twice, and for the folder of a study
std::vector<ReportSource> find_sources(const std::vector<std::string>& words);

/// A result of `retort evaluate`, and the set that it is about.
struct ResultFile {
  std::variant<report::Evaluation, report::Score> result;
  std::string set_sha256;
};
/// @param subject what to call the set
/// @throws StorageError naming the file if it is no such result
ResultFile read_result(const std::filesystem::path& path, const std::string& subject);

/// Results beside a set: `evaluation.json`, `evaluation-dsa.json`, ..., `ranking-...json`, in order
/// of their names.
std::vector<std::filesystem::path> results_beside(const std::filesystem::path& folder);

}  // namespace retort::commands
