#pragma once
// Where comments and literals lie in C++ code, and whether its brackets are balanced.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort::weaver {

enum class PieceKind {
  Code,
  Comment,
  Literal  ///< of characters or strings, raw ones too
};

struct Piece {
  PieceKind kind = PieceKind::Code;
  std::string_view text;
  bool closed = true;  ///< false: a comment or literal that has no end
};

/// All of `code`, cut in order. The pieces point into it.
std::vector<Piece> pieces_of(std::string_view code);

struct Imbalance {
  int line = 0;      ///< in the code, from 1
  std::string what;  ///< "'{' is never closed"
};
/// The first bracket, comment or literal without its other end; none: all are balanced.
std::optional<Imbalance> find_imbalance(std::string_view code);

}  // namespace retort::weaver
