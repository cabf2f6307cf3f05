#include "notebooks_cpp/weaver/program.h"

#include <algorithm>

#include "lib/core/str.h"

namespace retort::weaver {
namespace {

std::string quoted(const std::string& path) {
  std::string out = "\"";
  for (const char c : path) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

class Weaver {
 public:
  Weaver(std::string path, std::string own_path)
      : path_(std::move(path)), own_path_(std::move(own_path)) {}

  void line(const std::string& text) { text_ += text + "\n"; }

  /// A cell as it stands, and then back to lines of the program's own.
  void cell(const Cell& cell) {
    line(str("#line ", cell.line, " ", quoted(path_)));
    line(cell.text);
    const auto here = std::count(text_.begin(), text_.end(), '\n') + 2;
    line(str("#line ", here, " ", quoted(own_path_)));
  }

  std::string text() && { return std::move(text_); }

 private:
  std::string path_;
  std::string own_path_;
  std::string text_;
};

}  // namespace

std::string woven_program(const Notebook& notebook, const std::string& path,
                          const std::string& own_path) {
  Weaver program(path, own_path);
  program.line(str("// Woven from ", notebook.source, ": change that, not this."));
  program.line("#include \"notebooks_cpp/nb.h\"\n");
  for (const Cell& cell : notebook.cells) {
    if (cell.kind == CellKind::Globals) program.cell(cell);
  }
  program.line("\nnamespace {\n\nvoid notebook_cells() {");
  for (std::size_t i = 0; i < notebook.cells.size(); ++i) {
    if (notebook.cells[i].kind != CellKind::Code) continue;
    program.line(str("retort::nb::enter(", i, ");"));
    program.cell(notebook.cells[i]);
  }
  program.line("}\n\n}  // namespace\n");
  program.line("int main(int argc, char** argv) {");
  program.line("  return retort::nb::run({argv + 1, argv + argc}, notebook_cells);\n}");
  return std::move(program).text();
}

}  // namespace retort::weaver
