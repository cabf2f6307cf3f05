#include "notebooks_cpp/weaver/notebook.h"

#include <algorithm>

#include "lib/core/error.h"
#include "notebooks_cpp/weaver/program.h"
#include "notebooks_cpp/weaver/scanner.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::weaver;
using Catch::Matchers::Contains;

namespace {

Notebook parsed(const std::string& text) { return parse_notebook(text, "n.cpp"); }

/// What `text` is refused for.
std::string refusal(const std::string& text) {
  try {
    parsed(text);
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a notebook is cut at its markers, and cells know their lines", "[notebooks]") {
  const Notebook notebook = parsed(
      "// %% [markdown]\n// # A title\n//\n// words\n\n"
      "// %% [globals]\n\n#include <x>\n"
      "// %% load it\nint a = 1;\n\n  int b;\n\n\n"
      "// %%\nf(a);");
  REQUIRE(notebook.cells.size() == 4);
  CHECK(notebook.heading() == "A title");
  CHECK(notebook.cells[0].kind == CellKind::Markdown);
  CHECK(notebook.cells[0].text == "# A title\n\nwords");
  CHECK(notebook.cells[0].line == 2);
  CHECK(notebook.cells[1].kind == CellKind::Globals);
  CHECK(notebook.cells[1].text == "#include <x>");
  CHECK(notebook.cells[1].line == 8);
  CHECK(notebook.cells[2].kind == CellKind::Code);
  CHECK(notebook.cells[2].title == "load it");
  CHECK(notebook.cells[2].text == "int a = 1;\n\n  int b;");
  CHECK(notebook.cells[2].line == 10);
  CHECK(notebook.cells[3].text == "f(a);");
  CHECK(notebook.cells[3].line == 16);
}

TEST_CASE("a notebook written by jupytext or on Windows is read as well", "[notebooks]") {
  CHECK(parsed("// ---\n// jupyter:\n//   x: 1\n// ---\n\n// %%\nf();\n").cells[0].line == 7);
  CHECK(parsed("// -*- coding: utf-8 -*-\n// ---\n// a\n// ---\n// %%\nf();").cells[0].line == 6);
  CHECK(parsed("// -*- coding: utf-8 -*-\n// %%\nf();").cells[0].line == 3);
  const Notebook windows = parsed("// %% [markdown]\r\n// a\r\n\r\n// %%\r\nf();\r\n");
  REQUIRE(windows.cells.size() == 2);
  CHECK(windows.cells[0].text == "a");
  CHECK(windows.cells[1].text == "f();");
  CHECK(windows.heading() == "n.cpp");
}

TEST_CASE("what is no notebook is refused by file, line, rule and what was found", "[notebooks]") {
  CHECK(refusal("") == "n.cpp: a notebook has cells, each begun by '// %%', found none");
  CHECK(refusal("\n\n") == refusal(""));
  CHECK(refusal("int a;\n// %%\nf();") ==
        "n.cpp:1: nothing stands before the first '// %%', found 'int a;'");
  CHECK(refusal("// %%\nf();\n// %% [globls]\n") ==
        "n.cpp:3: a cell is plain, [markdown] or [globals], found '[globls]'");
  CHECK(refusal("// %% [markdown] more\n// a") ==
        "n.cpp:1: a cell is plain, [markdown] or [globals], found '[markdown] more'");
  CHECK(refusal("// %%\n\n// %%\nf();") == "n.cpp:1: a cell has text, found none");
  CHECK(refusal("// %% [markdown]\n// a\nint b;") ==
        "n.cpp:3: every line of a markdown cell begins with '//', found 'int b;'");
  CHECK(refusal("// ---\n// a\n// %%\nf();") == "n.cpp:1: jupytext's header is never closed");
  for (const char* marker : {"//%%", "  // %%", "// %%load", "//  %%"}) {
    INFO(marker);
    const std::string text = std::string("// %%\nf();\n") + marker + "\ng();";
    CHECK(refusal(text) ==
          std::string("n.cpp:3: a cell begins with '// %%' and a blank, found '") + marker + "'");
  }
}

TEST_CASE("a cell that does not close what it opens is refused where it opens it", "[notebooks]") {
  const auto found = [](const std::string& code) { return refusal("// %%\n" + code); };
  const std::string rule = "a cell closes what it opens and nothing else, found: ";
  CHECK(found("f();\nif (a) {\n  g();") == "n.cpp:3: " + rule + "'{' is never closed");
  CHECK(found("}\nf();") == "n.cpp:2: " + rule + "'}' closes nothing");
  CHECK(found("f(a[1);") == "n.cpp:2: " + rule + "')' meets '[' of line 1");
  CHECK(found("f();\n/* here\n\n") == "n.cpp:3: " + rule + "a comment is never closed");
  CHECK(found("f(\"a);\n") == "n.cpp:2: " + rule + "a literal is never closed");
  CHECK(found("f(R\"x(a)\");\n") == "n.cpp:2: " + rule + "a literal is never closed");
}

TEST_CASE("brackets in comments and literals do not count", "[notebooks]") {
  for (const char* code : {
           "f(); // {\n",
           "f(/* ( */);",
           "f(\"{\\\"(\");",
           "f('{', '\\'', '\"');",
           "f(R\"({\"[)\");",
           "f(u8R\"ab({)\" )ab\");",
           "f(1'000'000, 0x1'F);",
           "f(u'a', L'(');",
           "f(\"// \"); g();",
           "f('/'); g(); // \" '",
       }) {
    INFO(code);
    CHECK_FALSE(find_imbalance(code));
  }
  // Not a raw string: its name only ends like one.
  CHECK_FALSE(find_imbalance("f(FOR\"a\\\"(\");"));
}

TEST_CASE("pieces of code are all of it, in order", "[notebooks]") {
  const std::string code = "a = \"s\"; // n\nb('c');/* d */";
  std::string joined;
  std::string kinds;
  for (const Piece& piece : pieces_of(code)) {
    joined += piece.text;
    kinds += piece.kind == PieceKind::Code ? 'p' : piece.kind == PieceKind::Comment ? 'n' : 's';
  }
  CHECK(joined == code);
  CHECK(kinds == "pspnpspn");
}

TEST_CASE("the program names lines of the notebook in cells, and its own around them",
          "[notebooks]") {
  const Notebook notebook = parsed(
      "// %%\nf();\n// %% [globals]\nint g;\n// %% [markdown]\n// a\n"
      "// %%\nh();\ni();");
  const std::string program = woven_program(notebook, "/a \"b\"/n.cpp", "/out/p.cpp");
  const std::size_t globals = program.find("#line 4 \"/a \\\"b\\\"/n.cpp\"\nint g;\n");
  const std::size_t first =
      program.find("retort::nb::enter(0);\n#line 2 \"/a \\\"b\\\"/n.cpp\"\nf();\n");
  const std::size_t second =
      program.find("retort::nb::enter(3);\n#line 8 \"/a \\\"b\\\"/n.cpp\"\nh();\ni();\n");
  REQUIRE(second != std::string::npos);
  CHECK(globals < first);
  CHECK(first < second);
  // A line that says where it is itself.
  const std::string own = "\"/out/p.cpp\"\n";
  const std::size_t back = program.rfind(own);
  REQUIRE(back != std::string::npos);
  const std::size_t begin = program.rfind('\n', back) + 1;
  const int said = std::stoi(program.substr(begin + 6));
  CHECK(said == std::count(program.begin(), program.begin() + std::ptrdiff_t(back), '\n') + 2);
}
