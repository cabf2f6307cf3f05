#pragma once
// The experts of one file while they are made.

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/core/file_lock.h"
#include "lib/storage/expert_file.h"

namespace retort::train {

/// An expert that nobody else works on while this lives.
struct ClaimedExpert {
  storage::ExpertPart part;    ///< from its start, or as it was left
  std::filesystem::path path;  ///< where it is written with storage::write_part
  FileLock lock;
};

/// OUT.parts/ beside the file OUT: parts of running and finished experts, a plan of which experts
/// there shall be, and lock files. Several processes may work on the same plan: they share the
/// experts out among each other, and whoever finds the last one finished merges. A process that is
/// killed leaves its expert to whoever claims it next.
class ExpertParts {
 public:
  /// @param info what every expert has in common. Its options are `key = value` lines without the
  ///        keys dataset, dataset-sha256, dataset-note, net, preprocessing and numbers
  /// @param seed of the run, see expert_seeds
  ExpertParts(std::filesystem::path out, storage::ExpertInfo info, std::uint64_t seed);

  /// "OUT.parts"
  static std::filesystem::path folder_of(const std::filesystem::path& out);
  /// Whether experts of OUT are planned that are not all made.
  static bool under_way(const std::filesystem::path& out);
  /// How many experts are planned for OUT, those made since among them; 0: nothing is under way.
  static std::int64_t planned(const std::filesystem::path& out);
  /// Fails before anything is loaded. @throws ConfigError if OUT exists, nothing is under way and
  /// `add` was not asked for
  static void expect_new(const std::filesystem::path& out, bool add);

  /// Takes up the plan that is there, which may only grow, else plans `count` experts beside those
  /// of OUT.
  /// @throws ConfigError if OUT exists, nothing is under way and `add` was not asked for, or if
  ///         plan, parts or OUT were made with other settings: which, theirs and mine
  void plan(std::int64_t count, bool add);
  /// Of the plan, and those not yet in OUT or finished, whoever works on them.
  const std::vector<std::int64_t>& numbers() const { return numbers_; }
  std::vector<std::int64_t> unfinished() const;

  /// The next expert that is not finished and that nobody works on. Any thread may ask.
  std::optional<ClaimedExpert> claim();

  struct Merge {
    std::int64_t merged = 0;               ///< parts that went into OUT now
    std::vector<std::int64_t> unfinished;  ///< of the plan
    bool done() const { return unfinished.empty(); }
  };
  /// When the whole plan is made: merges it into OUT and removes the folder.
  Merge finish();
  /// Merges what is complete; the plan stays for the rest.
  /// @throws ConfigError if there is nothing to merge
  static Merge merge_complete(const std::filesystem::path& out);

 private:
  std::filesystem::path out_;
  storage::ExpertInfo info_;
  std::uint64_t seed_;
  std::vector<std::int64_t> numbers_;
  std::mutex mutex_;
  std::set<std::int64_t> finished_;  ///< seen so
};

}  // namespace retort::train
