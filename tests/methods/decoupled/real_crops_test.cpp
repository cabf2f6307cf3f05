#include "methods/decoupled/real_crops.h"

#include <algorithm>
#include <memory>

#include "datasets/shapes/shapes.h"
#include "lib/core/error.h"
#include "lib/data/pixels.h"
#include "tests/support/catch.h"
#include "tests/support/threads.h"

using namespace retort;
using namespace retort::methods;
using decoupled::RealCropOptions;

namespace {

constexpr std::int64_t kSide = 16;

const data::ImageDataset& colour_shapes() {
  static const data::ImageDataset dataset = datasets::shapes::make_shapes(
      {.classes = 3, .channels = 3, .side = kSide, .train_per_class = 12, .test_per_class = 1});
  return dataset;
}

/// Untrained, so that what it finds realistic is arbitrary but fixed.
train::Member observer() {
  train::Member member;
  member.network =
      nn::make_network("ConvNet-2-BN-w8", colour_shapes().shape(), colour_shapes().num_classes());
  member.state = member.network->initialize(Rng(3).child("observer"));
  return member;
}

Tensor made(const RealCropOptions& options, std::int64_t ipc) {
  return decoupled::realistic_images(colour_shapes(), observer(), options, ipc, Rng(7));
}

Tensor losses_of(const Tensor& images, std::int64_t label) {
  const auto member = observer();
  return decoupled::crop_losses(*member.network, member.state, images.unsqueeze(1), label, kSide)
      .flatten();
}

}  // namespace

TEST_CASE("realistic images are what 8-bit pixels become, class by class", "[methods][decoupled]") {
  for (const std::int64_t factor : {1, 2}) {
    const Tensor images = made({.images_per_class = 10, .crops = 2, .factor = factor}, 2);
    CHECK(images.sizes() == at::IntArrayRef({6, 3, kSide, kSide}));
    CHECK(images.scalar_type() == at::kFloat);
    CHECK_NOTHROW(data::exact_bytes(colour_shapes().preprocessing(), images));
  }
}

TEST_CASE("realistic images are the best of all crops that could be drawn",
          "[methods][decoupled]") {
  // Every crop of every image of a class, by asking for one per image and no choice among crops.
  const Tensor all = made({.images_per_class = 12, .crops = 1}, 12);
  const Tensor some = made({.images_per_class = 12, .crops = 1}, 4);
  const Tensor chosen = made({.images_per_class = 12, .crops = 8}, 4);
  for (std::int64_t c = 0; c < 3; ++c) {
    CHECK(some.narrow(0, c * 4, 4).equal(all.narrow(0, c * 12, 4)));
    const Tensor losses = losses_of(all.narrow(0, c * 12, 12), c);
    // Cutting off to 8 bits moves losses a little.
    CHECK(losses.diff().ge(-0.02).all().item<bool>());
    CHECK(losses_of(chosen.narrow(0, c * 4, 4), c).mean().item<float>() <
          losses.mean().item<float>());
  }
}

TEST_CASE("an offset passes over the best crops", "[methods][decoupled]") {
  const Tensor all = made({.images_per_class = 12, .crops = 3}, 5);
  const Tensor medium = made({.images_per_class = 12, .crops = 3, .offset = 3}, 2);
  for (std::int64_t c = 0; c < 3; ++c) {
    CHECK(medium.narrow(0, c * 2, 2).equal(all.narrow(0, c * 5 + 3, 2)));
  }
}

TEST_CASE("realistic images do not depend on the number of threads", "[methods][decoupled]") {
  const RealCropOptions options{.images_per_class = 10, .crops = 3, .factor = 2};
  const Tensor alone = made(options, 1);
  const testing::WithThreads threads(2);
  CHECK(alone.equal(made(options, 1)));
}

TEST_CASE("mosaics hold four crops, ranks apart by the number of images", "[methods][decoupled]") {
  const Tensor one = made({.images_per_class = 12, .crops = 2, .factor = 2}, 1);
  const Tensor three = made({.images_per_class = 12, .crops = 2, .factor = 2}, 3);
  const auto cell = [](const Tensor& image, std::int64_t k) {
    return image.narrow(1, k / 2 * kSide / 2, kSide / 2).narrow(2, k % 2 * kSide / 2, kSide / 2);
  };
  // Rank 0 .. 3 in the one; of the three, rank 1 is the first cell of the second.
  CHECK(cell(one[0], 0).equal(cell(three[0], 0)));
  CHECK(cell(one[0], 1).equal(cell(three[1], 0)));
  CHECK(cell(one[0], 3).equal(cell(three[0], 1)));
}

TEST_CASE("the factor follows the size of the images unless it is given", "[methods][decoupled]") {
  CHECK(RealCropOptions{}.factor_for({3, 32, 32}) == 1);
  CHECK(RealCropOptions{}.factor_for({3, 128, 128}) == 2);
  CHECK(RealCropOptions{.factor = 3}.factor_for({3, 32, 32}) == 3);
}

TEST_CASE("a class with too few images for its crops is named", "[methods][decoupled]") {
  CHECK_THROWS_WITH_TEXT(made({.factor = 2}, 4), ConfigError,
                         "class 'disc' has 12 training images, but 16 are needed, one per crop: "
                         "ipc 4 x 2 x 2");
  CHECK_THROWS_WITH_TEXT(made({.images_per_class = 5, .offset = 4}, 2), ConfigError,
                         "crop-images 5: 6 are needed");
}

TEST_CASE("crops need pixels with bounds and square images", "[methods][decoupled]") {
  const auto whitened = datasets::shapes::make_shapes({.train_per_class = 5}, {.zca = true});
  CHECK_THROWS_WITH_TEXT(decoupled::realistic_images(whitened, observer(), {}, 1, Rng(0)),
                         ConfigError, "expected preprocessing by mean and std, found zca");
}

namespace {

/// Gray images of 64 x 64 pixels, and how many of them were asked for at once.
class WatchedStore : public data::ImageStore {
 public:
  explicit WatchedStore(std::int64_t size) : size_(size) {}
  std::int64_t size() const override { return size_; }
  data::ImageShape shape() const override { return {1, 64, 64}; }
  Tensor pixels(const Tensor& indices) const override {
    most_ = std::max(most_, indices.numel());
    return (indices.view({-1, 1, 1, 1}).remainder(200).expand({-1, 1, 64, 64})).to(at::kByte);
  }
  std::int64_t most() const { return most_; }

 private:
  std::int64_t size_;
  mutable std::int64_t most_ = 0;
};

/// Images that a choice from `size` real ones has at once.
std::int64_t images_at_once(std::int64_t size) {
  const auto store = std::make_shared<WatchedStore>(size);
  const data::DataSplit split{store, at::arange(size, at::kLong).remainder(2)};
  const data::ImageDataset dataset(
      {.name = "gray", .class_names = {"a", "b"}, .sha256 = "", .note = ""}, split, split,
      data::Preprocessing::identity(1));
  train::Member member;
  member.network = nn::make_network("ConvNet-1-BN-w8", dataset.shape(), 2);
  member.state = member.network->initialize(Rng(1));
  decoupled::realistic_images(dataset, member, {.images_per_class = 1000, .crops = 5}, 2, Rng(2));
  return store->most();
}

}  // namespace

TEST_CASE("images in memory while crops are chosen do not grow with the real images",
          "[methods][decoupled]") {
  const std::int64_t few = images_at_once(50);
  CHECK(few <= 13);  // 2^18 pixels of 5 crops each
  CHECK(images_at_once(200) == few);
}

TEST_CASE("choosing crops leaves when it is asked to", "[methods][decoupled]") {
  StopFlag stop;
  stop.request();
  CHECK_THROWS_AS(
      decoupled::realistic_images(colour_shapes(), observer(), {}, 1, Rng(0), {.stop = &stop}),
      Interrupted);
}

namespace {

/// Asks for a stop after so many classes, and keeps what it was told.
struct Impatient : ProgressSink {
  explicit Impatient(std::int64_t classes) : most(classes) {}
  void update(const Progress& progress) override {
    told.push_back(progress);
    if (progress.done >= most) stop.request();
  }

  std::int64_t most;
  StopFlag stop;
  std::vector<Progress> told;
};

}  // namespace

TEST_CASE("choosing crops says how far it is, and goes on with the classes that are finished",
          "[methods][decoupled][resume]") {
  const std::int64_t classes = colour_shapes().num_classes();
  const auto images = [&](Impatient& watch, decoupled::FinishedClasses& finished) {
    return decoupled::realistic_images(
        colour_shapes(), observer(), {.images_per_class = 10, .crops = 2}, 1, Rng(0),
        {.stop = &watch.stop, .progress = &watch, .finished = &finished});
  };
  Impatient never(classes + 1);
  decoupled::FinishedClasses all;
  const Tensor expected = images(never, all);
  REQUIRE(std::int64_t(never.told.size()) == classes);
  CHECK(never.told.back().done == classes);
  CHECK(never.told.back().total == classes);
  CHECK(never.told.back().seconds_left == 0);
  CHECK(never.told.front().seconds_left > 0);

  Impatient soon(2);
  decoupled::FinishedClasses some;
  CHECK_THROWS_AS(images(soon, some), Interrupted);
  CHECK(std::count_if(some.begin(), some.end(), [](const Tensor& t) { return t.defined(); }) == 2);
  Impatient later(classes + 1);
  CHECK(at::equal(images(later, some), expected));
  CHECK(std::int64_t(later.told.size()) == classes - 2);
  CHECK(later.told.front().earlier == 2);
}

TEST_CASE("a crop is enlarged bilinearly, and smoothed where it is reduced",
          "[methods][decoupled]") {
  const Tensor images = Rng(8).normal_tensor({2, 3, 8, 8});
  const std::vector<data::PixelBox> boxes = {
      {0, 0, 8, 8}, {1, 2, 4, 4}, {0, 0, 8, 8}, {3, 0, 5, 5}};
  const Tensor same = decoupled::resized_crops(images, boxes, 8);
  CHECK(same.sizes() == at::IntArrayRef({2, 2, 3, 8, 8}));
  CHECK_CLOSE(same.select(1, 0), images, 1e-6);
  const Tensor crop = images.narrow(0, 0, 1).narrow(2, 1, 4).narrow(3, 2, 4);
  CHECK_CLOSE(same[0][1], at::upsample_bilinear2d(crop, {8, 8}, false)[0], 1e-5);
  // A checkerboard is gray from afar; taking single pixels would leave it black or white.
  const Tensor rows = at::arange(8).view({8, 1});
  const Tensor board = (rows + rows.t()).remainder(2).to(at::kFloat).expand({1, 1, 8, 8});
  CHECK_CLOSE(decoupled::resized_crops(board, {{0, 0, 8, 8}}, 4)[0][0][0].narrow(0, 1, 2),
              at::full({2, 4}, 0.5), 0.1);
  CHECK_THROWS_WITH_TEXT(decoupled::resized_crops(images, {{0, 0, 8, 8}}, 8), ConfigError,
                         "expected as many for each of 2 images, found 1");
}
