#pragma once
// A notebook in the percent format: C++ cut into cells by comments, as jupytext reads it.

#include <string>
#include <vector>

namespace retort::weaver {

enum class CellKind {
  Markdown,  ///< `// %% [markdown]`, every line a comment
  Globals,   ///< `// %% [globals]`: at file scope
  Code       ///< `// %%`: inside of one function, after the code before it
};

struct Cell {
  CellKind kind = CellKind::Code;
  std::string title;  ///< what else stands on its first line; may be empty
  int line = 0;       ///< of its text's first line in the notebook, from 1
  std::string text;   ///< without blank lines at both ends; of markdown without comment signs
};

struct Notebook {
  std::string source;  ///< the file's name, for messages
  std::vector<Cell> cells;

  std::string heading() const;  ///< its first one of markdown; else the source
};

/// @param source the file's name
/// @throws DataError "source:line: rule, found": for an unknown kind of cell, one without text, one
///         that does not close its brackets, code in markdown, text before the first cell (but for
///         jupytext's header), and a notebook without cells
Notebook parse_notebook(const std::string& text, const std::string& source);

}  // namespace retort::weaver
