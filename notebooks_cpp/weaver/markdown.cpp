#include "notebooks_cpp/weaver/markdown.h"

#include <cctype>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/config/text.h"
#include "lib/core/str.h"
#include "notebooks_cpp/weaver/lines.h"

namespace retort::weaver {
namespace {

using config::trimmed;
using report::Html;
using Lines = std::vector<std::string>;

// ---- Within a line.

/// From the sign at the front to its next one.
std::optional<std::string_view> enclosed(std::string_view text, std::string_view sign) {
  if (!text.starts_with(sign)) return std::nullopt;
  const std::size_t end = text.find(sign, sign.size());
  if (end == std::string_view::npos || end == sign.size()) return std::nullopt;
  return text.substr(sign.size(), end - sign.size());
}

struct Link {
  std::string_view text;
  std::string_view target;
  std::size_t length = 0;
};

/// Where a page may lead: to the net, into itself, or to a file beside it.
bool may_lead_to(std::string_view target) {
  if (target.starts_with("https://") || target.starts_with("http://")) return true;
  return !target.empty() && target.find(':') == std::string_view::npos;
}

std::optional<Link> link_at(std::string_view text) {
  if (!text.starts_with("[")) return std::nullopt;
  const std::size_t middle = text.find("](");
  if (middle == std::string_view::npos || middle < 2) return std::nullopt;
  const std::size_t end = text.find(')', middle);
  if (end == std::string_view::npos) return std::nullopt;
  const Link link{text.substr(1, middle - 1), text.substr(middle + 2, end - middle - 2), end + 1};
  if (!may_lead_to(link.target)) return std::nullopt;
  return link;
}

/// Emphasis begins before a word and ends behind one: `2 * 3 * 4` is none.
bool hugs(std::string_view inner) { return inner.front() != ' ' && inner.back() != ' '; }

void add_inline(Html& html, std::string_view text);

/// Writes what begins at the front of the text, if it is more than a character.
/// @return its length; 0: a character
std::size_t add_marked(Html& html, std::string_view text) {
  if (const auto code = enclosed(text, "`")) {
    html.element("code", *code);
    return code->size() + 2;
  }
  for (const std::string_view sign : {"$$", "$"}) {
    const auto formula = enclosed(text, sign);
    if (!formula || !hugs(*formula)) continue;
    html.element("span", text.substr(0, formula->size() + 2 * sign.size()), {{"class", "formula"}});
    return formula->size() + 2 * sign.size();
  }
  for (const std::string_view sign : {"**", "*"}) {
    const auto inner = enclosed(text, sign);
    if (!inner || !hugs(*inner)) continue;
    const std::string element = sign == "*" ? "em" : "strong";
    html.open(element);
    add_inline(html, *inner);
    html.close(element);
    return inner->size() + 2 * sign.size();
  }
  if (const auto link = link_at(text)) {
    html.open("a", {{"href", std::string(link->target)}});
    add_inline(html, link->text);
    html.close("a");
    return link->length;
  }
  return 0;
}

void add_inline(Html& html, std::string_view text) {
  std::string plain;
  const auto flush = [&] {
    html.text(plain);
    plain.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '\\' && at + 1 < text.size() &&
        std::ispunct(static_cast<unsigned char>(text[at + 1])) != 0) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    constexpr std::string_view kSigns = "`$*[";
    if (kSigns.find(text[at]) != std::string_view::npos) {
      Html marked;
      if (const std::size_t length = add_marked(marked, text.substr(at)); length > 0) {
        flush();
        html.markup(std::move(marked).finish());
        at += length;
        continue;
      }
    }
    plain += text[at++];
  }
  flush();
}

// ---- Blocks of lines.

struct Item {
  std::size_t content = 0;  ///< where its text begins
  bool ordered = false;
};

/// Of a line that begins an item of a list.
std::optional<Item> item_of(const std::string& line) {
  if (line.starts_with("- ") || line.starts_with("* ")) return Item{2, false};
  const std::size_t digits = line.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string::npos) return std::nullopt;
  if (line.substr(digits, 2) == ". ") return Item{digits + 2, true};
  return std::nullopt;
}

int heading_level(const std::string& line) {
  const std::size_t signs = line.find_first_not_of('#');
  if (signs == 0 || signs == std::string::npos || signs > 4 || line[signs] != ' ') return 0;
  return int(signs);
}

Lines cells_of(const std::string& line) {
  std::string inner = trimmed(line);
  if (inner.starts_with('|')) inner.erase(0, 1);
  if (inner.ends_with('|')) inner.pop_back();
  Lines cells;
  std::string cell;
  bool in_code = false;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '`') in_code = !in_code;
    if (inner[i] == '\\' && i + 1 < inner.size() && inner[i + 1] == '|') {
      cell += inner[++i];
    } else if (inner[i] == '|' && !in_code) {
      cells.push_back(trimmed(cell));
      cell.clear();
    } else {
      cell += inner[i];
    }
  }
  cells.push_back(trimmed(cell));
  return cells;
}

/// The line below the head of a table: dashes, with a colon where columns are aligned.
bool is_rule(const std::string& line) {
  return line.starts_with('|') && line.find('-') != std::string::npos &&
         line.find_first_not_of("|-: ") == std::string::npos;
}

class Blocks {
 public:
  Blocks(Html& html, Lines lines) : html_(html), lines_(std::move(lines)) {}

  void add() {
    while (at_ < lines_.size()) {
      const std::string& line = lines_[at_];
      if (trimmed(line).empty()) {
        ++at_;
      } else if (line.starts_with("```")) {
        add_code();
      } else if (const int level = heading_level(line); level > 0) {
        add_heading(level);
      } else if (begins_table()) {
        add_table();
      } else if (const auto item = item_of(line)) {
        add_list(item->ordered);
      } else {
        add_paragraph();
      }
    }
  }

 private:
  bool begins_table() const {
    return lines_[at_].starts_with('|') && at_ + 1 < lines_.size() && is_rule(lines_[at_ + 1]);
  }

  bool begins_block() const {
    const std::string& line = lines_[at_];
    return trimmed(line).empty() || line.starts_with("```") || heading_level(line) > 0 ||
           begins_table() || item_of(line);
  }

  void add_code() {
    Lines code;
    for (++at_; at_ < lines_.size() && !lines_[at_].starts_with("```"); ++at_) {
      code.push_back(lines_[at_]);
    }
    ++at_;
    html_.open("pre").element("code", join(code, "\n")).close("pre");
  }

  void add_heading(int level) {
    const std::string name = str("h", level);
    html_.open(name);
    add_inline(html_, trimmed(lines_[at_++].substr(std::size_t(level))));
    html_.close(name);
  }

  void add_table() {
    const Lines head = cells_of(lines_[at_]);
    const Lines rule = cells_of(lines_[at_ + 1]);
    html_.open("div", {{"class", "scroll"}}).open("table").open("thead");
    add_row("th", head, rule);
    html_.close("thead").open("tbody");
    for (at_ += 2; at_ < lines_.size() && lines_[at_].starts_with('|'); ++at_) {
      Lines cells = cells_of(lines_[at_]);
      cells.resize(head.size());
      add_row("td", cells, rule);
    }
    html_.close("tbody").close("table").close("div");
  }

  /// @param rule "--:" where a column's entries stand to the right
  void add_row(const std::string& element, const Lines& cells, const Lines& rule) {
    html_.open("tr");
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const bool right = i < rule.size() && rule[i].ends_with(':');
      html_.open(element, right ? report::Attributes{{"class", "number"}} : report::Attributes{});
      add_inline(html_, cells[i]);
      html_.close(element);
    }
    html_.close("tr");
  }

  void add_list(bool ordered) {
    const std::string name = ordered ? "ol" : "ul";
    html_.open(name);
    while (at_ < lines_.size()) {
      const auto item = item_of(lines_[at_]);
      if (!item || item->ordered != ordered) break;
      html_.open("li");
      Blocks(html_, item_lines(item->content)).add_item();
      html_.close("li");
      while (at_ < lines_.size() && trimmed(lines_[at_]).empty()) ++at_;
    }
    html_.close(name);
  }

  /// What belongs to the item that begins here, without its indentation: lines that go on with a
  /// sentence, and whatever is indented as far as its text.
  Lines item_lines(std::size_t content) {
    Lines lines = {lines_[at_++].substr(content)};
    for (; at_ < lines_.size(); ++at_) {
      const std::string& line = lines_[at_];
      const bool blank = trimmed(line).empty();
      const bool indented = line.find_first_not_of(' ') >= content;
      if (blank ? !goes_on_indented(content) : !indented && begins_block()) break;
      if (!blank && !indented && trimmed(lines.back()).empty()) break;
      lines.push_back(blank ? "" : line.substr(indented ? content : 0));
    }
    return lines;
  }

  /// Whether the next line that is not blank is indented.
  bool goes_on_indented(std::size_t content) const {
    for (std::size_t i = at_ + 1; i < lines_.size(); ++i) {
      if (!trimmed(lines_[i]).empty()) return lines_[i].find_first_not_of(' ') >= content;
    }
    return false;
  }

  /// The first sentence of an item stands without a paragraph around it.
  void add_item() {
    if (!begins_block()) add_inline(html_, paragraph());
    add();
  }

  void add_paragraph() {
    html_.open("p");
    add_inline(html_, paragraph());
    html_.close("p");
  }

  std::string paragraph() {
    Lines text = {trimmed(lines_[at_++])};
    for (; at_ < lines_.size() && !begins_block(); ++at_) text.push_back(trimmed(lines_[at_]));
    return join(text, "\n");
  }

  Html& html_;
  Lines lines_;
  std::size_t at_ = 0;
};

}  // namespace

void add_markdown(report::Html& html, const std::string& text) {
  Blocks(html, lines_of(text)).add();
}

}  // namespace retort::weaver
