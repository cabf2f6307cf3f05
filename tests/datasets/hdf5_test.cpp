#include "lib/storage/hdf5.h"

#include <functional>

#include "datasets/dataset.h"
#include "lib/core/error.h"
#include "tests/datasets/support.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using data::Split;
using datasets::open_dataset;
using storage::H5Writer;

namespace {

Tensor longs(std::vector<std::int64_t> values) { return at::tensor(values, at::kLong); }

// uint8 values 0, 1, 2, ... in this shape
Tensor counting(std::vector<std::int64_t> shape) {
  std::int64_t count = 1;
  for (const auto dim : shape) count *= dim;
  return at::arange(count, at::kLong).remainder(256).to(at::kByte).view(shape);
}

data::ImageDataset open_with(const TempFolder& folder,
                             const std::function<void(H5Writer&)>& write) {
  H5Writer::create(folder / "data.h5", write);
  return open_dataset("hdf5", {.data_path = folder / "data.h5"});
}

// Checks the type and text of what opening such a file throws.
void check_refused(const TempFolder& folder, const std::function<void(H5Writer&)>& write,
                   const std::string& text) {
  CHECK_THROWS_WITH_TEXT(open_with(folder, write), DataError, text);
}

}  // namespace

TEST_CASE("an HDF5 file with groups or flat names opens with its class names", "[datasets][hdf5]") {
  const TempFolder folder;
  const auto grouped = open_with(folder, [](H5Writer& file) {
    file.tensor("train/images", counting({4, 3, 5}));
    file.tensor("train/labels", longs({1, 0, 1, 0}));
    file.tensor("test/images", counting({2, 3, 5}));
    file.tensor("test/labels", longs({0, 1}).to(at::kByte));
    file.texts("class_names", {"yes", "no"});
  });
  CHECK(grouped.shape() == data::ImageShape{1, 3, 5});
  CHECK(grouped.labels(Split::Train).equal(longs({1, 0, 1, 0})));
  CHECK(grouped.labels(Split::Test).equal(longs({0, 1})));
  CHECK(grouped.info().class_names == std::vector<std::string>{"yes", "no"});
  const auto flat = open_with(folder, [](H5Writer& file) {
    file.tensor("images", counting({4, 3, 5}));
    file.tensor("labels", longs({1, 0, 1, 0}).to(at::kInt).unsqueeze(1));
    file.tensor("test_images", counting({2, 3, 5}));
    file.tensor("test_labels", longs({0, 1}));
    file.attribute("", "class_names", "yes, no");
  });
  CHECK(flat.info().class_names == grouped.info().class_names);
  CHECK(flat.info().sha256 == grouped.info().sha256);
  const auto single = open_with(folder, [](H5Writer& file) {
    file.tensor("images", counting({10, 2, 2}));
    file.tensor("labels", longs({0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
  });
  CHECK(single.info().class_names == std::vector<std::string>{"0", "1"});
  CHECK_THAT(single.info().note, Catch::Matchers::Contains("no test split found"));
}

TEST_CASE("channels first and last give the same dataset", "[datasets][hdf5]") {
  const TempFolder folder;
  const Tensor images = counting({2, 3, 4, 5});
  const auto write = [&](const Tensor& stored, const std::string& layout) {
    return open_with(folder, [&](H5Writer& file) {
      for (const std::string split : {"train", "test"}) {
        file.tensor(split + "/images", stored);
        file.tensor(split + "/labels", longs({0, 0}));
        if (!layout.empty()) file.attribute(split + "/images", "layout", layout);
      }
    });
  };
  const auto first = write(images, "");
  CHECK(first.shape() == data::ImageShape{3, 4, 5});
  CHECK(first.pixels(Split::Train, longs({0, 1})).equal(images));
  const auto last = write(images.permute({0, 2, 3, 1}).contiguous(), "");
  CHECK(last.info().sha256 == first.info().sha256);
  const Tensor both = counting({2, 3, 4, 3});
  CHECK(write(both, "NCHW").shape() == data::ImageShape{3, 4, 3});
  CHECK(write(both, "NHWC").shape() == data::ImageShape{3, 3, 4});
  CHECK_THROWS_WITH_TEXT(write(both, ""), DataError, "can be read as NCHW and as NHWC");
  CHECK_THROWS_WITH_TEXT(write(both, "CHW"), DataError, "expected NHWC or NCHW, found 'CHW'");
  CHECK_THROWS_WITH_TEXT(write(images, "NHWC"), DataError, "expected 1 or 3 channels as in NHWC");
  CHECK_THROWS_WITH_TEXT(write(counting({2, 4, 4, 5}), ""), DataError,
                         "expected 1 or 3 channels, found shape [2, 4, 4, 5]");
}

TEST_CASE("an HDF5 file says whether mirroring changes its classes, and the options overrule it",
          "[datasets][hdf5]") {
  const TempFolder folder;
  const auto open_saying = [&](const std::string& answer) {
    return open_with(folder, [&](H5Writer& file) {
      file.tensor("images", counting({10, 2, 2}));
      file.tensor("labels", longs({0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
      if (!answer.empty()) file.attribute("", "mirror_changes_class", answer);
    });
  };
  CHECK_FALSE(open_saying("").info().mirror_changes_class);
  CHECK_FALSE(open_saying("no").info().mirror_changes_class);
  CHECK(open_saying("yes").info().mirror_changes_class);
  datasets::OpenOptions options{.data_path = folder / "data.h5", .mirror_changes_class = false};
  CHECK_FALSE(open_dataset("hdf5", options).info().mirror_changes_class);
  options.mirror_changes_class = true;
  CHECK(open_dataset("shapes", options).info().mirror_changes_class);
  CHECK_THROWS_WITH_TEXT(open_saying("true"), DataError,
                         "attribute mirror_changes_class: expected yes or no, found 'true'");
}

TEST_CASE("an HDF5 file that is not a dataset is refused with what is wrong", "[datasets][hdf5]") {
  const TempFolder folder;
  check_refused(
      folder, [](H5Writer& file) { file.tensor("x", counting({2})); },
      "looked for train/images, train_images or images; found");
  check_refused(
      folder,
      [](H5Writer& file) {
        file.tensor("images", counting({2, 2, 2}));
      },
      "has 'images' but no 'labels'");
  const auto with = [](const Tensor& images, const Tensor& labels) {
    return [=](H5Writer& file) {
      file.tensor("images", images);
      file.tensor("labels", labels);
    };
  };
  check_refused(folder, with(counting({3, 2, 2}), longs({0, 0})), "'images' holds 3 images");
  check_refused(folder, with(counting({3, 4}), longs({0, 0, 0})), "rank 3 or 4, found rank 2");
  check_refused(folder, with(counting({2, 2, 2}).to(at::kFloat), longs({0, 0})),
                "expected uint8 images, found Float");
  check_refused(folder, with(counting({2, 2, 2}), longs({0, 0}).to(at::kFloat)),
                "expected integer labels [N], found Float");
  check_refused(folder, with(counting({2, 2, 2}), longs({0, -1})), "label -1 of image 1");
  check_refused(folder, with(counting({2, 2, 2}), longs({0, 70000})), "label 70000 of image 1");
  check_refused(
      folder,
      [&](H5Writer& file) {
        with(counting({2, 2, 2}), longs({0, 1}))(file);
        file.texts("class_names", {"one"});
      },
      "data.h5', 'labels': label 1 of image 1 is not in 0 .. 0");
  write_file(folder / "text.h5", "not HDF5");
  CHECK_THROWS_AS(open_dataset("hdf5", {.data_path = folder / "text.h5"}), DataError);
  CHECK_THROWS_WITH_TEXT(open_dataset("hdf5", {.data_path = folder.path()}), DataError,
                         "is a folder; expected an HDF5 file");
}
