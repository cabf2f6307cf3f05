#include "lib/report/html.h"

#include "lib/core/error.h"
#include "tests/report/markup.h"
#include "tests/support/catch.h"

using namespace retort;
using report::Html;

TEST_CASE("texts and attributes are escaped", "[report]") {
  CHECK(report::escaped("a < b & \"c\" > 'd'") == "a &lt; b &amp; &quot;c&quot; &gt; &#39;d&#39;");
  CHECK(report::escaped("Kätzchen 猫 ± 😀") == "Kätzchen 猫 ± 😀");
  Html html;
  html.element("p", "<script>alert(1)</script>", {{"title", "\" onload=\"x"}});
  CHECK(std::move(html).finish() ==
        "<p title=\"&quot; onload=&quot;x\">&lt;script&gt;alert(1)&lt;/script&gt;</p>");
}

TEST_CASE("bytes that are no text become replacement characters", "[report]") {
  const std::string replacement = "\xEF\xBF\xBD";
  CHECK(report::escaped("a\xFF z") == "a" + replacement + " z");
  CHECK(report::escaped("cut \xE7\x8C") == "cut " + replacement + replacement);
  CHECK(report::escaped(std::string("zero\0end", 8)) == "zero" + replacement + "end");
  CHECK(report::escaped("bell\x07") == "bell" + replacement);
  // An overlong '<', a surrogate, and what is beyond the last character.
  CHECK(report::escaped("\xC0\xBC") == replacement + replacement);
  CHECK(report::escaped("\xED\xA0\x80") == replacement + replacement + replacement);
  CHECK(report::escaped("\xF4\x90\x80\x80").find('\x90') == std::string::npos);
  CHECK(report::escaped("tab\tline\n") == "tab\tline\n");
}

TEST_CASE("base64 agrees with the vectors of RFC 4648", "[report]") {
  CHECK(report::base64("").empty());
  CHECK(report::base64("f") == "Zg==");
  CHECK(report::base64("fo") == "Zm8=");
  CHECK(report::base64("foo") == "Zm9v");
  CHECK(report::base64("foob") == "Zm9vYg==");
  CHECK(report::base64("fooba") == "Zm9vYmE=");
  CHECK(report::base64("foobar") == "Zm9vYmFy");
  CHECK(report::base64(std::string("\0\xFF\xFE", 3)) == "AP/+");
  CHECK(report::data_uri("image/png", "foo") == "data:image/png;base64,Zm9v");
}

TEST_CASE("an element that is closed out of order or never is a mistake that shows", "[report]") {
  Html html;
  html.open("p").open("b");
  CHECK_THROWS_WITH_TEXT(html.close("p"), Error, "</p> would close <b>");
  Html open;
  open.open("main");
  CHECK_THROWS_WITH_TEXT(std::move(open).finish(), Error, "<main> was never closed");
}

TEST_CASE("the reader of these tests refuses what is not balanced", "[report]") {
  CHECK(testing::read_markup("<a x=\"1 &lt; 2\"><b /><b>t</b></a>").all("b").size() == 2);
  for (const char* wrong : {"<a>", "<a><b></a></b>", "<a x=1></a>", "<a></a><b></b>", "<a>&x;</a>",
                            "<a>1 > 0</a>", "<a x=\"1\" x=\"2\"></a>"}) {
    INFO(wrong);
    CHECK_THROWS_AS(testing::read_markup(wrong), Error);
  }
}
