#include "notebooks_cpp/weaver/page.h"

#include "lib/core/str.h"
#include "lib/report/html.h"
#include "lib/report/style.h"
#include "notebooks_cpp/weaver/markdown.h"
#include "notebooks_cpp/weaver/scanner.h"

namespace retort::weaver {
namespace {

using report::Html;

// What notebooks need beside the style of all pages.
const char* const kNotebookStyle = R"css(
:root{--note:#6a7178;--quote:#2e6b3f}
@media (prefers-color-scheme:dark){:root{--note:#98a2ab;--quote:#8fcf9f}}
main,footer{max-width:58rem}main{padding-top:1.5rem}
h1{margin-top:.5rem}h2{margin-top:1.6rem}h3{font-size:1.1rem;margin:1.2rem 0 .3rem}
section{border:0;padding:0;margin:0}
p,ul,ol{margin:.6rem 0}li{margin:.15rem 0}
.code{margin:.9rem 0}
.code>pre{margin:0}
.code>small{display:block;color:var(--soft);margin-bottom:.15rem}
.note{color:var(--note)}.quote{color:var(--quote)}
.outputs{border-left:3px solid var(--line);padding-left:.9rem;margin:.6rem 0 0 .2rem}
.outputs>*{margin:.5rem 0}
.outputs pre{background:none;border:0;padding:0;white-space:pre-wrap;overflow-wrap:anywhere}
.outputs img{display:block;max-width:100%;height:auto;image-rendering:pixelated;border-radius:4px}
.outputs img.drawing{width:100%;max-width:40rem;image-rendering:auto}
.failed{border:1px solid var(--s6);border-left-width:6px;border-radius:4px;padding:.6rem .9rem;overflow-wrap:anywhere}
.failed strong{color:var(--s6)}
.formula{font-family:"STIX Two Math","Cambria Math","DejaVu Serif",serif;overflow-wrap:anywhere}
p code,li code,td code{background:var(--card);border:1px solid var(--line);border-radius:4px;padding:0 .25em}
)css";

/// Nothing is fetched and nothing runs, whatever a notebook writes as markup.
constexpr char kPolicy[] = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

void add_head(Html& html, const std::string& title) {
  html.open("head").empty("meta", {{"charset", "utf-8"}});
  html.empty("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  html.empty("meta", {{"http-equiv", "Content-Security-Policy"}, {"content", kPolicy}});
  html.element("title", title);
  html.open("style").markup(report::kPlotStyle).markup(report::kStyle).markup(kNotebookStyle);
  html.close("style").close("head");
}

void add_code(Html& html, const std::string& code) {
  html.open("pre", {{"tabindex", "0"}}).open("code");
  for (const Piece& piece : pieces_of(code)) {
    if (piece.kind == PieceKind::Code) {
      html.text(piece.text);
    } else {
      const char* const look = piece.kind == PieceKind::Comment ? "note" : "quote";
      html.element("span", piece.text, {{"class", look}});
    }
  }
  html.close("code").close("pre");
}

void add_image(Html& html, const Record& record) {
  const bool drawing = record.kind == RecordKind::Svg;
  const char* const type = drawing ? "image/svg+xml" : "image/png";
  html.empty("img", {{"class", drawing ? "drawing" : "pixels"},
                     {"alt", record.title},
                     {"src", report::data_uri(type, record.body)}});
}

void add_output(Html& html, const Record& record) {
  switch (record.kind) {
    case RecordKind::Text:
      html.element("pre", record.body);
      break;
    case RecordKind::Svg:
    case RecordKind::Png:
      add_image(html, record);
      break;
    case RecordKind::Html:
      html.open("div").markup(record.body).close("div");
      break;
    case RecordKind::Cell:
    case RecordKind::Error:
    case RecordKind::End:
      break;
  }
}

std::string anchor(std::size_t cell) { return str("cell-", cell + 1); }

void add_failure(Html& html, const Notebook& notebook, const Failure& failure) {
  html.open("p", {{"class", "failed"}, {"role", "alert"}});
  html.open("strong").open("a", {{"href", "#" + anchor(failure.cell)}});
  html.text(str("Cell ", failure.cell + 1, " failed"));
  html.close("a").close("strong");
  html.text(str(" (", notebook.source, ", line ", notebook.cells.at(failure.cell).line, "): "));
  html.text(failure.type.empty() ? failure.message : str(failure.type, ": ", failure.message));
  html.close("p");
}

void add_code_cell(Html& html, const Notebook& notebook, const Outcome& outcome, std::size_t i) {
  const Cell& cell = notebook.cells[i];
  const Outcome::CellOutcome& found = outcome.cells[i];
  const bool failed = outcome.failure && outcome.failure->cell == i;
  html.open("section", {{"class", "code"}, {"id", anchor(i)}});
  if (cell.kind == CellKind::Globals) html.element("small", "at file scope");
  if (!cell.title.empty()) html.element("small", cell.title);
  add_code(html, cell.text);
  if (!found.outputs.empty() || failed) {
    html.open("div", {{"class", "outputs"}});
    for (const Record& record : found.outputs) add_output(html, record);
    if (failed) add_failure(html, notebook, *outcome.failure);
    html.close("div");
  } else if (cell.kind == CellKind::Code && !found.reached) {
    html.element("small", "This cell was not reached.");
  }
  html.close("section");
}

}  // namespace

std::string html_page(const Notebook& notebook, const Outcome& outcome) {
  Html html;
  html.markup("<!doctype html>\n").open("html", {{"lang", "en"}, {"data-notebook", "retort"}});
  add_head(html, notebook.heading());
  html.open("body").open("main");
  if (outcome.failure) add_failure(html, notebook, *outcome.failure);
  for (std::size_t i = 0; i < notebook.cells.size(); ++i) {
    if (notebook.cells[i].kind == CellKind::Markdown) {
      html.open("section", {{"id", anchor(i)}});
      add_markdown(html, notebook.cells[i].text);
      html.close("section");
    } else {
      add_code_cell(html, notebook, outcome, i);
    }
  }
  html.close("main").element("footer",
                             str("Woven from ", notebook.source, ", a notebook of Retort."));
  html.close("body").close("html");
  return std::move(html).finish() + "\n";
}

}  // namespace retort::weaver
