#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/cli/arguments.h"
#include "apps/cli/command.h"
#include "apps/cli/help.h"
#include "apps/cli/terminal.h"
#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::cli;

namespace {

struct Options {
  std::int64_t ipc = 1;
  double lr = 0.5;
  bool zca = false;
  std::string out;

  config::OptionTable table() {
    config::OptionTable table;
    table.add("ipc", ipc, "images per class", config::at_least(1));
    table.add("lr-images", lr, "step size", config::positive()).aliases = {"lr-img"};
    table.add("zca", zca, "whiten");
    table.add("out", out, "a file", config::any_text());
    return table;
  }
};

std::vector<std::string> apply(Options& options, const std::vector<std::string>& words) {
  config::OptionTable table = options.table();
  const Arguments arguments = parse_arguments(words, table);
  apply_flags(table, arguments);
  return arguments.words;
}

}  // namespace

TEST_CASE("flags reach the fields, in every spelling", "[apps][cli]") {
  Options options;
  const auto words = apply(options, {"a.h5", "--ipc", "3", "--lr_img=0.25", "--zca", "b.h5"});
  CHECK(options.ipc == 3);
  CHECK(options.lr == 0.25);
  CHECK(options.zca);
  CHECK(words == std::vector<std::string>{"a.h5", "b.h5"});
  apply(options, {"--zca=false"});
  CHECK_FALSE(options.zca);
  apply(options, {"--out", ""});
  CHECK(options.out.empty());
}

TEST_CASE("an unknown flag is refused with the nearest one", "[apps][cli]") {
  Options options;
  CHECK_THROWS_WITH_TEXT(apply(options, {"--lr-imgs", "1"}), ConfigError,
                         "unknown option 'lr-imgs'; did you mean 'lr-img'?");
  // No abbreviations: a later option could change what they mean.
  CHECK_THROWS_WITH_TEXT(apply(options, {"--ip", "1"}), ConfigError, "did you mean 'ipc'?");
  CHECK_THROWS_WITH_TEXT(apply(options, {"--hlep"}), ConfigError, "did you mean 'help'?");
  CHECK_THROWS_WITH_TEXT(apply(options, {"-q"}), ConfigError, "unknown option 'q'");
}

TEST_CASE("incomplete, repeated and negative values are refused by name", "[apps][cli]") {
  Options options;
  CHECK_THROWS_WITH_TEXT(apply(options, {"--ipc"}), ConfigError, "option '--ipc' needs a value");
  CHECK_THROWS_WITH_TEXT(apply(options, {"--ipc", "--zca"}), ConfigError, "needs a value");
  CHECK_THROWS_WITH_TEXT(apply(options, {"--ipc", "1", "--ipc=2"}), ConfigError,
                         "option '--ipc' is given twice");
  CHECK_THROWS_WITH_TEXT(apply(options, {"--lr-images=1", "--lr-img=2"}), ConfigError,
                         "is given twice");
  CHECK_THROWS_WITH_TEXT(apply(options, {"--ipc", "-1"}), ConfigError,
                         "option 'ipc': expected a whole number, 1 or more, found '-1'");
}

TEST_CASE("a flag is found before the others are known", "[apps][cli]") {
  CHECK(peek_flag({"--unknown", "x", "--method", "dm"}, "method") == "dm");
  CHECK(peek_flag({"--method=dm"}, "method") == "dm");
  CHECK(peek_flag({"--method"}, "method").empty());
  CHECK(parse_arguments({"-h"}, {}).help);
  CHECK(parse_arguments({"--help"}, {}).help);
}

TEST_CASE("durations are read", "[apps][cli]") {
  CHECK(parse_duration("t", "90") == 90);
  CHECK(parse_duration("t", "90s") == 90);
  CHECK(parse_duration("t", "1.5m") == 90);
  CHECK(parse_duration("t", "1h30m") == 5400);
  for (const char* text : {"", "m", "8x", "-1s", "nan", "1 h"}) {
    INFO(text);
    CHECK_THROWS_WITH_TEXT(parse_duration("time-budget", text), ConfigError,
                           "option 'time-budget': expected a duration");
  }
}

TEST_CASE("progress names loss, rate and time left", "[apps][cli]") {
  Progress progress{.phase = "condensing", .done = 20, .total = 100, .loss = 0.25};
  CHECK(progress_text(progress, 2) == "condensing 20/100, loss 0.25, 2/s, 40 s left");
  progress.seconds_left = 90;
  CHECK(progress_text(progress, 0.5) == "condensing 20/100, loss 0.25, 2 s each, 1 min 30 s left");
  CHECK(progress_text({.phase = "training", .done = 0, .total = 5, .loss = {}}, 0) ==
        "training 0/5");
}

TEST_CASE("a rate counts nothing that was done before", "[apps][cli]") {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> screen(std::tmpfile(), std::fclose);
  Terminal terminal(screen.get(), /*interactive=*/true);
  // One unit in a fifth of a second, and 20,000 that two resumed experts bring along.
  terminal.update(
      {.phase = "training", .done = 10'000, .total = 40'000, .earlier = 10'000, .loss = {}});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  terminal.update(
      {.phase = "training", .done = 20'001, .total = 40'000, .earlier = 20'000, .loss = {}});
  std::rewind(screen.get());
  std::string shown(4096, '\0');
  shown.resize(std::fread(shown.data(), 1, shown.size(), screen.get()));
  // At most 5/s; on a slow machine "0.3 s each".
  CHECK_THAT(shown, Catch::Matchers::Matches("(.|[\\r])*training 20001/40000, "
                                             "([0-4](\\.[0-9]+)?/s|[0-9.]+ m?s each)(.|[\\r])*"));
}

TEST_CASE("a help page shows ranges, defaults and aliases", "[apps][cli]") {
  Options options;
  const std::string text = options_help("Options", options.table());
  CHECK_THAT(text, Catch::Matchers::Contains("--ipc VALUE") &&
                       Catch::Matchers::Contains("images per class (1 or more; default 1)") &&
                       Catch::Matchers::Contains("(> 0; default 0.5; also --lr-img)") &&
                       Catch::Matchers::Contains("--zca "));
  CHECK(wrapped("one two three", 8, 0) == "one two\nthree");
}

TEST_CASE("missing and surplus words are refused with the usage", "[apps][cli]") {
  const Command command{"show", "", "SET [options]", {}, nullptr};
  CHECK_THROWS_WITH_TEXT(check_words(command, {{"SET"}, 1}, {}), ConfigError,
                         "retort show: SET is missing; usage: retort show SET [options]");
  CHECK_THROWS_WITH_TEXT(check_words(command, {{"SET"}, 1}, {"a", "b"}), ConfigError,
                         "unexpected word 'b'");
}
