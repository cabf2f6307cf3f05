#include "lib/train/class_statistics.h"

#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;

namespace {

constexpr std::int64_t kPerClass = 20;

struct Bands {
  data::ImageDataset dataset = separable_dataset(kPerClass, 1);
  std::unique_ptr<nn::Network> network =
      nn::make_network("ConvNet-2-BN-w8", dataset.shape(), dataset.num_classes());
  nn::NetworkState state = network->initialize(Rng(2));

  std::vector<storage::NamedTensor> statistics(const std::string& average, std::int64_t batch,
                                               const StopFlag* stop = nullptr) const {
    return train::class_statistics(*network, state, dataset, average, batch, Rng(3), stop);
  }

  /// The loop of the definition: of these images in one batch, by the network itself.
  std::vector<nn::BatchStatistics> of(const Tensor& indices) const {
    const at::NoGradGuard no_grad;
    return network
        ->forward(state, dataset.batch(data::Split::Train, indices),
                  {.batch_norm_statistics = true})
        .batch_norm_statistics;
  }
};

}  // namespace

TEST_CASE("the mean statistics of a class are those of all its images in one batch",
          "[train][teachers]") {
  const Bands bands;
  // Of several sizes, the last batch smaller: true averages do not depend on it.
  for (const std::int64_t batch : {7, 25, 60}) {
    const auto found = bands.statistics("mean", batch);
    REQUIRE(found.size() == bands.network->buffers().size());
    for (std::int64_t c = 0; c < 3; ++c) {
      const auto expected = bands.of(bands.dataset.class_indices(c));
      for (std::size_t layer = 0; layer < expected.size(); ++layer) {
        CHECK(found[2 * layer].name == bands.network->buffers()[2 * layer].name);
        CHECK_CLOSE(found[2 * layer].value[c], expected[layer].mean, 1e-5);
        CHECK_CLOSE(found[2 * layer + 1].value[c], expected[layer].variance, 1e-5);
      }
    }
  }
}

TEST_CASE("moving statistics go a tenth of the way to every batch that holds the class",
          "[train][teachers]") {
  const Bands bands;
  constexpr std::int64_t kBatch = 8;
  const auto found = bands.statistics("ema", kBatch);
  const Tensor order = Rng(3).permutation_tensor(3 * kPerClass);
  const Tensor labels = bands.dataset.labels(data::Split::Train);
  for (std::int64_t c = 0; c < 3; ++c) {
    std::vector<nn::BatchStatistics> expected;
    for (const Tensor& indices : order.split(kBatch)) {
      const Tensor own = indices.masked_select(labels.index_select(0, indices).eq(c));
      if (own.numel() == 0) continue;
      const auto batch = bands.of(own);
      if (expected.empty()) {
        for (const auto& layer : batch) {
          expected.push_back({at::zeros_like(layer.mean), at::ones_like(layer.mean)});
        }
      }
      for (std::size_t layer = 0; layer < batch.size(); ++layer) {
        expected[layer].mean = 0.9 * expected[layer].mean + 0.1 * batch[layer].mean;
        expected[layer].variance = 0.9 * expected[layer].variance + 0.1 * batch[layer].variance;
      }
    }
    for (std::size_t layer = 0; layer < expected.size(); ++layer) {
      CHECK_CLOSE(found[2 * layer].value[c], expected[layer].mean, 1e-5);
      CHECK_CLOSE(found[2 * layer + 1].value[c], expected[layer].variance, 1e-5);
    }
  }
}

TEST_CASE("statistics of classes leave the network as it was, on any number of threads",
          "[train][teachers]") {
  const Bands bands;
  const nn::NetworkState before = bands.state.detached_clone();
  const auto alone = bands.statistics("ema", 25);
  CHECK(same_bits(before.buffers, bands.state.buffers));
  const WithThreads threads(2);
  const auto together = bands.statistics("ema", 25);
  for (std::size_t i = 0; i < alone.size(); ++i) CHECK(alone[i].value.equal(together[i].value));
}

TEST_CASE("statistics of classes need BatchNorm and a known average", "[train][teachers]") {
  const Bands bands;
  CHECK_THROWS_WITH_TEXT(bands.statistics("median", 8), ConfigError, "Known: ema, mean");
  const auto plain = nn::make_network("MLP", bands.dataset.shape(), 3);
  CHECK_THROWS_WITH_TEXT(
      train::class_statistics(*plain, plain->initialize(Rng(1)), bands.dataset, "ema", 8, Rng(1)),
      ConfigError, "MLP has none");
  StopFlag stop;
  stop.request();
  CHECK_THROWS_AS(bands.statistics("ema", 8, &stop), Interrupted);
}
