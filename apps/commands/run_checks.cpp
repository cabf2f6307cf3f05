#include "apps/commands/run_checks.h"

#include "lib/config/differences.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::commands {

namespace fs = std::filesystem;

fs::path new_run_dir(const std::string& name) {
  fs::path path = fs::path("runs") / name;
  for (int i = 2; fs::exists(path); ++i) path = fs::path("runs") / str(name, "-", i);
  return path;
}

void check_run_dir(const std::string& run_dir, bool resume, bool dry_run) {
  if (run_dir.empty()) {
    if (resume) throw ConfigError("--resume needs --run-dir: which run shall go on?");
    return;
  }
  const fs::path path = run_dir;
  if (fs::exists(path) && !fs::is_directory(path)) {
    throw ConfigError(str("option 'run-dir': '", run_dir, "' is not a folder"));
  }
  if (!resume && !dry_run && fs::exists(path) && !fs::is_empty(path)) {
    throw ConfigError(
        str("run folder '", run_dir, "' exists; go on with --resume, or choose another --run-dir"));
  }
}

void check_ipc(std::int64_t ipc, const data::ImageDataset& dataset) {
  const std::int64_t smallest = dataset.smallest_class();
  if (ipc <= smallest) return;
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    if (dataset.class_indices(c).numel() > smallest) continue;
    throw ConfigError(str("ipc ", ipc, " is above the size of class '",
                          dataset.info().class_names[std::size_t(c)], "': it has ", smallest,
                          " training images"));
  }
}

void expect_same_config(const fs::path& stored, const std::string& config) {
  if (!fs::exists(stored)) return;
  const auto differing = config::differences(read_text(stored), config);
  if (differing.empty()) return;
  throw ConfigError(str("'", stored.string(), "' was made with other options (theirs / yours): ",
                        config::differences_text(differing),
                        "; repeat theirs, or choose another --run-dir"));
}

void refuse_result(const fs::path& results, const std::string& of) {
  throw ConfigError(
      str("'", results.string(), "' is the result of ", of, "; choose another --run-dir"));
}

nlohmann::json finished_result(const fs::path& results, const data::ImageDataset& dataset,
                               const eval::Protocol& protocol) {
  auto document = nlohmann::json::parse(read_text(results), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) refuse_result(results, "no study");
  if (document.value("dataset_sha256", "") != dataset.info().sha256) {
    refuse_result(results, "other data");
  }
  if (document.value("protocol_options", nlohmann::json()) !=
      nlohmann::json(protocol.options_in_use())) {
    refuse_result(results, str("another protocol, also named ", protocol.name));
  }
  return document;
}

void check_dry_run(bool dry_run, const std::string& device) {
  if (!dry_run || device == "cpu") return;
  throw ConfigError(str("--dry-run predicts for --device cpu only, found '", device, "'"));
}

}  // namespace retort::commands
