// BatchNorm: the modes, groups of images, and the statistics of what its layers read.

#include "lib/core/error.h"
#include "lib/nn/network.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using nn::BatchStatistics;
using nn::ForwardOptions;
using nn::ImageShape;
using nn::Mode;

namespace {

constexpr ImageShape kShape{3, 8, 8};

Tensor images(std::int64_t n, at::ScalarType dtype = at::kDouble) {
  return Rng(31).normal_tensor({n, 3, 8, 8}).to(dtype);
}

/// Parameters and running statistics of which none is a plain 0 or 1.
nn::NetworkState jittered(const nn::Network& network, at::ScalarType dtype = at::kDouble) {
  auto state = network.initialize(Rng(32));
  const Rng rng = Rng(33);
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    auto& p = state.parameters[i];
    p = (p + 0.1 * rng.child("p", std::int64_t(i)).normal_tensor(p.sizes())).to(dtype);
  }
  for (std::size_t i = 0; i < state.buffers.size(); ++i) {
    auto& b = state.buffers[i];
    b = (b + rng.child("b", std::int64_t(i)).uniform_tensor(b.sizes(), 0.1, 0.6)).to(dtype);
  }
  return state;
}

void check_same(const Tensors& found, const Tensors& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    INFO("tensor " << i);
    CHECK_CLOSE(found[i], expected[i], tolerance);
  }
}

Tensors flat(const std::vector<BatchStatistics>& statistics) {
  Tensors tensors;
  for (const auto& s : statistics) {
    tensors.push_back(s.mean);
    tensors.push_back(s.variance);
  }
  return tensors;
}

const std::vector<std::string> kNetworks = {"ConvNet-2-w8-BN", "ConvNet-2-w8-BN-leakyrelu-max",
                                            "AlexNet-BN",      "ResNet-18-BN",
                                            "R18m-w4",         "ShuffleNetV2-0.5"};

}  // namespace

TEST_CASE("on batch statistics outputs are those of training and running statistics stay",
          "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  const auto dtype = GENERATE(at::kDouble, at::kFloat);
  for (const std::string& name : kNetworks) {
    INFO(name);
    const auto network = nn::make_network(name, kShape, 5);
    CHECK_FALSE(network->per_sample(Mode::Batch));
    const auto state = jittered(*network, dtype);
    const auto before = state.detached_clone();
    const Tensor x = images(4, dtype);
    const Tensor batch = network->forward(state, x, {.mode = Mode::Batch}).logits;
    for (std::size_t i = 0; i < state.buffers.size(); ++i) {
      CHECK(at::equal(state.buffers[i], before.buffers[i]));
    }
    const Tensor train = network->forward(state, x, {.mode = Mode::Train}).logits;
    CHECK_FALSE(at::equal(state.buffers[0], before.buffers[0]));
    CHECK_CLOSE(batch, train, dtype == at::kDouble ? 1e-12 : 1e-4);
  }
}

TEST_CASE("without BatchNorm batch statistics change nothing and there are none to keep",
          "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  const auto network = nn::make_network("ConvNet-2-w8", kShape, 5);
  CHECK(network->per_sample(Mode::Batch));
  const auto state = jittered(*network, at::kFloat);
  const Tensor x = images(4, at::kFloat);
  const ForwardOptions options{
      .mode = Mode::Batch, .batch_norm_statistics = true, .batch_norm_group = 2};
  const auto out = network->forward(state, x, options);
  CHECK(at::equal(out.logits, network->forward(state, x).logits));
  CHECK(out.batch_norm_statistics.empty());
}

TEST_CASE("statistics kept are those of the norm's input, and leave the outputs as they are",
          "[nn][batchnorm]") {
  const auto dtype = GENERATE(at::kDouble, at::kFloat);
  const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
  const auto network = nn::make_network("ConvNet-1-w4-BN", kShape, 2);
  const auto state = jittered(*network, dtype);
  const Tensor x = images(5, dtype);
  for (const Mode mode : {Mode::Eval, Mode::Batch, Mode::Train}) {
    const auto own = state.detached_clone();
    const auto out = network->forward(own, x, {.mode = mode, .batch_norm_statistics = true});
    REQUIRE(out.batch_norm_statistics.size() == 1);
    const Tensor values =
        at::conv2d(x, state.parameters[0], state.parameters[1], 1, 1).transpose(0, 1).flatten(1);
    CHECK_CLOSE(out.batch_norm_statistics[0].mean, values.mean(1), tolerance);
    CHECK_CLOSE(out.batch_norm_statistics[0].variance, values.var(1, /*unbiased=*/false),
                tolerance);
    const auto plain = network->forward(state.detached_clone(), x, {.mode = mode});
    CHECK(plain.batch_norm_statistics.empty());
    CHECK_CLOSE(out.logits, plain.logits, tolerance);
  }
}

TEST_CASE("a small variance beside a large mean keeps its digits in float32", "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  const auto network = nn::make_network("R18m-w4", kShape, 2);
  auto state = network->initialize(Rng(34));
  // The stem hands on the images' three channels.
  state.parameters[0].zero_();
  for (int c = 0; c < 3; ++c) state.parameters[0][c][c][1][1] = 1;
  const Tensor x = 1000 + 0.1 * images(6, at::kFloat);
  const auto found =
      network->forward(state, x, {.batch_norm_statistics = true}).batch_norm_statistics[0];
  const Tensor exact = x.to(at::kDouble).transpose(0, 1).flatten(1);
  CHECK_CLOSE(found.variance.slice(0, 0, 3), exact.var(1, false).to(at::kFloat), 1e-5);
  CHECK_CLOSE(found.mean.slice(0, 0, 3), exact.mean(1).to(at::kFloat), 1e-6);
}

TEST_CASE("derivatives of the statistics agree with central differences, twice",
          "[nn][batchnorm][gradient]") {
  const auto network = nn::make_network("ConvNet-2-w4-BN-swish", kShape, 2);
  const auto state = jittered(*network);
  for (const std::int64_t group : {0, 2}) {
    INFO("groups of " << group);
    const auto kept = [&](const Tensor& x) {
      const ForwardOptions options{.batch_norm_statistics = true, .batch_norm_group = group};
      Tensors rows;
      for (const Tensor& t : flat(network->forward(state, x, options).batch_norm_statistics)) {
        rows.push_back(t.flatten());
      }
      return at::cat(rows);
    };
    CHECK(testing::direction_error(kept, images(3)) < 1e-7);
    CHECK(testing::second_direction_error(kept, images(3)) < 1e-6);
  }
}

TEST_CASE("statistics lie in the order of the buffers, in every network", "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  for (const std::string name : {"ConvNet-2-w8-BN", "ResNet-18-BN-AP", "R18m-w4", "MobileNetV2",
                                 "ShuffleNetV2-0.5", "ShuffleNet-G2", "DenseNet-121"}) {
    INFO(name);
    const auto network = nn::make_network(name, kShape, 3);
    auto state = jittered(*network);
    const Tensor x = images(4);
    const auto batch =
        network->forward(state, x, {.mode = Mode::Batch, .batch_norm_statistics = true});
    REQUIRE(2 * batch.batch_norm_statistics.size() == state.buffers.size());
    // With the batch's own statistics as the running ones evaluation gives the same: any two of
    // them in each other's place would show.
    state.buffers = flat(batch.batch_norm_statistics);
    const auto eval = network->forward(state, x, {.batch_norm_statistics = true});
    CHECK_CLOSE(eval.logits, batch.logits, 1e-8);
    check_same(flat(eval.batch_norm_statistics), state.buffers, 1e-8);
  }
}

TEST_CASE("groups of images give what each gives alone", "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  const auto dtype = GENERATE(at::kDouble, at::kFloat);
  const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-4;
  const std::int64_t size = GENERATE(2, 3, 5, 8);
  for (const std::string& name : kNetworks) {
    INFO(name << ", groups of " << size);
    // In deep networks two values per channel in single precision say little.
    if (dtype == at::kFloat && !name.starts_with("ConvNet")) continue;
    const auto network = nn::make_network(name, kShape, 4);
    const auto state = jittered(*network, dtype);
    const Tensor x = images(5, dtype);
    // 5 images in groups of 2 would leave one alone, with one value per channel in deep layers.
    const Tensor some = size == 2 ? x.slice(0, 0, 4) : x;
    const ForwardOptions grouped{
        .mode = Mode::Batch, .batch_norm_statistics = true, .batch_norm_group = size};
    const auto together = network->forward(state, some, grouped);
    Tensors logits;
    std::vector<Tensors> statistics;  // per tensor, per group
    for (const Tensor& group : some.split(size)) {
      const auto alone =
          network->forward(state, group, {.mode = Mode::Batch, .batch_norm_statistics = true});
      logits.push_back(alone.logits);
      const Tensors all = flat(alone.batch_norm_statistics);
      statistics.resize(all.size());
      for (std::size_t i = 0; i < all.size(); ++i) statistics[i].push_back(all[i]);
    }
    CHECK_CLOSE(together.logits, at::cat(logits), tolerance);
    Tensors expected;
    for (const Tensors& groups : statistics) expected.push_back(at::stack(groups));
    check_same(flat(together.batch_norm_statistics), expected, tolerance);
  }
}

TEST_CASE("in evaluation groups part the statistics and not the outputs", "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  const auto network = nn::make_network("R18m-w4", kShape, 4);
  const auto state = jittered(*network);
  const Tensor x = images(5);
  const auto out =
      network->forward(state, x, {.batch_norm_statistics = true, .batch_norm_group = 2});
  CHECK_CLOSE(out.logits, network->forward(state, x).logits, 1e-12);
  const auto last =
      network->forward(state, x.slice(0, 4), {.batch_norm_statistics = true}).batch_norm_statistics;
  REQUIRE(out.batch_norm_statistics.size() == last.size());
  for (std::size_t l = 0; l < last.size(); ++l) {
    CHECK(out.batch_norm_statistics[l].mean.size(0) == 3);
    CHECK_CLOSE(out.batch_norm_statistics[l].mean[2], last[l].mean, 1e-12);
    CHECK_CLOSE(out.batch_norm_statistics[l].variance[2], last[l].variance, 1e-12);
  }
}

TEST_CASE("in training groups move the running statistics one after the other", "[nn][batchnorm]") {
  const at::NoGradGuard no_gradients;
  for (const std::string name : {"ConvNet-2-w8-BN", "R18m-w4"}) {
    INFO(name);
    const auto network = nn::make_network(name, kShape, 4);
    const auto together = jittered(*network);
    const auto apart = together.detached_clone();
    const Tensor x = images(4);
    network->forward(together, x, {.mode = Mode::Train, .batch_norm_group = 2});
    for (const Tensor& group : x.split(2)) network->forward(apart, group, {.mode = Mode::Train});
    check_same(together.buffers, apart.buffers, 1e-12);
  }
}

TEST_CASE("a group with a single value per channel is refused", "[nn][batchnorm]") {
  const auto network = nn::make_network("ConvNet-1-w4-BN-nopool", {3, 1, 1}, 2);
  const auto state = network->initialize(Rng(1));
  const Tensor x = Rng(2).normal_tensor({3, 3, 1, 1});
  for (const Mode mode : {Mode::Batch, Mode::Train}) {
    CHECK_THROWS_WITH_TEXT(network->forward(state, x, {.mode = mode, .batch_norm_group = 2}),
                           ConfigError,
                           "BatchNorm on batch statistics needs more than one value per channel, "
                           "found input [1, 4, 1, 1]");
  }
  CHECK_NOTHROW(network->forward(state, x, {.batch_norm_group = 2}));
}
