#include "apps/commands/run_prerequisite.h"

#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {

namespace fs = std::filesystem;

std::int64_t NetworksOfRun::seed_of_networks() const {
  return dataset.images_per_class > 0 || hold_out > 0 ? seed : 0;
}

fs::path folder_beside(const fs::path& run_dir, const std::string& name) {
  fs::path folder = fs::absolute(run_dir).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  folder = folder.parent_path() / name;
  return run_dir.is_absolute() ? folder : folder.lexically_proximate(fs::current_path());
}

std::string short_id(const std::string& id) { return id.substr(0, 8); }

nlohmann::json RunPrerequisite::prediction() const {
  const Missing found = missing();
  return {{"file", file_.string()},
          {"count", count()},
          {"missing", found.networks},
          {"seconds", found.seconds ? nlohmann::json(*found.seconds) : nlohmann::json()}};
}

std::string RunPrerequisite::prediction_text() const {
  const Missing found = missing();
  if (found.networks == 0) return str(counted(count()), " of ", file_.string());
  return str(found.networks, found.networks < count() ? " more" : "", " to be made first, ",
             duration_text(found.seconds.value_or(0)), ", into ", file_.string());
}

nlohmann::json RunPrerequisite::outcome() const {
  if (!made_) return {};
  return {{"file", file_.string()},
          {"count", count()},
          {"made", made_->networks},
          {"seconds", made_->seconds}};
}

std::string RunPrerequisite::outcome_text() const {
  if (!made_) return "";
  return str(count(), " of ", file_.string(),
             made_->networks > 0 ? str(", ", made_->networks, " made now in ",
                                       duration_text(made_->seconds), ", besides the time below")
                                 : ", made before");
}

}  // namespace retort::commands
