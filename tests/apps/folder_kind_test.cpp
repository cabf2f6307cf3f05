// Folders where a set is expected: of runs, studies, searches, sweeps, and of none.
#include "apps/commands/folder_kind.h"

#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;
using commands::folder_kind;
using commands::FolderKind;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// What a folder is in which only these files lie.
FolderKind kind_of(const std::vector<std::pair<std::string, std::string>>& files) {
  const TemporaryFolder folder("retort-kind");
  for (const auto& [name, text] : files) write_text(folder.path() / name, text);
  return folder_kind(folder.path());
}

}  // namespace

TEST_CASE("folders are told apart by what lies in them, however far they are", "[apps][folders]") {
  CHECK(kind_of({}) == FolderKind::Other);
  CHECK(kind_of({{"notes.txt", ""}}) == FolderKind::Other);
  CHECK(kind_of({{"config.cfg", "method = dm\n"}}) == FolderKind::Run);
  CHECK(kind_of({{"checkpoint.h5", ""}}) == FolderKind::Run);
  CHECK(kind_of({{"config.cfg", "method = dm\norders = 2\n"}}) == FolderKind::Study);
  CHECK(kind_of({{"order-0/step-1/config.cfg", ""}}) == FolderKind::Study);
  CHECK(kind_of({{"config.cfg", "proxies = dm\n"}}) == FolderKind::Search);
  CHECK(kind_of({{"trainings/reference/x.json", "{}"}}) == FolderKind::Search);
  CHECK(kind_of({{"sweep/cell.cfg", ""}}) == FolderKind::Sweep);
  // What a person puts beside a set changes nothing, nor does a folder of that name elsewhere.
  CHECK(kind_of({{"set.h5", ""}, {"trainings/x", ""}, {"sweep/a.cfg", ""}}) == FolderKind::Run);
  CHECK(kind_of({{"sweep/run/config.cfg", ""}}) == FolderKind::Other);
}

TEST_CASE("a run folder stands for the set in it", "[apps][folders]") {
  const Workspace& workspace = condensed_shapes();
  CHECK_THAT(workspace.succeed({"verify", "run"}).out, Contains("run/set.h5: every part agrees"));
  workspace.succeed({"show", "run", "--out", "folder.png"});
  workspace.succeed({"export", "run", "--out", "folder.pt"});
  const auto judged = workspace.succeed({"evaluate", "run", "--protocol", tiny_protocol(workspace),
                                         "--out", "folder.json", "--json"});
  CHECK(json::parse(judged.out)["set"] == "run/set.h5");
}

TEST_CASE("where a set is expected other folders are refused for what they are",
          "[apps][folders]") {
  const Workspace workspace;
  write_text(workspace.path("study/config.cfg"), "method = dm\norders = 2\nsteps = 5\n");
  write_text(workspace.path("search/config.cfg"), "proxies = dm\n");
  write_text(workspace.path("grid/sweep/cell.cfg"), "method = dm\n");
  write_text(workspace.path("begun/config.cfg"), "method = dm\n");
  fs::create_directories(workspace.path("empty"));
  const auto refused = [&](const std::string& folder, int code, const std::string& text) {
    for (const Words& words :
         std::vector<Words>{{"show", folder},
                            {"evaluate", folder},
                            {"verify", folder},
                            {"export", folder, "--out", "x.pt"},
                            {"relabel", folder, "--teachers", "t.h5", "--out", "x.h5"}}) {
      INFO(words.front() << " " << folder);
      const auto result = workspace.retort(words);
      CHECK(result.exit_code == code);
      CHECK_THAT(result.err, Contains("'" + folder + "': is ") && Contains(text));
    }
  };
  refused("study", 2, "a study of `retort continual`");
  refused("search", 2, "a search of `retort nas`");
  refused("grid", 2, "the folder of a sweep");
  refused("begun", 1, "a run without a set");
  refused("empty", 1, "a folder, but of no run");
}

TEST_CASE("info tells of studies, searches and sweeps, and what of them is damaged",
          "[apps][folders]") {
  const Workspace workspace;
  const auto told = [&](const std::string& folder) {
    return json::parse(workspace.retort({"info", folder, "--json"}).out);
  };
  write_text(workspace.path("search/config.cfg"), "proxies = dm\nipc = 10\n");
  CHECK_THAT(workspace.succeed({"info", "search"}).out,
             Contains("retort nas --run-dir search --resume") && Contains("proxies"));
  CHECK(told("search")["schema"] == "retort.study-info/1");
  CHECK(told("search")["command"] == "nas");
  CHECK(told("search")["finished"] == false);
  CHECK(told("search")["config"]["ipc"] == "10");
  write_text(workspace.path("search/results.json"), R"({"schema": "retort.nas/1"})");
  CHECK(told("search")["finished"] == true);
  write_text(workspace.path("search/results.json"), R"({"schema": "ret)");
  const auto damaged = workspace.retort({"info", "search"});
  CHECK(damaged.exit_code == 1);
  CHECK_THAT(damaged.out, Contains("damaged") && Contains("results.json"));
  CHECK(told("search")["finished"] == false);

  write_text(workspace.path("grid/sweep/cell.cfg"), "method = dm\n");
  CHECK(told("grid")["finished"].is_null());
  CHECK_THAT(workspace.succeed({"info", "grid"}).out, Contains("table.txt"));
}
