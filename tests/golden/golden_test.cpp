#include "tests/golden/golden.h"

#include <cstdlib>
#include <fstream>

#include "lib/core/error.h"
#include "tests/support/catch.h"

namespace {

using namespace retort;
using namespace retort::testing::golden;

/// RETORT_GOLDEN_DIR, or the folder of the source tree.
std::filesystem::path golden_folder() {
  const char* chosen = std::getenv("RETORT_GOLDEN_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : RETORT_GOLDEN_SOURCE_DIR;
}

class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("retort_golden_" + name)) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_CASE("the numbers of the papers' own code come out", "[golden]") {
  for (const auto& path : golden_files(golden_folder())) {
    DYNAMIC_SECTION(path.filename().string()) { check_file(path); }
  }
}

TEST_CASE("a missing or empty golden folder is an error, not a success", "[golden]") {
  const TemporaryFolder folder("empty");
  CHECK_THROWS_WITH_TEXT(golden_files(folder.path()), StorageError,
                         "expected .h5 files, found none");
  CHECK_THROWS_WITH_TEXT(golden_files(folder.path() / "absent"), StorageError,
                         "No such file or directory");
}

TEST_CASE("an unreadable golden file is an error", "[golden]") {
  const TemporaryFolder folder("unreadable");
  std::ofstream(folder.path() / "noise.h5") << "this is not HDF5";
  CHECK_THROWS_WITH_TEXT(check_file(folder.path() / "noise.h5"), StorageError, "noise.h5");
}

TEST_CASE("a golden file of a kind without code is reported as skipped", "[golden]") {
  const TemporaryFolder folder("unknown_kind");
  const auto path = folder.path() / "made_up.h5";
  storage::H5Writer::create(
      path, [](storage::H5Writer& file) { file.attribute("", "kind", "unheard_of"); });
  CHECK(check_file(path) == Outcome::Skipped);
}
