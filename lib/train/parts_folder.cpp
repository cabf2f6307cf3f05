#include "lib/train/parts_folder.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "lib/config/differences.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnd = ".h5";

fs::path lock_of(const fs::path& folder) { return folder / ".lock"; }

FileLock locked(const fs::path& folder, const std::string& doing) {
  auto lock = FileLock::try_now(lock_of(folder));
  if (!lock) throw ConfigError(str("'", folder.string(), "': another process ", doing));
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

bool has_work(const fs::path& folder, const std::vector<std::string>& kinds) {
  return std::any_of(kinds.begin(), kinds.end(),
                     [&](const std::string& kind) { return !numbered(folder, kind).empty(); });
}

/// What writes that were killed have left in `folder`; of `target` alone, if one is given.
void remove_temporaries(const fs::path& folder, const fs::path& target = {}) {
  if (!fs::is_directory(folder)) return;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto found = target_of_temporary(entry.path());
    if (!found || (!target.empty() && found->filename() != target)) continue;
    fs::remove(entry.path(), ignored);
  }
}

}  // namespace

fs::path PartsFolder::of(const fs::path& out) { return out.string() + ".parts"; }

bool PartsFolder::under_way(const fs::path& out, const std::vector<std::string>& kinds) {
  return fs::exists(plan_of(of(out))) || has_work(of(out), kinds);
}

PartsFolder::PartsFolder(const fs::path& out, Words words)
    : PartsFolder(out, words, locked(of(out), words.doing)) {}

std::optional<PartsFolder> PartsFolder::if_free(const fs::path& out, Words words) {
  auto lock = FileLock::try_now(lock_of(of(out)));
  if (!lock) return std::nullopt;
  return PartsFolder(out, std::move(words), std::move(*lock));
}

PartsFolder::PartsFolder(const fs::path& out, Words words, FileLock lock)
    : folder_(of(out)), words_(std::move(words)), lock_(std::move(lock)) {
  remove_temporaries(folder_);
  remove_temporaries(out.has_parent_path() ? out.parent_path() : fs::path("."), out.filename());
}

std::string PartsFolder::name(const std::string& kind, std::int64_t number) {
  return str(kind, number, kEnd);
}

fs::path PartsFolder::file(const std::string& kind, std::int64_t number) const {
  return folder_ / name(kind, number);
}

std::map<std::int64_t, fs::path> PartsFolder::files(const std::string& kind) const {
  return numbered(folder_, kind);
}

void PartsFolder::begin(const std::string& plan, OtherPlan other) const {
  const fs::path file = plan_of(folder_);
  if (fs::exists(file) && has_work(folder_, words_.kinds)) {
    const auto differing = config::differences(read_text(file), plan);
    if (differing.empty()) return;
    const std::string found =
        str("'", folder_.string(), "' holds ", words_.unfinished,
            " of other settings (theirs / asked for): ", config::differences_text(differing));
    if (other == OtherPlan::Refused)
      throw ConfigError(str(found, "; go on with theirs, or remove the folder"));
    log::info(str(found, "; they are replaced"));
  }
  // Those of another plan are of no use here, and without a plan nobody knows what they are.
  remove_work();
  if (has_work(folder_, words_.kinds)) {
    // Under the new plan they would pass for its own.
    throw StorageError(str("'", folder_.string(), "': ", words_.unfinished,
                           " that are of no use any more cannot be removed; remove the folder"));
  }
  write_text(file, plan);
}

void PartsFolder::remove_work() const {
  std::error_code ignored;
  for (const std::string& kind : words_.kinds) {
    for (const auto& [number, file] : files(kind)) fs::remove(file, ignored);
  }
}

void PartsFolder::tidy_up() const {
  std::error_code ignored;
  remove_work();
  fs::remove(plan_of(folder_), ignored);
  lock_.remove_file();
  fs::remove(folder_, ignored);
}

}  // namespace retort::train
