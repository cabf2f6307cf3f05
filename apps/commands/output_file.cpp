#include "apps/commands/output_file.h"

#include <fstream>
#include <string_view>

#include <nlohmann/json.hpp>

#include "apps/cli/arguments.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "lib/report/page.h"
#include "lib/storage/set_file.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

std::string first_bytes(const fs::path& path, std::size_t count) {
  std::string bytes(count, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(bytes.data(), std::streamsize(count));
  bytes.resize(std::size_t(in.gcount()));
  return bytes;
}

bool is_picture(const fs::path& path) {
  const std::string start = first_bytes(path, 4);
  return start == "\x89PNG" || start.starts_with("\xFF\xD8\xFF") || start.starts_with("BM");
}

/// PyTorch and NumPy write zip archives; the name of the first entry tells which.
std::string first_zip_entry(const fs::path& path) {
  constexpr std::size_t kHeader = 30;
  const std::string bytes = first_bytes(path, kHeader + 255);
  if (bytes.size() < kHeader || !bytes.starts_with("PK\x03\x04")) return "";
  const std::size_t length = std::uint8_t(bytes[26]) + 256U * std::uint8_t(bytes[27]);
  return bytes.substr(kHeader, length);
}

bool is_set(const fs::path& path) { return storage::has_schema(path, "retort.set"); }

/// @param kind the schema without its version
bool is_document(const fs::path& path, const std::string& kind) {
  const auto document = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("schema")) return false;
  const auto& schema = document["schema"];
  return schema.is_string() && schema.get<std::string>().starts_with(kind + "/");
}

bool is_report(const fs::path& path) {
  return first_bytes(path, std::string_view(report::kPageStart).size()) == report::kPageStart;
}

std::string name_of(FileKind kind) {
  switch (kind) {
    case FileKind::Set:
      return "set file";
    case FileKind::Picture:
      return "picture";
    case FileKind::PyTorch:
      return "PyTorch file";
    case FileKind::NumPy:
      return "NumPy archive";
    case FileKind::Evaluation:
      return "result of an evaluation";
    case FileKind::Ranking:
      return "score";
    case FileKind::Report:
      return "report";
  }
  throw Error("unknown kind of file");
}

}  // namespace

bool is_of_kind(const fs::path& path, FileKind kind) {
  if (fs::is_regular_file(path) && fs::is_empty(path)) return true;
  switch (kind) {
    case FileKind::Set:
      return is_set(path);
    case FileKind::Picture:
      return is_picture(path);
    case FileKind::PyTorch:
      return first_zip_entry(path).ends_with("/data.pkl");
    case FileKind::NumPy:
      return first_zip_entry(path).ends_with(".npy");
    case FileKind::Evaluation:
      return is_document(path, "retort.evaluation");
    case FileKind::Ranking:
      return is_document(path, "retort.ranking");
    case FileKind::Report:
      return is_report(path);
  }
  throw Error("unknown kind of file");
}

void OutputFile::describe(config::OptionTable& table, const std::string& help) {
  table.add("out", path, help, config::any_text());
  table.add("force", force, "write --out even over a file of another kind");
}

void OutputFile::check(FileKind kind, const std::string& input) const {
  if (!input.empty()) cli::expect_other_file("out", path, input);
  // What is no file at all is refused where it is written.
  if (force || !fs::is_regular_file(path) || is_of_kind(path, kind)) return;
  throw ConfigError(str("option 'out': '", path, "' exists and is no ", name_of(kind),
                        "; choose another name, or --force to write over it"));
}

}  // namespace retort::commands
