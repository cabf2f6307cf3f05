#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/eval/evaluator.h"
#include "lib/kernels/convnet_outputs.h"
#include "lib/storage/set_file.h"
#include "methods/attention_matching/attention_matching.h"
#include "methods/distribution_matching/discrepancy.h"
#include "methods/distribution_matching/distribution_matching.h"
#include "methods/gradient_matching/gradient_matching.h"
#include "methods/matching/image_optimizer.h"
#include "methods/matching/strategy.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::matching;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

struct Setting {
  std::unique_ptr<nn::Network> network;
  nn::NetworkState state;
};

Setting setting(const std::string& name, at::ScalarType dtype) {
  Setting s;
  s.network = nn::make_network(name, {3, 16, 16}, 4);
  s.state = s.network->initialize(Rng(3));
  for (Tensor& p : s.state.parameters) p = p.to(dtype);
  for (Tensor& b : s.state.buffers) b = b.to(dtype);
  return s;
}

std::vector<ClassPair> pairs_of(const Tensor& real, const Tensor& synthetic, std::int64_t classes) {
  std::vector<ClassPair> pairs;
  const auto real_parts = real.chunk(classes);
  const auto synthetic_parts = synthetic.chunk(classes);
  for (std::int64_t c = 0; c < classes; ++c) {
    pairs.push_back({c, real_parts[std::size_t(c)], synthetic_parts[std::size_t(c)]});
  }
  return pairs;
}

Tensor noise(std::int64_t n, std::uint64_t seed, at::ScalarType dtype) {
  return Rng(seed).normal_tensor({n, 3, 16, 16}).to(dtype);
}

struct Result {
  double loss;
  Tensor gradient;
};

Result all_at_once(const Objective& objective, const Setting& s, const Tensor& real,
                   const Tensor& synthetic) {
  const Tensor leaf = synthetic.clone().requires_grad_();
  nn::NetworkState state = s.state.detached_clone();
  const Loss loss = objective.loss({*s.network, state}, pairs_of(real, leaf, 3));
  return {loss.total.item<double>(), torch::autograd::grad({loss.total}, {leaf})[0]};
}

Result class_by_class(const Objective& objective, const Setting& s, const Tensor& real,
                      const Tensor& synthetic) {
  Result sum{0, {}};
  Tensors gradients;
  for (const ClassPair& pair : pairs_of(real, synthetic, 3)) {
    ClassPair one = pair;
    one.synthetic = pair.synthetic.clone().requires_grad_();
    nn::NetworkState state = s.state.detached_clone();
    const Loss loss = objective.loss({*s.network, state}, {one});
    sum.loss += loss.total.item<double>();
    gradients.push_back(torch::autograd::grad({loss.total}, {one.synthetic})[0]);
  }
  sum.gradient = at::cat(gradients);
  return sum;
}

const distribution_matching::DistributionObjective kDistribution;
const distribution_matching::DistributionObjective kDiscrepancy(0.5);
const attention_matching::AttentionObjective kAttention(1.0, 0.01);
const attention_matching::AttentionObjective kAttention4(4.0, 0.01);

}  // namespace

TEST_CASE("classes may be looked at one by one when the network treats images one by one",
          "[methods][matching]") {
  for (const Objective* objective :
       {static_cast<const Objective*>(&kDistribution), static_cast<const Objective*>(&kDiscrepancy),
        static_cast<const Objective*>(&kAttention)}) {
    const Setting s = setting("ConvNet-2-w8", at::kDouble);
    const Tensor real = noise(36, 1, at::kDouble);
    const Tensor synthetic = noise(6, 2, at::kDouble);
    const Result joint = all_at_once(*objective, s, real, synthetic);
    const Result looped = class_by_class(*objective, s, real, synthetic);
    CHECK(looped.loss == Approx(joint.loss).epsilon(1e-12));
    CHECK_CLOSE(looped.gradient, joint.gradient, 1e-12);
  }
}

TEST_CASE("with training-mode BatchNorm they may not: the split changes the gradient",
          "[methods][matching]") {
  const Setting s = setting("ConvNet-2-BN-w8", at::kDouble);
  // Classes of different contrast: their own statistics are not the joint ones.
  Tensor real = noise(36, 1, at::kDouble);
  real.slice(0, 12, 24).mul_(3);
  const Tensor synthetic = noise(6, 2, at::kDouble);
  const Result joint = all_at_once(kDistribution, s, real, synthetic);
  const Result looped = class_by_class(kDistribution, s, real, synthetic);
  CHECK(retort::testing::compare(looped.gradient, joint.gradient).error > 1e-2);
}

TEST_CASE("equal real and synthetic batches give no loss and no gradient", "[methods][matching]") {
  for (const std::string net : {"ConvNet-2-w8", "ConvNet-2-BN-w8"}) {
    const Setting s = setting(net, at::kDouble);
    const Tensor images = noise(9, 4, at::kDouble);
    for (const Objective* objective : {static_cast<const Objective*>(&kDistribution),
                                       static_cast<const Objective*>(&kDiscrepancy),
                                       static_cast<const Objective*>(&kAttention)}) {
      const Result result = all_at_once(*objective, s, images, images);
      // Kernel means near 1 cancel; distances of means are squares of nothing.
      const double margin = objective == &kDiscrepancy ? 1e-12 : 1e-20;
      CHECK(result.loss == Approx(0).margin(margin));
      CHECK(result.gradient.abs().max().item<double>() < 1e-12);
    }
  }
}

TEST_CASE("the losses agree with finite differences in float64", "[methods][matching][gradient]") {
  // Swish has no kinks; the attention of a swish map uses |F|, which is smooth almost everywhere.
  for (const std::string net : {"ConvNet-2-w8-swish", "ConvNet-2-BN-w8-swish"}) {
    const Setting s = setting(net, at::kDouble);
    const Tensor real = noise(9, 5, at::kDouble);
    const Tensor synthetic = noise(6, 6, at::kDouble);
    for (const Objective* objective :
         {static_cast<const Objective*>(&kDistribution),
          static_cast<const Objective*>(&kDiscrepancy), static_cast<const Objective*>(&kAttention),
          static_cast<const Objective*>(&kAttention4)}) {
      const auto loss = [&](const Tensor& x) {
        nn::NetworkState state = s.state.detached_clone();
        return objective->loss({*s.network, state}, pairs_of(real, x, 3)).total;
      };
      CHECK(retort::testing::direction_error(loss, synthetic) < 1e-6);
    }
  }
}

TEST_CASE("the Gaussian discrepancy sees what means cannot, and tends to their distance",
          "[methods][matching]") {
  using distribution_matching::gaussian_discrepancy;
  const Tensor real = Rng(1).normal_tensor({50, 6}).to(at::kDouble);
  const Tensor synthetic = Rng(2).normal_tensor({20, 6}).to(at::kDouble) + 0.5;

  const double means = (real.mean(0) - synthetic.mean(0)).square().sum().item<double>();
  CHECK(gaussian_discrepancy(real, synthetic, 1e6).item<double>() == Approx(means).epsilon(1e-4));
  const auto single = [](const Tensor& rows) { return (rows + 10).to(at::kFloat); };
  CHECK(gaussian_discrepancy(single(real), single(synthetic), 1e4).item<double>() ==
        Approx(means).epsilon(1e-3));

  // Same mean, narrower: no distance of means, but a discrepancy, which grows as it narrows.
  const Tensor centred = real - real.mean(0);
  const auto narrowed = [&](double by) {
    return gaussian_discrepancy(centred, by * centred, 1).item<double>();
  };
  CHECK(narrowed(1) == Approx(0).margin(1e-12));
  CHECK(narrowed(0.5) > 0.01);
  CHECK(narrowed(0.1) > narrowed(0.5));

  // Its gradient then pushes the images apart: against the direction to the centre.
  const Tensor images = (0.5 * centred).requires_grad_();
  const Tensor gradient =
      torch::autograd::grad({gaussian_discrepancy(centred, images, 1)}, {images})[0];
  CHECK((gradient * images).sum().item<double>() < 0);

  CHECK_THROWS_WITH_TEXT(gaussian_discrepancy(real.slice(0, 0, 1), synthetic, 1), ConfigError,
                         "two or more real images of a class, found 1");
}

TEST_CASE("the Gaussian discrepancy of three points on a line", "[methods][matching]") {
  const Tensor real = at::tensor({0.0, 2.0}, at::kDouble).view({2, 1});
  const Tensor synthetic = at::tensor({1.0}, at::kDouble).view({1, 1});
  // Two real points at the squared distance 4, which is then the variance of bandwidth 1.
  const double expected = 4 * ((1 + std::exp(-0.5)) / 2 + 1 - 2 * std::exp(-0.125));
  CHECK(distribution_matching::gaussian_discrepancy(real, synthetic, 1).item<double>() ==
        Approx(expected).epsilon(1e-14));
}

TEST_CASE("dm compares what --discrepancy names", "[methods][matching]") {
  const auto loss = [](const std::vector<std::pair<std::string, std::string>>& settings) {
    auto method = small_method("dm", "1", settings);
    RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(1)};
    method->initialize(run);
    return method->update(0).loss;
  };
  const double mean = loss({});
  CHECK(loss({{"discrepancy", "mean"}}) == mean);
  // A wide kernel sees means only, a narrow one does not.
  CHECK(loss({{"discrepancy", "gaussian"}, {"bandwidth", "1000"}}) == Approx(mean).epsilon(0.01));
  CHECK(std::abs(loss({{"discrepancy", "gaussian"}}) - mean) > 0.05 * mean);
  auto method = small_method("dm", "1", {{"discrepancy", "gaussian"}, {"batch-real", "1"}});
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError,
                         "batch-real 1: the loss compares 2 or more real images");
}

TEST_CASE("the gradient distances agree with finite differences through the double backward",
          "[methods][matching][gradient]") {
  using gradient_matching::Metric;
  for (const std::string net : {"ConvNet-2-w8-swish", "ConvNet-2-BN-w8-swish"}) {
    const Setting s = setting(net, at::kDouble);
    const Tensor real = noise(9, 5, at::kDouble);
    for (const Metric metric : {Metric::Rows, Metric::Cosine, Metric::Squared}) {
      INFO(net << ", metric " << int(metric));
      const gradient_matching::GradientObjective objective(metric);
      const auto loss = [&](const Tensor& x) {
        return objective.loss({*s.network, s.state}, pairs_of(real, x, 3)).total;
      };
      CHECK(retort::testing::direction_error(loss, noise(6, 6, at::kDouble)) < 1e-6);
    }
  }
}

TEST_CASE("the gradient distance is 0 to itself, twice the rows to its negative, the rows to zero",
          "[methods][matching]") {
  using gradient_matching::gradient_distance;
  using gradient_matching::Metric;
  const auto random = [](std::uint64_t seed) {
    return Tensors{Rng(seed).normal_tensor({5, 3, 3, 3}), Rng(seed + 1).normal_tensor({5}),
                   Rng(seed + 2).normal_tensor({4, 6})};
  };
  const Tensors g = random(1);
  Tensors negative;
  Tensors zero;
  Tensors longer;
  for (const Tensor& t : g) {
    negative.push_back(-t);
    zero.push_back(at::zeros_like(t));
    longer.push_back(10 * t);
  }
  constexpr double kRows = 5 + 4;
  CHECK(gradient_distance(g, g, Metric::Rows).item<double>() == Approx(0).margin(1e-4));
  CHECK(gradient_distance(g, negative, Metric::Rows).item<double>() == Approx(2 * kRows));
  CHECK(gradient_distance(g, zero, Metric::Rows).item<double>() == Approx(kRows));
  const Tensors h = random(9);
  Tensors h_longer;
  for (const Tensor& t : h) h_longer.push_back(10 * t);
  CHECK(gradient_distance(g, h_longer, Metric::Rows).item<double>() ==
        Approx(gradient_distance(g, h, Metric::Rows).item<double>()).epsilon(1e-5));
  CHECK(gradient_distance(g, longer, Metric::Cosine).item<double>() == Approx(0).margin(1e-5));
}

namespace {

/// Keeps what the loop hands to an objective.
class Recording : public Objective {
 public:
  explicit Recording(Tensors& means) : means_(means) {}
  bool joint(const nn::Network&) const override { return false; }
  bool uses_running_statistics() const override { return true; }
  Loss loss(const Lens& lens, const std::vector<ClassPair>& classes) const override {
    if (classes[0].class_index == 0) means_.push_back(lens.state.buffers[0].clone());
    return {classes[0].synthetic.square().sum(), {}};
  }

 private:
  Tensors& means_;
};

}  // namespace

TEST_CASE("running statistics are refreshed on real images before gradients are matched",
          "[methods][matching]") {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  const auto run_two_iterations = [&](const std::string& networks) {
    MatchingOptions options;
    options.net = "ConvNet-2-BN-w8";
    options.batch_real = 4;
    options.networks = networks;
    options.net_steps = 0;
    Tensors means;
    MatchingMethod method(options, std::make_unique<Recording>(means));
    method.initialize(run);
    method.update(0);
    method.update(1);
    return means;
  };
  for (const Tensor& mean : run_two_iterations("fresh")) {
    CHECK(mean.abs().min().item<double>() > 0);
  }
  // One network that takes no steps: each iteration refreshes a copy on images of its own.
  const Tensors means = run_two_iterations("trained");
  REQUIRE(means.size() == 2);
  CHECK_FALSE(at::equal(means[0], means[1]));
  CHECK((means[0] - means[1]).abs().max().item<double>() <
        0.5 * means[0].abs().max().item<double>());
}

TEST_CASE("gradient matching takes BatchNorm networks, and classes smaller than its batch",
          "[methods][matching]") {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  for (const std::string networks : {"fresh", "trained"}) {
    auto method = small_method(
        "gm", "2", {{"net", "ConvNet-2-BN-w8"}, {"networks", networks}, {"batch-real", "5000"}});
    method->initialize(run);
    for (std::int64_t i = 0; i < 2; ++i) CHECK(std::isfinite(method->update(i).loss));
  }
}

TEST_CASE("attention matching refuses networks with fewer than two activation maps",
          "[methods][matching]") {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  const std::vector<std::pair<std::string, std::string>> refused{
      {"ResNet-18", "found 0"}, {"MLP", "found 0"}, {"ConvNet-1-w8", "found 1"}};
  for (const auto& [net, finding] : refused) {
    auto method = small_method("datadam", "1", {{"net", net}});
    CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError, "network " + net);
    CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError, finding);
  }
}

TEST_CASE("combinations of options without a meaning are refused with the reason",
          "[methods][matching]") {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  auto mosaic = small_method("dm", "1", {{"init", "mosaic"}, {"factor", "3"}});
  CHECK_THROWS_WITH_TEXT(mosaic->initialize(run), ConfigError, "init mosaic with factor 3");
  auto multi = small_method("dm", "1", {{"decode-type", "multi"}});
  CHECK_THROWS_WITH_TEXT(multi->initialize(run), ConfigError, "decode-type multi with factor 1");
}

TEST_CASE("attention maps have unit length and keep their pattern for any power",
          "[methods][matching]") {
  const Tensor maps = Rng(1).normal_tensor({2, 5, 4, 3}).to(at::kDouble);
  const auto value = maps.accessor<double, 4>();
  for (const double power : {0.5, 1.0, 1.7, 2.0, 4.0}) {
    INFO("power " << power);
    const Tensor attention = attention_matching::unit_length(kernels::attention_sums(maps, power));
    REQUIRE(attention.sizes() == at::IntArrayRef({2, 12}));
    for (std::int64_t n = 0; n < 2; ++n) {
      std::vector<double> sums(12);
      double squares = 0;
      for (std::int64_t i = 0; i < 12; ++i) {
        for (std::int64_t c = 0; c < 5; ++c) {
          sums[std::size_t(i)] += std::pow(std::abs(value[n][c][i / 3][i % 3]), power);
        }
        squares += sums[std::size_t(i)] * sums[std::size_t(i)];
      }
      CHECK_CLOSE(attention[n], at::tensor(sums, at::kDouble) / std::sqrt(squares), 1e-12);
    }
  }
  const Tensor nothing = kernels::attention_sums(at::zeros({1, 2, 2, 2}), 1.0);
  CHECK(attention_matching::unit_length(nothing).isfinite().all().item<bool>());
}

TEST_CASE("a cosine schedule takes the step of its iteration", "[methods][matching]") {
  constexpr std::int64_t kIterations = 4;
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(9)};
  const auto start = [&](const std::string& schedule) {
    // Without momentum a step is lr * g.
    return small_method("dm", std::to_string(kIterations),
                        {{"lr-images-schedule", schedule}, {"image-momentum", "0"}});
  };
  const auto images = [](const auto& method) { return method->snapshot().images; };
  for (std::int64_t at = 0; at < kIterations; ++at) {
    // Both have the same gradient at their first update, whatever its number.
    const auto constant = start("constant");
    const auto cosine = start("cosine");
    constant->initialize(run);
    cosine->initialize(run);
    const Tensor before = images(cosine);
    constant->update(at);
    cosine->update(at);
    const double factor = 0.5 * (1 + std::cos(std::acos(-1.0) * double(at) / kIterations));
    CHECK_CLOSE(images(cosine) - before, (images(constant) - before) * factor, 1e-5);
  }
}

TEST_CASE("SGD on the images follows v <- mu v + g, S <- S - lr v", "[methods][matching]") {
  ImageOptimizer optimizer("sgd", 0.1, 0.5);
  const Tensor images = at::zeros({1});
  const Tensor gradient = at::ones({1});
  optimizer.step(images, gradient);
  CHECK(images.item<float>() == Approx(-0.1));
  optimizer.step(images, gradient);
  CHECK(images.item<float>() == Approx(-0.1 - 0.1 * 1.5));
}

TEST_CASE("Adam's first step has the length of the step size", "[methods][matching]") {
  ImageOptimizer optimizer("adam", 0.1, 0.9);
  const Tensor images = at::zeros({2});
  optimizer.step(images, at::tensor({3.0F, -0.01F}));
  CHECK_CLOSE(images, at::tensor({-0.1F, 0.1F}), 1e-5);
}

TEST_CASE("100 iterations on two threads equal 100 iterations on one", "[methods][matching]") {
  const auto run_with = [&](int threads) {
    set_thread_count(threads);
    auto method = small_method("dm", "100", {{"batch-real", "4"}});
    RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(9)};
    method->initialize(run);
    for (std::int64_t i = 0; i < 100; ++i) method->update(i);
    set_thread_count(1);
    return method->snapshot().images;
  };
  CHECK(at::equal(run_with(2), run_with(1)));
}

TEST_CASE("the running mean of the images is the set, over a stop as well", "[methods][matching]") {
  constexpr double kDecay = 0.75;
  const auto start = [&](const std::string& decay) {
    return small_method("dm", "6", {{"image-ema", decay}});
  };
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(9)};
  const auto plain = start("0");
  auto averaged = start("0.75");
  plain->initialize(run);
  averaged->initialize(run);
  Tensor expected = plain->snapshot().images;
  for (std::int64_t i = 0; i < 6; ++i) {
    plain->update(i);
    averaged->update(i);
    expected = kDecay * expected + (1 - kDecay) * plain->snapshot().images;
    if (i == 3) {
      storage::StateWriter out;
      averaged->save_state(out);
      averaged = start("0.75");
      averaged->load_state(run, storage::StateReader(out));
    }
  }
  CHECK_CLOSE(averaged->snapshot().images, expected, 1e-6);
}

TEST_CASE("matching lowers its own loss in random networks", "[methods][matching][learning]") {
  for (const std::string name : {"dm", "datadam"}) {
    auto method = small_method(name, "40", {{"init", "noise"}, {"augmentation", "none"}});
    RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(2)};
    method->initialize(run);
    double early = 0;
    double late = 0;
    for (std::int64_t i = 0; i < 40; ++i) {
      const double loss = method->update(i).loss;
      if (i < 5) early += loss;
      if (i >= 35) late += loss;
    }
    INFO(name);
    CHECK(late < 0.8 * early);
  }
}

TEST_CASE("images condensed from noise train a better classifier than the noise they started from",
          "[methods][matching][learning][slow]") {
  eval::Protocol protocol;
  protocol.epochs = 60;
  protocol.augmentation = "none";
  const eval::Evaluator evaluator(shapes(), protocol);
  RunContext run{.dataset = shapes(), .ipc = 5, .rng = Rng(4)};
  const auto accuracy = [&](data::SyntheticSet set) {
    set.preprocessing = shapes().preprocessing();
    return evaluator.evaluate(synth::decode(set), "ConvNet-2-w16", {0, 1}).mean;
  };
  auto method = small_method("dm", "200",
                             {{"init", "noise"}, {"net", "ConvNet-2-w16"}, {"batch-real", "32"}});
  method->initialize(run);
  const double noise_accuracy = accuracy(method->snapshot());
  for (std::int64_t i = 0; i < method->iterations(); ++i) method->update(i);
  const double condensed = accuracy(method->snapshot());
  INFO("noise " << noise_accuracy << " %, condensed " << condensed << " %");
  CHECK(condensed > noise_accuracy + 15);
}

TEST_CASE("the predicted work counts both halves, warm-up and the path each takes",
          "[methods][matching][prediction]") {
  const RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(1)};
  const double classes = double(shapes().num_classes());
  const auto work = [&](const std::string& name,
                        const std::vector<std::pair<std::string, std::string>>& more) {
    return small_method(name, "1", more)->work(run);
  };
  const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
  const double forward = 2.0 * double(network->macs());

  const Work dm = work("dm", {});
  CHECK(dm.per_iteration.fused == Approx(classes * forward * (8 + 2 * 2)));
  CHECK(dm.per_iteration.plain == 0);
  CHECK(dm.memory_bytes > 0);
  const Work datadam = work("datadam", {});
  CHECK(datadam.per_iteration.fused == Approx(dm.per_iteration.fused));
  CHECK(datadam.per_iteration.layered == 0);
  const Work cubic = work("datadam", {{"power", "3"}});
  CHECK(cubic.per_iteration.fused == 0);
  CHECK(cubic.per_iteration.layered == Approx(dm.per_iteration.fused));
  CHECK(work("dm", {{"net", "ConvNet-2-BN-w8"}}).per_iteration.fused > 0);
  CHECK(work("dm", {{"net", "ConvNet-2-GN-w8"}}).per_iteration.fused ==
        Approx(dm.per_iteration.fused));
  CHECK(work("dm", {{"net", "ConvNet-2-LN-w8"}}).per_iteration.fused == 0);
  const Work gm = work("gm", {{"networks", "fresh"}});
  CHECK(gm.per_iteration.fused == Approx(classes * forward * (8 * 2.93 + 2 * 7.79)));
  CHECK(gm.per_iteration.plain == 0);
  const Work batch_norm = work("gm", {{"networks", "fresh"}, {"net", "ConvNet-2-BN-w8"}});
  CHECK(batch_norm.per_iteration.fused == Approx(gm.per_iteration.fused));
  CHECK(batch_norm.per_iteration.plain == 0);
  const Work group_norm = work("gm", {{"networks", "fresh"}, {"net", "ConvNet-2-GN-w8"}});
  CHECK(group_norm.per_iteration.fused == Approx(gm.per_iteration.fused));
  // Only ConvNets with these norms have fused second order.
  const Work layer_norm = work("gm", {{"networks", "fresh"}, {"net", "ConvNet-2-w8-LN"}});
  CHECK(layer_norm.per_iteration.plain == Approx(classes * forward * 2 * 7.79));
  const std::vector<std::pair<std::string, std::string>> trained{
      {"networks", "trained"}, {"net-steps", "1"}, {"net-batch", "10"}, {"net-period", "5"}};
  auto warm = trained;
  warm.emplace_back("net-warmup", "50");
  CHECK(work("dm", warm).per_iteration.fused - work("dm", trained).per_iteration.fused ==
        Approx(3 * forward * 10 * 50 / 5));
  const Work pool = work("dm", {{"networks", "pool"},
                                {"pool-size", "10000"},
                                {"pool-steps", "1000000000"},
                                {"net-batch", "1000000"}});
  CHECK(pool.setup.fused == Approx(1.5 * forward * 1e19));
}

TEST_CASE("augmentation auto is the style's own, without flips where they change the class",
          "[methods][matching]") {
  CHECK(make_strategy("auto", "dsa", false).text() == "color_crop_cutout_flip_scale_rotate");
  CHECK(make_strategy("auto", "dsa", true).text() == "color_crop_cutout_scale_rotate");
  CHECK(make_strategy("auto", "idc", false).text() == "color_crop_cutout");
  CHECK(make_strategy("flip_crop", "dsa", true).text() == "flip_crop");
}

TEST_CASE("noise starts within the range of pixels where pixels are stored",
          "[methods][matching]") {
  auto method = small_method("dm", "1", {{"init", "noise"}, {"image-space", "pixels"}});
  RunContext run{.dataset = shapes(), .ipc = 10, .rng = Rng(1)};
  method->initialize(run);
  const Tensor pixels = shapes().preprocessing().invert(method->snapshot().images);
  CHECK(pixels.min().item<double>() > -1e-5);
  CHECK(pixels.max().item<double>() < 1 + 1e-5);
  // N(0,1) / 4 + 0.5, cut at two standard deviations.
  CHECK(pixels.mean().item<double>() == Approx(0.5).margin(0.02));
  CHECK(pixels.std().item<double>() == Approx(0.25 * 0.9595).margin(0.02));
}

TEST_CASE("mirror images, multi-formation and trained networks run under every matching method",
          "[methods][matching]") {
  const std::vector<std::vector<std::pair<std::string, std::string>>> settings{
      {{"fyi", "true"}, {"augmentation-style", "fyi"}},
      {{"factor", "2"}, {"init", "k-means"}, {"features", "pixels"}},
      {{"factor", "3"}, {"decode-type", "multi"}},
      {{"networks", "trained"}, {"net-period", "2"}, {"net-steps", "1"}},
      {{"networks", "pool"}, {"pool-size", "2"}, {"pool-steps", "2"}},
      {{"init", "mosaic"}},
      {{"image-optimizer", "adam"}, {"lr-images", "0.01"}},
  };
  for (const std::string name : {"dm", "datadam", "gm"}) {
    for (const auto& more : settings) {
      DYNAMIC_SECTION(name << " with " << more[0].first << " " << more[0].second) {
        auto method = small_method(name, "3", more);
        RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(1)};
        method->initialize(run);
        for (std::int64_t i = 0; i < 3; ++i) CHECK(std::isfinite(method->update(i).loss));
      }
    }
  }
}

TEST_CASE("a run can start from the images of another set of the same size and decoder",
          "[methods][matching]") {
  const retort::testing::TemporaryFolder folder("retort-init-set-test");
  const std::string path = (folder.path() / "base.h5").string();
  auto base = small_method("dm", "1");
  RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(1)};
  base->initialize(run);
  data::SyntheticSet set = base->snapshot();
  set.preprocessing = shapes().preprocessing();
  storage::write_set(path, set);

  auto next = small_method("dm", "1", {{"init-set", path}});
  next->initialize(run);
  CHECK_CLOSE(next->snapshot().images, set.images, 1e-6);
  auto packed = small_method("dm", "1", {{"init-set", path}, {"factor", "2"}});
  CHECK_THROWS_WITH_TEXT(packed->initialize(run), ConfigError, "its decoder is pixels");
  RunContext larger{.dataset = shapes(), .ipc = 3, .rng = Rng(1)};
  auto other_size = small_method("dm", "1", {{"init-set", path}});
  CHECK_THROWS_WITH_TEXT(other_size->initialize(larger), ConfigError, "images of init-set");
}

TEST_CASE("a BatchNorm network needs whole real batches of every class", "[methods][matching]") {
  auto method = small_method("datadam", "1", {{"batch-real", "100000"}});
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError, "batch-real 100000");
}
