#include <span>

#include "datasets/cifar_bin/cifar_format.h"
#include "datasets/dataset.h"
#include "lib/core/error.h"
#include "tests/datasets/support.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using data::Split;
using datasets::open_dataset;

namespace {

// A record whose planes are full of red, green and blue.
Bytes record(const Bytes& labels, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  Bytes bytes = labels;
  for (const std::uint8_t value : {red, green, blue}) bytes.insert(bytes.end(), 1024, value);
  return bytes;
}

Bytes join_bytes(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

datasets::OpenOptions at_path(const TempFolder& folder) { return {.data_path = folder.path()}; }

// Five batches of two classes each, one test image per class.
void write_cifar10(const TempFolder& folder) {
  std::vector<Bytes> test;
  for (std::uint8_t batch = 0; batch < 5; ++batch) {
    std::vector<Bytes> train;
    for (const auto label : {std::uint8_t(2 * batch), std::uint8_t(2 * batch + 1)}) {
      train.push_back(record({label}, label, 100, 200));
      test.push_back(record({label}, 0, label, 0));
    }
    write_file(folder / ("data_batch_" + std::to_string(batch + 1) + ".bin"), join_bytes(train));
  }
  write_file(folder / "test_batch.bin", join_bytes(test));
}

Bytes cifar100_file() {
  std::vector<Bytes> records;
  for (std::uint8_t fine = 0; fine < 100; ++fine) {
    records.push_back(record({std::uint8_t(fine / 5), fine}, fine, 0, 0));
  }
  return join_bytes(records);
}

}  // namespace

TEST_CASE("CIFAR-10 batches are read in order with planes, names and constants",
          "[datasets][cifar]") {
  const TempFolder folder;
  write_cifar10(folder);
  const auto dataset = open_dataset("CIFAR-10", at_path(folder));
  CHECK(dataset.info().name == "cifar10");
  CHECK(dataset.shape() == data::ImageShape{3, 32, 32});
  CHECK(dataset.labels(Split::Train).equal(at::arange(10, at::kLong)));
  const Tensor image = dataset.pixels(Split::Train, at::full({1}, 7, at::kLong))[0];
  CHECK(image.select(2, 31).select(1, 31).equal(at::tensor({7, 100, 200}, at::kByte)));
  CHECK(dataset.info().class_names[9] == "truck");
  CHECK(dataset.preprocessing().mean() == std::vector<double>{0.4914, 0.4822, 0.4465});
  CHECK(dataset.preprocessing().std() == std::vector<double>{0.2023, 0.1994, 0.2010});

  write_file(folder / "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  CHECK(open_dataset("cifar10", at_path(folder)).info().class_names[9] == "j");
  write_file(folder / "batches.meta.txt", "a\nb\n");
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "expected 10 class names, found 2");
}

TEST_CASE("CIFAR-100 takes the fine labels and its own constants", "[datasets][cifar]") {
  const TempFolder folder;
  write_file(folder / "cifar-100-binary/train.bin", cifar100_file());
  write_file(folder / "cifar-100-binary/test.bin", cifar100_file());
  const auto dataset = open_dataset("cifar100", at_path(folder));
  CHECK(dataset.labels(Split::Train).equal(at::arange(100, at::kLong)));
  CHECK(dataset.info().class_names.size() == 100);
  CHECK(dataset.info().class_names[8] == "bicycle");
  CHECK(dataset.info().class_names[99] == "worm");
  CHECK(std::is_sorted(dataset.info().class_names.begin(), dataset.info().class_names.end()));
  CHECK(dataset.preprocessing().mean() == std::vector<double>{0.5071, 0.4866, 0.4409});
  CHECK(dataset.preprocessing().std() == std::vector<double>{0.2673, 0.2564, 0.2762});
}

TEST_CASE("other data in CIFAR's layouts open by their file names", "[datasets][cifar]") {
  const TempFolder folder;
  std::vector<Bytes> records;
  for (std::uint8_t i = 0; i < 20; ++i) {
    records.push_back(record({std::uint8_t(i % 2)}, i, 0, 0));
  }
  write_file(folder / "data_batch_1.bin", join_bytes(records));
  const auto numbered = open_dataset("cifar-bin", at_path(folder));
  CHECK(numbered.info().class_names == std::vector<std::string>{"0", "1"});
  CHECK(numbered.size(Split::Test) == 4);
  CHECK_THAT(numbered.info().note, Catch::Matchers::Contains("no test split found"));
  write_file(folder / "batches.meta.txt", "left\nright\n");
  CHECK(open_dataset("cifar-bin", at_path(folder)).info().class_names[1] == "right");
  write_file(folder / "batches.meta.txt", "left\n");
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar-bin", at_path(folder)), DataError,
                         "label 1 of image 1 is not in 0 .. 0");

  const TempFolder fine;
  write_file(fine / "train.bin", cifar100_file());
  write_file(fine / "test.bin", cifar100_file());
  CHECK(open_dataset("cifar-bin", at_path(fine)).num_classes() == 100);
}

TEST_CASE("damaged and missing CIFAR files are refused with what was found", "[datasets][cifar]") {
  const TempFolder folder;
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "looked for data_batch_1.bin, data_batch_2.bin");
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar-bin", at_path(folder)), DataError,
                         "looked for data_batch_1.bin or train.bin");
  std::filesystem::create_directories(folder / "cifar-10-batches-py");
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "it holds the version for Python");
  write_cifar10(folder);
  std::filesystem::remove(folder / "data_batch_3.bin");
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "not all of them are in one place");
  write_file(folder / "data_batch_3.bin", Bytes(3072));
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "data_batch_3.bin': expected a whole number of records of 3073 bytes, "
                         "found 3072 bytes");
  write_file(folder / "data_batch_3.bin", Bytes(3074));
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "1 more than 1 records");
  write_file(folder / "data_batch_3.bin", Bytes());
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError, "found 0 bytes");
  write_file(folder / "data_batch_3.bin", record({10}, 0, 0, 0));
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "label 10 of image 4 is not in 0 .. 9");
  write_file(folder / "data_batch_3.bin", record({4}, 0, 0, 0));
  CHECK_THROWS_WITH_TEXT(open_dataset("cifar10", at_path(folder)), DataError,
                         "class 5 ('dog') has no training image");
}
