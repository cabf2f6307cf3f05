// What matching methods draw: real batches, and the images that they start from.

#include <algorithm>
#include <cmath>
#include <memory>

#include "lib/synth/parametrization.h"
#include "methods/matching/initial_images.h"
#include "methods/matching/matching_method.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::matching;
using retort::testing::check_inclusions;
using retort::testing::check_uniform;
using retort::testing::shapes;
using retort::testing::small_method;
using Counts = std::vector<std::int64_t>;

namespace {

/// Classes of 100 and 60 images; every pixel of image i is i.
const data::ImageDataset& numbered() {
  static const data::ImageDataset dataset = [] {
    const Tensor labels =
        at::cat({at::zeros({40}, at::kLong), at::arange(120, at::kLong).remainder(2)});
    const std::int64_t n = labels.numel();
    const Tensor pixels = at::arange(n, at::kByte).view({n, 1, 1, 1}).repeat({1, 1, 4, 4});
    const data::DataSplit split{std::make_shared<data::MemoryStore>(pixels), labels};
    data::DatasetInfo info;
    info.name = "numbered";
    info.class_names = {"large", "small"};
    return data::ImageDataset(info, split, split, data::Preprocessing::identity(1));
  }();
  return dataset;
}

/// The numbers of some of its images.  @param images [n,1,4,4]  @return int64 [n]
Tensor numbers_of(const Tensor& images) {
  return (images.select(3, 0).select(2, 0).select(1, 0) * 255).round().to(at::kLong);
}

/// Adds what is in a batch to the counts of its class's images, in the order of the class.
void count(const Tensor& images, std::int64_t c, Counts& counts) {
  const Tensor places = at::searchsorted(numbered().class_indices(c), numbers_of(images));
  REQUIRE(at::equal(numbered().class_indices(c).index_select(0, places), numbers_of(images)));
  const auto* place = places.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < places.numel(); ++i) ++counts[std::size_t(place[i])];
}

std::vector<Counts> no_counts() {
  std::vector<Counts> counts;
  for (std::int64_t c = 0; c < numbered().num_classes(); ++c) {
    counts.emplace_back(std::size_t(numbered().class_indices(c).numel()));
  }
  return counts;
}

/// Counts the real images it meets; its loss says nothing.
class Counting : public Objective {
 public:
  explicit Counting(std::vector<Counts>& counts) : counts_(counts) {}
  bool joint(const nn::Network&) const override { return false; }
  Loss loss(const Lens&, const std::vector<ClassPair>& classes) const override {
    for (const ClassPair& pair : classes) {
      count(pair.real, pair.class_index, counts_[std::size_t(pair.class_index)]);
    }
    return {classes[0].synthetic.sum(), {}};
  }

 private:
  std::vector<Counts>& counts_;
};

Tensor start(const MatchingOptions& options, std::int64_t ipc, const Rng& rng) {
  return initial_images(numbered(), ipc, options, *synth::make_pixels(), rng);
}

}  // namespace

TEST_CASE("independent real batches hold every image of a class equally often",
          "[methods][matching][draws]") {
  constexpr std::int64_t kBatch = 40;
  constexpr std::int64_t kIterations = 2500;  // 1e5 images of each class
  MatchingOptions options;
  options.net = "ConvNet-1-w4";
  options.augmentation = "none";
  options.batch_real = kBatch;
  auto counts = no_counts();
  MatchingMethod method(options, std::make_unique<Counting>(counts));
  RunContext run{.dataset = numbered(), .ipc = 1, .rng = Rng(1)};
  method.initialize(run);
  for (std::int64_t i = 0; i < kIterations; ++i) method.update(i);
  for (const Counts& of_class : counts) check_inclusions(of_class, kIterations, kBatch);
}

TEST_CASE("random initial images hold every image of a class equally often",
          "[methods][matching][draws]") {
  constexpr std::int64_t kIpc = 40;
  constexpr std::int64_t kRuns = 2500;
  auto counts = no_counts();
  for (std::int64_t i = 0; i < kRuns; ++i) {
    const Tensor images = start({}, kIpc, Rng(2).child("run", i));
    REQUIRE(images.size(0) == 2 * kIpc);
    for (const std::int64_t c : {0, 1}) {
      count(images.slice(0, c * kIpc, (c + 1) * kIpc), c, counts[std::size_t(c)]);
    }
  }
  for (const Counts& of_class : counts) check_inclusions(of_class, kRuns, kIpc);
}

TEST_CASE("noise to start from is standard normal", "[methods][matching][draws]") {
  MatchingOptions options;
  options.init = "noise";
  const Tensor values = start(options, 4000, Rng(3)).to(at::kDouble);
  REQUIRE(values.sizes() == at::IntArrayRef({8000, 1, 4, 4}));
  // Under the normal law these are uniform.
  const Tensor quantiles = 0.5 * at::erfc(values / -std::sqrt(2.0));
  const Tensor bins = at::histc(quantiles, 20, 0, 1).to(at::kLong);
  REQUIRE(bins.sum().item<std::int64_t>() == values.numel());
  const auto* first = bins.const_data_ptr<std::int64_t>();
  check_uniform({first, first + bins.numel()});
}

namespace {

constexpr std::int64_t kPerClass = 3;

/// Stored images of a method that has not been updated yet.
Tensor initial_set(const std::string& init) {
  auto method = small_method("dm", "1", {{"init", init}});
  RunContext run{.dataset = shapes(), .ipc = kPerClass, .rng = Rng(4)};
  method->initialize(run);
  return method->snapshot().images;
}

/// Which of `candidates` each of `images` equals bit for bit; each is found once.
/// @param images [n,...]  @return positions, -1 for an image that is none of them
Counts positions_among(const Tensor& candidates, const Tensor& images) {
  Counts positions;
  for (const Tensor& image : images.unbind(0)) {
    const Tensor same = candidates.eq(image).flatten(1).all(1).nonzero().flatten();
    const bool found = same.numel() == 1;
    positions.push_back(found ? same.item<std::int64_t>() : -1);
  }
  return positions;
}

Tensor real_images(std::int64_t c) {
  return shapes().batch(data::Split::Train, shapes().class_indices(c));
}

bool all_found_once(Counts positions) {
  std::sort(positions.begin(), positions.end());
  return positions.front() >= 0 &&
         std::adjacent_find(positions.begin(), positions.end()) == positions.end();
}

}  // namespace

TEST_CASE("images start as different real ones of their own class", "[methods][matching][init]") {
  for (const std::string init : {"random", "first", "k-means", "k-center", "herding"}) {
    const Tensor images = initial_set(init);
    REQUIRE(images.size(0) == shapes().num_classes() * kPerClass);
    for (std::int64_t c = 0; c < shapes().num_classes(); ++c) {
      INFO(init << ", class " << c);
      const auto positions =
          positions_among(real_images(c), images.slice(0, c * kPerClass, (c + 1) * kPerClass));
      CHECK(all_found_once(positions));
      if (init == "first") CHECK(positions == Counts{0, 1, 2});
    }
  }
}

TEST_CASE("a mosaic holds four real images of its class, packed as multi-formation packs them",
          "[methods][matching][init]") {
  const Tensor images = initial_set("mosaic");
  REQUIRE(images.sizes() == at::IntArrayRef({shapes().num_classes() * kPerClass, 1, 16, 16}));
  const auto decoder = synth::make_multi_formation(2, "single", at::zeros({1}));
  for (std::int64_t c = 0; c < shapes().num_classes(); ++c) {
    INFO("class " << c);
    const Tensor real = real_images(c);
    const Tensor own = images.slice(0, c * kPerClass, (c + 1) * kPerClass);
    // Tile by tile, as the decoder numbers them, each shrunk to every second row and column.
    Tensors tiles;
    for (const std::int64_t row : {0, 8}) {
      for (const std::int64_t col : {0, 8}) {
        tiles.push_back(own.slice(2, row, row + 8).slice(3, col, col + 8));
      }
    }
    const Tensor shrunk = real.slice(2, 0, 16, 2).slice(3, 0, 16, 2);
    const auto positions = positions_among(shrunk, at::cat(tiles));
    REQUIRE(all_found_once(positions));
    const Tensor chosen = real.index_select(0, at::tensor(positions, at::kLong));
    CHECK(at::equal(decoder->pack(chosen), own));
  }
}
