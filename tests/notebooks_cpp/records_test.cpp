#include "notebooks_cpp/weaver/records.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "notebooks_cpp/weaver/outcome.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::weaver;
using Catch::Matchers::Contains;

namespace {

/// Records that hold `text` alone.
std::string holding(const std::string& text) { return str(kRecordsStart, text); }

std::string fault_of(const std::string& bytes) { return read_records(bytes).fault; }

/// A code cell between words, and another one.
Notebook small_notebook() {
  return parse_notebook("// %% [markdown]\n// a\n// %%\nf();\n// %%\ng();", "n.cpp");
}

}  // namespace

TEST_CASE("records come back as they were, whatever their bytes", "[notebooks]") {
  const std::vector<Record> records = {{RecordKind::Cell, "", "1"},
                                       {RecordKind::Text, "", "two\nlines\n"},
                                       {RecordKind::Png, "in words", std::string("\0\n\xFF", 3)},
                                       {RecordKind::Svg, "a\nb", "<svg/>"},
                                       {RecordKind::Html, "", ""},
                                       {RecordKind::Error, "DataError", "text 1 1\n"},
                                       {RecordKind::End, "", ""}};
  std::string bytes = holding("");
  for (const Record& record : records) bytes += encoded(record);
  const Recording back = read_records(bytes);
  CHECK(back.fault.empty());
  REQUIRE(back.records.size() == records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    CHECK(back.records[i].kind == records[i].kind);
    CHECK(back.records[i].title == records[i].title);
    CHECK(back.records[i].body == records[i].body);
  }
}

TEST_CASE("records that are cut short anywhere give what came before", "[notebooks]") {
  const std::string first = holding(encoded({.kind = RecordKind::Text, .body = "whole"}));
  const std::string bytes = str(first, encoded({RecordKind::Png, "words", "0123456789"}));
  for (std::size_t size = first.size() + 1; size < bytes.size(); ++size) {
    INFO(size << " of " << bytes.size());
    const Recording cut = read_records(bytes.substr(0, size));
    REQUIRE(cut.records.size() == 1);
    CHECK(cut.records[0].body == "whole");
    CHECK_THAT(cut.fault, Contains("record 2 at byte 33: expected"));
  }
  CHECK(fault_of(bytes.substr(0, bytes.size() - 4)) ==
        "record 2 at byte 33: expected a title of 5 bytes, a body of 10 and a line end, found 12 "
        "bytes; it was cut short");
  CHECK(fault_of(first).empty());
}

TEST_CASE("a wrong length, kind or beginning is a fault that says what was found", "[notebooks]") {
  CHECK(fault_of(holding("text 0 3\nabcd\n")) ==
        "record 1 at byte 18: expected a line end behind 3 bytes, found another byte: a length is "
        "wrong");
  for (const char* head : {"verse 0 1", "text 1", "text 0 x", "text -1 1", "text 0 1 2", ""}) {
    INFO(head);
    CHECK_THAT(fault_of(holding(str(head, "\na\n"))),
               Contains("expected a kind, two lengths and a line end, found '"));
  }
  // Lengths whose sum is beyond all numbers.
  CHECK_THAT(fault_of(holding("text 18446744073709551615 2\na\n")), Contains("cut short"));
  CHECK_THAT(fault_of(holding("text 99999999999999999999 2\na\n")), Contains("two lengths"));
  CHECK_THAT(fault_of(holding(std::string(200, 'x'))), Contains("two lengths"));
  CHECK(fault_of("other") ==
        "expected records that begin with 'retort-notebook 1', found 5 other bytes");
}

TEST_CASE("outputs belong to the cell that was at work", "[notebooks]") {
  const Outcome outcome = outcome_of(small_notebook(),
                                     {{{.kind = RecordKind::Cell, .body = "1"},
                                       {.kind = RecordKind::Text, .body = "a"},
                                       {.kind = RecordKind::Cell, .body = "2"},
                                       {.kind = RecordKind::Text, .body = "b"},
                                       {.kind = RecordKind::End}},
                                      ""},
                                     "0");
  CHECK_FALSE(outcome.failure);
  CHECK(outcome.cells[0].outputs.empty());
  REQUIRE(outcome.cells[1].outputs.size() == 1);
  CHECK(outcome.cells[1].outputs[0].body == "a");
  CHECK(outcome.cells[2].outputs[0].body == "b");
  CHECK(outcome.cells[2].reached);
}

TEST_CASE("whatever ends a notebook early is the failure of the cell at work", "[notebooks]") {
  const Notebook notebook = small_notebook();
  const Record first{.kind = RecordKind::Cell, .body = "1"};
  const Record second{.kind = RecordKind::Cell, .body = "2"};
  SECTION("an exception") {
    const auto outcome = outcome_of(
        notebook, {{first, second, {RecordKind::Error, "DataError", "broken"}}, ""}, "1");
    REQUIRE(outcome.failure);
    CHECK(outcome.failure->type == "DataError");
    CHECK(failure_text(notebook, *outcome.failure) == "n.cpp:6: cell 3 of 3 failed: broken");
  }
  SECTION("a crash") {
    const auto outcome = outcome_of(notebook, {{first}, ""}, "Segmentation fault");
    REQUIRE(outcome.failure);
    CHECK(
        failure_text(notebook, *outcome.failure) ==
        "n.cpp:4: cell 2 of 3 failed: its program ended in the middle of it (Segmentation fault)");
  }
  SECTION("records that were cut short") {
    const auto outcome = outcome_of(notebook, {{first}, "record 2 ..."}, "Killed");
    REQUIRE(outcome.failure);
    CHECK_THAT(outcome.failure->message, Contains("(Killed); record 2 ..."));
  }
  SECTION("nothing at all") {
    const auto outcome = outcome_of(notebook, read_records(""), "127");
    REQUIRE(outcome.failure);
    CHECK(outcome.failure->cell == 1);
  }
  SECTION("a bad end after the last cell") {
    const auto outcome =
        outcome_of(notebook, {{first, second, {.kind = RecordKind::End}}, ""}, "1");
    REQUIRE(outcome.failure);
    CHECK_THAT(outcome.failure->message, Contains("ended with 1 after the last cell"));
  }
}

TEST_CASE("records of another notebook are refused", "[notebooks]") {
  for (const char* body : {"0", "3", "x", "-1", ""}) {
    INFO(body);
    CHECK_THROWS_WITH_TEXT(
        outcome_of(small_notebook(), {{{.kind = RecordKind::Cell, .body = body}}, ""}, "0"),
        DataError,
        std::string("n.cpp: its records are those of another notebook: expected the number of a "
                    "code cell below 3, found '") +
            body + "'");
  }
}
