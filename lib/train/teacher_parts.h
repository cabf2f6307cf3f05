#pragma once
// The teachers of one file while they are made.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/file_lock.h"
#include "lib/storage/teacher_file.h"

namespace retort::train {

/// OUT.parts/ beside the file OUT: finished teachers, the checkpoint of the one under way, and a
/// plan of what they are. One process works on it at a time; killed at any moment, the next one
/// goes on, and no finished teacher is lost.
class TeacherParts {
 public:
  /// @param plan `key = value` lines of all that decides what becomes of them, networks among them
  /// @throws ConfigError if another process works there, or a plan is there that differs: in what,
  ///         theirs and mine
  TeacherParts(std::filesystem::path out, const std::string& plan);

  /// "OUT.parts"
  static std::filesystem::path folder_of(const std::filesystem::path& out);

  /// Where the training of teacher `number` keeps its state.
  std::filesystem::path checkpoint(std::int64_t number) const;
  /// The teacher, if an earlier process has finished it.
  std::optional<storage::Teacher> finished(std::int64_t number) const;
  /// Keeps a finished teacher and removes its checkpoint.
  void keep(std::int64_t number, const storage::TeacherData& data,
            const storage::Teacher& teacher) const;
  /// Writes OUT and removes the folder.
  void finish(const storage::TeacherData& data,
              const std::vector<storage::Teacher>& teachers) const;

 private:
  std::filesystem::path part(std::int64_t number) const;

  std::filesystem::path out_;
  std::filesystem::path folder_;
  FileLock lock_;
};

}  // namespace retort::train
