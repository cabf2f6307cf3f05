#include "lib/core/text.h"

#include <limits>

#include "tests/support/catch.h"

using namespace retort;

TEST_CASE("bytes are told in the unit that fits", "[core][text]") {
  CHECK(bytes_text(0) == "0 B");
  CHECK(bytes_text(999) == "999 B");
  CHECK(bytes_text(31360) == "31.4 kB");
  CHECK(bytes_text(1.2e6) == "1.2 MB");
  CHECK(bytes_text(2.5e9) == "2.50 GB");
}

TEST_CASE("durations are told in two units at most", "[core][text]") {
  CHECK(duration_text(-3) == "0 s");
  CHECK(duration_text(std::numeric_limits<double>::quiet_NaN()) == "0 s");
  CHECK(duration_text(0.44) == "0.4 s");
  CHECK(duration_text(42.3) == "42 s");
  CHECK(duration_text(59.7) == "1 min 00 s");
  CHECK(duration_text(200) == "3 min 20 s");
  CHECK(duration_text(7530) == "2 h 05 min");
}

TEST_CASE("columns line up by characters, not bytes", "[core][text]") {
  CHECK(text_width("caf\xc3\xa9") == 4);
  CHECK(columns({{"a", "b"}, {"long", "c"}}) == "a     b\nlong  c\n");
  CHECK(columns({{"caf\xc3\xa9", "1"}, {"bar", "2"}}) == "caf\xc3\xa9  1\nbar   2\n");
  CHECK(columns({{"a", "1"}, {"b", "10"}}, {.indent = "  ", .numbers_from = 1}) ==
        "  a   1\n  b  10\n");
  CHECK(columns({}).empty());
}
