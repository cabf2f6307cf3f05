#pragma once
// The teachers of one file while they are made.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/storage/teacher_file.h"
#include "lib/train/parts_folder.h"

namespace retort::train {

/// OUT.parts/ beside the file OUT: finished teachers, the checkpoint of the one under way, and a
/// plan of what they are. One process works on it at a time; killed at any moment, the next one
/// goes on, and no finished teacher is lost. Files that are not its own are left alone.
class TeacherParts {
 public:
  /// "OUT.parts"
  static std::filesystem::path folder_of(const std::filesystem::path& out);
  /// Whether an earlier process has left something there.
  static bool under_way(const std::filesystem::path& out);

  /// Teachers that earlier processes have finished for a file that is not there yet.
  static std::int64_t finished_count(const std::filesystem::path& out);

  /// Takes the lock. @throws ConfigError if another process works there
  explicit TeacherParts(std::filesystem::path out);
  /// The same; nothing if another process works there.
  static std::optional<TeacherParts> if_free(const std::filesystem::path& out);

  /// Whether nothing of a teacher lies there.
  bool empty() const;
  /// Whether all that lies there is in OUT already: a process was killed between writing it and
  /// tidying up.
  /// @param out the teachers of OUT
  bool merged_into(const std::vector<storage::Teacher>& out) const;
  /// Takes up the plan that is there, unless nothing was made by it yet, else keeps `plan`.
  /// @param plan `key = value` lines of all that decides what becomes of the teachers
  /// @throws ConfigError if something was made by a plan that differs: in what, theirs and mine
  void begin(const std::string& plan) const;

  /// Where the training of teacher `number` keeps its state.
  std::filesystem::path checkpoint(std::int64_t number) const;
  /// The teacher, if an earlier process has finished it.
  std::optional<storage::Teacher> finished(std::int64_t number) const;
  /// Keeps a finished teacher and removes its checkpoint.
  void keep(std::int64_t number, const storage::TrainedOn& data,
            const storage::Teacher& teacher) const;
  /// Writes OUT, then tidies up.
  void finish(const storage::TrainedOn& data, const std::vector<storage::Teacher>& teachers) const;
  /// Removes its own files, and the folder if nothing else is in it.
  void tidy_up() const;

 private:
  TeacherParts(std::filesystem::path out, PartsFolder folder);
  std::filesystem::path part(std::int64_t number) const;

  std::filesystem::path out_;
  PartsFolder folder_;
};

}  // namespace retort::train
