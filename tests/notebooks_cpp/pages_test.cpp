#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/core/str.h"
#include "notebooks_cpp/weaver/ipynb.h"
#include "notebooks_cpp/weaver/page.h"
#include "tests/report/markup.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::weaver;
using Catch::Matchers::Contains;
using nlohmann::json;
using testing::Element;

namespace {

/// What nbformat 4.5 asks of a notebook and ours could break (its nbformat.v4.5.schema.json).
void check_nbformat(const json& notebook) {
  CHECK(notebook.at("nbformat") == 4);
  CHECK(notebook.at("nbformat_minor") == 5);
  CHECK(notebook.at("metadata").at("language_info").at("name").is_string());
  std::set<std::string> ids;
  for (const json& cell : notebook.at("cells")) {
    const std::string id = cell.at("id");
    CHECK(std::regex_match(id, std::regex("[a-zA-Z0-9_-]{1,64}")));
    CHECK(ids.insert(id).second);
    CHECK(cell.at("metadata").is_object());
    CHECK(cell.at("source").is_array());
    if (cell.at("cell_type") == "markdown") {
      CHECK(cell.size() == 4);
      continue;
    }
    CHECK(cell.at("cell_type") == "code");
    CHECK(cell.size() == 6);
    CHECK((cell.at("execution_count").is_null() || cell.at("execution_count") >= 1));
    for (const json& output : cell.at("outputs")) {
      const std::string type = output.at("output_type");
      if (type == "stream") {
        CHECK(output.at("name") == "stdout");
        CHECK(output.at("text").is_array());
      } else if (type == "display_data") {
        CHECK(output.at("data").is_object());
        CHECK(output.at("metadata").is_object());
      } else {
        CHECK(type == "error");
        CHECK(output.at("ename").is_string());
        CHECK(output.at("evalue").is_string());
        CHECK(output.at("traceback").is_array());
      }
    }
  }
}

Notebook one_cell() { return parse_notebook("// %%\nf(1 < 2, \"<b>\"); // n", "n.cpp"); }

Outcome with_outputs(const Notebook& notebook, std::vector<Record> outputs) {
  outputs.insert(outputs.begin(), {.kind = RecordKind::Cell, .body = "0"});
  outputs.push_back({.kind = RecordKind::End});
  return outcome_of(notebook, {outputs, ""}, "0");
}

/// Runs tests/notebooks_cpp/mishaps.cpp as ctest runs a notebook.
struct Woven {
  testing::TemporaryFolder folder{"retort-notebook-test"};
  testing::ProcessResult result;
  std::string html;
  json ipynb;

  explicit Woven(const std::string& mishap) {
    const std::string out = (folder.path() / "deeper" / "m").string();
    testing::Process process(
        {RETORT_CMAKE, str("-DPROGRAM=", RETORT_MISHAPS), str("-DWEAVER=", RETORT_WEAVE),
         str("-DNOTEBOOK=", RETORT_MISHAPS_SOURCE), str("-DOUT=", out), "-P", RETORT_RUN_NOTEBOOK},
        folder.path(), {"RETORT_TEST_MISHAP=" + mishap, "RETORT_NOTEBOOK_FAST=1"});
    result = process.wait();
    html = read_text(out + ".html");
    ipynb = json::parse(read_text(out + ".ipynb"));
    // Neither records nor the notebook's folder are left.
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "deeper")) {
      files += entry.exists() ? 1 : 0;
    }
    CHECK(files == 2);
  }
};

}  // namespace

TEST_CASE("code and outputs are escaped on a page, markup of the notebook is not", "[notebooks]") {
  const Notebook notebook = one_cell();
  const std::string page =
      html_page(notebook, with_outputs(notebook, {{.kind = RecordKind::Text, .body = "a < b"},
                                                  {.kind = RecordKind::Html, .body = "<i>own</i>"},
                                                  {RecordKind::Svg, "\"words\"", "<svg/>"},
                                                  {RecordKind::Png, "pixels", "foo"}}));
  const Element document = testing::read_markup(page);
  CHECK(document.all("code").front()->text == "f(1 < 2, \"<b>\"); // n");
  CHECK(document.all("span").front()->text == "\"<b>\"");
  CHECK(document.all("span").back()->text == "// n");
  CHECK(document.all("pre").back()->text == "a < b");
  CHECK(document.all("i").front()->text == "own");
  const auto images = document.all("img");
  REQUIRE(images.size() == 2);
  CHECK(images[0]->attribute("alt") == "\"words\"");
  CHECK(images[0]->attribute("src") == "data:image/svg+xml;base64,PHN2Zy8+");
  CHECK(images[1]->attribute("src") == "data:image/png;base64,Zm9v");
}

TEST_CASE("a page needs no other file, no network and no script", "[notebooks]") {
  const Notebook notebook = one_cell();
  const Element document = testing::read_markup(html_page(notebook, with_outputs(notebook, {})));
  CHECK(document.all("script").empty());
  CHECK(document.all("link").empty());
  std::string policy;
  for (const Element* meta : document.all("meta")) {
    if (meta->attribute("http-equiv") == "Content-Security-Policy") {
      policy = meta->attribute("content");
    }
  }
  CHECK(policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'");
}

TEST_CASE("a Jupyter notebook has the structure of nbformat 4.5", "[notebooks]") {
  const Notebook notebook = parse_notebook(
      "// %% [markdown]\n// # T\n// b\n// %% [globals]\nint g;\n// %% name\nf();\ng();\n// "
      "%%\nh();",
      "n.cpp");
  const Outcome outcome = outcome_of(notebook,
                                     {{{.kind = RecordKind::Cell, .body = "2"},
                                       {.kind = RecordKind::Text, .body = "a\nb"},
                                       {RecordKind::Png, "words", "foo"},
                                       {RecordKind::Svg, "words", "<svg>\n</svg>"},
                                       {.kind = RecordKind::Html, .body = "<i>x</i>"},
                                       {.kind = RecordKind::Text, .body = "no text: \xFF"},
                                       {RecordKind::Error, "DataError", "broken"}},
                                      ""},
                                     "1");
  const json written = json::parse(ipynb(notebook, outcome));
  check_nbformat(written);
  const json& cells = written.at("cells");
  REQUIRE(cells.size() == 4);
  CHECK(cells[0].at("source") == json({"# T\n", "b"}));
  CHECK(cells[1].at("metadata").at("title") == "[globals]");
  CHECK(cells[1].at("execution_count").is_null());
  CHECK(cells[2].at("metadata").at("title") == "name");
  CHECK(cells[2].at("source") == json({"f();\n", "g();"}));
  CHECK(cells[2].at("execution_count") == 1);
  CHECK(cells[3].at("execution_count").is_null());
  const json& outputs = cells[2].at("outputs");
  REQUIRE(outputs.size() == 6);
  CHECK(outputs[0].at("text") == json({"a\n", "b\n"}));
  CHECK(outputs[1].at("data").at("image/png") == "Zm9v");
  CHECK(outputs[1].at("data").at("text/plain") == json::array({"words"}));
  CHECK(outputs[2].at("data").at("image/svg+xml") == json({"<svg>\n", "</svg>"}));
  CHECK(outputs[3].at("data").at("text/html") == json::array({"<i>x</i>"}));
  CHECK(outputs[4].at("text") == json::array({"no text: \xEF\xBF\xBD\n"}));
  CHECK(outputs[5].at("ename") == "DataError");
}

TEST_CASE("a notebook that runs to its end leaves pages and exit code 0", "[notebooks]") {
  const Woven woven("");
  INFO(woven.result.err);
  CHECK(woven.result.exit_code == 0);
  check_nbformat(woven.ipynb);
  const Element document = testing::read_markup(woven.html);
  CHECK(document.all("h1").front()->text == "A notebook that comes to grief");
  CHECK(document.all("img").size() == 2);
  CHECK(document.all("td").front()->text == "a < b");
  CHECK_THAT(document.text, Contains("so far 2") && Contains("in a hurry") && Contains("the end"));
  CHECK_THAT(document.all("main").front()->text, !Contains("failed"));
}

TEST_CASE("the page of a notebook that failed names the cell, and so does whoever ran it",
          "[notebooks]") {
  struct Mishap {
    std::string name;
    std::string message;
  };
  const auto mishap = GENERATE(Mishap{"throw", "it is <broken>"},
                               Mishap{"throw a number", "an exception of no standard type"},
                               Mishap{"abort", "its program ended in the middle of it"},
                               Mishap{"torch", "shape '[3]' is invalid"});
  INFO(mishap.name);
  const Woven woven(mishap.name);
  CHECK(woven.result.exit_code != 0);
  CHECK_THAT(woven.result.err, Contains("mishaps.cpp:27: cell 4 of 5 failed: " + mishap.message));
  CHECK_THAT(woven.result.err, Contains("the notebook failed"));
  const Element document = testing::read_markup(woven.html);
  const auto paragraphs = document.all("p");
  const auto failed = std::count_if(paragraphs.begin(), paragraphs.end(), [&](const Element* p) {
    return p->attribute("class") == "failed" &&
           p->text.find("Cell 4 failed (mishaps.cpp, line 27): ") != std::string::npos &&
           p->text.find(mishap.message) != std::string::npos;
  });
  CHECK(failed == 2);  // on top and in its place
  CHECK_THAT(document.text, Contains("so far 2") && Contains("This cell was not reached."));
  check_nbformat(woven.ipynb);
  CHECK(woven.ipynb.at("cells")[3].at("outputs")[0].at("output_type") == "error");
}

TEST_CASE("the weaver refuses what it cannot read with a message and an exit code", "[notebooks]") {
  const testing::TemporaryFolder folder("retort-weave-test");
  const auto weave = [&](const std::vector<std::string>& words) {
    std::vector<std::string> command = {RETORT_WEAVE};
    command.insert(command.end(), words.begin(), words.end());
    return testing::Process(command, folder.path()).wait();
  };
  write_text(folder.path() / "bad.cpp", "int a;\n");
  const auto bad = weave({"program", "bad.cpp", "out.cpp"});
  CHECK(bad.exit_code == 1);
  CHECK_THAT(bad.err, Contains("bad.cpp:1: nothing stands before the first '// %%'"));
  CHECK_FALSE(std::filesystem::exists(folder.path() / "out.cpp"));
  CHECK(weave({"program", "missing.cpp", "out.cpp"}).exit_code == 1);
  const auto none = weave({});
  CHECK(none.exit_code == 2);
  CHECK_THAT(none.err, Contains("usage: retort_weave program NOTEBOOK.cpp OUT.cpp"));
}
