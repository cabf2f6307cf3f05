// Networks that learn classes beside those they know.
#include "lib/train/retention.h"

#include "lib/core/error.h"
#include "lib/train/image_lessons.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;

TEST_CASE("a widened network says the same of the classes it knew", "[train][retention]") {
  for (const char* name : {"ConvNet-2-w8", "ConvNet-2-BN-w8", "ResNet-18"}) {
    INFO(name);
    const auto narrow = nn::make_network(name, {1, 32, 32}, 3);
    const auto wide = nn::make_network(name, {1, 32, 32}, 5);
    nn::NetworkState state = narrow->initialize(Rng(1));
    for (auto& buffer : state.buffers) buffer.add_(0.5);
    const nn::NetworkState grown = train::widened(*wide, state, Rng(2));
    const Tensor images = Rng(3).normal_tensor({4, 1, 32, 32});
    const at::NoGradGuard no_grad;
    CHECK_CLOSE(wide->forward(grown, images).logits.narrow(1, 0, 3),
                narrow->forward(state, images).logits, 1e-5);
    // The new outputs are those of a fresh network.
    const nn::NetworkState fresh = wide->initialize(Rng(2));
    CHECK(at::equal(grown.parameters.back().narrow(0, 3, 2),
                    fresh.parameters.back().narrow(0, 3, 2)));
    // Nobody else's parameters.
    CHECK_FALSE(grown.parameters[0].is_same(state.parameters[0]));
  }
}

TEST_CASE("another network cannot be widened", "[train][retention]") {
  const auto state = nn::make_network("ConvNet-2-w8", {1, 16, 16}, 3)->initialize(Rng(1));
  const auto refuse = [&](const char* name, std::int64_t classes, const std::string& why) {
    const auto wide = nn::make_network(name, {1, 16, 16}, classes);
    CHECK_THROWS_WITH_TEXT(train::widened(*wide, state, Rng(2)), ConfigError, why);
  };
  refuse("ConvNet-3-w8", 5, "cannot go on from a network with other layers");
  refuse("ConvNet-2-w8", 2, "'classifier.weight' has another shape");
  refuse("ConvNet-2-w8-nopool", 5, "has another shape");
}

TEST_CASE("lessons come with what an earlier network says of the same images",
          "[train][retention]") {
  const auto dataset = separable_dataset(10, 1);
  const train::TensorData data(training_images(dataset));
  const train::TrainOptions options{.batch_size = 8,
                                    .augmentation = augment::Strategy::parse("crop_flip")};
  const auto earlier = nn::make_network(kTinyNet, {1, 8, 8}, 2);
  const auto state = earlier->initialize(Rng(1));
  const train::RetainingLessons lessons(std::make_unique<train::ImageLessons>(data, 3, options),
                                        *earlier, state);
  const train::ImageLessons plain(data, 3, options);
  CHECK(lessons.steps_per_epoch() == plain.steps_per_epoch());
  const auto lesson = lessons.epoch(2, Rng(5))(1);
  const auto same = plain.epoch(2, Rng(5))(1);
  CHECK(at::equal(lesson.images, same.images));
  CHECK(at::equal(lesson.targets.values, same.targets.values));
  CHECK(lesson.targets.earlier.sizes() == at::IntArrayRef{8, 2});
  CHECK(at::equal(lesson.targets.earlier, earlier->forward(state, same.images).logits));
}
