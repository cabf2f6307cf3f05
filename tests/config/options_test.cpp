#include "lib/config/options.h"

#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "lib/config/differences.h"
#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::config;

namespace {

struct Options {
  std::int64_t steps = 20;
  double lr = 0.1;
  std::string kind = "single";
  std::string path;
  bool verbose = false;
  std::vector<std::string> nets{"ConvNet-3"};
  std::vector<std::int64_t> drops{3, 5};

  OptionTable table() {
    OptionTable table;
    table.add("steps", steps, "inner steps", in_range(std::int64_t(1), std::int64_t(1000)));
    table.add("lr-images", lr, "step size", positive()).aliases = {"lr-img"};
    table.add("kind", kind, "which grid", one_of({"single", "multi"}));
    table.add("path", path, "a file", any_text());
    table.add("verbose", verbose, "say more");
    table.add("nets", nets, "networks", any_text());
    table.add("drops", drops, "epochs", at_least(1));
    return table;
  }
};

}  // namespace

TEST_CASE("values arrive in the fields they are bound to", "[config]") {
  Options options;
  OptionTable table = options.table();
  table.set("steps", "7", Origin::Flag);
  table.set("lr-img", "1e-3", Origin::Preset);
  table.set("kind", "multi", Origin::File);
  table.set("nets", "ConvNet-3, ResNet-18", Origin::Flag);
  table.set("drops", "1,2", Origin::Flag);
  CHECK(options.steps == 7);
  CHECK(options.lr == 1e-3);
  CHECK(options.kind == "multi");
  CHECK(options.nets == std::vector<std::string>{"ConvNet-3", "ResNet-18"});
  CHECK(options.drops == std::vector<std::int64_t>{1, 2});
  CHECK(table.find("lr-images").origin == Origin::Preset);
  CHECK(table.find("path").origin == Origin::Default);
  CHECK(table.find("steps").default_text == "20");
  CHECK(table.find("steps").range == "1 .. 1000");
  table.set("nets", "", Origin::Flag);
  CHECK(options.nets.empty());
}

TEST_CASE("whole numbers refuse fractions, overflow and values out of range", "[config]") {
  Options options;
  OptionTable table = options.table();
  for (const char* text :
       {"1.5", "-1", "0", "1001", "", "ten", "0x10", "+3", "1e2", "9223372036854775808", "7 8"}) {
    INFO(text);
    CHECK_THROWS_WITH_TEXT(table.set("steps", text, Origin::Flag), ConfigError,
                           std::string("option 'steps': expected a whole number, 1 .. 1000, "
                                       "found '") +
                               text + "'");
  }
  CHECK(options.steps == 20);
  CHECK_THROWS_WITH_TEXT(table.set("drops", "3,0", Origin::Flag), ConfigError,
                         "option 'drops': expected a whole number, 1 or more, found '0'");
  CHECK_THROWS_WITH_TEXT(table.set("drops", "3,,4", Origin::Flag), ConfigError,
                         "without empty entries");
  CHECK(options.drops == std::vector<std::int64_t>{3, 5});
}

TEST_CASE("numbers refuse NaN, infinity, text and values out of range", "[config]") {
  Options options;
  OptionTable table = options.table();
  for (const char* text : {"nan", "NaN", "-nan", "inf", "-inf", "0", "-0.5", "1e999", "1,5", ""}) {
    INFO(text);
    CHECK_THROWS_WITH_TEXT(
        table.set("lr-images", text, Origin::Flag), ConfigError,
        std::string("option 'lr-images': expected a number, > 0, found '") + text + "'");
  }
  double fraction = 0;
  double decay = 1;
  table.add("fraction", fraction, "", in_range(0.0, 0.5));
  table.add("decay", decay, "", non_negative());
  table.set("fraction", "0.5", Origin::Flag);
  table.set("decay", "0", Origin::Flag);
  CHECK(fraction == 0.5);
  CHECK(decay == 0);
  CHECK_THROWS_WITH_TEXT(table.set("fraction", "0.51", Origin::Flag), ConfigError, "0 .. 0.5");
  CHECK_THROWS_WITH_TEXT(table.set("decay", "-1e-9", Origin::Flag), ConfigError, ">= 0");
}

TEST_CASE("bools take eight words and nothing else", "[config]") {
  Options options;
  OptionTable table = options.table();
  CHECK(table.find("verbose").is_flag);
  for (const char* text : {"true", "yes", "on", "1", "True"}) {
    options.verbose = false;
    table.set("verbose", text, Origin::Flag);
    CHECK(options.verbose);
  }
  for (const char* text : {"false", "no", "off", "0"}) {
    options.verbose = true;
    table.set("verbose", text, Origin::Flag);
    CHECK_FALSE(options.verbose);
  }
  CHECK_THROWS_WITH_TEXT(table.set("verbose", "2", Origin::Flag), ConfigError,
                         "option 'verbose': expected true or false, found '2'");
}

TEST_CASE("a choice outside the list is refused with the list", "[config]") {
  Options options;
  OptionTable table = options.table();
  CHECK_THROWS_WITH_TEXT(table.set("kind", "mult", Origin::Flag), ConfigError,
                         "option 'kind': expected single | multi, found 'mult'");
}

TEST_CASE("an unknown option is answered with the nearest known one", "[config]") {
  Options options;
  OptionTable table = options.table();
  CHECK_THROWS_WITH_TEXT(table.set("lr-imgs", "1", Origin::Flag), ConfigError,
                         "unknown option 'lr-imgs'; did you mean 'lr-img'?");
  CHECK_THROWS_WITH_TEXT(table.set("zzzzzzzzzz", "1", Origin::Flag), ConfigError, "known: steps");
}

TEST_CASE("a flag that changes nothing is refused with what it belongs to", "[config]") {
  std::string networks = "fresh";
  std::int64_t period = 20;
  std::int64_t every = 0;
  std::string protocol = "quick";
  OptionTable table;
  table.add("networks", networks, "", one_of({"fresh", "trained", "pool"}));
  table.add("net-period", period, "", at_least(1)).only_with("networks", {"trained", "pool"});
  table.add("eval-every", every, "", at_least(0));
  table.add("eval-protocol", protocol, "", any_text()).not_with("eval-every", {"0"});

  table.set("net-period", "5", Origin::Preset);
  table.refuse_unused_flags();  // a preset's values may wait for the flag that uses them
  table.set("net-period", "5", Origin::Flag);
  CHECK_THROWS_WITH_TEXT(table.refuse_unused_flags(), ConfigError,
                         "option 'net-period' changes nothing while networks is fresh; it belongs "
                         "to networks trained or pool");
  table.set("networks", "pool", Origin::File);
  table.refuse_unused_flags();
  table.set("eval-protocol", "dsa", Origin::Flag);
  CHECK_THROWS_WITH_TEXT(table.refuse_unused_flags(), ConfigError,
                         "while eval-every is 0; set eval-every as well");
  table.set("eval-every", "10", Origin::Flag);
  table.refuse_unused_flags();

  std::string init = "random";
  std::string init_set = "base.h5";
  OptionTable starts;
  starts.add("init", init, "", any_text()).only_with("init-set", {""});
  starts.add("init-set", init_set, "", any_text());
  starts.set("init", "noise", Origin::Flag);
  CHECK_THROWS_WITH_TEXT(starts.refuse_unused_flags(), ConfigError,
                         "while init-set is base.h5; leave one of the two away");
}

TEST_CASE("tables join, and a name declared twice is a mistake", "[config]") {
  Options options;
  std::int64_t ipc = 1;
  OptionTable common;
  common.add("ipc", ipc, "images per class", at_least(1));
  common.append(options.table());
  common.set("ipc", "3", Origin::Flag);
  common.set("steps", "4", Origin::Flag);
  CHECK(ipc == 3);
  CHECK(options.steps == 4);
  CHECK(common.resolved().at("steps") == "4");
  CHECK_THROWS_WITH_TEXT(common.append(options.table()), Error, "'steps' is declared twice");
  CHECK_THROWS_WITH_TEXT(common.add("ipc", ipc, "", at_least(1)), Error, "'ipc' is declared twice");
}

TEST_CASE("a configuration file is read line by line", "[config]") {
  const auto entries = parse_config(
      "# Paper, table 2\n"
      "\n"
      "steps = 5   # few\n"
      "  path=/a#b/c \r\n"
      "nets =\n"
      "kind = \"a # \\\"b\\\"\\n\" # quoted\n",
      "x.cfg");
  REQUIRE(entries.size() == 4);
  CHECK(entries[0].key == "steps");
  CHECK(entries[0].value == "5");
  CHECK(entries[0].line == 3);
  CHECK(entries[1].value == "/a#b/c");
  CHECK(entries[2].value.empty());
  CHECK(entries[3].value == "a # \"b\"\n");
}

TEST_CASE("errors in a configuration file name the line", "[config]") {
  Options options;
  OptionTable table = options.table();
  CHECK_THROWS_WITH_TEXT(parse_config("a = 1\nb\n", "x.cfg"), ConfigError,
                         "x.cfg:2: expected 'key = value', found 'b'");
  CHECK_THROWS_WITH_TEXT(parse_config(" = 1\n", "x.cfg"), ConfigError, "x.cfg:1: expected");
  CHECK_THROWS_WITH_TEXT(parse_config("a = 1\n\na = 2\n", "x.cfg"), ConfigError,
                         "x.cfg:3: 'a' is already set in line 1");
  CHECK_THROWS_WITH_TEXT(parse_config("a = \"b\n", "x.cfg"), ConfigError, "closing quote");
  CHECK_THROWS_WITH_TEXT(parse_config("a = \"b\" c\n", "x.cfg"), ConfigError, "text after");
  CHECK_THROWS_WITH_TEXT(parse_config("a = \"\\t\"\n", "x.cfg"), ConfigError, "backslash");
  const auto apply = [&](const std::string& text) {
    apply_config(table, parse_config(text, "x.cfg"), "x.cfg", Origin::File);
  };
  CHECK_THROWS_WITH_TEXT(apply("kind = multi\nstep = 1\n"), ConfigError,
                         "x.cfg:2: unknown option 'step'; did you mean 'steps'?");
  CHECK_THROWS_WITH_TEXT(apply("\nsteps = 1.5\n"), ConfigError, "x.cfg:2: option 'steps'");
  CHECK(table.find("kind").origin == Origin::File);
}

TEST_CASE("a printed configuration reads back to the same values", "[config]") {
  Options before;
  before.lr = 0.1 + 0.2;
  before.path = " a#b \"c\" \\d\n";
  before.verbose = true;
  before.nets = {};
  OptionTable table = before.table();
  Options after;
  OptionTable other = after.table();
  apply_config(other, parse_config(config_text(table), "config.cfg"), "config.cfg", Origin::File);
  CHECK(after.lr == before.lr);
  CHECK(after.path == before.path);
  CHECK(after.verbose);
  CHECK(after.nets.empty());
  CHECK(after.drops == before.drops);
  CHECK(config_text(other) == config_text(table));
}

TEST_CASE("two configurations differ in named keys, whatever their order", "[config]") {
  CHECK(differences("a = 1\nb = 2\n", "b = 2\na = 1\n").empty());
  CHECK(differences_text(differences("a = 1\nb = 2\nold = x\n", "a = 1\nb = 3\nnew = y\n")) ==
        "b: 2 / 3, new: (none) / y, old: x / (none)");
}

TEST_CASE("a number is printed with the fewest digits that read back", "[config]") {
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(1000) == "1000");
  CHECK(number_text(5e-4) == "0.0005");
  for (const double x :
       {0.1 + 0.2, 1.0 / 3, 6.02e23, 1e-300, -0.0, std::numeric_limits<double>::denorm_min()}) {
    CHECK(std::strtod(number_text(x).c_str(), nullptr) == x);
  }
}
