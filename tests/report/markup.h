#pragma once
// Reads markup back, strictly: what a browser would forgive is a failure here.

#include <map>
#include <string>
#include <vector>

namespace retort::testing {

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;  ///< unescaped
  std::string text;                               ///< of it and all within, unescaped
  std::vector<Element> children;

  /// All with this name, at any depth, in the order of the document.
  std::vector<const Element*> all(const std::string& name) const;
  /// The value, or "" if there is none.
  std::string attribute(const std::string& key) const;
};

/// @param text markup, with one outermost element, perhaps after a doctype
/// @throws Error for tags that are not balanced, attributes without quotes, unknown references
Element read_markup(const std::string& text);

}  // namespace retort::testing
