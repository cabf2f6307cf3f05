#pragma once
// What became of a notebook's cells when its program ran.

#include <optional>
#include <string>
#include <vector>

#include "notebooks_cpp/weaver/notebook.h"
#include "notebooks_cpp/weaver/records.h"

namespace retort::weaver {

struct Failure {
  std::size_t cell = 0;  ///< the one at work
  std::string type;      ///< of the exception; empty: there was none
  std::string message;
};

struct Outcome {
  struct CellOutcome {
    bool reached = false;
    std::vector<Record> outputs;  ///< text and pictures, in order
  };
  std::vector<CellOutcome> cells;  ///< one per cell of the notebook
  std::optional<Failure> failure;  ///< none: it ran to its end
};

/// @param ended how its program ended, "0" for well: what explains records that stop in the middle
/// @throws DataError for records of another notebook
Outcome outcome_of(const Notebook& notebook, const Recording& recording, const std::string& ended);

/// "01_first_steps.cpp:40: cell 4 of 9 failed: ..."
std::string failure_text(const Notebook& notebook, const Failure& failure);

}  // namespace retort::weaver
