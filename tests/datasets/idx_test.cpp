#include <span>

#include "datasets/dataset.h"
#include "datasets/files.h"
#include "datasets/idx/idx_format.h"
#include "lib/core/error.h"
#include "tests/datasets/support.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using data::Split;
using datasets::open_dataset;

namespace {

datasets::IdxArray decode(const Bytes& file) {
  return datasets::decode_idx(std::as_bytes(std::span(file)), "file");
}

// Six 2x3 training images of 3 classes, three test images.
void write_small(const TempFolder& folder, const std::string& prefix = "",
                 const std::string& test = "t10k") {
  write_file(folder / (prefix + "train-images-idx3-ubyte"), idx({6, 2, 3}, ramp(36)));
  write_file(folder / (prefix + "train-labels-idx1-ubyte.gz"), gzip(idx({6}, {2, 0, 1, 1, 0, 2})));
  write_file(folder / (prefix + test + "-images-idx3-ubyte.gz"),
             gzip(idx({3, 2, 3}, ramp(18, 50))));
  write_file(folder / (prefix + test + "-labels-idx1-ubyte"), idx({3}, {0, 1, 2}));
}

datasets::OpenOptions at_path(const TempFolder& folder) { return {.data_path = folder.path()}; }

Tensor all_rows(const data::ImageDataset& dataset, Split split) {
  return at::arange(dataset.size(split), at::kLong);
}

}  // namespace

TEST_CASE("an IDX array keeps its dimensions and values, plain or gzip", "[datasets][idx]") {
  const Bytes file = idx({2, 3}, ramp(6, 10));
  for (const Bytes& stored : {file, gzip(file)}) {
    const auto array = decode(stored);
    CHECK(array.type == 0x08);
    CHECK(array.dims == std::vector<std::int64_t>{2, 3});
    CHECK(array.values.size() == 6);
    CHECK(std::to_integer<int>(array.values[5]) == 15);
  }
}

TEST_CASE("a gzip file of several members is read through", "[datasets][idx]") {
  const Bytes file = idx({4}, {1, 2, 3, 4});
  Bytes stored = gzip(Bytes(file.begin(), file.begin() + 7));
  const Bytes second = gzip(Bytes(file.begin() + 7, file.end()));
  stored.insert(stored.end(), second.begin(), second.end());
  CHECK(datasets::idx_labels(decode(stored), "file") == std::vector<std::int64_t>{1, 2, 3, 4});
}

TEST_CASE("labels of wider types keep their sign", "[datasets][idx]") {
  const Bytes shorts{0, 0, 0x0B, 1, 0, 0, 0, 2, 0xFF, 0xFE, 0x01, 0x02};
  CHECK(datasets::idx_labels(decode(shorts), "f") == std::vector<std::int64_t>{-2, 258});
  const Bytes ints{0, 0, 0x0C, 1, 0, 0, 0, 1, 0, 1, 0, 0};
  CHECK(datasets::idx_labels(decode(ints), "f") == std::vector<std::int64_t>{65536});
  const Bytes signed_bytes{0, 0, 0x09, 1, 0, 0, 0, 1, 0xFF};
  CHECK(datasets::idx_labels(decode(signed_bytes), "f") == std::vector<std::int64_t>{-1});
}

TEST_CASE("a damaged IDX file is refused with what was expected and found", "[datasets][idx]") {
  const Bytes file = idx({2, 3}, ramp(6));
  const auto cut = [](Bytes bytes, std::size_t size) {
    bytes.resize(size);
    return bytes;
  };
  CHECK_THROWS_WITH_TEXT(decode(cut(file, 15)), DataError,
                         "'file': header promises 2x3 values, 6 bytes, found 3; is the file trunc");
  CHECK_THROWS_WITH_TEXT(decode(cut(file, 6)), DataError, "expected a header of 12 bytes, found 6");
  CHECK_THROWS_WITH_TEXT(decode({}), DataError, "found 0 bytes; is the file truncated?");
  Bytes longer = file;
  longer.push_back(0);
  CHECK_THROWS_WITH_TEXT(decode(longer), DataError, "found trailing bytes");
  CHECK_THROWS_WITH_TEXT(decode(gzip(longer)), DataError, "found trailing bytes");
  CHECK_THROWS_WITH_TEXT(decode(gzip(cut(file, 15))), DataError, "found 3; is the file truncated?");

  Bytes wrong = file;
  wrong[0] = 'P';
  CHECK_THROWS_WITH_TEXT(decode(wrong), DataError, "wrong magic number");
  CHECK_THROWS_WITH_TEXT(decode(wrong), DataError, "found 50 00 08 02");
  wrong = file;
  wrong[2] = 0x0D;  // float32
  CHECK_THROWS_WITH_TEXT(decode(wrong), DataError, "wrong magic number");
  CHECK_THROWS_WITH_TEXT(decode(idx({2, 0}, {})), DataError, "holds no values");
  const std::uint32_t huge = 0xFFFFFFFF;
  CHECK_THROWS_WITH_TEXT(decode(idx({huge, huge, huge, huge}, ramp(4))), DataError,
                         "overflow 64 bits");
  CHECK_THROWS_WITH_TEXT(decode(idx({huge, 28, 28}, ramp(4))), DataError, "found 4");
  CHECK_THROWS_WITH_TEXT(decode(gzip(idx({huge, 28, 28}, ramp(4)))), DataError,
                         "compressed bytes cannot hold");
  CHECK_THROWS_WITH_TEXT(datasets::idx_labels(decode(file), "file"), DataError,
                         "expected labels of rank 1, found rank 2");
}

TEST_CASE("a damaged gzip stream is refused wherever the damage is", "[datasets][idx]") {
  const Bytes packed = gzip(idx({40, 30}, ramp(1200)));
  // Cut at every length after the two bytes that say gzip.
  for (std::size_t size = 2; size < packed.size(); ++size) {
    Bytes cut = packed;
    cut.resize(size);
    CHECK_THROWS_WITH_TEXT(decode(cut), DataError, "ends early; is the file truncated?");
  }
  Bytes flipped = packed;
  flipped[packed.size() - 6] ^= 1;  // in the checksum
  CHECK_THROWS_WITH_TEXT(decode(flipped), DataError, "the gzip stream is damaged");
  Bytes longer = packed;
  longer.push_back(7);
  CHECK_THROWS_WITH_TEXT(decode(longer), DataError, "trailing bytes after the gzip stream");
}

TEST_CASE("a folder of IDX files opens with its splits and numbered classes", "[datasets][idx]") {
  const TempFolder folder;
  write_small(folder);
  const auto dataset = open_dataset("idx", at_path(folder));
  CHECK(dataset.shape() == data::ImageShape{1, 2, 3});
  CHECK(dataset.info().class_names == std::vector<std::string>{"0", "1", "2"});
  CHECK(dataset.size(Split::Train) == 6);
  CHECK(dataset.size(Split::Test) == 3);
  const Tensor train = dataset.pixels(Split::Train, all_rows(dataset, Split::Train));
  CHECK(train.flatten().equal(at::arange(36, at::kByte)));
  CHECK(dataset.labels(Split::Train).equal(at::tensor({2, 0, 1, 1, 0, 2}, at::kLong)));
  // Computed over the training pixels 0 .. 35.
  CHECK(dataset.preprocessing().mean()[0] == Approx(17.5 / 255));
  CHECK(dataset.info().note.empty());

  write_file(folder / "classes.txt", "cat\n dog \r\n\nbird\n");
  const auto named = open_dataset("idx", at_path(folder));
  CHECK(named.info().class_names == std::vector<std::string>{"cat", "dog", "bird"});
  CHECK(named.info().sha256 == dataset.info().sha256);
  write_file(folder / "classes.txt", "cat\ndog\n");
  CHECK_THROWS_WITH_TEXT(open_dataset("idx", at_path(folder)), DataError,
                         "label 2 of image 0 is not in 0 .. 1");
}

TEST_CASE("colour IDX images may have their channels first or last", "[datasets][idx]") {
  for (const bool first : {true, false}) {
    const TempFolder folder;
    const std::vector<std::uint32_t> dims =
        first ? std::vector<std::uint32_t>{2, 3, 4, 5} : std::vector<std::uint32_t>{2, 4, 5, 3};
    write_file(folder / "train-images-idx4-ubyte", idx(dims, ramp(120)));
    write_file(folder / "train-labels-idx1-ubyte", idx({2}, {0, 0}));
    write_file(folder / "test-images-idx4-ubyte", idx(dims, ramp(120)));
    write_file(folder / "test-labels-idx1-ubyte", idx({2}, {0, 0}));
    const auto dataset = open_dataset("idx", at_path(folder));
    CHECK(dataset.shape() == data::ImageShape{3, 4, 5});
    const Tensor pixel =
        dataset.pixels(Split::Train, at::zeros({1}, at::kLong))[0].select(2, 1).select(1, 0);
    // Row 0, column 1 of the three channels.
    CHECK(pixel.equal(
        at::tensor(first ? std::vector<int>{1, 21, 41} : std::vector<int>{3, 4, 5}).to(at::kByte)));
  }
}

TEST_CASE("without a test split one is cut from every class and said aloud", "[datasets][idx]") {
  const TempFolder folder;
  write_file(folder / "train-images-idx3-ubyte", idx({10, 2, 2}, ramp(40)));
  write_file(folder / "train-labels-idx1-ubyte", idx({10}, {0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
  auto options = at_path(folder);
  options.split_seed = 3;
  const auto dataset = open_dataset("idx", options);
  CHECK(dataset.size(Split::Train) == 8);
  CHECK(dataset.labels(Split::Test).sum().item<int>() == 1);
  CHECK_THAT(dataset.info().note,
             Catch::Matchers::Contains("20 % of every class set aside as test split, seed 3"));
  CHECK(open_dataset("idx", options).info().sha256 == dataset.info().sha256);
  options.test_fraction = 1.5;
  CHECK_THROWS_WITH_TEXT(open_dataset("idx", options), ConfigError, "test fraction");
}

TEST_CASE("known IDX datasets bring names and constants, and refuse foreign labels",
          "[datasets][idx]") {
  const TempFolder folder;
  Bytes labels = ramp(10);
  write_file(folder / "train-images-idx3-ubyte", idx({10, 28, 28}, ramp(7840)));
  write_file(folder / "train-labels-idx1-ubyte", idx({10}, labels));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError, "has no test split");
  write_file(folder / "t10k-images-idx3-ubyte", idx({1, 28, 28}, ramp(784)));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError,
                         "found t10k-images-idx3-ubyte but not its labels");
  write_file(folder / "t10k-labels-idx1-ubyte", idx({1}, {4}));
  const auto mnist = open_dataset("MNIST", at_path(folder));
  CHECK(mnist.info().name == "mnist");
  CHECK(mnist.info().mirror_changes_class);
  CHECK(mnist.preprocessing().mean() == std::vector<double>{0.1307});
  CHECK(mnist.preprocessing().std() == std::vector<double>{0.3081});
  CHECK(open_dataset("fashion-mnist", at_path(folder)).info().class_names[9] == "Ankle boot");
  CHECK_FALSE(open_dataset("fashion-mnist", at_path(folder)).info().mirror_changes_class);

  labels[7] = 12;
  write_file(folder / "train-labels-idx1-ubyte", idx({10}, labels));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError,
                         "train-labels-idx1-ubyte': label 12 of image 7 is not in 0 .. 9");
  labels[7] = 6;
  write_file(folder / "train-labels-idx1-ubyte", idx({10}, labels));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError,
                         "class 7 ('7') has no training image");
  write_file(folder / "train-labels-idx1-ubyte", idx({9}, ramp(9)));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError, "holds 10 images");
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError, "9 labels");
  write_file(folder / "train-images-idx3-ubyte", idx({7840}, ramp(7840)));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError,
                         "expected unsigned bytes of rank 3 or 4");
  write_file(folder / "train-images-idx3-ubyte", idx({10, 7, 28, 4}, ramp(7840)));
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError,
                         "expected 1 or 3 channels in dimension 1 or 3, found 10x7x28x4");
}

TEST_CASE("EMNIST letters start at 1 and are turned upright", "[datasets][idx]") {
  const TempFolder folder;
  Bytes images(26 * 6);
  images[1] = 200;  // first image, row 0, column 1 as stored
  write_file(folder / "emnist-letters-train-images-idx3-ubyte", idx({26, 2, 3}, images));
  write_file(folder / "emnist-letters-train-labels-idx1-ubyte", idx({26}, ramp(26, 1)));
  write_file(folder / "emnist-letters-test-images-idx3-ubyte", idx({26, 2, 3}, images));
  write_file(folder / "emnist-letters-test-labels-idx1-ubyte", idx({26}, ramp(26, 1)));
  const auto dataset = open_dataset("emnist-letters", at_path(folder));
  CHECK(dataset.info().class_names.front() == "A");
  CHECK(dataset.labels(Split::Train).equal(at::arange(26, at::kLong)));
  CHECK(dataset.shape() == data::ImageShape{1, 3, 2});
  CHECK(dataset.pixels(Split::Train, at::zeros({1}, at::kLong))[0][0][1][0].item<int>() == 200);
  CHECK_THAT(dataset.info().note, Catch::Matchers::Contains("transposed"));
}

TEST_CASE("missing IDX files are answered with what was looked for and where", "[datasets][idx]") {
  const TempFolder folder;
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError,
                         "looked for train-images-idx3-ubyte or train-images-idx3-ubyte.gz");
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", at_path(folder)), DataError, folder.path().string());
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", {}), ConfigError, "needs --data PATH");
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", {.data_path = folder / "nowhere"}), DataError,
                         "nowhere' does not exist");
  std::filesystem::create_directory_symlink(folder / "loop", folder / "loop");
  CHECK_THROWS_WITH_TEXT(open_dataset("mnist", {.data_path = folder / "loop"}), DataError,
                         "cannot be read: Too many levels of symbolic links");
  CHECK_THROWS_WITH_TEXT(datasets::read_bytes(folder / "loop"), DataError, "Too many levels");
  CHECK_THROWS_WITH_TEXT(datasets::read_bytes(folder.path()), DataError, "Is a directory");
}

TEST_CASE("IDX files are also found in the folders that downloads make", "[datasets][idx]") {
  const TempFolder folder;
  const TempFolder source;
  write_small(source, "emnist-digits-", "test");
  std::filesystem::create_directories(folder / "EMNIST");
  std::filesystem::copy(source.path(), folder / "EMNIST/raw");
  CHECK_THROWS_WITH_TEXT(open_dataset("emnist-digits", at_path(folder)), DataError,
                         "class 3 ('3') has no training image");
}

TEST_CASE("the packaged Fashion-MNIST has the published size and pixel statistics",
          "[datasets][idx]") {
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    WARN("skipped: package dataset-fashion-mnist is not installed");
    return;
  }
  const auto dataset = open_dataset("FashionMNIST", {});
  CHECK(dataset.size(Split::Train) == 60000);
  CHECK(dataset.size(Split::Test) == 10000);
  CHECK(dataset.smallest_class() == 6000);
  const auto computed = data::compute_mean_std(
      data::MemoryStore(dataset.pixels(Split::Train, all_rows(dataset, Split::Train))));
  CHECK(computed.mean()[0] == Approx(0.2861).margin(1e-4));
  CHECK(computed.std()[0] == Approx(0.3530).margin(1e-4));
  // The first training image is an ankle boot.
  CHECK(dataset.labels(Split::Train)[0].item<int>() == 9);
}
