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
  /// How far OUT is from holding `total` experts. The next ones are the lowest numbers of `seed`
  /// that it does not hold.
  struct Stock {
    std::int64_t in_file = 0;   ///< all complete ones of OUT
    std::int64_t finished = 0;  ///< of the next ones: complete parts, to be merged
    std::int64_t missing = 0;   ///< of the next ones: to be trained, or on their way
  };
  static Stock stock(const std::filesystem::path& out, std::uint64_t seed, std::int64_t total);
  /// Fails before anything is loaded. @throws ConfigError if OUT exists, nothing is under way and
  /// `add` was not asked for
  static void expect_new(const std::filesystem::path& out, bool add);

  /// Takes up the plan that is there, which may only grow, else plans `count` experts beside those
  /// of OUT.
  /// @throws ConfigError if OUT exists, nothing is under way and `add` was not asked for, or if
  ///         plan, parts or OUT were made with other settings: which, theirs and mine
  void plan(std::int64_t count, bool add);
  /// Plans what OUT lacks of `total` experts. Others of a plan that is there stay for whoever
  /// planned them.
  /// @throws ConfigError if plan, parts or OUT were made with other settings
  void plan_up_to(std::int64_t total);
  /// Those planned, and those not yet in OUT or finished, whoever works on them.
  const std::vector<std::int64_t>& numbers() const { return numbers_; }
  std::vector<std::int64_t> unfinished() const;

  /// The next expert that is not finished and that nobody works on. Any thread may ask.
  std::optional<ClaimedExpert> claim();

  struct Merge {
    std::int64_t merged = 0;               ///< parts that went into OUT now
    std::vector<std::int64_t> unfinished;  ///< of those waited for
    bool done() const { return unfinished.empty(); }
  };
  /// When the whole plan is made, with what others have added to it: merges it into OUT and removes
  /// the folder.
  Merge finish();
  /// When `numbers` are made: merges them into OUT. The rest of the plan stays, if it is
  /// unfinished.
  Merge finish_mine();
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
