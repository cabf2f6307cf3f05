#pragma once
// From the sections of a sweep to its cells.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lib/sweep/sweep_file.h"

namespace retort::sweep {

/// Keys and values in the order in which the sweep first names the keys.
using Options = std::vector<std::pair<std::string, std::string>>;

/// "" where the key is not set.
std::string value_of(const Options& options, const std::string& key);
/// Without this key.
Options without(const Options& options, const std::string& key);
/// "dm, ipc 1": values for messages, but for the key of the method with their keys.
std::string options_text(const Options& options);

/// One run, and how its set is judged.
struct Cell {
  Options condense;
  std::vector<Options> evaluations;  ///< empty: the set is not judged
};

/// Whether an option means anything to the run of a cell: methods have different ones.
using Applies = std::function<bool(const Options& condense, const std::string& key)>;

/// All combinations of the values; those of the last key change fastest. What does not apply is
/// left out, and runs that then are the same count once. Sections for some cells put their values
/// in the place of those that stood there, in the order of the file.
/// @throws ConfigError with the line of a section that no cell fits, and for more than 100,000
/// cells
std::vector<Cell> expand(const SweepFile& file, const Applies& applies);

/// Keys whose values differ, a missing one from all others, between options of one class; in order.
/// What only follows from the class is no difference.
/// @param classes of each of `all`: their methods
std::vector<std::string> varying_keys(const std::vector<Options>& all,
                                      const std::vector<std::string>& classes);

/// Names for folders: "dm-fashion-mnist-ipc10-seed0", and what else differs between the cells
/// behind it. No two are the same.
std::vector<std::string> cell_names(const std::vector<Cell>& cells);

/// `text` as part of a file name: other characters than letters, digits, '.', '_' and '-' become
/// single hyphens.
std::string name_part(const std::string& text);

}  // namespace retort::sweep
