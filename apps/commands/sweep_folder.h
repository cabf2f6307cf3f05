#pragma once
// What a sweep leaves on the disk, and what of it is finished.

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/commands/sweep_cells.h"
#include "lib/core/file_lock.h"
#include "lib/sweep/table.h"

namespace retort::commands {

/// What is to be done next for a cell.
struct SweepStep {
  sweep::Stage stage = sweep::Stage::Condense;
  std::vector<std::string> words;  ///< of the program
};

/// A run folder per cell, and sweep/ with a record, a log and a lock of each. A cell is known by
/// what its record says, not by its name: a grid may grow, and its cells be named differently.
class SweepFolder {
 public:
  explicit SweepFolder(std::filesystem::path root) : root_(std::move(root)) {}

  /// Gives every cell the name of the folder where it lies or shall lie. One whose name is taken by
  /// a run with other options gets another, and a line in the log says so.
  void place(std::vector<SweepCell>& cells) const;

  std::filesystem::path run(const SweepCell& cell) const { return root_ / cell.name; }
  std::filesystem::path evaluation(const SweepCell& cell, const SweepEvaluation& how) const {
    return run(cell) / how.file;
  }
  std::filesystem::path log(const SweepCell& cell) const { return own(cell, ".log"); }
  /// "table.txt" and the like.
  std::filesystem::path table(const std::string& ending) const {
    return root_ / ("table" + ending);
  }

  bool condensed(const SweepCell& cell) const;
  std::size_t evaluations_left(const SweepCell& cell) const;
  bool finished(const SweepCell& cell) const {
    return condensed(cell) && evaluations_left(cell) == 0;
  }
  bool begun(const SweepCell& cell) const;
  /// Nothing when the cell is finished.
  std::optional<SweepStep> next_step(const SweepCell& cell) const;

  /// Nothing while another process has the cell. @throws StorageError
  std::optional<FileLock> try_lock(const SweepCell& cell) const;
  /// Writes the record, of a cell that is locked.
  /// @throws ConfigError if another sweep has taken the name for other options meanwhile
  void record(const SweepCell& cell) const;

  /// Of all cells what is there: one judgement per finished evaluation. What cannot be read, and
  /// what is about another set than the one beside it, is left out with a warning.
  std::vector<sweep::Judgement> judgements(const std::vector<SweepCell>& cells) const;

 private:
  /// Group of a cell and file name of an evaluation -> group of the judgement.
  using Groups = std::map<std::pair<std::size_t, std::string>, std::size_t>;
  void add_judgements(std::vector<sweep::Judgement>& found, const SweepCell& cell,
                      const Groups& groups, const std::vector<std::string>& keys) const;
  std::filesystem::path own(const SweepCell& cell, const std::string& ending) const;

  std::filesystem::path root_;
};

}  // namespace retort::commands
