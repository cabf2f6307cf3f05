#include "notebooks_cpp/weaver/notebook.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/config/text.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "notebooks_cpp/weaver/lines.h"
#include "notebooks_cpp/weaver/scanner.h"

namespace retort::weaver {
namespace {

using config::trimmed;

constexpr std::string_view kMarker = "// %%";
// What jupytext writes on top: a line that names the encoding, a header between fences.
constexpr std::string_view kEncoding = "// -*- coding:";
constexpr std::string_view kFence = "// ---";

[[noreturn]] void refuse(const std::string& source, int line, const std::string& what) {
  throw DataError(str(source, ":", line, ": ", what));
}

/// Whether someone meant to begin a cell, rightly written or not.
bool looks_like_marker(const std::string& line) {
  const std::string text = trimmed(line);
  return text.starts_with("//") && trimmed(text.substr(2)).starts_with("%%");
}

/// The first line of a cell: its kind in brackets, and whatever stands before them.
Cell begun_cell(const std::string& line, const std::string& source, int number) {
  const std::string rest = line.substr(std::min(kMarker.size(), line.size()));
  if (!line.starts_with(kMarker) || (!rest.empty() && rest.front() != ' ')) {
    refuse(source, number,
           str("a cell begins with '", kMarker, "' and a blank, found '", line, "'"));
  }
  Cell cell;
  cell.title = trimmed(rest);
  const std::size_t open = cell.title.find('[');
  if (open == std::string::npos) return cell;
  const std::string kind = cell.title.substr(open);
  if (kind == "[markdown]") {
    cell.kind = CellKind::Markdown;
  } else if (kind == "[globals]") {
    cell.kind = CellKind::Globals;
  } else {
    refuse(source, number, str("a cell is plain, [markdown] or [globals], found '", kind, "'"));
  }
  cell.title = trimmed(cell.title.substr(0, open));
  return cell;
}

std::string without_comment(const std::string& line, const std::string& source, int number) {
  if (!line.starts_with("//")) {
    refuse(source, number,
           str("every line of a markdown cell begins with '//', found '", line, "'"));
  }
  return line.substr(line.starts_with("// ") ? 3 : 2);
}

/// Lines of the notebook with their numbers.
class Parser {
 public:
  Parser(const std::string& text, std::string source)
      : lines_(lines_of(text)), source_(std::move(source)) {}

  Notebook notebook() {
    skip_header();
    Notebook notebook{.source = source_, .cells = {}};
    while (at_ < lines_.size()) {
      if (!trimmed(lines_[at_]).empty()) {
        notebook.cells.push_back(next_cell());
      } else {
        ++at_;
      }
    }
    if (notebook.cells.empty()) {
      throw DataError(
          str(source_, ": a notebook has cells, each begun by '", kMarker, "', found none"));
    }
    return notebook;
  }

 private:
  int number() const { return int(at_) + 1; }

  void skip_header() {
    if (!lines_.empty() && lines_[0].starts_with(kEncoding)) ++at_;
    if (at_ >= lines_.size() || lines_[at_] != kFence) return;
    const int begun = number();
    for (++at_; at_ < lines_.size() && lines_[at_] != kFence;) ++at_;
    if (at_ == lines_.size()) refuse(source_, begun, "jupytext's header is never closed");
    ++at_;
  }

  Cell next_cell() {
    if (!looks_like_marker(lines_[at_])) {
      refuse(source_, number(),
             str("nothing stands before the first '", kMarker, "', found '", lines_[at_], "'"));
    }
    Cell cell = begun_cell(lines_[at_], source_, number());
    const int begun = number();
    std::vector<std::string> text;
    for (++at_; at_ < lines_.size() && !looks_like_marker(lines_[at_]); ++at_) {
      if (text.empty() && trimmed(lines_[at_]).empty()) continue;
      if (text.empty()) cell.line = number();
      text.push_back(lines_[at_]);
    }
    while (!text.empty() && trimmed(text.back()).empty()) text.pop_back();
    if (text.empty()) refuse(source_, begun, "a cell has text, found none");
    finish(cell, text);
    return cell;
  }

  void finish(Cell& cell, std::vector<std::string>& text) const {
    if (cell.kind == CellKind::Markdown) {
      for (std::size_t i = 0; i < text.size(); ++i) {
        text[i] = without_comment(text[i], source_, cell.line + int(i));
      }
    }
    cell.text = join(text, "\n");
    if (cell.kind == CellKind::Markdown) return;
    if (const auto found = find_imbalance(cell.text)) {
      refuse(source_, cell.line + found->line - 1,
             str("a cell closes what it opens and nothing else, found: ", found->what));
    }
  }

  std::vector<std::string> lines_;
  std::string source_;
  std::size_t at_ = 0;
};

}  // namespace

std::string Notebook::heading() const {
  for (const Cell& cell : cells) {
    if (cell.kind != CellKind::Markdown) continue;
    for (const std::string& line : lines_of(cell.text)) {
      if (line.starts_with("# ")) return trimmed(line.substr(2));
    }
  }
  return source;
}

Notebook parse_notebook(const std::string& text, const std::string& source) {
  return Parser(text, source).notebook();
}

}  // namespace retort::weaver
