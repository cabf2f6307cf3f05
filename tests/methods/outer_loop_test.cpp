// dc, dsa and idc against the papers' loops written out, with the networks' training in between.

#include "lib/core/str.h"
#include "tests/methods/plain_loop.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::testing;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

constexpr char kAllSix[] = "color_crop_cutout_flip_scale_rotate";
// Rounding moves a ReLU's input across zero now and then and the gradient jumps: one such jump made
// 5e-5 here. Swish has none: a start moved by the last bit of float32 moves the six updates by up
// to 4e-6 of their way, and as much may lie between the two orders of computation.
constexpr char kNet[] = "ConvNet-2-w8-swish";
constexpr double kTolerance = 1e-5;

const nn::Network& network() {
  static const auto network = nn::make_network(kNet, shapes().shape(), shapes().num_classes());
  return *network;
}

/// What both loops of a test share; two networks of three matching steps each.
PlainSetting plain_setting(bool fyi) {
  return {.dataset = shapes(), .network = network(), .rng = Rng(3), .fyi = fyi};
}

struct Run {
  Tensor start;
  Tensors after;  ///< the images after every update
};

/// The method with the settings of `plain` that are the same for all.
Run run_method(const std::string& name, const PlainSetting& plain, const Settings& more) {
  Settings settings{{"net", kNet},
                    {"net-period", str(plain.period)},
                    {"fyi", plain.fyi ? "true" : "false"},
                    {"lr-images", str(plain.lr_images)},
                    {"image-momentum", str(plain.image_momentum)},
                    {"batch-real", str(plain.batch_real)},
                    {"net-batch", str(plain.net_batch)},
                    {"net-lr", str(plain.net_lr)}};
  settings.insert(settings.end(), more.begin(), more.end());
  const std::int64_t iterations = plain.networks * plain.period;
  auto method = small_method(name, str(iterations), settings);
  RunContext run{.dataset = plain.dataset, .ipc = plain.ipc, .rng = plain.rng};
  method->initialize(run);
  Run result{method->snapshot().images, {}};
  for (std::int64_t i = 0; i < iterations; ++i) {
    method->update(i);
    result.after.push_back(method->snapshot().images);
  }
  return result;
}

/// Of the way from the start, which is all that the loops compute.
void check_same_way(const Run& run, const Tensors& plain) {
  REQUIRE(run.after.size() == plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    INFO("after update " << i);
    const Tensor moved = plain[i] - run.start;
    CHECK(moved.abs().max().item<double>() > 0.05);
    CHECK_CLOSE(run.after[i] - run.start, moved, kTolerance);
  }
}

}  // namespace

TEST_CASE("dc equals its loop written out, with and without mirror images",
          "[methods][matching][dc]") {
  const bool fyi = GENERATE(false, true);
  INFO("fyi " << fyi);
  PlainSetting plain = plain_setting(fyi);
  plain.lr_images = 0.2;
  plain.image_momentum = 0.5;
  plain.batch_real = 40;
  plain.net_batch = 5;  // a smaller one is left
  plain.net_lr = 0.05;
  const Run run = run_method("dc", plain, {{"net-epochs", "2"}});
  check_same_way(run, plain_dc(plain, run.start, 2));
}

TEST_CASE("dsa equals its loop written out, with and without mirror images",
          "[methods][matching][dsa]") {
  const bool fyi = GENERATE(false, true);
  const std::string style = fyi ? "fyi" : "dsa";
  INFO("fyi " << fyi);
  PlainSetting plain = plain_setting(fyi);
  plain.lr_images = 0.2;
  plain.image_momentum = 0.5;
  plain.batch_real = 40;
  plain.net_batch = 5;
  plain.net_lr = 0.05;
  plain.augmentation = augment::Strategy::of(kAllSix, style);
  plain.net_augmentation = plain.augmentation;
  const Run run = run_method("dsa", plain, {{"net-epochs", "2"}, {"augmentation-style", style}});
  check_same_way(run, plain_dc(plain, run.start, 2));
}

TEST_CASE("idc equals its loop written out, a step per class and clamps included",
          "[methods][matching][idc]") {
  const bool fyi = GENERATE(false, true);
  INFO("fyi " << fyi);
  const PlainIdc idc{.clamp_every = 2, .max_decoded = 5, .net_steps = 2, .net_cutmix = 0.5};
  PlainSetting plain = plain_setting(fyi);
  plain.image_momentum = 0.5;
  plain.batch_real = 40;  // two of a class of 100 in every pass
  plain.net_batch = 16;
  plain.net_lr = 0.05;
  plain.net_momentum = 0.9;
  plain.net_weight_decay = 5e-4;
  plain.augmentation = augment::Strategy::of("color_crop_cutout", "idc");
  plain.net_augmentation = augment::Strategy::of("color_crop", "idc");
  plain.lr_images = 6;
  Run run =
      run_method("idc", plain, {{"clamp-every", "2"}, {"max-decoded", "5"}, {"net-steps", "2"}});
  run.start = shapes().preprocessing().invert(run.start);
  for (Tensor& images : run.after) images = shapes().preprocessing().invert(images);
  // Kim et al.'s step size for images of 16 pixels.
  plain.lr_images *= double(plain.ipc) / 10 * (16.0 / 32) * (16.0 / 32);
  const Tensors expected = plain_idc(plain, run.start, idc);
  check_same_way(run, expected);
  for (const std::size_t before_clamp : {1, 3}) {
    CHECK(expected[before_clamp].min().item<double>() < -0.01);
    CHECK(expected[before_clamp].max().item<double>() > 1.01);
  }
}
