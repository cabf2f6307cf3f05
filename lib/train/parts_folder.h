#pragma once
// What is kept beside a file while it is made.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/file_lock.h"

namespace retort::train {

/// OUT.parts/ beside the file OUT: numbered files, and a plan of what they are. One process works
/// on it at a time. Files that are not its own are left alone.
class PartsFolder {
 public:
  struct Words {
    std::vector<std::string> kinds;  ///< what names of its files begin with: "teacher-"
    std::string doing;               ///< "trains these teachers"
    std::string unfinished;          ///< "unfinished teachers"
  };

  /// "OUT.parts"
  static std::filesystem::path of(const std::filesystem::path& out);
  /// Whether an earlier process has left something there.
  static bool under_way(const std::filesystem::path& out, const std::vector<std::string>& kinds);

  /// Takes the lock, and removes what killed writes of OUT and of its files have left.
  /// @throws ConfigError if another process works there
  PartsFolder(const std::filesystem::path& out, Words words);
  /// The same; nothing if another process works there.
  static std::optional<PartsFolder> if_free(const std::filesystem::path& out, Words words);

  /// Of one of its files: "teacher-0.h5"
  static std::string name(const std::string& kind, std::int64_t number);
  std::filesystem::path file(const std::string& kind, std::int64_t number) const;
  /// Those of a kind that are there.
  std::map<std::int64_t, std::filesystem::path> files(const std::string& kind) const;
  /// What was made by a plan that differs.
  enum class OtherPlan { Refused, Replaced };
  /// Takes up the plan that is there, unless nothing was made by it yet, else keeps `plan`.
  /// @param plan `key = value` lines of all that decides what becomes of the files
  /// @throws ConfigError if something was made by a plan that differs, in what, theirs and mine,
  ///         unless that is replaced, which the log says; StorageError if it cannot be removed
  void begin(const std::string& plan, OtherPlan other = OtherPlan::Refused) const;
  /// Removes its own files, and the folder if nothing else is in it.
  void tidy_up() const;

 private:
  PartsFolder(const std::filesystem::path& out, Words words, FileLock lock);
  void remove_work() const;

  std::filesystem::path folder_;
  Words words_;
  FileLock lock_;
};

}  // namespace retort::train
