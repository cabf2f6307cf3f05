#include "methods/run_folder.h"

#include <filesystem>
#include <fstream>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "methods/prediction.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;

TEST_CASE("a resumed metrics file loses the rows that will be made again, and half a line",
          "[methods][resume]") {
  const testing::TemporaryFolder folder("retort-csv-test");
  const auto path = folder.path() / "metrics.csv";
  write_text(path, "iteration,loss\n0,1\n1,2\n2,3\n3");
  CsvLog log(path, 2);
  log.row({{"iteration", "2"}, {"loss", "9"}});
  CHECK(read_text(path) == "iteration,loss\n0,1\n1,2\n2,9\n");
  CsvLog fresh(path, 0);
  fresh.row({{"iteration", "0"}, {"loss", "5"}});
  CHECK(read_text(path) == "iteration,loss\n0,5\n");
}

TEST_CASE("a metrics file that is none is refused by file and line", "[methods][resume]") {
  const testing::TemporaryFolder folder("retort-csv-damaged-test");
  const auto path = folder.path() / "metrics.csv";
  write_text(path, "iteration,loss\n0,1\none,2\n");
  CHECK_THROWS_WITH_TEXT(CsvLog(path, 2), StorageError,
                         "metrics.csv':3: expected a whole number, found 'one'");
  write_text(path, "iteration,loss\n99999999999999999999,1\n");
  CHECK_THROWS_WITH_TEXT(CsvLog(path, 2), StorageError, "metrics.csv':2: expected a whole number");
}

TEST_CASE("what killed writes of a run's own files left is removed, and nothing else",
          "[methods][resume]") {
  const testing::TemporaryFolder temporary("retort-litter-test");
  const RunFolder folder{temporary.path()};
  const auto beside = [](const std::filesystem::path& path, const std::string& suffix) {
    return std::filesystem::path(path.string() + suffix);
  };
  const std::vector<std::filesystem::path> own{folder.checkpoint(), folder.set(), folder.grid(),
                                               folder.grid(20), folder.config()};
  const std::vector<std::filesystem::path> kept{
      folder.checkpoint(), beside(folder.set(), ".tmp.old"), folder.root / "notes.txt.tmp.12"};
  for (const auto& path : own) write_text(beside(path, ".tmp.4711"), "half");
  for (const auto& path : kept) write_text(path, "x");
  remove_temporaries(folder);
  for (const auto& path : own) CHECK_FALSE(std::filesystem::exists(beside(path, ".tmp.4711")));
  for (const auto& path : kept) CHECK(std::filesystem::exists(path));
}

TEST_CASE("a configuration gets another number of iterations and nothing else", "[methods]") {
  CHECK(with_iterations("a = 1\niterations = 20\niterations-more = 2\n", 3) ==
        "a = 1\niterations = 3\niterations-more = 2\n");
}

TEST_CASE("a folder is taken back unless it held something", "[methods]") {
  const testing::TemporaryFolder temporary("retort-made-folder-test");
  const auto& root = temporary.path();
  const MadeFolder made(root / "runs" / "a");
  write_text(root / "runs" / "a" / "config.cfg", "x");
  made.take_back();
  CHECK_FALSE(std::filesystem::exists(root / "runs"));

  std::filesystem::create_directories(root / "empty");
  const MadeFolder empty(root / "empty");
  write_text(root / "empty" / "config.cfg", "x");
  empty.take_back();
  CHECK(std::filesystem::is_empty(root / "empty"));

  write_text(root / "mine" / "notes.txt", "x");
  const MadeFolder mine(root / "mine");
  write_text(root / "mine" / "config.cfg", "x");
  mine.take_back();
  CHECK(std::filesystem::exists(root / "mine" / "notes.txt"));
  CHECK(std::filesystem::exists(root / "mine" / "config.cfg"));

  write_text(root / "file", "x");
  CHECK_THROWS_WITH_TEXT(MadeFolder(root / "file"), StorageError, "cannot be created");
}

TEST_CASE("a log file takes what is logged and what only it shall know", "[methods]") {
  const testing::TemporaryFolder temporary("retort-log-file-test");
  const auto path = temporary.path() / "log.txt";
  {
    const LogFile file(path);
    log::info("begun");
    file.write(log::Level::Error, "failed");
  }
  log::info("not here");
  const std::string text = read_text(path);
  CHECK(text.find(" begun\n") != std::string::npos);
  CHECK(text.find(" error: failed\n") != std::string::npos);
  CHECK(text.find("not here") == std::string::npos);
}

TEST_CASE("a log file that cannot be opened is said so", "[methods]") {
  const testing::TemporaryFolder temporary("retort-no-log-file-test");
  std::filesystem::create_directories(temporary.path() / "log.txt");
  CHECK_THROWS_WITH_TEXT(LogFile(temporary.path() / "log.txt"), StorageError,
                         "log.txt': cannot be opened for appending");
}

TEST_CASE("one process at a time works in a run folder", "[methods][driver]") {
  const retort::testing::TemporaryFolder folder("retort-lock-test");
  {
    const RunLock first(folder.path());
    // A lock belongs to the open file, so a second one in this process stands for another process.
    CHECK_THROWS_WITH_TEXT(RunLock(folder.path()), ConfigError, "is in use by another process");
  }
  CHECK_NOTHROW(RunLock(folder.path()));
}
