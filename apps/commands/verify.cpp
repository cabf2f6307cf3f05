#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/folder_kind.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"

namespace retort::commands {
namespace {

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  cli::OutputOptions output;
  config::OptionTable table;
  const auto file = cli::parse_one_word(command, args, table, output, "FILE|RUN", program);
  if (!file) return 0;
  const std::string path = set_file(*file);
  const std::vector<std::string> findings = storage::verify_file(path);
  if (output.json) {
    print_document({{"schema", "retort.verification/1"},
                    {"file", path},
                    {"intact", findings.empty()},
                    {"findings", findings}});
  } else {
    for (const auto& finding : findings) cli::print(finding + "\n");
  }
  if (!findings.empty()) {
    throw StorageError(str("'", path, "' is damaged: ", findings.size(),
                           findings.size() == 1 ? " mismatch" : " mismatches"));
  }
  if (!output.json) cli::print(str(path, ": every part agrees with its SHA-256\n"));
  return 0;
}

}  // namespace

cli::Command verify() {
  return {"verify",
          "Hashes every part of a file again and compares with what was recorded.",
          "FILE|RUN",
          {"retort verify set.h5"},
          run};
}

}  // namespace retort::commands
