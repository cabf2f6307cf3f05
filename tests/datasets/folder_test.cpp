#include "datasets/dataset.h"
#include "lib/core/error.h"
#include "lib/vision/vision.h"
#include "tests/datasets/support.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using data::Split;
using datasets::open_dataset;
namespace fs = std::filesystem;

namespace {

void write_picture(const fs::path& path, int value, std::int64_t channels = 3,
                   std::int64_t height = 4, std::int64_t width = 6) {
  vision::write_image(path, at::full({channels, height, width}, value, at::kByte));
}

// Two classes of unequal size, lossless, non-square.
void write_small(const TempFolder& folder) {
  write_picture(folder / "train/bird/b.png", 2);
  write_picture(folder / "train/bird/a.bmp", 1);
  write_picture(folder / "train/ant/x.png", 3);
  write_picture(folder / "train/bird/deep/c.PNG", 4);
  write_picture(folder / "test/ant/y.png", 5);
}

datasets::OpenOptions at_path(const fs::path& folder) { return {.data_path = folder}; }

Tensor first_values(const data::ImageDataset& dataset, Split split) {
  const Tensor rows = at::arange(dataset.size(split), at::kLong);
  return dataset.pixels(split, rows).flatten(1).select(1, 0).to(at::kLong);
}

Tensor longs(std::vector<std::int64_t> values) { return at::tensor(values, at::kLong); }

}  // namespace

TEST_CASE("a folder of classes is read in the order of names", "[datasets][folder]") {
  const TempFolder folder;
  write_small(folder);
  write_file(folder / "train/.hidden/x.png", "not looked at");
  write_file(folder / "train/ant/notes.txt", "not an image");
  const auto dataset = open_dataset("folder", at_path(folder.path()));
  CHECK(dataset.info().class_names == std::vector<std::string>{"ant", "bird"});
  CHECK(dataset.shape() == data::ImageShape{3, 4, 6});
  CHECK(first_values(dataset, Split::Train).equal(longs({3, 1, 2, 4})));
  CHECK(dataset.labels(Split::Train).equal(longs({0, 1, 1, 1})));
  CHECK(dataset.labels(Split::Test).equal(longs({0})));
  CHECK(dataset.smallest_class() == 1);
  CHECK_THAT(dataset.info().note, Catch::Matchers::Contains("1 file(s) that are not JPEG"));
}

TEST_CASE("image size resizes and crops pictures of any size", "[datasets][folder]") {
  const TempFolder folder;
  write_small(folder);
  write_picture(folder / "train/ant/large.png", 9, 3, 50, 20);
  auto options = at_path(folder.path());
  CHECK_THROWS_WITH_TEXT(
      open_dataset("folder", options), DataError,
      "x.png' is 6x4 pixels, '" + (folder / "train/ant/large.png").string() + "' 20x50");
  CHECK_THROWS_WITH_TEXT(open_dataset("folder", options), DataError, "give --image-size N");
  options.image_size = 5;
  const auto dataset = open_dataset("folder", options);
  CHECK(dataset.shape() == data::ImageShape{3, 5, 5});
  CHECK(first_values(dataset, Split::Train).equal(longs({9, 3, 1, 2, 4})));
}

TEST_CASE("gray pictures stay gray, and do not mix with colour", "[datasets][folder]") {
  const TempFolder folder;
  write_picture(folder / "train/a/1.png", 1, 1);
  write_picture(folder / "val/a/2.png", 2, 1);
  const auto dataset = open_dataset("folder", at_path(folder.path()));
  CHECK(dataset.shape().channels == 1);
  CHECK_THAT(dataset.info().note, Catch::Matchers::Contains("folder 'val' is the test split"));
  write_picture(folder / "train/a/3.png", 3, 3);
  CHECK_THROWS_WITH_TEXT(open_dataset("folder", at_path(folder.path())), DataError,
                         "3.png' has 3 channel(s)");
  CHECK_THROWS_WITH_TEXT(open_dataset("folder", at_path(folder.path())), DataError,
                         "must be gray or all colour");
}

TEST_CASE("pictures above the memory limit are decoded as needed, with the same result",
          "[datasets][folder]") {
  const TempFolder folder;
  write_small(folder);
  auto options = at_path(folder.path());
  const auto whole = open_dataset("folder", options);
  options.memory_limit_bytes = 5 * 72 - 1;
  const auto lazy = open_dataset("folder", options);
  CHECK(lazy.info().note == whole.info().note);
  CHECK(lazy.info().sha256 == whole.info().sha256);
  CHECK(lazy.preprocessing().mean() == whole.preprocessing().mean());
  CHECK(lazy.pixels(Split::Train, longs({2, 0})).equal(whole.pixels(Split::Train, longs({2, 0}))));
  write_picture(folder / "train/bird/b.png", 2, 3, 9, 9);
  CHECK_THROWS_WITH_TEXT(lazy.pixels(Split::Train, longs({2})), DataError, "b.png' is 9x9 pixels");
  fs::remove(folder / "train/bird/b.png");
  CHECK_THROWS_WITH_TEXT(lazy.pixels(Split::Train, longs({2})), DataError, "cannot be read");
}

TEST_CASE("classes without train and test folders get a seeded test split", "[datasets][folder]") {
  const TempFolder folder;
  for (int i = 0; i < 10; ++i) {
    write_picture(folder / ("cat/" + std::to_string(i) + ".png"), i);
    write_picture(folder / ("dog/" + std::to_string(i) + ".png"), 100 + i);
  }
  auto options = at_path(folder.path());
  const auto dataset = open_dataset("folder", options);
  CHECK(dataset.info().class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(dataset.size(Split::Train) == 16);
  CHECK(dataset.labels(Split::Test).sum().item<int>() == 2);
  CHECK_THAT(dataset.info().note, Catch::Matchers::Contains("20 % of every class set aside"));
  options.split_seed = 1;
  CHECK(open_dataset("folder", options).info().sha256 != dataset.info().sha256);
  write_picture(folder / "one/0.png", 0);
  CHECK_THROWS_WITH_TEXT(open_dataset("folder", options), DataError,
                         "class 2 ('one') has 1 training image");
}

TEST_CASE("folders that are incomplete are refused with what is missing", "[datasets][folder]") {
  const TempFolder folder;
  const auto open = [&] { return open_dataset("folder", at_path(folder.path())); };
  CHECK_THROWS_WITH_TEXT(open_dataset("folder", {}), ConfigError, "needs --data PATH");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "looked for one folder of images per class");
  write_file(folder / "file", "x");
  CHECK_THROWS_WITH_TEXT(open_dataset("folder", at_path(folder / "file")), DataError,
                         "is not a folder");
  write_picture(folder / "test/ant/y.png", 5);
  CHECK_THROWS_WITH_TEXT(open(), DataError, "has a folder 'test' but no folder 'train'");
  write_picture(folder / "train/bird/b.png", 2);
  CHECK_THROWS_WITH_TEXT(open(), DataError, "a class 'ant' that the training split lacks");
  fs::create_directories(folder / "train/ant");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "ant' holds no JPEG, PNG, BMP or WebP file");
  write_picture(folder / "train/ant/x.png", 2);
  CHECK(open().num_classes() == 2);
  fs::remove_all(folder / "test/ant");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "the test split holds no image");
}

TEST_CASE("pictures that cannot be read are named", "[datasets][folder]") {
  const TempFolder folder;
  write_small(folder);
  const auto open = [&] { return open_dataset("folder", at_path(folder.path())); };
  write_file(folder / "train/bird/z.png", "");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "z.png': is empty");
  write_file(folder / "train/bird/z.png", "plain text");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "z.png': is not a JPEG, PNG, BMP or WebP image");
  fs::remove(folder / "train/bird/z.png");
  fs::create_symlink(folder / "train/bird/z.png", folder / "train/bird/z.png");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "z.png': cannot be read: Too many levels");
  fs::remove(folder / "train/bird/z.png");
  fs::create_symlink(folder / "nowhere.png", folder / "train/bird/z.png");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "z.png': the link leads nowhere");
  fs::remove(folder / "train/bird/z.png");
  fs::create_directory_symlink(folder / "train/bird", folder / "train/bird/deep/again");
  CHECK_THROWS_WITH_TEXT(open(), DataError, "again': the links form a loop back to");
  fs::remove(folder / "train/bird/deep/again");
  // A link that does not loop is followed.
  fs::create_directory_symlink(folder / "train/ant", folder / "train/bird/deep/ants");
  CHECK(open().size(Split::Train) == 5);
}

TEST_CASE("Tiny-ImageNet is read as distributed, gray pictures as colour", "[datasets][tiny]") {
  const TempFolder folder;
  const auto write = [&](const std::string& name, int value, std::int64_t channels = 3) {
    write_picture(folder / name, value, channels, 8, 8);
  };
  write_file(folder / "wnids.txt", "n02\nn01\nn03\n");
  write_file(folder / "words.txt", "n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane\n");
  write("train/n01/images/n01_0.jpg", 10);
  write("train/n01/images/n01_1.jpg", 20, 1);
  write("train/n02/images/n02_0.jpg", 30);
  write("train/n03/images/n03_0.jpg", 40);
  write_file(folder / "train/n01/n01_boxes.txt", "n01_0.JPEG\t0\t0\t3\t3\n");
  write("val/images/val_0.png", 50);
  write("val/images/val_1.png", 60, 1);
  write_file(folder / "val/val_annotations.txt", "val_1.png\tn02\t0\t0\t3\t3\nval_0.png\tn01\n");
  const auto options = at_path(folder.path());
  const auto dataset = open_dataset("TinyImageNet", options);
  CHECK(dataset.info().class_names ==
        std::vector<std::string>{"goldfish", "crane (n02)", "crane (n03)"});
  CHECK(dataset.shape() == data::ImageShape{3, 8, 8});
  CHECK(dataset.labels(Split::Train).equal(longs({0, 0, 1, 2})));
  CHECK(dataset.labels(Split::Test).equal(longs({1, 0})));
  CHECK(first_values(dataset, Split::Test).equal(longs({60, 50})));
  CHECK(dataset.preprocessing().mean() == std::vector<double>{0.485, 0.456, 0.406});
  CHECK(dataset.preprocessing().std() == std::vector<double>{0.229, 0.224, 0.225});
  CHECK_THAT(dataset.info().note, Catch::Matchers::Contains("validation split is the test split"));

  write_file(folder / "val/val_annotations.txt", "val_0.png\tn01\nval_1.png\tn09\n");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError,
                         "entry 2: 'n09' is not a class of wnids.txt");
  write_file(folder / "val/val_annotations.txt", "val_7.png\tn01\n");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError,
                         "val_7.png': cannot be read");
  write_file(folder / "val/val_annotations.txt", "\n");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError, "holds no entry");
  // The same images sorted into folders, as many copies have them.
  fs::remove_all(folder / "val");
  for (const char* id : {"n01", "n02", "n03"}) write(std::string("val/") + id + "/v.png", 70);
  CHECK(open_dataset("tiny-imagenet", options).labels(Split::Test).equal(longs({0, 1, 2})));
  fs::remove(folder / "train/n03/images/n03_0.jpg");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError, "n03' holds no image");
  fs::remove_all(folder / "train/n03");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError, "cannot be read");
  write_file(folder / "wnids.txt", "");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError, "lists no class");
  fs::remove(folder / "wnids.txt");
  CHECK_THROWS_WITH_TEXT(open_dataset("tiny-imagenet", options), DataError,
                         "looked for wnids.txt, train, val");
}
