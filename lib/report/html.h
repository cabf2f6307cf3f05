#pragma once
// A small writer of markup that reads as HTML and as XML: every tag is closed, every attribute
// quoted, every text escaped.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort::report {

/// For text and for attributes. Bytes that are no UTF-8, and control characters that no document
/// may hold, become U+FFFD.
std::string escaped(std::string_view text);

/// "data:image/png;base64,..." of a file's bytes.
std::string data_uri(const std::string& media_type, std::string_view bytes);

std::string base64(std::string_view bytes);

using Attributes = std::vector<std::pair<std::string, std::string>>;

class Html {
 public:
  Html& open(const std::string& name, const Attributes& attributes = {});
  /// @throws Error unless `name` is what was opened last: a mistake in the program
  Html& close(const std::string& name);
  /// An element without content: <img ... />
  Html& empty(const std::string& name, const Attributes& attributes = {});
  Html& text(std::string_view text);
  /// An element that holds nothing but a text.
  Html& element(const std::string& name, std::string_view text, const Attributes& attributes = {});
  /// What is markup already: style sheet and script.
  Html& markup(std::string_view markup);

  /// @throws Error if an element is open
  std::string finish() &&;

 private:
  void tag(const std::string& name, const Attributes& attributes, std::string_view end);

  std::string text_;
  std::vector<std::string> open_;
};

}  // namespace retort::report
