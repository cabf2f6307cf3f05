#include "tests/bench/stacked.h"

#include "lib/train/supervised.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::bench;
using retort::testing::compare;

namespace {

constexpr std::int64_t kNetworks = 3;
constexpr std::int64_t kImages = 25;
constexpr std::int64_t kClasses = 4;

struct Batch {
  Tensor images;  ///< [S,N,C,H,W]
  Tensor labels;  ///< [S,N]
};

Batch batch_of(data::ImageShape shape, std::int64_t step) {
  Rng rng = Rng(9).child("step", step);
  const Tensor images =
      rng.normal_tensor({kNetworks, kImages, shape.channels, shape.height, shape.width});
  Tensor labels = at::empty({kNetworks, kImages}, at::kLong);
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    labels.flatten()[i].fill_(rng.integer(kClasses));
  }
  return {images.to(at::kDouble), labels};
}

}  // namespace

TEST_CASE("a stack of networks trains as its networks do alone", "[bench][stacked]") {
  struct Case {
    const char* network;
    data::ImageShape shape;
  };
  for (const auto& [name, shape] :
       {Case{"ConvNet-2-w8", {3, 16, 16}}, Case{"ConvNet-2-BN-w8", {3, 16, 16}},
        Case{"ConvNet-2-w8", {1, 12, 12}}}) {
    CAPTURE(name, shape.channels);
    const auto network = nn::make_network(name, shape, kClasses);
    std::vector<nn::NetworkState> alone;
    std::vector<train::Sgd> optimizers(kNetworks, train::Sgd(0.9, 5e-4));
    for (std::int64_t i = 0; i < kNetworks; ++i) {
      alone.push_back(in_float64(network->initialize(Rng(std::uint64_t(i)))));
    }
    Tensors stack = stack_parameters(alone);
    const Tensors start = stack_parameters(alone);
    train::Sgd optimizer(0.9, 5e-4);
    for (std::int64_t step = 0; step < 3; ++step) {
      const Batch batch = batch_of(shape, step);
      optimizer.step(stack, stacked_gradients(*network, stack, batch.images, batch.labels), 0.05);
      for (std::int64_t i = 0; i < kNetworks; ++i) {
        auto& state = alone[std::size_t(i)];
        const auto gradient = train::batch_gradient(
            *network, state, batch.images[i], data::Labels(data::HardLabels{batch.labels[i]}));
        optimizers[std::size_t(i)].step(state.parameters, gradient.gradients, 0.05);
      }
    }
    const Tensors separate = stack_parameters(alone);
    CHECK(compare(nn::flatten(stack), nn::flatten(start)).error > 1e-3);  // they did train
    for (std::size_t p = 0; p < stack.size(); ++p) {
      CAPTURE(network->parameters()[p].name);
      CHECK_CLOSE(stack[p], separate[p], 1e-12);
    }
  }
}
