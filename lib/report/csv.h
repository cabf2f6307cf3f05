#pragma once
// The tables that a run leaves: metrics.csv and evaluations.csv.

#include <filesystem>
#include <string>
#include <vector>

namespace retort::report {

struct CsvTable {
  std::filesystem::path path;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< each as long as the header

  /// @throws StorageError naming the file if there is no such column
  std::size_t column(const std::string& name) const;
  /// @throws StorageError naming file and line for a cell that is no number; an empty one is NaN
  std::vector<double> numbers(std::size_t column) const;
};

/// Fields are plain: nothing is quoted. A last line that is cut short, as a kill leaves it, is left
/// away. @throws StorageError naming file and line for another one of the wrong length
CsvTable read_csv(const std::filesystem::path& path);

}  // namespace retort::report
