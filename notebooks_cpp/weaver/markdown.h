#pragma once

#include <string>

#include "lib/report/html.h"

namespace retort::weaver {

/// Markdown as HTML, a subset: headings, paragraphs, lists (nested by indentation), tables, code in
/// ``` and `, *emphasis*, **strong** and [links](https://...). Formulas between $ stay the text
/// that they are. Whatever is not of the subset is text, and all text is escaped.
void add_markdown(report::Html& html, const std::string& text);

}  // namespace retort::weaver
