// Makes a program of a notebook, and pages of the notebook and what its program left.

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "notebooks_cpp/weaver/ipynb.h"
#include "notebooks_cpp/weaver/notebook.h"
#include "notebooks_cpp/weaver/outcome.h"
#include "notebooks_cpp/weaver/page.h"
#include "notebooks_cpp/weaver/program.h"

namespace {

using namespace retort;
namespace fs = std::filesystem;

constexpr char kUsage[] =
    "usage: retort_weave program NOTEBOOK.cpp OUT.cpp\n"
    "       retort_weave pages NOTEBOOK.cpp RECORDS ENDED OUT\n"
    "ENDED is how the program ended, 0 for well; pages are OUT.html and OUT.ipynb";

weaver::Notebook read_notebook(const fs::path& path) {
  return weaver::parse_notebook(read_text(path), path.filename().string());
}

int write_program(const fs::path& notebook, const fs::path& out) {
  write_text(out, weaver::woven_program(read_notebook(notebook), notebook.string(), out.string()));
  return 0;
}

/// A program that was stopped before its first word has left no file.
std::string records_at(const fs::path& path) { return fs::exists(path) ? read_text(path) : ""; }

int write_pages(const fs::path& path, const fs::path& records, const std::string& ended,
                const std::string& out) {
  const weaver::Notebook notebook = read_notebook(path);
  const auto outcome =
      weaver::outcome_of(notebook, weaver::read_records(records_at(records)), ended);
  write_text(out + ".html", weaver::html_page(notebook, outcome));
  write_text(out + ".ipynb", weaver::ipynb(notebook, outcome));
  if (!outcome.failure) return 0;
  std::fprintf(stderr, "%s\nthe page so far: %s.html\n",
               weaver::failure_text(notebook, *outcome.failure).c_str(), out.c_str());
  return 1;
}

int run(const std::vector<std::string>& words) {
  if (words.size() == 3 && words[0] == "program") return write_program(words[1], words[2]);
  if (words.size() == 5 && words[0] == "pages") {
    return write_pages(words[1], words[2], words[3], words[4]);
  }
  throw ConfigError(
      str("expected a command and its files, found ", words.size(), " words\n", kUsage));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const ConfigError& e) {
    std::fprintf(stderr, "retort_weave: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "retort_weave: %s\n", e.what());
    return 1;
  }
}
