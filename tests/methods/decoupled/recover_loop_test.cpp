// Recovering against the same written out plainly.
#include "lib/augment/views.h"
#include "lib/data/pixels.h"
#include "lib/train/committee.h"
#include "methods/decoupled/curriculum.h"
#include "methods/decoupled/layout.h"
#include "methods/decoupled/pixel_adam.h"
#include "methods/decoupled/recover_loss.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::decoupled;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

constexpr std::int64_t kPlaces = 4;
constexpr std::int64_t kIterations = 4;
constexpr double kStep = 0.1;
constexpr LossWeights kWeights{.batch_norm = 0.05, .tv = 1e-3, .l2 = 1e-3};

const std::vector<std::pair<std::string, std::string>> kSettings = {
    {"r-bn", "0.05"},         {"tv", "1e-3"},       {"l2", "1e-3"},   {"crop-area", "0.3"},
    {"curriculum", "cosine"}, {"milestone", "1"},   {"flip", "coin"}, {"roll", "2"},
    {"lr-images", "0.1"},     {"batch-images", "4"}};

/// A batch alone, from noise to its last step.
Tensor recovered_alone(const Batch& batch, const train::Member& teacher, const Rng& rng) {
  const Voter voter{*teacher.network, teacher.state, teacher.state.buffers};
  const Curriculum curriculum{.lowest = 0.3, .milestone = 1};
  Tensor values = batch.stream(rng.child("init").child("noise"))
                      .normal_tensor({batch.images.numel(), 1, 16, 16});
  const Moments moments{at::zeros_like(values), at::zeros_like(values)};
  for (std::int64_t t = 0; t < kIterations; ++t) {
    const augment::ViewPolicy policy{.smallest_area = curriculum.smallest_area(t, kIterations),
                                     .roll_to = 2};
    const auto view = augment::draw_shared_view(
        policy, {16, 16}, batch.stream(rng.child("views")).child("iteration", t));
    const auto gradient = recover_gradient({.values = values, .classes = batch.classes}, view,
                                           false, {voter}, kWeights);
    adam_step(values, moments, gradient.values, cosine_step_size(kStep, t, kIterations), t);
    values = data::clamp_to_pixels(shapes().preprocessing(), values);
  }
  return values;
}

}  // namespace

TEST_CASE("four sets of images that are recovered together are four plain loops",
          "[methods][decoupled]") {
  const Rng rng(3);
  const auto method = small_method("sre2l", std::to_string(kIterations), kSettings);
  RunContext run{.dataset = shapes(), .ipc = kPlaces, .rng = rng};
  method->initialize(run);
  for (std::int64_t i = 0; i < kIterations; ++i) method->update(i);
  const Tensor together = method->snapshot().images;

  const auto& preprocessing = shapes().preprocessing();
  const auto committee = train::load_committee(testing::small_committee(), {"0"}, shapes());
  const auto batches = across_classes(shapes().num_classes(), kPlaces, 4);
  REQUIRE(batches.size() == std::size_t(kPlaces));
  for (const Batch& batch : batches) {
    INFO("place " << batch.group);
    const Tensor alone = recovered_alone(batch, committee.front(), rng);
    CHECK(at::equal(together.index_select(0, batch.images),
                    preprocessing.apply(data::truncated_bytes(preprocessing, alone))));
  }
}
