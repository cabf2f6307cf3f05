#include "apps/commands/folder_kind.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "methods/run_folder.h"

namespace retort::commands {

namespace fs = std::filesystem;

FolderKind folder_kind(const fs::path& folder) {
  const auto has = [&](const char* name) { return fs::exists(folder / name); };
  // Studies and searches have a configuration too, but no set of their own.
  if (has("order-0")) return FolderKind::Study;
  if (has("trainings") || has("sets")) return FolderKind::Search;
  if (has("sweep")) return FolderKind::Sweep;
  const methods::RunFolder run{folder};
  const bool any =
      fs::exists(run.config()) || fs::exists(run.checkpoint()) || fs::exists(run.set());
  return any ? FolderKind::Run : FolderKind::Other;
}

std::string folder_text(FolderKind kind) {
  switch (kind) {
    case FolderKind::Study:
      return "the folder of a study of `retort continual`: its result is in results.json and "
             "curve.svg, single sets lie in order-*/step-*";
    case FolderKind::Search:
      return "the folder of a search of `retort nas`: its result is in results.json and "
             "scatter-*.svg, single sets lie in sets/";
    case FolderKind::Sweep:
      return "the folder of a sweep: its result is in table.txt, every run lies in a folder below";
    case FolderKind::Run:
    case FolderKind::Other:
      break;
  }
  throw Error("this kind of folder has no text");
}

std::string set_file(const std::string& word) {
  if (!fs::is_directory(word)) return word;
  const methods::RunFolder run{word};
  switch (const FolderKind kind = folder_kind(word)) {
    case FolderKind::Study:
    case FolderKind::Search:
    case FolderKind::Sweep:
      throw StorageError(str("'", word, "': is ", folder_text(kind)));
    case FolderKind::Run:
      if (fs::exists(run.set())) return run.set().string();
      throw StorageError(str("'", word, "': is the folder of a run that has not made its set yet; ",
                             "retort info ", word, " tells how far it is"));
    case FolderKind::Other:
      break;
  }
  throw StorageError(str("'", word, "': is a folder, but of no run: expected config.cfg, ",
                         "checkpoint.h5 or set.h5 in it, found none"));
}

}  // namespace retort::commands
