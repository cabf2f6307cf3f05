#include "notebooks_cpp/weaver/ipynb.h"

#include <nlohmann/json.hpp>

#include "lib/core/str.h"
#include "lib/report/html.h"

namespace retort::weaver {
namespace {

using Json = nlohmann::ordered_json;

/// A text as nbformat likes it: a list of lines with their line ends.
Json lines(const std::string& text) {
  Json list = Json::array();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::size_t next = end == std::string::npos ? text.size() : end + 1;
    list.push_back(text.substr(begin, next - begin));
    begin = next;
  }
  return list;
}

Json display(const std::string& type, Json content, const std::string& in_words) {
  Json data = {{type, std::move(content)}};
  if (!in_words.empty()) data["text/plain"] = lines(in_words);
  return {{"output_type", "display_data"}, {"data", data}, {"metadata", Json::object()}};
}

Json output(const Record& record) {
  switch (record.kind) {
    case RecordKind::Svg:
      return display("image/svg+xml", lines(record.body), record.title);
    case RecordKind::Png:
      return display("image/png", report::base64(record.body), record.title);
    case RecordKind::Html:
      return display("text/html", lines(record.body), record.title);
    case RecordKind::Text:
    case RecordKind::Cell:
    case RecordKind::Error:
    case RecordKind::End:
      break;
  }
  return {{"output_type", "stream"}, {"name", "stdout"}, {"text", lines(record.body + "\n")}};
}

Json error(const Failure& failure) {
  return {{"output_type", "error"},
          {"ename", failure.type},
          {"evalue", failure.message},
          {"traceback", Json::array({failure.message})}};
}

Json code_cell(const Cell& cell, const Outcome::CellOutcome& found, const Failure* failure,
               int& count) {
  Json outputs = Json::array();
  for (const Record& record : found.outputs) outputs.push_back(output(record));
  if (failure != nullptr) outputs.push_back(error(*failure));
  Json metadata = Json::object();
  // Where jupytext keeps what stands behind a marker: it makes the same notebook of this one again.
  const std::string kind = cell.kind == CellKind::Globals ? "[globals]" : "";
  const std::string blank = cell.title.empty() || kind.empty() ? "" : " ";
  if (!cell.title.empty() || !kind.empty()) metadata["title"] = cell.title + blank + kind;
  return {{"cell_type", "code"},
          {"metadata", metadata},
          {"execution_count", found.reached ? Json(++count) : Json(nullptr)},
          {"source", lines(cell.text)},
          {"outputs", outputs}};
}

}  // namespace

std::string ipynb(const Notebook& notebook, const Outcome& outcome) {
  Json cells = Json::array();
  int count = 0;
  for (std::size_t i = 0; i < notebook.cells.size(); ++i) {
    const Cell& cell = notebook.cells[i];
    const bool failed = outcome.failure && outcome.failure->cell == i;
    Json written =
        cell.kind == CellKind::Markdown
            ? Json{{"cell_type", "markdown"},
                   {"metadata", Json::object()},
                   {"source", lines(cell.text)}}
            : code_cell(cell, outcome.cells[i], failed ? &*outcome.failure : nullptr, count);
    written["id"] = str("cell-", i + 1);
    cells.push_back(std::move(written));
  }
  const Json language = {{"name", "c++"},
                         {"file_extension", ".cpp"},
                         {"mimetype", "text/x-c++src"},
                         {"codemirror_mode", "text/x-c++src"},
                         {"pygments_lexer", "cpp"}};
  const Json document = {{"cells", cells},
                         {"metadata", {{"language_info", language}, {"title", notebook.heading()}}},
                         {"nbformat", 4},
                         {"nbformat_minor", 5}};
  // Bytes that are no UTF-8 become the character that stands for them.
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace retort::weaver
