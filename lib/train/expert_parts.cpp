#include "lib/train/expert_parts.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "lib/config/differences.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "lib/train/experts.h"

namespace retort::train {
namespace {

namespace fs = std::filesystem;
using storage::ExpertInfo;
using storage::ExpertSeeds;
using storage::ExpertSummary;

fs::path plan_path(const fs::path& out) { return ExpertParts::folder_of(out) / "plan.cfg"; }

FileLock lock_folder(const fs::path& out) {
  return FileLock::wait(ExpertParts::folder_of(out) / ".lock");
}

fs::path lock_path(const fs::path& out, std::int64_t number) {
  return ExpertParts::folder_of(out) / str("expert-", number, ".lock");
}

/// Which experts there shall be, and with which settings.
struct Plan {
  std::string settings;
  std::vector<std::int64_t> numbers;
  std::int64_t seed = 0;  ///< of the run, that the numbers belong to

  void describe(config::OptionTable& table) {
    table.add(kNumbers, numbers, "", config::at_least(0));
    table.add("numbers-seed", seed, "", {"", [](const std::int64_t&) { return true; }});
  }
  static constexpr const char* kNumbers = "numbers";
};

/// What must be the same for experts of one file, as `key = value` lines.
std::string settings_of(ExpertInfo info) {
  using config::any_text;
  std::string preprocessing = info.preprocessing.description();
  config::OptionTable table;
  table.add("dataset", info.dataset, "", any_text());
  table.add("dataset-sha256", info.dataset_sha256, "", any_text());
  table.add("dataset-note", info.dataset_note, "", any_text());
  table.add("net", info.network, "", any_text());
  table.add("preprocessing", preprocessing, "", any_text());
  return config::config_text(table) + info.options;
}

void expect_same(const std::string& theirs, const ExpertInfo& mine, const fs::path& file) {
  const auto differing = config::differences(theirs, settings_of(mine));
  if (differing.empty()) return;
  throw ConfigError(str("'", file.string(), "' was made with other settings (theirs / yours): ",
                        config::differences_text(differing),
                        "; repeat theirs, or choose another --out"));
}

void write_plan(const fs::path& out, Plan plan) {
  config::OptionTable table;
  plan.describe(table);
  write_text(plan_path(out), plan.settings + config::config_text(table));
}

std::optional<Plan> read_plan(const fs::path& out) {
  const fs::path path = plan_path(out);
  if (!fs::exists(path)) return std::nullopt;
  Plan plan;
  config::OptionTable own;
  plan.describe(own);
  const std::string text = read_text(path);
  for (const auto& entry : config::parse_config(text, path.string())) {
    if (own.contains(entry.key)) own.set(entry.key, entry.value, config::Origin::File);
  }
  plan.settings = text.substr(0, text.rfind(str(Plan::kNumbers, " =")));
  return plan;
}

/// "expert-12.h5" -> 12
std::optional<std::int64_t> number_of(const fs::path& part) {
  const std::string name = part.filename().string();
  constexpr std::string_view kBefore = "expert-";
  constexpr std::string_view kAfter = ".h5";
  if (!name.starts_with(kBefore) || !name.ends_with(kAfter)) return std::nullopt;
  const char* const begin = name.data() + kBefore.size();
  const char* const end = name.data() + name.size() - kAfter.size();
  std::int64_t number = 0;
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

/// By number.
std::vector<std::int64_t> parts_of(const fs::path& out) {
  std::vector<std::int64_t> numbers;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(ExpertParts::folder_of(out), none)) {
    if (const auto number = number_of(entry.path())) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

/// What killed writes of `path` left. Whoever calls is the only one to write it.
void remove_temporaries(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto target = target_of_temporary(entry.path());
    if (target && target->filename() == path.filename()) fs::remove(entry.path(), ignored);
  }
}

/// The experts that OUT holds.
class Finished {
 public:
  explicit Finished(const fs::path& out) {
    if (fs::exists(out)) summary_ = storage::read_expert_summary(out);
  }

  bool holds(const ExpertSeeds& seeds) const {
    const auto& experts = summary_.experts;
    return std::any_of(experts.begin(), experts.end(), [&](const ExpertSummary::Expert& expert) {
      return expert.complete && expert.seeds == seeds;
    });
  }
  std::int64_t count() const {
    const auto& experts = summary_.experts;
    return std::count_if(experts.begin(), experts.end(),
                         [](const ExpertSummary::Expert& expert) { return expert.complete; });
  }
  const ExpertInfo& info() const { return summary_.info; }

 private:
  ExpertSummary summary_;
};

ExpertSummary::Expert part_summary(const fs::path& part) {
  const ExpertSummary summary = storage::read_expert_summary(part);
  if (!summary.part || summary.experts.size() != 1) {
    throw StorageError(str("'", part.string(), "': expected the part of one expert, found ",
                           summary.experts.size(), " experts"));
  }
  return summary.experts.front();
}

bool is_complete(const fs::path& part) { return fs::exists(part) && part_summary(part).complete; }

void remove_part(const fs::path& out, std::int64_t number) {
  std::error_code ignored;
  fs::remove(storage::part_path(out, number), ignored);
  fs::remove(lock_path(out, number), ignored);
}

bool has(const std::vector<std::int64_t>& numbers, std::int64_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

/// Moves the complete parts of the folder into OUT, of these numbers if only some are asked for;
/// those of a merge that was killed before it removed them are there already.
/// @return how many were moved or found there
std::int64_t merge_parts(const fs::path& out,
                         const std::optional<std::vector<std::int64_t>>& only = {}) {
  const Finished before(out);
  std::vector<std::int64_t> complete;
  std::vector<fs::path> fresh;
  for (const std::int64_t number : parts_of(out)) {
    if (only && !has(*only, number)) continue;
    const fs::path part = storage::part_path(out, number);
    const auto expert = part_summary(part);
    if (!expert.complete) continue;
    complete.push_back(number);
    if (!before.holds(expert.seeds)) fresh.push_back(part);
  }
  if (!fresh.empty()) {
    remove_temporaries(out);
    storage::merge_experts(out, fs::exists(out) ? std::optional(out) : std::nullopt, fresh);
  }
  for (const std::int64_t number : complete) remove_part(out, number);
  return std::int64_t(complete.size());
}

/// The folder, unless there are parts in it or somebody works on an expert.
void remove_folder(const fs::path& out, const FileLock& folder_lock) {
  if (!parts_of(out).empty()) return;
  const fs::path folder = ExpertParts::folder_of(out);
  std::error_code ignored;
  std::vector<fs::path> lock_files;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".lock") lock_files.push_back(entry.path());
  }
  for (const auto& path : lock_files) {
    const auto lock = FileLock::try_now(path);
    if (!lock) return;
    lock->remove_file();
  }
  fs::remove(plan_path(out), ignored);
  remove_temporaries(plan_path(out));
  folder_lock.remove_file();
  fs::remove(folder, ignored);  // stays where somebody keeps something else in it
}

std::vector<std::int64_t> unfinished_of(const fs::path& out,
                                        const std::vector<std::int64_t>& numbers,
                                        std::uint64_t seed) {
  const Finished finished(out);
  std::vector<std::int64_t> left;
  for (const std::int64_t number : numbers) {
    if (finished.holds(expert_seeds(seed, number))) continue;
    if (!is_complete(storage::part_path(out, number))) left.push_back(number);
  }
  return left;
}

/// The lowest numbers that OUT does not hold, as many as it lacks of `total`.
std::vector<std::int64_t> lacking(const Finished& finished, std::uint64_t seed,
                                  std::int64_t total) {
  std::vector<std::int64_t> numbers;
  const std::int64_t count = total - finished.count();
  for (std::int64_t number = 0; std::int64_t(numbers.size()) < count; ++number) {
    if (!finished.holds(expert_seeds(seed, number))) numbers.push_back(number);
  }
  return numbers;
}

/// The plan that is there, else an empty one.
/// @throws ConfigError if plan, parts or OUT were made with other settings than `info`
Plan plan_to_take_up(const fs::path& out, const Finished& finished, const ExpertInfo& info,
                     std::uint64_t seed) {
  if (fs::exists(out)) expect_same(settings_of(finished.info()), info, out);
  for (const std::int64_t number : parts_of(out)) {
    const fs::path part = storage::part_path(out, number);
    expect_same(settings_of(storage::read_expert_summary(part).info), info, part);
  }
  Plan plan = read_plan(out).value_or(Plan{settings_of(info), {}, std::int64_t(seed)});
  expect_same(plan.settings, info, plan_path(out));
  return plan;
}

std::string exists_text(const fs::path& out) {
  return str("option 'out': '", out.string(),
             "' exists; --add makes more experts for it, or choose another name");
}

}  // namespace

ExpertParts::ExpertParts(fs::path out, ExpertInfo info, std::uint64_t seed)
    : out_(std::move(out)), info_(std::move(info)), seed_(seed) {}

fs::path ExpertParts::folder_of(const fs::path& out) {
  return storage::part_path(out, 0).parent_path();
}

bool ExpertParts::under_way(const fs::path& out) { return fs::exists(plan_path(out)); }

ExpertParts::Stock ExpertParts::stock(const fs::path& out, std::uint64_t seed, std::int64_t total) {
  // So that nobody merges meanwhile.
  std::optional<FileLock> lock;
  if (fs::exists(folder_of(out))) lock.emplace(lock_folder(out));
  const Finished finished(out);
  Stock result{.in_file = finished.count()};
  for (const std::int64_t number : lacking(finished, seed, total)) {
    ++(is_complete(storage::part_path(out, number)) ? result.finished : result.missing);
  }
  // Waiting for the lock may have made it anew.
  if (lock && !under_way(out)) remove_folder(out, *lock);
  return result;
}

void ExpertParts::expect_new(const fs::path& out, bool add) {
  if (fs::exists(out) && !add && !under_way(out)) throw ConfigError(exists_text(out));
}

void ExpertParts::plan(std::int64_t count, bool add) {
  const FileLock lock = lock_folder(out_);
  try {
    expect_new(out_, add);
    const Finished finished(out_);
    Plan plan = plan_to_take_up(out_, finished, info_, seed_);
    const auto planned = std::int64_t(plan.numbers.size());
    if (count < planned) {
      throw ConfigError(str("'", folder_of(out_).string(), "': expected --count ", planned,
                            " or more, as planned there, found ", count,
                            "; --merge takes what is complete"));
    }
    for (std::int64_t number = 0; std::int64_t(plan.numbers.size()) < count; ++number) {
      const bool made = finished.holds(expert_seeds(seed_, number));
      if (!made && !has(plan.numbers, number)) plan.numbers.push_back(number);
    }
    numbers_ = plan.numbers;
    write_plan(out_, std::move(plan));
  } catch (...) {
    if (!under_way(out_)) remove_folder(out_, lock);
    throw;
  }
}

void ExpertParts::plan_up_to(std::int64_t total) {
  const FileLock lock = lock_folder(out_);
  try {
    const Finished finished(out_);
    Plan plan = plan_to_take_up(out_, finished, info_, seed_);
    numbers_ = lacking(finished, seed_, total);
    for (const std::int64_t number : numbers_) {
      if (!has(plan.numbers, number)) plan.numbers.push_back(number);
    }
    if (!numbers_.empty()) write_plan(out_, std::move(plan));
  } catch (...) {
    if (!under_way(out_)) remove_folder(out_, lock);
    throw;
  }
}

std::vector<std::int64_t> ExpertParts::unfinished() const {
  return unfinished_of(out_, numbers_, seed_);
}

std::optional<ClaimedExpert> ExpertParts::claim() {
  const std::lock_guard one_thread(mutex_);
  const FileLock one_process = lock_folder(out_);
  const Finished in_file(out_);
  for (const std::int64_t number : numbers_) {
    if (finished_.contains(number) || in_file.holds(expert_seeds(seed_, number))) continue;
    auto lock = FileLock::try_now(lock_path(out_, number));
    if (!lock) continue;
    const fs::path path = storage::part_path(out_, number);
    remove_temporaries(path);
    if (is_complete(path)) {
      finished_.insert(number);
      continue;
    }
    ClaimedExpert claimed{new_expert(info_, seed_, number), path, std::move(*lock)};
    if (fs::exists(path)) claimed.part = storage::read_part(path);
    return claimed;
  }
  return std::nullopt;
}

ExpertParts::Merge ExpertParts::finish() {
  const FileLock lock = lock_folder(out_);
  // Another process may have planned more meanwhile; its end is the end then.
  std::vector<std::int64_t> all = numbers_;
  if (const auto plan = read_plan(out_)) {
    for (const std::int64_t number : plan->numbers) {
      if (!has(all, number)) all.push_back(number);
    }
  }
  Merge result{0, unfinished_of(out_, all, seed_)};
  if (!result.done()) return result;
  result.merged = merge_parts(out_);
  remove_folder(out_, lock);
  return result;
}

ExpertParts::Merge ExpertParts::finish_mine() {
  const FileLock lock = lock_folder(out_);
  Merge result{0, unfinished_of(out_, numbers_, seed_)};
  if (!result.done()) return result;
  const auto plan = read_plan(out_);
  if (plan && !unfinished_of(out_, plan->numbers, seed_).empty()) {
    result.merged = merge_parts(out_, numbers_);
    return result;
  }
  result.merged = merge_parts(out_);
  remove_folder(out_, lock);
  return result;
}

ExpertParts::Merge ExpertParts::merge_complete(const fs::path& out) {
  const FileLock lock = lock_folder(out);
  const auto plan = read_plan(out);
  Merge result{merge_parts(out), {}};
  if (plan) result.unfinished = unfinished_of(out, plan->numbers, std::uint64_t(plan->seed));
  const std::size_t begun = parts_of(out).size();
  if (result.done()) remove_folder(out, lock);
  if (result.merged == 0) {
    throw ConfigError(str("--merge: there is no complete part in '", folder_of(out).string(), "'",
                          begun == 0 ? "" : str(", only ", begun, " begun")));
  }
  return result;
}

}  // namespace retort::train
