// Images that are added to real ones of all classes (INFER).
#include "lib/data/pixels.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/real_selection.h"
#include "methods/decoupled/recover.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::decoupled;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

/// Begun, and moved `iterations` times.
data::SyntheticSet infer(std::int64_t iterations) {
  const auto method = small_method("infer", "4");
  RunContext run{.dataset = shapes(), .ipc = 4, .rng = Rng(3)};
  method->initialize(run);
  for (std::int64_t i = 0; i < iterations; ++i) method->update(i);
  data::SyntheticSet set = method->snapshot();
  set.preprocessing = shapes().preprocessing();
  return set;
}

}  // namespace

TEST_CASE("compensators take their share of the images per class", "[methods][decoupled]") {
  // Of the paper's code: images per class, teachers, classes.
  CHECK(places_beside_compensators(10, 4, 10) == 7);
  CHECK(places_beside_compensators(50, 4, 10) == 35);
  CHECK(places_beside_compensators(10, 4, 100) == 9);
  CHECK(places_beside_compensators(50, 4, 100) == 48);
  CHECK(places_beside_compensators(100, 4, 100) == 96);
  CHECK(places_beside_compensators(10, 3, 1000) == 9);
  CHECK(places_beside_compensators(50, 3, 1000) == 49);
  CHECK(places_beside_compensators(5, 0, 10) == 5);
}

TEST_CASE("nothing is added at first: what is decoded are random real images",
          "[methods][decoupled]") {
  const std::int64_t classes = shapes().num_classes();
  const auto set = infer(0);
  const std::int64_t places = set.images.size(0) / classes;
  const Tensor chosen =
      synth::select_real(shapes(), "random", places, {}, Rng(3).child("init").child("real"));
  CHECK(at::equal(set.images, shapes().batch(data::Split::Train, chosen)));
  // Sums are cut to bytes, which takes a level from pixels that lie a rounding error below one.
  const Tensor decoded = synth::decode(set).images.view({classes, -1, places, 256});
  const Tensor levels = (decoded - decoded.select(1, 0).unsqueeze(1)) *
                        (255 * shapes().preprocessing().std().front());
  CHECK(at::equal(decoded.select(1, 0), set.images.view({classes, places, 256})));
  CHECK(levels.max().item<double>() < 0.01);
  CHECK(levels.min().item<double>() > -1.01);
}

TEST_CASE("compensators leave their images as they are and are shared by all classes",
          "[methods][decoupled]") {
  const std::int64_t classes = shapes().num_classes();
  const std::int64_t teachers = 3;
  const auto set = infer(4);
  const std::int64_t places = places_beside_compensators(4, teachers, classes);
  const Tensor u = set.parameters.at(synth::kCompensators);
  CHECK(set.images.size(0) == classes * places);
  CHECK(u.size(0) == teachers * places);
  CHECK(u.abs().max().item<double>() > 0);
  // Real training images.
  const Tensor all =
      shapes().batch(data::Split::Train, at::arange(shapes().size(data::Split::Train)));
  for (std::int64_t i = 0; i < set.images.size(0); ++i) {
    CHECK((all == set.images[i]).flatten(1).all(1).any().item<bool>());
  }
  const Tensor decoded = synth::decode(set).images.view({classes, teachers + 1, places, -1});
  const Tensor stored = set.images.view({classes, places, -1});
  CHECK(at::equal(decoded.select(1, 0), stored));
  const auto& preprocessing = shapes().preprocessing();
  for (std::int64_t m = 0; m < teachers; ++m) {
    for (std::int64_t j = 0; j < places; ++j) {
      const Tensor real = set.images.slice(0, j, {}, places);
      const Tensor expected = preprocessing.apply(
          data::truncated_bytes(preprocessing, real + u[m * places + j].unsqueeze(0)));
      CHECK(at::equal(decoded.select(1, m + 1).select(1, j), expected.flatten(1)));
    }
  }
}
