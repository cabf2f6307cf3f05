#include "notebooks_cpp/weaver/outcome.h"

#include <charconv>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::weaver {
namespace {

std::size_t first_code_cell(const Notebook& notebook) {
  for (std::size_t i = 0; i < notebook.cells.size(); ++i) {
    if (notebook.cells[i].kind == CellKind::Code) return i;
  }
  return 0;
}

std::size_t entered_cell(const Notebook& notebook, const std::string& body) {
  std::size_t cell = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), cell);
  const bool is_number = error == std::errc() && end == body.data() + body.size();
  if (is_number && cell < notebook.cells.size() && notebook.cells[cell].kind == CellKind::Code) {
    return cell;
  }
  throw DataError(str(notebook.source, ": its records are those of another notebook: expected the ",
                      "number of a code cell below ", notebook.cells.size(), ", found '", body,
                      "'"));
}

/// What there is to say of a program that left no last word.
std::string silent_end(const std::string& fault, const std::string& ended) {
  std::string text = str("its program ended in the middle of it (", ended, ")");
  return fault.empty() ? text : str(text, "; ", fault);
}

}  // namespace

Outcome outcome_of(const Notebook& notebook, const Recording& recording, const std::string& ended) {
  Outcome outcome;
  outcome.cells.resize(notebook.cells.size());
  std::size_t at = first_code_cell(notebook);
  bool finished = false;
  for (const Record& record : recording.records) {
    switch (record.kind) {
      case RecordKind::Cell:
        at = entered_cell(notebook, record.body);
        outcome.cells[at].reached = true;
        break;
      case RecordKind::Error:
        outcome.failure = Failure{at, record.title, record.body};
        break;
      case RecordKind::End:
        finished = true;
        break;
      case RecordKind::Text:
      case RecordKind::Svg:
      case RecordKind::Png:
      case RecordKind::Html:
        outcome.cells[at].outputs.push_back(record);
        break;
    }
  }
  if (outcome.failure) return outcome;
  if (!finished || !recording.fault.empty()) {
    outcome.failure = Failure{at, "", silent_end(recording.fault, ended)};
  } else if (ended != "0") {
    outcome.failure =
        Failure{at, "", str("its program ended with ", ended, " after the last cell")};
  }
  return outcome;
}

std::string failure_text(const Notebook& notebook, const Failure& failure) {
  return str(notebook.source, ":", notebook.cells.at(failure.cell).line, ": cell ",
             failure.cell + 1, " of ", notebook.cells.size(), " failed: ", failure.message);
}

}  // namespace retort::weaver
