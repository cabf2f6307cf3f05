#include "lib/train/teacher_parts.h"

#include <charconv>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

#include "lib/config/differences.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTeacher = "teacher-";
constexpr std::string_view kCheckpoint = "checkpoint-";
constexpr std::string_view kEnd = ".h5";

FileLock locked(const fs::path& folder) {
  auto lock = FileLock::try_now(folder / ".lock");
  if (!lock) {
    throw ConfigError(str("'", folder.string(), "': another process trains these teachers"));
  }
  return std::move(*lock);
}

fs::path plan_of(const fs::path& folder) { return folder / "plan.cfg"; }

/// Files "<kind><number>.h5" of the folder.
std::map<std::int64_t, fs::path> numbered(const fs::path& folder, std::string_view kind) {
  std::map<std::int64_t, fs::path> found;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    std::string_view text = name;
    if (!text.starts_with(kind) || !text.ends_with(kEnd)) continue;
    text.remove_prefix(kind.size());
    text.remove_suffix(kEnd.size());
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size()) found[number] = entry.path();
  }
  return found;
}

bool has_work(const fs::path& folder) {
  return !numbered(folder, kTeacher).empty() || !numbered(folder, kCheckpoint).empty();
}

void remove_work(const fs::path& folder) {
  std::error_code ignored;
  for (const std::string_view kind : {kCheckpoint, kTeacher}) {
    for (const auto& [number, file] : numbered(folder, kind)) fs::remove(file, ignored);
  }
}

/// What writes that were killed have left of these files.
void remove_temporaries(const fs::path& folder) {
  if (!fs::is_directory(folder)) return;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (target_of_temporary(entry.path())) fs::remove(entry.path(), ignored);
  }
}

}  // namespace

fs::path TeacherParts::folder_of(const fs::path& out) { return out.string() + ".parts"; }

bool TeacherParts::under_way(const fs::path& out) {
  return fs::exists(plan_of(folder_of(out))) || has_work(folder_of(out));
}

TeacherParts::TeacherParts(fs::path out)
    : out_(std::move(out)), folder_(folder_of(out_)), lock_(locked(folder_)) {
  remove_temporaries(folder_);
}

bool TeacherParts::merged_into(const std::vector<storage::Teacher>& out) const {
  const auto parts = numbered(folder_, kTeacher);
  if (parts.empty() || !numbered(folder_, kCheckpoint).empty()) return false;
  for (const auto& [number, file] : parts) {
    if (number >= std::int64_t(out.size())) return false;
    if (finished(number)->sha256() != out[std::size_t(number)].sha256()) return false;
  }
  return true;
}

void TeacherParts::begin(const std::string& plan) const {
  const fs::path file = plan_of(folder_);
  if (fs::exists(file) && has_work(folder_)) {
    const auto differing = config::differences(read_text(file), plan);
    if (differing.empty()) return;
    throw ConfigError(str("'", folder_.string(),
                          "' holds unfinished teachers of other settings (theirs / asked for): ",
                          config::differences_text(differing),
                          "; go on with theirs, or remove the folder"));
  }
  // Without a plan nobody knows what they are.
  remove_work(folder_);
  write_text(file, plan);
}

fs::path TeacherParts::part(std::int64_t number) const {
  return folder_ / str(kTeacher, number, kEnd);
}

fs::path TeacherParts::checkpoint(std::int64_t number) const {
  return folder_ / str(kCheckpoint, number, kEnd);
}

std::optional<storage::Teacher> TeacherParts::finished(std::int64_t number) const {
  if (!fs::exists(part(number))) return std::nullopt;
  return storage::TeacherReader(part(number)).teacher(0);
}

void TeacherParts::keep(std::int64_t number, const storage::TrainedOn& data,
                        const storage::Teacher& teacher) const {
  storage::write_teachers(part(number), data, {teacher});
  std::error_code ignored;
  fs::remove(checkpoint(number), ignored);
}

void TeacherParts::finish(const storage::TrainedOn& data,
                          const std::vector<storage::Teacher>& teachers) const {
  storage::write_teachers(out_, data, teachers);
  tidy_up();
}

void TeacherParts::tidy_up() const {
  std::error_code ignored;
  remove_work(folder_);
  fs::remove(plan_of(folder_), ignored);
  lock_.remove_file();
  fs::remove(folder_, ignored);
}

}  // namespace retort::train
