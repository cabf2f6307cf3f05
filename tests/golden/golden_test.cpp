#include "tests/golden/golden.h"

#include <cstdlib>
#include <fstream>
#include <set>

#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace {

using namespace retort;
using namespace retort::testing::golden;

/// RETORT_GOLDEN_DIR, or the folder of the source tree.
std::filesystem::path golden_folder() {
  const char* chosen = std::getenv("RETORT_GOLDEN_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : RETORT_GOLDEN_SOURCE_DIR;
}

}  // namespace

TEST_CASE("the numbers of the papers' own code come out", "[golden]") {
  for (const auto& path : golden_files(golden_folder())) {
    DYNAMIC_SECTION(path.filename().string()) { check_file(path); }
  }
}

TEST_CASE("the golden files of the source tree serve every handler", "[golden]") {
  std::set<std::string> kinds;
  for (const auto& path : golden_files(RETORT_GOLDEN_SOURCE_DIR)) {
    kinds.insert(GoldenFile(path).kind());
  }
  for (const Handler& handler : handlers()) {
    INFO(handler.kind);
    CHECK(kinds.count(handler.kind) == 1);
  }
}

TEST_CASE("a missing or empty golden folder is an error, not a success", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-empty");
  CHECK_THROWS_WITH_TEXT(golden_files(folder.path()), StorageError,
                         "expected .h5 files, found none");
  CHECK_THROWS_WITH_TEXT(golden_files(folder.path() / "absent"), StorageError,
                         "No such file or directory");
}

TEST_CASE("an unreadable golden file is an error", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-unreadable");
  std::ofstream(folder.path() / "noise.h5") << "this is not HDF5";
  CHECK_THROWS_WITH_TEXT(check_file(folder.path() / "noise.h5"), StorageError, "noise.h5");
}

TEST_CASE("a golden file of a kind without code is reported as skipped", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-unknown-kind");
  const auto path = folder.path() / "made_up.h5";
  storage::H5Writer::create(
      path, [](storage::H5Writer& file) { file.attribute("", "kind", "unheard_of"); });
  CHECK(check_file(path) == Outcome::Skipped);
}
