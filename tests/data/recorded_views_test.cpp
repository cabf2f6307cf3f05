#include "lib/data/recorded_views.h"

#include <limits>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"

using namespace retort;
using data::Mix;
using data::ViewBatch;
using data::ViewsInfo;

namespace {

ViewsInfo info() {
  ViewsInfo result;
  result.images = 5;
  result.classes = 3;
  result.source = {8, 6};
  result.canvas = {8, 8};
  result.epochs = 2;
  result.batch = 4;
  return result;
}

/// Two views of images 4 and 0.
ViewBatch batch() {
  ViewBatch result;
  result.epoch = 1;
  result.images = {4, 0};
  result.views.crops = {{0, 0, 8, 6}, {7, 5, 1, 1}};
  result.views.flips = {true, false};
  result.views.mix.kind = Mix::Kind::CutMix;
  result.views.mix.lambda = 0.25;
  result.views.mix.box = {2, 3, 6, 5};
  result.views.mix.partner = {1, 0};
  result.values = at::ones({2, 3}, at::kHalf);
  return result;
}

template <class Change>
std::string fault_after(Change change) {
  ViewBatch changed = batch();
  change(changed);
  return view_fault(info(), changed);
}

template <class Change>
std::string info_fault_after(Change change) {
  ViewsInfo changed = info();
  change(changed);
  return view_fault(changed);
}

}  // namespace

TEST_CASE("a record in memory gives back what was appended", "[data][views]") {
  data::ViewList list(info());
  list.append(batch());
  ViewBatch second = batch();
  second.epoch = 0;
  second.images = {2};
  second.views.crops.resize(1);
  second.views.flips = {false};
  second.views.mix = {};
  second.values = at::zeros({1, 3}, at::kHalf);
  list.append(second);
  CHECK(list.batches() == 2);
  CHECK(list.views() == 3);
  CHECK(list.batch(0).images == batch().images);
  CHECK(list.batch(1).epoch == 0);
  second.epoch = 2;
  CHECK_THROWS_WITH_TEXT(list.append(second), DataError,
                         "batch 2 of views: epoch: expected epochs 0 .. 1, found 2");
  CHECK(list.batches() == 2);
}

TEST_CASE("every rule of a record is named with what was found", "[data][views]") {
  CHECK(view_fault(info()).empty());
  CHECK(view_fault(info(), batch()).empty());
  CHECK(fault_after([](ViewBatch& b) { b.images.clear(); }) ==
        "batch_ptr: expected batches of 1 .. 4 views, found 0");
  CHECK(fault_after([](ViewBatch& b) { b.epoch = -1; }) ==
        "epoch: expected epochs 0 .. 1, found -1");
  CHECK(fault_after([](ViewBatch& b) { b.images[1] = 5; }) ==
        "image: expected images 0 .. 4, found 5");
  CHECK(fault_after([](ViewBatch& b) { b.views.crops.pop_back(); }) ==
        "crop: expected 2, one per view of the batch, found 1");
  CHECK(fault_after([](ViewBatch& b) { b.views.crops[0].top = 1; }) ==
        "crop: expected boxes inside of 8 x 6 pixels, found (top 1, left 0, 8 x 6 pixels)");
  CHECK(fault_after([](ViewBatch& b) { b.views.crops[0].width = 0; }) ==
        "crop: expected boxes inside of 8 x 6 pixels, found (top 0, left 0, 8 x 0 pixels)");
  CHECK(fault_after([](ViewBatch& b) { b.views.flips.push_back(true); }) ==
        "flip: expected 2, one per view of the batch, found 3");
  CHECK(fault_after([](ViewBatch& b) { b.views.mix.partner = {0}; }) ==
        "mix_perm: expected 2, one per view of the batch, found 1");
  CHECK(fault_after([](ViewBatch& b) { b.views.mix.partner[0] = 2; }) ==
        "mix_perm: expected positions 0 .. 1 in the batch, found 2");
  CHECK(fault_after([](ViewBatch& b) { b.views.mix.lambda = 0.1; }) ==
        "mix_lambda: expected a float32 value in 0 .. 1, found 0.1");
  CHECK(fault_after([](ViewBatch& b) { b.views.mix.lambda = 1.5; }) ==
        "mix_lambda: expected a float32 value in 0 .. 1, found 1.5");
  CHECK(fault_after([](ViewBatch& b) { b.views.mix.box.width = 6; }) ==
        "mix_box: expected a box inside of 8 x 8 pixels, found (top 2, left 3, 6 x 6 pixels)");
  CHECK(fault_after([](ViewBatch& b) { b.views.mix.kind = Mix::Kind::MixUp; }) ==
        "mix_box: expected an empty box without CutMix, found (top 2, left 3, 6 x 5 pixels)");
  CHECK(fault_after([](ViewBatch& b) {
          b.values = at::ones({2, 3});
        }) == "values: expected shape [2, 3] of type Half, found [2, 3] of type Float");
  CHECK(fault_after([](ViewBatch& b) { b.values = Tensor(); }) ==
        "values: expected shape [2, 3] of type Half, found none");
  CHECK(fault_after([](ViewBatch& b) {
          b.values[1][2] = std::numeric_limits<double>::infinity();
        }) == "values: 1 are not finite");

  CHECK(info_fault_after([](ViewsInfo& i) { i.images = 0; }).starts_with("image: expected 1 .. "));
  CHECK(info_fault_after([](ViewsInfo& i) { i.classes = 0; }) ==
        "values: expected at least one class, found 0");
  CHECK(info_fault_after([](ViewsInfo& i) { i.canvas.width = 70000; }) ==
        "canvas: not a size of views: 8 x 70000 pixels");
  CHECK(info_fault_after([](ViewsInfo& i) { i.source.height = 0; }) ==
        "crop: not a size of images: 0 x 6 pixels");
  CHECK(info_fault_after([](ViewsInfo& i) { i.epochs = 0; }) ==
        "epochs: expected at least one, found 0");
  CHECK(info_fault_after([](ViewsInfo& i) { i.batch = 65536; }) ==
        "batch: expected 1 .. 65535 views, found 65536");
  CHECK(info_fault_after([](ViewsInfo& i) { i.tau0 = 0; }) ==
        "tau0: expected a positive temperature, found 0");
  CHECK(info_fault_after([](ViewsInfo& i) { i.prune_ratio = 1; }) ==
        "prune_ratio: expected a share in 0 .. 1, found 1");
}

TEST_CASE("logits in half precision change probabilities by a few thousandths at most",
          "[data][views]") {
  // Half the spacing of half precision is e = 2^-8 below 16 and 2^-7 below 32, and a probability p
  // changes by at most p (1 - p) 2 e.
  for (const auto& [largest, bound] : {std::pair(16.0, 0.002), std::pair(20.0, 0.004)}) {
    const Tensor logits = Rng(3).uniform_tensor({200, 50}, -largest, largest);
    const Tensor half = data::half_logits(logits);
    CHECK(half.scalar_type() == at::kHalf);
    const Tensor change = half.to(at::kFloat).softmax(1) - logits.softmax(1);
    CHECK(change.abs().max().item<double>() < bound);
  }
  const Tensor large = data::half_logits(at::tensor({1e9F, -1e9F, 2.0F}).unsqueeze(0));
  CHECK(large.to(at::kFloat).equal(at::tensor({65504.0F, -65504.0F, 2.0F}).unsqueeze(0)));
}
