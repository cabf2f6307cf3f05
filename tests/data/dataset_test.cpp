#include <set>

#include "lib/core/error.h"
#include "lib/data/held_out.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "tests/support/catch.h"

using namespace retort;
using data::ImageDataset;
using data::Split;

namespace {

// Image i holds the value i everywhere, so rows can be recognised.
data::DataSplit numbered_split(const std::vector<std::int64_t>& labels, std::int64_t side = 2) {
  const auto n = std::int64_t(labels.size());
  const Tensor images = at::arange(n, at::kByte).view({n, 1, 1, 1}).repeat({1, 1, side, side});
  return {std::make_shared<data::MemoryStore>(images), at::tensor(labels, at::kLong)};
}

data::DatasetInfo info(std::vector<std::string> classes = {"cat", "dog"}) {
  return {.name = "tiny", .class_names = std::move(classes), .sha256 = "abc", .note = {}};
}

ImageDataset tiny() {
  return {info(), numbered_split({0, 1, 0, 1, 1, 0, 1, 1, 1, 1}), numbered_split({1, 0}),
          data::Preprocessing::identity(1)};
}

Tensor rows(std::initializer_list<std::int64_t> values) {
  return at::tensor(std::vector<std::int64_t>(values), at::kLong);
}

std::set<std::int64_t> values_of(const ImageDataset& dataset, Split split) {
  const Tensor all = at::arange(dataset.size(split), at::kLong);
  const Tensor pixels = dataset.pixels(split, all).to(at::kLong).select(3, 0).flatten();
  std::set<std::int64_t> values;
  for (std::int64_t i = 0; i < pixels.numel(); ++i) values.insert(pixels[i].item<std::int64_t>());
  return values;
}

}  // namespace

TEST_CASE("a dataset hands out rows, labels and classes in order", "[data][dataset]") {
  const ImageDataset dataset = tiny();
  CHECK(dataset.shape() == data::ImageShape{1, 2, 2});
  CHECK(dataset.num_classes() == 2);
  CHECK(dataset.size(Split::Train) == 10);
  CHECK(dataset.size(Split::Test) == 2);
  CHECK(dataset.class_indices(0).equal(rows({0, 2, 5})));
  CHECK(dataset.class_indices(1).equal(rows({1, 3, 4, 6, 7, 8, 9})));
  CHECK(dataset.smallest_class() == 3);
  const Tensor pixels = dataset.pixels(Split::Train, rows({7, 7, 2}));
  CHECK(pixels.scalar_type() == at::kByte);
  CHECK(pixels.select(3, 0).select(2, 0).flatten().to(at::kLong).equal(rows({7, 7, 2})));
  CHECK(dataset.batch(Split::Train, rows({5})).equal(at::full({1, 1, 2, 2}, 5.0F / 255)));
  const auto other = dataset.with_preprocessing(data::Preprocessing::mean_std({1.0}, {0.5}));
  CHECK(other.batch(Split::Train, rows({0})).equal(at::full({1, 1, 2, 2}, -2.0F)));
}

TEST_CASE("splits that contradict each other or their labels are refused", "[data][dataset]") {
  const auto make = [](data::DataSplit train, data::DataSplit test,
                       std::vector<std::string> classes = {"cat", "dog"}) {
    return ImageDataset(info(std::move(classes)), std::move(train), std::move(test),
                        data::Preprocessing::identity(1));
  };
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0, 2}), numbered_split({0})), DataError,
                         "training split: label 2 of image 1 is not in 0 .. 1");
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0, 1}), numbered_split({-1})), DataError,
                         "test split: label -1 of image 0");
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0, 0}), numbered_split({0})), DataError,
                         "class 1 ('dog') has no training image");
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0, 1}), numbered_split({0}, 3)), DataError,
                         "training images are 1x2x2, test images are 1x3x3");
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0, 1}), {}), DataError, "images or labels missing");
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0}), numbered_split({0}), {}), DataError,
                         "has no classes");
  auto mismatch = numbered_split({0, 1});
  mismatch.labels = rows({0, 1, 1});
  CHECK_THROWS_WITH_TEXT(make(mismatch, numbered_split({0})), DataError,
                         "found 2 images and 3 labels");
  mismatch.labels = at::zeros({2}, at::kInt);
  CHECK_THROWS_WITH_TEXT(make(mismatch, numbered_split({0})), DataError, "expected int64 labels");
  auto empty =
      data::DataSplit{std::make_shared<data::MemoryStore>(at::empty({0, 1, 2, 2}, at::kByte)),
                      at::empty({0}, at::kLong)};
  CHECK_THROWS_WITH_TEXT(make(numbered_split({0, 1}), empty), DataError, "holds no image");
  CHECK_THROWS_WITH_TEXT(data::MemoryStore(at::zeros({2, 2}, at::kByte)), DataError,
                         "expected uint8 [N,C,H,W]");
}

TEST_CASE("holding out cuts every class and never touches the real test split", "[data][dataset]") {
  const ImageDataset dataset = tiny();
  const ImageDataset held = dataset.hold_out(0.3, Rng(5).child("cut"));
  // 0.3 of 3 and 7 images: 1 and 2.
  CHECK(held.size(Split::Train) == 7);
  CHECK(held.size(Split::Test) == 3);
  CHECK(held.labels(Split::Test).sum().item<std::int64_t>() == 2);
  const auto kept = values_of(held, Split::Train);
  const auto cut = values_of(held, Split::Test);
  CHECK(kept.size() == 7);
  CHECK(cut.size() == 3);
  for (const auto value : cut) {
    CHECK(kept.count(value) == 0);
    // Image `value` of the training split carries that label.
    CHECK(value < 10);
  }
  CHECK_THAT(held.info().note, Catch::Matchers::Contains("30 % held out"));
  const auto noted = data::held_out_of("a file; " + held.info().note + "; more");
  REQUIRE(noted);
  CHECK(noted->text == held.info().note);
  CHECK(noted->fraction == 0.3);
  CHECK_FALSE(data::held_out_of("20 % of every class set aside"));
  CHECK(dataset.hold_out(0.3, Rng(5).child("cut")).info().note == held.info().note);
  CHECK(held.info().sha256 == "abc");
  CHECK(values_of(dataset.hold_out(0.3, Rng(5).child("cut")), Split::Test) == cut);
  std::set<std::set<std::int64_t>> cuts;
  std::set<std::string> notes;
  for (int seed = 0; seed < 8; ++seed) {
    notes.insert(dataset.hold_out(0.3, Rng(std::uint64_t(seed))).info().note);
    cuts.insert(values_of(dataset.hold_out(0.3, Rng(std::uint64_t(seed))), Split::Test));
  }
  CHECK(cuts.size() > 1);
  CHECK(notes.size() == cuts.size());
  CHECK(dataset.hold_out(0.01, Rng(0)).size(Split::Test) == 2);
  CHECK(dataset.hold_out(0.99, Rng(0)).size(Split::Train) == 2);
  CHECK_THROWS_WITH_TEXT(dataset.hold_out(1.0, Rng(0)), ConfigError, "between 0 and 1, found 1");
  const ImageDataset lonely(info(), numbered_split({0, 1, 1}), numbered_split({0}),
                            data::Preprocessing::identity(1));
  CHECK_THROWS_WITH_TEXT(lonely.hold_out(0.5, Rng(0)), DataError,
                         "class 0 ('cat') has 1 training image");
}

TEST_CASE("a subset per class is seeded, sorted and takes all of a smaller class",
          "[data][dataset]") {
  const ImageDataset dataset = tiny();
  const ImageDataset four = dataset.images_per_class(4, Rng(1));
  CHECK(four.size(Split::Train) == 7);
  CHECK(four.class_indices(0).size(0) == 3);
  CHECK(four.size(Split::Test) == 2);
  const Tensor order =
      four.pixels(Split::Train, at::arange(7, at::kLong)).select(3, 0).select(2, 0);
  CHECK(std::get<0>(order.flatten().sort()).equal(order.flatten()));
  CHECK(values_of(dataset.images_per_class(4, Rng(1)), Split::Train) ==
        values_of(four, Split::Train));
  CHECK_THAT(four.info().note, Catch::Matchers::Contains("4 images per class"));
  CHECK_THROWS_WITH_TEXT(dataset.images_per_class(0, Rng(1)), ConfigError, "found 0");
  const ImageDataset picked = dataset.train_subset(rows({9, 0}));
  CHECK(picked.labels(Split::Train).equal(rows({1, 0})));
  CHECK(picked.pixels(Split::Train, rows({0}))[0][0][0][0].item<int>() == 9);
  CHECK_THROWS_WITH_TEXT(dataset.train_subset(rows({1})), DataError, "class 0 ('cat')");
}

TEST_CASE("a subset of a subset still finds its pixels", "[data][dataset]") {
  const auto base =
      std::make_shared<data::SubsetStore>(numbered_split({0, 0, 0, 0, 0}).images, rows({4, 2, 0}));
  const data::SubsetStore nested(base, rows({2, 0}));
  CHECK(nested.size() == 2);
  CHECK(nested.shape() == data::ImageShape{1, 2, 2});
  CHECK(nested.pixels(rows({0, 1}))
            .select(3, 0)
            .select(2, 0)
            .flatten()
            .to(at::kLong)
            .equal(rows({0, 4})));
}

TEST_CASE("a dataset and what is cut from it make batches on its device", "[data][dataset]") {
  // Tensors without memory stand for those of a device.
  const at::Device elsewhere = at::kMeta;
  const ImageDataset dataset = tiny();
  const ImageDataset moved = dataset.on(elsewhere);
  CHECK(dataset.device() == at::Device(at::kCPU));
  CHECK(dataset.batch(Split::Train, rows({0})).is_cpu());
  for (const ImageDataset& one :
       {moved, moved.hold_out(0.3, Rng(0)), moved.train_subset(rows({0, 1, 2})),
        moved.images_per_class(1, Rng(0)),
        moved.with_preprocessing(data::Preprocessing::identity(1))}) {
    CHECK(one.device() == elsewhere);
    CHECK(one.batch(Split::Train, rows({0})).is_meta());
    CHECK(one.labels(Split::Train).is_cpu());
    CHECK(one.pixels(Split::Train, rows({0})).is_cpu());
  }
}

TEST_CASE("the hash sees pixels, labels, shapes and which split they are in", "[data][hash]") {
  const auto a = numbered_split({0, 1});
  const auto b = numbered_split({1});
  const std::string reference = data::dataset_sha256(a, b);
  CHECK(reference.size() == 64);
  CHECK(data::dataset_sha256(a, b) == reference);
  CHECK(data::dataset_sha256(b, a) != reference);
  CHECK(data::dataset_sha256(numbered_split({1, 1}), b) != reference);
  CHECK(data::dataset_sha256(numbered_split({0, 1}, 3), b) != reference);
  Tensor changed = a.images->pixels(rows({0, 1}));
  changed.view(-1)[0] = 200;
  const data::DataSplit other{std::make_shared<data::MemoryStore>(changed), a.labels};
  CHECK(data::dataset_sha256(other, b) != reference);
  const data::DataSplit reshaped{
      std::make_shared<data::MemoryStore>(a.images->pixels(rows({0, 1})).view({2, 1, 1, 4})),
      a.labels};
  CHECK(data::dataset_sha256(reshaped, b) != reference);
}

TEST_CASE("a synthetic set knows its shape and classes", "[data][set]") {
  data::SyntheticSet set;
  CHECK_THROWS_WITH_TEXT(set.shape(), DataError, "expected images [M,C,H,W], found none");
  set.images = at::zeros({4, 3, 2, 5});
  set.labels = data::HardLabels{rows({0, 0, 2, 2})};
  CHECK(set.shape() == data::ImageShape{3, 2, 5});
  CHECK(set.num_classes() == 3);
  set.labels = data::SoftLabels{.classes = rows({0, 1}), .values = at::zeros({2, 4})};
  CHECK(data::hard_classes(set.labels).equal(rows({0, 1})));
  set.provenance.class_names = {"a", "b", "c", "d"};
  CHECK(set.num_classes() == 4);
}

TEST_CASE("a choice of classes keeps their images alone, numbered in the order of the choice",
          "[data][dataset]") {
  const ImageDataset three{info({"cat", "dog", "owl"}), numbered_split({0, 1, 2, 0, 2, 1}),
                           numbered_split({2, 1, 0, 2}), data::Preprocessing::identity(1)};
  const ImageDataset two = three.only_classes({2, 0});
  CHECK(two.info().class_names == std::vector<std::string>{"owl", "cat"});
  CHECK(values_of(two, Split::Train) == std::set<std::int64_t>{0, 2, 3, 4});
  CHECK(two.labels(Split::Train).equal(rows({1, 0, 1, 0})));
  CHECK(values_of(two, Split::Test) == std::set<std::int64_t>{0, 2, 3});
  CHECK(two.labels(Split::Test).equal(rows({0, 1, 0})));
  CHECK(two.info().sha256 == three.info().sha256);
  CHECK_THAT(two.info().note, Catch::Matchers::Contains("of 3 classes only 2, 0"));

  const ImageDataset tested = three.test_only_classes({2, 0});
  CHECK(tested.num_classes() == 3);
  CHECK(tested.size(Split::Train) == 6);
  CHECK(values_of(tested, Split::Test) == std::set<std::int64_t>{0, 2, 3});
  CHECK(tested.labels(Split::Test).equal(rows({2, 0, 2})));

  CHECK_THROWS_WITH_TEXT(three.only_classes({}), ConfigError, "expected at least one, found none");
  CHECK_THROWS_WITH_TEXT(three.only_classes({3}), ConfigError, "3 is not in 0 .. 2");
  CHECK_THROWS_WITH_TEXT(three.test_only_classes({1, 1}), ConfigError, "1 is named twice");
}
