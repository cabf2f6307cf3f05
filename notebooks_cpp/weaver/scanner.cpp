#include "notebooks_cpp/weaver/scanner.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "lib/core/str.h"

namespace retort::weaver {
namespace {

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// Where the word or number begins that ends before `at`; digit separators are part of it.
std::size_t start_of_word(std::string_view code, std::size_t at) {
  while (at > 0 && (in_word(code[at - 1]) || code[at - 1] == '\'')) --at;
  return at;
}

/// 1'000'000: the sign stands in a number.
bool is_separator(std::string_view code, std::size_t at) {
  const std::size_t start = start_of_word(code, at);
  return start < at && std::isdigit(static_cast<unsigned char>(code[start])) != 0;
}

bool is_raw(std::string_view code, std::size_t quote) {
  std::size_t start = quote;
  while (start > 0 && in_word(code[start - 1])) --start;
  constexpr std::array<std::string_view, 5> kPrefixes = {"R", "LR", "uR", "UR", "u8R"};
  return std::find(kPrefixes.begin(), kPrefixes.end(), code.substr(start, quote - start)) !=
         kPrefixes.end();
}

/// One behind the end of what begins at `begin`, and whether it has one.
struct End {
  std::size_t at = 0;
  bool closed = true;
};

End end_at(std::string_view code, std::size_t found, std::size_t length) {
  if (found == std::string_view::npos) return {code.size(), false};
  return {found + length, true};
}

End end_of_literal(std::string_view code, std::size_t begin) {
  const char quote = code[begin];
  if (quote == '"' && is_raw(code, begin)) {
    const std::size_t open = code.find('(', begin);
    if (open == std::string_view::npos) return {code.size(), false};
    const std::string close = str(")", code.substr(begin + 1, open - begin - 1), "\"");
    return end_at(code, code.find(close, open), close.size());
  }
  for (std::size_t at = begin + 1; at < code.size() && code[at] != '\n'; ++at) {
    if (code[at] == '\\') {
      ++at;
    } else if (code[at] == quote) {
      return {at + 1, true};
    }
  }
  return {std::min(code.find('\n', begin), code.size()), false};
}

/// What begins at `at`, if it is no plain code.
std::optional<std::pair<PieceKind, End>> special_at(std::string_view code, std::size_t at) {
  const std::string_view two = code.substr(at, 2);
  if (two == "//") {
    return std::pair{PieceKind::Comment, End{std::min(code.find('\n', at), code.size()), true}};
  }
  if (two == "/*") {
    return std::pair{PieceKind::Comment, end_at(code, code.find("*/", at + 2), 2)};
  }
  if (code[at] == '"' || (code[at] == '\'' && !is_separator(code, at))) {
    return std::pair{PieceKind::Literal, end_of_literal(code, at)};
  }
  return std::nullopt;
}

char closing_of(char open) { return open == '(' ? ')' : open == '[' ? ']' : '}'; }

struct Open {
  char bracket = '(';
  int line = 0;
};

/// Follows the brackets of one piece of plain code.
std::optional<Imbalance> follow(std::string_view code, int line, std::vector<Open>& open) {
  for (const char c : code) {
    if (c == '\n') ++line;
    if (c == '(' || c == '[' || c == '{') open.push_back({c, line});
    if (c != ')' && c != ']' && c != '}') continue;
    if (open.empty()) return Imbalance{line, str("'", c, "' closes nothing")};
    if (closing_of(open.back().bracket) != c) {
      return Imbalance{
          line, str("'", c, "' meets '", open.back().bracket, "' of line ", open.back().line)};
    }
    open.pop_back();
  }
  return std::nullopt;
}

}  // namespace

std::vector<Piece> pieces_of(std::string_view code) {
  std::vector<Piece> pieces;
  std::size_t begin = 0;  // of plain code
  for (std::size_t at = 0; at < code.size();) {
    const auto special = special_at(code, at);
    if (!special) {
      ++at;
      continue;
    }
    const auto& [kind, end] = *special;
    if (at > begin) pieces.push_back({PieceKind::Code, code.substr(begin, at - begin)});
    pieces.push_back({kind, code.substr(at, end.at - at), end.closed});
    at = begin = end.at;
  }
  if (begin < code.size()) pieces.push_back({PieceKind::Code, code.substr(begin)});
  return pieces;
}

std::optional<Imbalance> find_imbalance(std::string_view code) {
  std::vector<Open> open;
  int line = 1;
  for (const Piece& piece : pieces_of(code)) {
    if (!piece.closed) {
      const char* const what = piece.kind == PieceKind::Comment ? "a comment" : "a literal";
      return Imbalance{line, str(what, " is never closed")};
    }
    if (piece.kind == PieceKind::Code) {
      if (auto found = follow(piece.text, line, open)) return found;
    }
    line += int(std::count(piece.text.begin(), piece.text.end(), '\n'));
  }
  if (open.empty()) return std::nullopt;
  return Imbalance{open.back().line, str("'", open.back().bracket, "' is never closed")};
}

}  // namespace retort::weaver
