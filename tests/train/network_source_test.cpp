#include "lib/train/network_source.h"

#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;

namespace {

struct Setup {
  data::ImageDataset dataset = separable_dataset(10, 1);
  std::shared_ptr<const nn::Network> network = nn::make_network(kTinyNet, dataset.shape(), 3);
  train::TrainedNetworksOptions options;

  Setup() {
    options.period = 4;
    options.warmup_steps = 2;
    options.steps_between = 3;
    options.batch_size = 8;
    options.augmentation = augment::Strategy::parse("color_crop");
    options.cutmix_probability = 0.5;
  }
  std::unique_ptr<train::NetworkSource> trained(std::uint64_t seed = 0) const {
    return train::trained_networks(network, dataset, options, Rng(seed));
  }
  std::unique_ptr<train::NetworkSource> pool(std::int64_t count, std::int64_t steps) const {
    return train::network_pool(network, dataset,
                               {.count = count, .max_steps = steps, .training = options}, Rng(0));
  }
};

Tensors parameters_at(train::NetworkSource& source, std::int64_t iteration) {
  return source.at(iteration, {}).detached_clone().parameters;
}

}  // namespace

TEST_CASE("every iteration has a fresh network of its own", "[train][source]") {
  const Setup s;
  const auto a = train::fresh_networks(s.network, Rng(0));
  const auto b = train::fresh_networks(s.network, Rng(0));
  const auto first = parameters_at(*a, 0);
  CHECK_FALSE(same_bits(parameters_at(*a, 1), first));
  CHECK(same_bits(parameters_at(*b, 0), first));
  CHECK(same_bits(parameters_at(*b, 7), parameters_at(*a, 7)));
  CHECK_FALSE(same_bits(parameters_at(*train::fresh_networks(s.network, Rng(1)), 0), first));
}

TEST_CASE("a network is trained while it is used and replaced after its period",
          "[train][source]") {
  const Setup s;
  const auto source = s.trained();
  std::vector<Tensors> seen;
  for (std::int64_t i = 0; i < 6; ++i) seen.push_back(parameters_at(*source, i));
  for (std::size_t i = 1; i < seen.size(); ++i) CHECK_FALSE(same_bits(seen[i], seen[i - 1]));
  // A source that is asked for one iteration alone arrives at the same network.
  CHECK(same_bits(parameters_at(*s.trained(), 5), seen[5]));
  CHECK(same_bits(parameters_at(*s.trained(), 2), seen[2]));
  CHECK_FALSE(same_bits(parameters_at(*s.trained(1), 2), seen[2]));
}

namespace {

/// Blank images; counts how often each was asked for.
class CountedStore : public data::ImageStore {
 public:
  explicit CountedStore(std::int64_t size) : asked_(std::size_t(size)) {}
  std::int64_t size() const override { return std::int64_t(asked_.size()); }
  data::ImageShape shape() const override { return {1, 2, 2}; }
  Tensor pixels(const Tensor& indices) const override {
    const auto* row = indices.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < indices.numel(); ++i) ++asked_[std::size_t(row[i])];
    return at::zeros({indices.numel(), 1, 2, 2}, at::kByte);
  }
  const std::vector<std::int64_t>& asked() const { return asked_; }

 private:
  mutable std::vector<std::int64_t> asked_;
};

}  // namespace

TEST_CASE("networks are trained on every real image equally often", "[train][source]") {
  constexpr std::int64_t kImages = 240;
  constexpr std::int64_t kSteps = 500;
  const auto store = std::make_shared<CountedStore>(kImages);
  const data::DataSplit split{store, at::arange(kImages, at::kLong).remainder(2)};
  data::DatasetInfo info;
  info.name = "blank";
  info.class_names = {"even", "odd"};
  const data::ImageDataset dataset(info, split, split, data::Preprocessing::identity(1));
  REQUIRE(store->asked() == std::vector<std::int64_t>(kImages));
  train::TrainedNetworksOptions options;
  options.warmup_steps = kSteps;
  options.batch_size = 200;
  // With BatchNorm a batch is not cut into tasks, which makes this test faster.
  const std::shared_ptr<const nn::Network> network =
      nn::make_network("ConvNet-1-BN-w2", {1, 2, 2}, 2);
  train::trained_networks(network, dataset, options, Rng(4))->at(0, {});
  check_inclusions(store->asked(), kSteps, options.batch_size);
}

TEST_CASE("a pool hands out each of its networks equally often", "[train][source]") {
  const Setup s;
  const auto pool = s.pool(7, 0);
  std::vector<std::int64_t> picked(7);
  for (std::int64_t i = 0; i < 100000; ++i) ++picked[std::size_t(pool->member(i).value())];
  check_uniform(picked);
}

TEST_CASE("no warm-up and no steps leave a random network for the whole period",
          "[train][source]") {
  Setup s;
  s.options.warmup_steps = 0;
  s.options.steps_between = 0;
  const auto source = s.trained();
  const auto first = parameters_at(*source, 0);
  CHECK(same_bits(parameters_at(*source, 3), first));
  CHECK_FALSE(same_bits(parameters_at(*source, 4), first));
}

TEST_CASE("a resumed source goes on with the same bits", "[train][source][resume]") {
  const Setup s;
  const auto source = s.trained();
  for (std::int64_t i = 0; i <= 5; ++i) source->at(i, {});
  storage::StateWriter out;
  source->save_state(out);
  const auto resumed = s.trained();
  resumed->load_state(storage::StateReader(out));
  for (std::int64_t i = 6; i < 10; ++i) {
    CHECK(same_bits(parameters_at(*resumed, i), parameters_at(*source, i)));
  }
  storage::StateWriter empty;
  s.trained()->save_state(empty);
  const auto from_nothing = s.trained();
  from_nothing->load_state(storage::StateReader(empty));
  CHECK(same_bits(parameters_at(*from_nothing, 9), parameters_at(*source, 9)));
}

TEST_CASE("what a caller does to a network's buffers stays with that iteration",
          "[train][source]") {
  Setup s;
  s.network = nn::make_network("ConvNet-1-BN-w8", s.dataset.shape(), 3);
  const auto touched = s.trained();
  for (auto& buffer : touched->at(0, {}).buffers) buffer.fill_(3);
  touched->at(0, {}).parameters[0].fill_(3);
  const auto untouched = s.trained();
  untouched->at(0, {});
  const auto& a = touched->at(1, {});
  const auto& b = untouched->at(1, {});
  CHECK(same_bits(a.buffers, b.buffers));
  CHECK(same_bits(a.parameters, b.parameters));
}

TEST_CASE("a pool spreads its training evenly and is the same after a resume",
          "[train][source][resume]") {
  const Setup s;
  const auto source = s.pool(3, 4);
  std::vector<Tensors> different;
  for (std::int64_t i = 0; i < 30; ++i) {
    const auto parameters = parameters_at(*source, i);
    bool known = false;
    for (const auto& other : different) known = known || same_bits(other, parameters);
    if (!known) different.push_back(parameters);
  }
  CHECK(different.size() == 3);
  const auto again = s.pool(3, 4);
  CHECK(same_bits(parameters_at(*again, 17), parameters_at(*source, 17)));
  {
    const WithThreads two(2);
    CHECK(same_bits(parameters_at(*s.pool(3, 4), 17), parameters_at(*source, 17)));
  }
}

TEST_CASE("members of a pool are stopped between no and all steps", "[train][source]") {
  Setup s;
  s.options.warmup_steps = 4;
  s.options.steps_between = 0;
  const Tensors untrained = parameters_at(*s.pool(1, 0), 0);
  const Tensors trained = parameters_at(*s.pool(1, 4), 0);
  CHECK_FALSE(same_bits(untrained, trained));
  // Two members: one untrained, one with all steps.
  const auto two = s.pool(2, 4);
  bool has_untrained = false;
  for (std::int64_t i = 0; i < 20; ++i) {
    has_untrained = has_untrained || same_bits(parameters_at(*two, i), untrained);
  }
  CHECK(has_untrained);
}

TEST_CASE("impossible network sources are refused", "[train][source][error]") {
  Setup s;
  CHECK_THROWS_WITH_TEXT(s.pool(0, 4), ConfigError, "1 or more networks");
  s.options.period = 0;
  CHECK_THROWS_WITH_TEXT(s.trained(), ConfigError, "found period 0");
  s.options.period = 1;
  s.options.steps_between = -1;
  CHECK_THROWS_WITH_TEXT(s.trained(), ConfigError, "between -1");
}

namespace {

/// Synthetic images that move from iteration to iteration.
train::SyntheticImages images_of(std::int64_t iteration) {
  return [iteration] {
    Rng rng = Rng(11).child(iteration);
    return data::LabelledImages{rng.normal_tensor({6, 1, 8, 8}),
                                data::HardLabels{at::arange(3, at::kLong).repeat_interleave(2)}};
  };
}

train::SyntheticImages never() {
  return []() -> data::LabelledImages { throw Error("nobody should ask"); };
}

std::unique_ptr<train::NetworkSource> synthetic(const Setup& s,
                                                train::SyntheticNetworksOptions more = {}) {
  more.period = 3;
  more.epochs = 2;
  more.batch_size = 4;
  return train::synthetic_networks(s.network, more, Rng(5));
}

}  // namespace

TEST_CASE("networks are trained on the synthetic set between its updates, not after the last one",
          "[train][source]") {
  const Setup s;
  const auto source = synthetic(s);
  const Tensors first = source->at(0, never()).detached_clone().parameters;
  const Tensors second = source->at(1, images_of(0)).detached_clone().parameters;
  const Tensors third = source->at(2, images_of(1)).detached_clone().parameters;
  CHECK_FALSE(same_bits(first, second));
  CHECK_FALSE(same_bits(second, third));
  const Tensors next = source->at(3, never()).detached_clone().parameters;
  CHECK_FALSE(same_bits(next, first));
  // Two epochs in mini-batches, from where the network stood.
  nn::NetworkState by_hand{first, {}};
  by_hand = by_hand.detached_clone();
  train::TrainOptions options;
  options.epochs = 2;
  options.batch_size = 4;
  options.momentum = 0;
  options.weight_decay = 0;
  train::train(*s.network, by_hand, train::TensorData(images_of(0)()), options,
               Rng(5).child("network", 0).child("use", 1));
  CHECK(same_bits(by_hand.parameters, second));
}

TEST_CASE("a source that trains on the synthetic set resumes with the same bits",
          "[train][source][resume]") {
  const Setup s;
  const auto source = synthetic(s);
  for (std::int64_t i = 0; i <= 1; ++i) source->at(i, images_of(i));
  storage::StateWriter out;
  source->save_state(out);
  const auto resumed = synthetic(s);
  resumed->load_state(storage::StateReader(out));
  for (std::int64_t i = 2; i < 6; ++i) {
    CHECK(
        same_bits(resumed->at(i, images_of(i)).parameters, source->at(i, images_of(i)).parameters));
  }
  CHECK_THROWS_WITH_TEXT(synthetic(s)->at(4, images_of(4)), Error, "iteration 4");
}

TEST_CASE("a stop during training on the synthetic set leaves the network as it was",
          "[train][source]") {
  const Setup s;
  StopFlag stop;
  train::SyntheticNetworksOptions options;
  options.stop = &stop;
  const auto source = synthetic(s, options);
  const Tensors before = source->at(0, never()).detached_clone().parameters;
  stop.request();
  CHECK_THROWS_AS(source->at(1, images_of(0)), Interrupted);
  CHECK(same_bits(source->at(0, never()).parameters, before));
}

TEST_CASE("refreshed statistics stay with a network that trains on the synthetic set",
          "[train][source]") {
  Setup s;
  s.network = nn::make_network("ConvNet-1-BN-w8", s.dataset.shape(), 3);
  const auto touched = synthetic(s);
  for (auto& buffer : touched->at(0, never()).buffers) buffer.fill_(3);
  const auto untouched = synthetic(s);
  untouched->at(0, never());
  CHECK_FALSE(
      same_bits(touched->at(1, images_of(0)).buffers, untouched->at(1, images_of(0)).buffers));
}

TEST_CASE("mirrored training doubles every mini-batch before it is augmented", "[train][source]") {
  const Setup s;
  const auto all = images_of(0)();
  const data::LabelledImages doubled{
      at::cat({all.images, all.images.flip(3)}),
      data::HardLabels{at::cat({data::hard_classes(all.labels), data::hard_classes(all.labels)})}};
  train::TrainOptions options;
  options.augmentation = augment::Strategy::parse("color_crop");
  const auto step = [&](const data::LabelledImages& batch) {
    nn::NetworkState state = s.network->initialize(Rng(1));
    train::Sgd sgd(0, 0);
    train::train_step(*s.network, state, sgd, 0.1, batch, options, Rng(2));
    return state.parameters;
  };
  const Tensors expected = step(doubled);
  options.mirrored = true;
  CHECK(same_bits(step(all), expected));
}

TEST_CASE("impossible training on the synthetic set is refused", "[train][source][error]") {
  const Setup s;
  train::SyntheticNetworksOptions options;
  options.epochs = 0;
  CHECK_THROWS_WITH_TEXT(train::synthetic_networks(s.network, options, Rng(0)), ConfigError,
                         "found 10, 0 and 256");
}
