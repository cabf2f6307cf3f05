#include "lib/train/teacher_parts.h"

#include <system_error>
#include <utility>

namespace retort::train {
namespace {

namespace fs = std::filesystem;

constexpr char kTeacher[] = "teacher-";
constexpr char kCheckpoint[] = "checkpoint-";

const std::vector<std::string>& kinds() {
  static const std::vector<std::string> all = {kCheckpoint, kTeacher};
  return all;
}

PartsFolder::Words words() { return {kinds(), "trains these teachers", "unfinished teachers"}; }

}  // namespace

fs::path TeacherParts::folder_of(const fs::path& out) { return PartsFolder::of(out); }

bool TeacherParts::under_way(const fs::path& out) { return PartsFolder::under_way(out, kinds()); }

std::int64_t TeacherParts::finished_count(const fs::path& out) {
  std::int64_t count = 0;
  while (fs::exists(folder_of(out) / PartsFolder::name(kTeacher, count))) ++count;
  return count;
}

TeacherParts::TeacherParts(fs::path out) : out_(std::move(out)), folder_(out_, words()) {}

TeacherParts::TeacherParts(fs::path out, PartsFolder folder)
    : out_(std::move(out)), folder_(std::move(folder)) {}

std::optional<TeacherParts> TeacherParts::if_free(const fs::path& out) {
  auto folder = PartsFolder::if_free(out, words());
  if (!folder) return std::nullopt;
  return TeacherParts(out, std::move(*folder));
}

bool TeacherParts::empty() const {
  return folder_.files(kTeacher).empty() && folder_.files(kCheckpoint).empty();
}

bool TeacherParts::merged_into(const std::vector<storage::Teacher>& out) const {
  const auto parts = folder_.files(kTeacher);
  if (parts.empty() || !folder_.files(kCheckpoint).empty()) return false;
  for (const auto& [number, file] : parts) {
    if (number >= std::int64_t(out.size())) return false;
    const storage::Teacher part = *finished(number);
    const storage::Teacher& merged = out[std::size_t(number)];
    if (part.sha256() != merged.sha256()) return false;
    if (part.statistics_sha256() != merged.statistics_sha256()) return false;
  }
  return true;
}

void TeacherParts::begin(const std::string& plan) const { folder_.begin(plan); }

fs::path TeacherParts::part(std::int64_t number) const { return folder_.file(kTeacher, number); }

fs::path TeacherParts::checkpoint(std::int64_t number) const {
  return folder_.file(kCheckpoint, number);
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

void TeacherParts::tidy_up() const { folder_.tidy_up(); }

}  // namespace retort::train
