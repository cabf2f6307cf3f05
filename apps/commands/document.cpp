#include "apps/commands/document.h"

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"

namespace retort::commands {

std::string document_text(const nlohmann::json& document) {
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void print_document(const nlohmann::json& document) { cli::print(document_text(document)); }

}  // namespace retort::commands
