#include "tests/report/markup.h"

#include <cctype>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::testing {
namespace {

void collect(const Element& element, const std::string& name, std::vector<const Element*>& found) {
  for (const Element& child : element.children) {
    if (child.name == name) found.push_back(&child);
    collect(child, name, found);
  }
}

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  Element document() {
    if (text_.starts_with("<!doctype html>")) at_ = std::string("<!doctype html>").size();
    skip_blanks();
    expect("<");
    Element root = element();
    skip_blanks();
    if (at_ != text_.size()) fail("text after the outermost element");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(str("markup at ", at_, ": ", what, ", near '", text_.substr(at_, 40), "'"));
  }

  void skip_blanks() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }

  bool accept(const std::string& what) {
    if (text_.compare(at_, what.size(), what) != 0) return false;
    at_ += what.size();
    return true;
  }

  void expect(const std::string& what) {
    if (!accept(what)) fail("expected '" + what + "'");
  }

  std::string until(const std::string& end) {
    const std::size_t stop = text_.find(end, at_);
    if (stop == std::string::npos) fail("no '" + end + "'");
    std::string part = text_.substr(at_, stop - at_);
    at_ = stop;
    return part;
  }

  std::string name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '-')) {
      ++at_;
    }
    if (at_ == begin) fail("expected a name");
    return text_.substr(begin, at_ - begin);
  }

  std::string unescaped(const std::string& text) const {
    static const std::map<std::string, std::string> known = {
        {"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"#39", "'"}};
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '<' || text[i] == '>') fail("a bare '<' or '>'");
      if (text[i] != '&') {
        out += text[i];
        continue;
      }
      const std::size_t end = text.find(';', i);
      const auto found = known.find(text.substr(i + 1, end - i - 1));
      if (end == std::string::npos || found == known.end()) fail("an unknown reference");
      out += found->second;
      i = end;
    }
    return out;
  }

  /// Behind its "<".
  Element element() {
    Element element;
    element.name = name();
    for (skip_blanks(); text_.compare(at_, 1, ">") != 0 && text_.compare(at_, 2, "/>") != 0;
         skip_blanks()) {
      const std::string key = name();
      expect("=\"");
      if (element.attributes.contains(key)) fail("attribute '" + key + "' twice");
      element.attributes[key] = unescaped(until("\""));
      expect("\"");
    }
    if (accept("/>")) return element;
    expect(">");
    content(element);
    return element;
  }

  void content(Element& element) {
    const std::string end = "</" + element.name + ">";
    if (element.name == "style" || element.name == "script") {
      element.text = until(end);
      expect(end);
      return;
    }
    while (!accept(end)) {
      element.text += unescaped(until("<"));
      if (text_.compare(at_, 2, "</") == 0) continue_only_with(end);
      if (accept(end)) return;
      expect("<");
      element.children.push_back(this->element());
      element.text += element.children.back().text;
    }
  }

  void continue_only_with(const std::string& end) const {
    if (text_.compare(at_, end.size(), end) != 0) fail("expected '" + end + "'");
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<const Element*> Element::all(const std::string& wanted) const {
  std::vector<const Element*> found;
  collect(*this, wanted, found);
  return found;
}

std::string Element::attribute(const std::string& key) const {
  const auto found = attributes.find(key);
  return found == attributes.end() ? "" : found->second;
}

Element read_markup(const std::string& text) { return Reader(text).document(); }

}  // namespace retort::testing
