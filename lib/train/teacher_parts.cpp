#include "lib/train/teacher_parts.h"

#include <utility>

#include "lib/config/differences.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

namespace fs = std::filesystem;

FileLock locked(const fs::path& folder) {
  auto lock = FileLock::try_now(folder / ".lock");
  if (!lock) {
    throw ConfigError(str("'", folder.string(), "': another process trains these teachers"));
  }
  return std::move(*lock);
}

}  // namespace

fs::path TeacherParts::folder_of(const fs::path& out) { return out.string() + ".parts"; }

TeacherParts::TeacherParts(fs::path out, const std::string& plan)
    : out_(std::move(out)), folder_(folder_of(out_)), lock_(locked(folder_)) {
  const fs::path file = folder_ / "plan.cfg";
  if (!fs::exists(file)) {
    write_text(file, plan);
    return;
  }
  const auto differing = config::differences(read_text(file), plan);
  if (differing.empty()) return;
  throw ConfigError(str(
      "'", folder_.string(), "' holds unfinished teachers of other settings (theirs / asked for): ",
      config::differences_text(differing), "; go on with theirs, or remove the folder"));
}

fs::path TeacherParts::part(std::int64_t number) const {
  return folder_ / str("teacher-", number, ".h5");
}

fs::path TeacherParts::checkpoint(std::int64_t number) const {
  return folder_ / str("checkpoint-", number, ".h5");
}

std::optional<storage::Teacher> TeacherParts::finished(std::int64_t number) const {
  if (!fs::exists(part(number))) return std::nullopt;
  return storage::TeacherReader(part(number)).teacher(0);
}

void TeacherParts::keep(std::int64_t number, const storage::TeacherData& data,
                        const storage::Teacher& teacher) const {
  storage::write_teachers(part(number), data, {teacher});
  fs::remove(checkpoint(number));
}

void TeacherParts::finish(const storage::TeacherData& data,
                          const std::vector<storage::Teacher>& teachers) const {
  storage::write_teachers(out_, data, teachers);
  lock_.remove_file();
  fs::remove_all(folder_);
}

}  // namespace retort::train
