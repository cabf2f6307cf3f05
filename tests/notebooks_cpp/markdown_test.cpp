#include "notebooks_cpp/weaver/markdown.h"

#include "tests/report/markup.h"
#include "tests/support/catch.h"

using namespace retort;

namespace {

std::string html_of(const std::string& markdown) {
  report::Html html;
  weaver::add_markdown(html, markdown);
  const std::string text = std::move(html).finish();
  testing::read_markup("<all>" + text + "</all>");  // balanced, whatever it says
  return text;
}

}  // namespace

TEST_CASE("headings, paragraphs and code blocks", "[notebooks]") {
  CHECK(html_of("# One\n\nfirst\nsecond\n\n## Two *em*\nthird") ==
        "<h1>One</h1><p>first\nsecond</p><h2>Two <em>em</em></h2><p>third</p>");
  CHECK(html_of("#no heading") == "<p>#no heading</p>");
  CHECK(html_of("before\n```cpp\n# a < *b*\n\n  c\n```\nafter") ==
        "<p>before</p><pre><code># a &lt; *b*\n\n  c</code></pre><p>after</p>");
  CHECK(html_of("```\nnever closed") == "<pre><code>never closed</code></pre>");
}

TEST_CASE("code, emphasis and links within a line", "[notebooks]") {
  CHECK(html_of("`a*b*c` **strong *em* too** *x*") ==
        "<p><code>a*b*c</code> <strong>strong <em>em</em> too</strong> <em>x</em></p>");
  CHECK(html_of("2 * 3 * 4 and snake_case_name and a `lonely tick") ==
        "<p>2 * 3 * 4 and snake_case_name and a `lonely tick</p>");
  CHECK(html_of("[a `b`](https://c.d/e?f=1&g) [h](other.html#i)") ==
        "<p><a href=\"https://c.d/e?f=1&amp;g\">a <code>b</code></a> "
        "<a href=\"other.html#i\">h</a></p>");
  CHECK(html_of("[a](javascript:b) [c] [d](") == "<p>[a](javascript:b) [c] [d](</p>");
  CHECK(html_of("\\*a\\* \\q") == "<p>*a* \\q</p>");
}

TEST_CASE("formulas stay the text that they are", "[notebooks]") {
  CHECK(html_of("$a_i * b * c < d$ costs $5 and $6") ==
        "<p><span class=\"formula\">$a_i * b * c &lt; d$</span> costs $5 and $6</p>");
  CHECK(html_of("$$\\sum_i\n  x_i$$") == "<p><span class=\"formula\">$$\\sum_i\nx_i$$</span></p>");
}

TEST_CASE("lists, nested by their indentation", "[notebooks]") {
  CHECK(html_of("- a\n  goes on\n- b\n  - c\n  - d\n\nend") ==
        "<ul><li>a\ngoes on</li><li>b<ul><li>c</li><li>d</li></ul></li></ul><p>end</p>");
  CHECK(html_of("1. a\n2. b\n\n   second\n3. c") ==
        "<ol><li>a</li><li>b<p>second</p></li><li>c</li></ol>");
  CHECK(html_of("- a\n\n- b\nlazy") == "<ul><li>a</li><li>b\nlazy</li></ul>");
  CHECK(html_of("words\n- a\n1. b") == "<p>words</p><ul><li>a</li></ul><ol><li>b</li></ol>");
  CHECK(html_of("2020 was\n-5 degrees") == "<p>2020 was\n-5 degrees</p>");
}

TEST_CASE("tables, with columns to the right where the rule says so", "[notebooks]") {
  CHECK(html_of("| a | b |\n| --- | --: |\n| `x|y` | 1 |\n| only \\| one |\n\nend") ==
        "<div class=\"scroll\"><table><thead><tr><th>a</th><th class=\"number\">b</th></tr></thead>"
        "<tbody><tr><td><code>x|y</code></td><td class=\"number\">1</td></tr>"
        "<tr><td>only | one</td><td class=\"number\"></td></tr></tbody></table></div><p>end</p>");
  CHECK(html_of("| no rule |") == "<p>| no rule |</p>");
}

TEST_CASE("markup in words is text", "[notebooks]") {
  CHECK(html_of("<script>alert(1)</script> & \"q\"") ==
        "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;q&quot;</p>");
  CHECK(html_of("[x](https://a\"onclick=\"b)") ==
        "<p><a href=\"https://a&quot;onclick=&quot;b\">x</a></p>");
}
