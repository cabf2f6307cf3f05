#include <map>

#include "datasets/assemble.h"
#include "datasets/dataset.h"
#include "datasets/statistics_cache.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/rng.h"
#include "tests/datasets/support.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using data::Split;
using datasets::open_dataset;

namespace {

// Collects warnings instead of failing on them.
class Warnings {
 public:
  Warnings()
      : previous_(log::set_sink([this](log::Level level, const std::string& message) {
          if (level == log::Level::Warn) texts_.push_back(message);
        })) {}
  ~Warnings() { log::set_sink(previous_); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
  log::Sink previous_;
};

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files.push_back(entry.path());
  return files;
}

}  // namespace

TEST_CASE("every dataset has a description and answers to its own names only",
          "[datasets][registry]") {
  std::map<std::string, std::string> owners;
  for (const auto& entry : datasets::all_datasets()) {
    CHECK_FALSE(entry.description.empty());
    REQUIRE(entry.open != nullptr);
    auto names = entry.aliases;
    names.push_back(entry.name);
    for (const auto& name : names) {
      INFO(name);
      CHECK(datasets::find_dataset(name).name == entry.name);
      CHECK(owners.emplace(name, entry.name).second);
    }
  }
  CHECK(datasets::find_dataset("Fashion_MNIST").name == "fashion-mnist");
}

TEST_CASE("the sizes in the registry are those of the datasets", "[datasets][registry]") {
  for (const char* name : {"shapes", "shapes-rgb", "codes-10", "codes-100"}) {
    INFO(name);
    const auto& size = datasets::find_dataset(name).size;
    REQUIRE(size.has_value());
    const auto dataset = open_dataset(name, {});
    CHECK(dataset.shape() == size->shape);
    CHECK(dataset.num_classes() == size->classes);
    CHECK(dataset.size(Split::Train) == size->training_images);
  }
  CHECK_FALSE(datasets::find_dataset("folder").size.has_value());
}

TEST_CASE("only image files are resized; elsewhere a size must be the true one",
          "[datasets][registry]") {
  CHECK_THROWS_WITH_TEXT(open_dataset("shapes", {.image_size = 32}), ConfigError,
                         "of dataset 'shapes' are 16x16");
  CHECK(open_dataset("shapes", {.image_size = 16}).shape().height == 16);
}

TEST_CASE("a dataset opened without statistics keeps its pixels", "[datasets][registry]") {
  const auto dataset = open_dataset("shapes", {.zca = true, .fit = false});
  REQUIRE(dataset.preprocessing().kind() == data::Preprocessing::Kind::MeanStd);
  CHECK(dataset.preprocessing().mean() == std::vector<double>{0});
  CHECK(dataset.preprocessing().std() == std::vector<double>{1});
}

TEST_CASE("files that are not there and files that are bad are told apart",
          "[datasets][registry]") {
  const TempFolder folder;
  CHECK_THROWS_AS(open_dataset("mnist", {.data_path = folder.path()}), datasets::FilesNotFound);
  CHECK_THROWS_AS(open_dataset("mnist", {.data_path = folder / "none"}), datasets::FilesNotFound);
}

TEST_CASE("an unknown dataset is answered with the known ones", "[datasets][registry]") {
  CHECK_THROWS_WITH_TEXT(open_dataset("fashion-minst", {}), ConfigError,
                         "did you mean 'fashion-mnist'");
  CHECK_THROWS_WITH_TEXT(open_dataset("zzz", {}), ConfigError, "shapes");
}

TEST_CASE("ZCA is computed once and then read from the cache", "[datasets][cache]") {
  const TempFolder cache;
  datasets::OpenOptions options;
  options.zca = true;
  options.cache_dir = cache.path();
  const auto first = open_dataset("shapes", options);
  CHECK(first.preprocessing().kind() == data::Preprocessing::Kind::Zca);
  REQUIRE(files_in(cache.path()).size() == 1);
  const auto file = files_in(cache.path())[0];
  CHECK_THAT(file.filename().string(), Catch::Matchers::Contains(first.info().sha256));
  const auto written = std::filesystem::last_write_time(file);
  const auto second = open_dataset("shapes", options);
  CHECK(std::filesystem::last_write_time(file) == written);
  CHECK(second.preprocessing().zca_matrices().whiten.equal(
      first.preprocessing().zca_matrices().whiten));
  const Tensor rows = at::arange(20, at::kLong);
  CHECK(second.batch(Split::Test, rows).equal(first.batch(Split::Test, rows)));
  options.cache_dir.clear();
  CHECK(open_dataset("shapes", options)
            .preprocessing()
            .zca_matrices()
            .whiten.equal(first.preprocessing().zca_matrices().whiten));
}

TEST_CASE("computed mean and std are cached too, and a damaged cache is replaced",
          "[datasets][cache]") {
  const TempFolder cache;
  datasets::OpenOptions options;
  options.cache_dir = cache.path();
  const auto first = open_dataset("shapes-rgb", options);
  REQUIRE(files_in(cache.path()).size() == 1);
  const auto file = files_in(cache.path())[0];
  CHECK(open_dataset("shapes-rgb", options).preprocessing().std() == first.preprocessing().std());
  write_file(file, "not HDF5");
  {
    const Warnings warnings;
    CHECK(open_dataset("shapes-rgb", options).preprocessing().std() == first.preprocessing().std());
    REQUIRE(warnings.texts().size() == 1);
    CHECK_THAT(warnings.texts()[0], Catch::Matchers::Contains("computed again"));
  }
  CHECK(open_dataset("shapes-rgb", options).preprocessing().mean() == first.preprocessing().mean());
  write_file(cache / "file", "a file where a folder should be");
  options.cache_dir = cache / "file";
  const Warnings warnings;
  CHECK(open_dataset("shapes-rgb", options).preprocessing().mean() == first.preprocessing().mean());
  REQUIRE_FALSE(warnings.texts().empty());
  CHECK_THAT(warnings.texts()[0], Catch::Matchers::Contains("could not be kept"));
}

TEST_CASE("cached statistics of other images are computed again", "[datasets][cache]") {
  const TempFolder folder;
  const Tensor images = Rng(1).uniform_tensor({6, 1, 2, 2});
  const auto gray = [&] { return data::Preprocessing::mean_std({0.5}, {0.2}); };
  const auto zca = [&] { return data::fit_zca(images); };
  const datasets::StatisticsCache of_gray(folder.path(), "abc", {1, 2, 2});
  of_gray.mean_std(gray);
  of_gray.zca(0.1, zca);

  const Warnings warnings;
  const datasets::StatisticsCache of_colour(folder.path(), "abc", {3, 2, 2});
  const auto colours = [] { return data::Preprocessing::mean_std({1, 2, 3}, {4, 5, 6}); };
  CHECK(of_colour.mean_std(colours).mean() == std::vector<double>{1, 2, 3});
  REQUIRE(warnings.texts().size() == 1);
  CHECK_THAT(warnings.texts()[0],
             Catch::Matchers::Contains("expected statistics of 3 channels, found 1"));
  CHECK(of_colour.mean_std(gray).mean() == std::vector<double>{1, 2, 3});  // replaced

  const Tensor wide = Rng(2).uniform_tensor({6, 1, 2, 3});
  const datasets::StatisticsCache of_wide(folder.path(), "abc", {1, 2, 3});
  const auto found = of_wide.zca(0.1, [&] { return data::fit_zca(wide); });
  CHECK(found.zca_matrices().mean.numel() == 6);
  REQUIRE(warnings.texts().size() == 2);
  CHECK_THAT(warnings.texts()[1], Catch::Matchers::Contains("mean: expected shape [6], found [4]"));

  const auto file = folder / "zca-0.1-abc.h5";
  std::filesystem::rename(file, folder / "zca-0.2-abc.h5");
  CHECK(of_wide.zca(0.2, [&] { return data::fit_zca(wide, 0.2); }).zca_matrices().eps == 0.2);
  REQUIRE(warnings.texts().size() == 3);
  CHECK_THAT(warnings.texts()[2],
             Catch::Matchers::Contains("expected matrices of eps 0.2, found 0.1"));
}

TEST_CASE("ZCA of images too large for its matrix is refused", "[datasets][registry]") {
  datasets::RawDataset raw;
  raw.class_names = {"only"};
  raw.train = {std::make_shared<data::MemoryStore>(at::zeros({2, 3, 65, 64}, at::kByte)),
               at::zeros({2}, at::kLong)};
  raw.test = raw.train;
  CHECK_THROWS_WITH_TEXT(datasets::assemble("large", raw, {.zca = true}), ConfigError,
                         "needs a matrix of 12480 x 12480");
  CHECK_THROWS_WITH_TEXT(datasets::assemble("large", raw, {.image_size = -1}), ConfigError,
                         "image size: expected 0 or a positive side, found -1");
  raw.test.reset();
  raw.train.labels = at::zeros({2}, at::kLong);
  raw.class_names = {"only", "none"};
  CHECK_THROWS_WITH_TEXT(datasets::assemble("large", raw, {}), DataError,
                         "class 1 ('none') has 0 training image(s)");
}
