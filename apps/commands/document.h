#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace retort::commands {

/// Indented, with a line break at the end; bytes that are no UTF-8 are replaced. Every document has
/// a field `schema`; docs/json.md describes them.
std::string document_text(const nlohmann::json& document);

/// A result for programs on stdout.
void print_document(const nlohmann::json& document);

}  // namespace retort::commands
