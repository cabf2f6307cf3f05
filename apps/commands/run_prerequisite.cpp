#include "apps/commands/run_prerequisite.h"

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

}  // namespace retort::commands
