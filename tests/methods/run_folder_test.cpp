#include "methods/run_folder.h"

#include <filesystem>
#include <fstream>

#include "lib/core/files.h"
#include "methods/prediction.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;

TEST_CASE("a resumed metrics file loses the rows that will be made again, and half a line",
          "[methods][resume]") {
  const auto folder = std::filesystem::temp_directory_path() / "retort-csv-test";
  std::filesystem::remove_all(folder);
  const auto path = folder / "metrics.csv";
  write_text(path, "iteration,loss\n0,1\n1,2\n2,3\n3");
  CsvLog log(path, 2);
  log.row({{"iteration", "2"}, {"loss", "9"}});
  CHECK(read_text(path) == "iteration,loss\n0,1\n1,2\n2,9\n");
  CsvLog fresh(path, 0);
  fresh.row({{"iteration", "0"}, {"loss", "5"}});
  CHECK(read_text(path) == "iteration,loss\n0,5\n");
  std::filesystem::remove_all(folder);
}

TEST_CASE("an entry of a configuration text is replaced, added or removed", "[methods]") {
  CHECK(with_entry("a = 1\nb = 2\n", "b", "3") == "a = 1\nb = 3\n");
  CHECK(with_entry("a = 1\n", "b", "3") == "a = 1\nb = 3\n");
  CHECK(with_entry("a = 1\nb = 2\n", "a", "") == "b = 2\n");
}

TEST_CASE("durations read as a person would say them", "[methods]") {
  CHECK(duration_text(0.44) == "0.4 s");
  CHECK(duration_text(42.3) == "42 s");
  CHECK(duration_text(200) == "3 min 20 s");
  CHECK(duration_text(7530) == "2 h 05 min");
}
