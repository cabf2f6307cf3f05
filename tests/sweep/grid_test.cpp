#include "lib/sweep/grid.h"

#include <algorithm>

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::sweep;

namespace {

bool always(const Options&, const std::string&) { return true; }

std::vector<std::string> texts(const std::string& file) {
  std::vector<std::string> result;
  for (const auto& cell : expand(parse_sweep(file, "s"), always)) {
    result.push_back(options_text(cell.condense));
  }
  return result;
}

}  // namespace

TEST_CASE("a grid holds every combination, the last key changing fastest", "[sweep]") {
  CHECK(texts("[condense]\nmethod = a, b\nipc = 1,10 # few\nlr = 2\n") ==
        std::vector<std::string>{"a, ipc 1, lr 2", "a, ipc 10, lr 2", "b, ipc 1, lr 2",
                                 "b, ipc 10, lr 2"});
  const SweepFile file = parse_sweep("out = runs/x\n[condense]\nmethod = a\n", "s");
  CHECK(file.out == "runs/x");
  CHECK_FALSE(file.has(Stage::Evaluate));
  CHECK(expand(file, always).front().evaluations.empty());
}

TEST_CASE("sets are judged in every combination of the evaluation's options", "[sweep]") {
  const auto cells = expand(parse_sweep("[condense]\nmethod = a, b\n[evaluate]\nprotocol = p, q\n"
                                        "[evaluate if method = b]\nruns = 1\n",
                                        "s"),
                            always);
  REQUIRE(cells.size() == 2);
  CHECK(cells[0].evaluations == std::vector<Options>{{{"protocol", "p"}}, {{"protocol", "q"}}});
  CHECK(cells[1].evaluations == std::vector<Options>{{{"protocol", "p"}, {"runs", "1"}},
                                                     {{"protocol", "q"}, {"runs", "1"}}});
}

TEST_CASE("commas belong to the value in quotes, and in options that take lists", "[sweep]") {
  SweepFile file = parse_sweep(
      "[condense]\nmethod = a\n[evaluate]\nnets = N, \"N,M\" # two\nbaselines = r, k\n"
      "note = \"a # b\"\nempty =\n",
      "s");
  keep_lists_together(file, [](Stage stage, const std::string& key) {
    return stage == Stage::Evaluate && (key == "nets" || key == "baselines");
  });
  const auto& settings = file.sections.back().settings;
  REQUIRE(settings.size() == 4);
  CHECK(settings[0].values == std::vector<std::string>{"N", "N,M"});
  CHECK(settings[1].values == std::vector<std::string>{"r,k"});
  CHECK(settings[2].values == std::vector<std::string>{"a # b"});
  CHECK(settings[3].values == std::vector<std::string>{""});
  CHECK(settings[3].line == 7);
}

TEST_CASE("a section for some cells takes the place of what they had", "[sweep]") {
  CHECK(texts("[condense if method = b and ipc = 1, 2]\nlr = 5, 6\n"
              "[condense]\nmethod = a, b\nipc = 1, 3\nlr = 0\n") ==
        std::vector<std::string>{"a, ipc 1, lr 0", "a, ipc 3, lr 0", "b, ipc 1, lr 5",
                                 "b, ipc 1, lr 6", "b, ipc 3, lr 0"});
  CHECK(texts("[condense]\nmethod = a, b\nseed = 0, 1\n[condense if method = b]\nseed = 7\n") ==
        std::vector<std::string>{"a, seed 0", "a, seed 1", "b, seed 7"});
  CHECK_THROWS_WITH_TEXT(texts("[condense]\nmethod = a\n\n[condense if method = c]\nx = 1\n"),
                         ConfigError, "s:4: there is no cell that this section is for");
}

TEST_CASE("what means nothing to a method makes no cells of it", "[sweep]") {
  const auto cells =
      expand(parse_sweep("[condense]\nmethod = random, dm\niterations = 10, 20\n", "s"),
             [](const Options& options, const std::string& key) {
               return key != "iterations" || value_of(options, "method") == "dm";
             });
  REQUIRE(cells.size() == 3);
  CHECK(cells[0].condense == Options{{"method", "random"}});
  CHECK(cell_names(cells) ==
        std::vector<std::string>{"random", "dm-iterations10", "dm-iterations20"});
  const std::vector<Options> all{{{"a", "1"}, {"b", "1"}}, {{"a", "2"}}, {{"b", "2"}}};
  CHECK(varying_keys(all, {"x", "x", "x"}) == std::vector<std::string>{"a", "b"});
  CHECK(varying_keys(all, {"x", "y", "z"}).empty());
  CHECK(varying_keys(all, {"x", "y", "x"}) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("names say what a cell is, and are different", "[sweep]") {
  const auto cells =
      expand(parse_sweep("[condense]\niterations = 5\nmethod = dm\nseed = 0, 1\npreset = dm/c10\n"
                         "dataset = fashion-mnist\nipc = 1\ndata = /a/b, /a_b, /a-b\n",
                         "s"),
             always);
  const auto names = cell_names(cells);
  REQUIRE(names.size() == 6);
  CHECK(names[0] == "dm-c10-dm-fashion-mnist-ipc1-seed0-dataa-b");
  CHECK(names[1] == "dm-c10-dm-fashion-mnist-ipc1-seed0-dataa_b");
  CHECK(names[2] == "dm-c10-dm-fashion-mnist-ipc1-seed0-dataa-b-2");
}

TEST_CASE("errors in a sweep name the line", "[sweep]") {
  const auto check = [](const std::string& text, const std::string& message) {
    CHECK_THROWS_WITH_TEXT(parse_sweep(text, "s"), ConfigError, message);
  };
  check("[evaluate]\n", "s: there is no section [condense]");
  check("[condense]\n[evaluate if method = dm]\nruns = 1\n",
        "s:2: [evaluate if ...] changes how some of the sets are judged; that sets are judged says "
        "a section [evaluate], which may be empty");
  check("\n[condens]\n", "s:2: unknown section 'condens'; did you mean 'condense'?");
  check("[condense\n", "s:1: expected '[condense]'");
  check("[condense for x = 1]\n", "only 'if key = value' may follow");
  check("[condense if x]\n", "s:1: expected 'key = value'");
  check("outt = x\n", "s:1: before the first section only 'out' may stand");
  check("out = x\nout = y\n", "s:2: 'out' is already set");
  check("[condense]\nx = 1\nx = 2\n", "s:3: 'x' is already set in line 2");
  check("[condense]\nx = 1\n[condense]\n", "s:3: [condense] already begins in line 1");
  check("[condense]\nx = 1,,2\n", "s:2: 'x': a value is missing between commas");
  check("[condense]\nx = 1, 1\n", "s:2: 'x': each value may stand once");
  check("[condense]\nx = \"1\n", "s:2: the closing quote is missing");
  check("[condense]\nx = \"1\" 2\n", "s:2: quotes stand around a whole value");
  check("[condense]\nx\n", "s:2: expected 'key = value', found 'x'");
}

TEST_CASE("a grid of too many cells is refused", "[sweep]") {
  std::string numbers = "0";
  for (int i = 1; i < 400; ++i) numbers += "," + std::to_string(i);
  CHECK_THROWS_WITH_TEXT(texts("[condense]\na = " + numbers + "\nb = " + numbers + "\n"),
                         ConfigError, "more than 100000 cells");
}
