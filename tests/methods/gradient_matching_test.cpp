#include "methods/gradient_matching/gradient_matching.h"

#include <array>
#include <cmath>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/eval/evaluator.h"
#include "lib/synth/parametrization.h"
#include "methods/matching/real_halves.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::matching;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

/// A method after some updates, interrupted once if asked for.
Tensor images_after(const std::string& name, std::int64_t iterations, const Settings& settings,
                    std::int64_t stop_after = -1) {
  RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(3)};
  auto method = small_method(name, str(iterations), settings);
  method->initialize(run);
  for (std::int64_t i = 0; i < iterations; ++i) {
    if (i == stop_after) {
      storage::StateWriter state;
      method->save_state(state);
      method = small_method(name, str(iterations), settings);
      method->load_state(run, storage::StateReader(state));
    }
    method->update(i);
  }
  return method->snapshot().images;
}

/// A quadratic per class, so that every step changes the next gradient.
struct Quadratic {
  Tensor curvature;
  Tensor minimum;

  explicit Quadratic(std::int64_t images)
      : curvature(Rng(1).uniform_tensor({images, 2, 3, 3}, 0.5, 2).to(at::kDouble)),
        minimum(Rng(2).uniform_tensor({images, 2, 3, 3}, -0.5, 1.5).to(at::kDouble)) {}
  Tensor gradient(const Tensor& images) const { return curvature * (images - minimum); }
};

}  // namespace

TEST_CASE("all classes at once equal one SGD step per class in turn, clamps included",
          "[methods][matching][idc]") {
  constexpr std::int64_t kPerClass = 2;
  constexpr std::int64_t kClampEvery = 3;
  constexpr double kLr = 0.07;
  for (const std::int64_t classes : {1, 3, 10}) {
    for (const double momentum : {0.0, 0.5, 0.9}) {
      INFO(classes << " classes, momentum " << momentum);
      const Quadratic loss(classes * kPerClass);
      const Tensor looped = Rng(3).uniform_tensor({classes * kPerClass, 2, 3, 3}).to(at::kDouble);
      const Tensor at_once = looped.clone();
      Tensor velocity = at::zeros_like(looped);
      ImageOptimizer optimizer("class-loop", kLr, momentum, classes);
      for (std::int64_t pass = 0; pass < 10; ++pass) {
        const double lr = kLr * (1 - 0.08 * double(pass));  // as under a falling step size
        optimizer.set_lr(lr);
        const bool clamps = pass % kClampEvery == 0;
        if (clamps) looped.clamp_(0, 1);
        for (std::int64_t c = 0; c < classes; ++c) {
          velocity.mul_(momentum);
          const auto rows = [&](const Tensor& x) {
            return x.slice(0, c * kPerClass, (c + 1) * kPerClass);
          };
          rows(velocity).add_(rows(loss.gradient(looped)));
          looped.sub_(velocity, lr);
        }
        if (clamps) at_once.clamp_(0, 1);
        optimizer.catch_up(at_once);
        optimizer.catch_up(at_once);  // a second call changes nothing
        optimizer.step(at_once, loss.gradient(at_once));
        CHECK_CLOSE(at_once, looped, 1e-13);
      }
    }
  }
}

TEST_CASE("the loops of the papers follow from the images per class", "[methods][matching]") {
  const std::vector<std::array<std::int64_t, 3>> published{
      {1, 1, 1}, {10, 10, 50}, {20, 20, 25}, {30, 30, 20}, {40, 40, 15}, {50, 50, 10}};
  for (const auto& [ipc, steps, epochs] : published) {
    INFO("ipc " << ipc);
    CHECK(published_loops(ipc).matching_steps == steps);
    if (ipc > 1) CHECK(published_loops(ipc).epochs == epochs);
    CHECK(published_loops(ipc).published);
  }
  const std::vector<std::array<std::int64_t, 3>> between{
      {2, 2, 50}, {15, 15, 38}, {24, 24, 23}, {100, 50, 10}};
  for (const auto& [ipc, steps, epochs] : between) {
    INFO("ipc " << ipc);
    CHECK(published_loops(ipc).matching_steps == steps);
    CHECK(published_loops(ipc).epochs == epochs);
    CHECK_FALSE(published_loops(ipc).published);
  }
}

TEST_CASE("settling fills in what the user left open, and nothing else", "[methods][matching]") {
  const auto settled = [](const std::string& name, std::int64_t ipc, const Settings& settings) {
    const auto factory = find_method(name).factory();
    config::OptionTable table = factory->options();
    for (const auto& [key, value] : settings) table.set(key, value, config::Origin::Flag);
    factory->settle(ipc);
    factory->settle(50);  // too late to change anything
    return factory->options().resolved();
  };
  auto options = settled("dc", 20, {});
  CHECK(options.at("iterations") == "20000");
  CHECK(options.at("net-period") == "20");
  CHECK(options.at("net-epochs") == "25");
  options = settled("dsa", 10, {{"outer-loop", "4"}, {"iterations", "7"}});
  CHECK(options.at("iterations") == "7");
  CHECK(options.at("net-period") == "4");
  CHECK(options.at("net-epochs") == "50");
  CHECK(settled("idc", 10, {}).at("iterations") == "200000");

  options = settled("dc", 10, {{"networks", "trained"}, {"net-period", "5"}});
  CHECK(options.at("iterations") == "5000");
  options = settled("dc", 10, {{"networks", "trained"}});
  CHECK(options.at("iterations") == "20000");
  CHECK(options.at("net-period") == "20");
  for (const std::string networks : {"fresh", "pool"}) {
    options = settled("dc", 10, {{"networks", networks}, {"net-period", "5"}});
    CHECK(options.at("iterations") == "1000");
    CHECK(options.at("net-epochs") == "0");  // nothing that such a run would not use
  }
  CHECK(settled("dm", 10, {}).at("net-epochs") == "0");
  CHECK_THROWS_WITH_TEXT(find_method("dc").factory()->create()->iterations(), Error, "settle()");
}

namespace {

/// Keeps what the loop hands to an objective for class 0; its gradient is the same everywhere.
class Recording : public Objective {
 public:
  struct Seen {
    Tensor real;
    Tensor synthetic;
  };
  explicit Recording(std::vector<Seen>& seen) : seen_(seen) {}
  bool joint(const nn::Network&) const override { return false; }
  Loss loss(const Lens&, const std::vector<ClassPair>& classes) const override {
    const ClassPair& pair = classes[0];
    if (pair.class_index == 0) seen_.push_back({pair.real, pair.synthetic.detach().clone()});
    return {-pair.synthetic.sum(), {}};
  }

 private:
  std::vector<Seen>& seen_;
};

MatchingOptions recording_options() {
  MatchingOptions options;
  options.net = "ConvNet-2-w8";
  options.augmentation = "none";
  options.batch_real = 32;
  options.lr_images = 0.3;
  return options;
}

std::vector<Recording::Seen> record(const MatchingOptions& options, std::int64_t iterations,
                                    std::int64_t first = 0) {
  std::vector<Recording::Seen> seen;
  MatchingMethod method(options, std::make_unique<Recording>(seen));
  RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(1)};
  method.initialize(run);
  for (std::int64_t i = first; i < iterations; ++i) method.update(i);
  return seen;
}

/// How many of the images are different ones.
std::int64_t different_images(const Tensors& batches) {
  const Tensor all = at::cat(batches).flatten(1);
  return std::get<0>(at::unique_dim(all, 0)).size(0);
}

}  // namespace

TEST_CASE("a stream of real batches passes through a class without repeating an image",
          "[methods][matching][idc]") {
  MatchingOptions options = recording_options();
  options.real_batches = "stream";
  const std::int64_t in_class = shapes().class_indices(0).numel();
  const std::int64_t per_pass = in_class / 32;
  REQUIRE(in_class % 32 != 0);  // a last batch is left out
  const auto seen = record(options, 2 * per_pass);
  for (const std::int64_t pass : {0, 1}) {
    Tensors batches;
    for (std::int64_t i = 0; i < per_pass; ++i) {
      batches.push_back(seen[std::size_t(pass * per_pass + i)].real);
    }
    CHECK(different_images(batches) == per_pass * 32);
  }
  CHECK_FALSE(at::equal(seen[0].real, seen[std::size_t(per_pass)].real));
  // A batch follows from its position alone.
  CHECK(
      at::equal(record(options, per_pass + 1, per_pass)[0].real, seen[std::size_t(per_pass)].real));
  options.batch_real = 5000;
  CHECK(record(options, 1)[0].real.size(0) == in_class);
}

TEST_CASE("at most so many decoded images are looked at, before they are mirrored",
          "[methods][matching][idc]") {
  MatchingOptions options = recording_options();
  options.factor = 2;
  CHECK(record(options, 1)[0].synthetic.size(0) == 8);
  options.max_decoded = 3;
  const auto seen = record(options, 2);
  CHECK(seen[0].synthetic.size(0) == 3);
  CHECK(different_images({seen[0].synthetic}) == 3);
  options.fyi = true;
  CHECK(record(options, 1)[0].synthetic.size(0) == 6);
}

TEST_CASE("pixels are stepped as pixels and clamped at the start of every so many iterations",
          "[methods][matching][idc]") {
  MatchingOptions options = recording_options();
  options.image_space = "pixels";
  options.image_momentum = 0;
  options.clamp_every = 2;
  const auto seen = record(options, 3);
  const auto pixels = [&](std::size_t i) {
    return shapes().preprocessing().invert(seen[i].synthetic);
  };
  CHECK(pixels(0).min().item<double>() >= -1e-6);
  CHECK(pixels(0).max().item<double>() <= 1 + 1e-6);
  // The gradient of -sum of preprocessed values is -1/std for every pixel.
  const double step = 0.3 / shapes().preprocessing().std()[0];
  CHECK_CLOSE(pixels(1), pixels(0) + step, 1e-5);
  CHECK_CLOSE(pixels(2), (pixels(1) + step).clamp(0, 1), 1e-5);
}

TEST_CASE("Kim et al.'s step size grows with the images per class and the area of an image",
          "[methods][matching][idc]") {
  MatchingOptions options = recording_options();
  options.image_momentum = 0;
  const auto step = [&](std::int64_t side) {
    options.lr_reference_side = side;
    const auto seen = record(options, 2);
    return (seen[1].synthetic - seen[0].synthetic).mean().item<double>();
  };
  CHECK(step(0) == Approx(0.3).epsilon(1e-4));
  CHECK(step(32) == Approx(0.3 * 0.2 * 0.25).epsilon(1e-3));  // ipc 2, 16 pixels high
}

TEST_CASE("several networks per iteration give the mean of their gradients",
          "[methods][matching]") {
  // All real images of a class, so that batches differ in their order alone.
  const Settings settings{{"init", "first"},
                          {"augmentation", "none"},
                          {"batch-real", "5000"},
                          {"image-momentum", "0"},
                          {"lr-images", "1"}};
  const auto moved_by = [&](const Settings& more, std::int64_t iteration) {
    Settings all = settings;
    all.insert(all.end(), more.begin(), more.end());
    auto method = small_method("dm", "3", all);
    RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(3)};
    method->initialize(run);
    const Tensor before = method->snapshot().images;
    method->update(iteration);
    return (method->snapshot().images - before).to(at::kDouble);
  };
  const Tensor mean = (moved_by({}, 0) + moved_by({}, 1) + moved_by({}, 2)) / 3;
  CHECK_CLOSE(moved_by({{"networks-per-iteration", "3"}}, 0), mean, 1e-4);
}

TEST_CASE("kept real gradients change no bit of a run, nor does a resume",
          "[methods][matching][resume]") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"gm", "ConvNet-2-w8"}, {"gm", "ConvNet-2-BN-w8"}, {"idc", "ConvNet-2-w8"}};
  for (const auto& [method, net] : cases) {
    INFO(method << " " << net);
    Settings settings{{"net", net},        {"networks", "pool"},  {"pool-size", "2"},
                      {"pool-steps", "3"}, {"cached-draws", "2"}, {"net-batch", "8"}};
    const Tensor kept = images_after(method, 8, settings);
    CHECK(at::equal(images_after(method, 8, settings, 5), kept));
    settings.emplace_back("cache-mb", "0");
    CHECK(at::equal(images_after(method, 8, settings), kept));
    settings.emplace_back("networks-per-iteration", "2");
    const Tensor two = images_after(method, 8, settings);
    CHECK_FALSE(at::equal(two, kept));
    settings.emplace_back("cache-mb", "100");
    CHECK(at::equal(images_after(method, 8, settings), two));
  }
}

TEST_CASE("a limited store of real halves holds what fits and computes the rest",
          "[methods][matching]") {
  RealHalves halves(std::int64_t(2 * 10 * sizeof(float)));
  std::int64_t computed = 0;
  const auto get = [&](std::int64_t network) {
    return halves.get({network, 0, 0}, [&] {
      ++computed;
      return Tensors{at::full({10}, network, at::kFloat)};
    })[0];
  };
  for (const std::int64_t network : {0, 1, 2, 0, 1, 2}) {
    CHECK(get(network)[0].item<float>() == float(network));
  }
  CHECK(computed == 4);  // the third found no room
}

TEST_CASE("dc, dsa and idc run with mirror images, other formations, networks and initial images",
          "[methods][matching]") {
  const std::vector<Settings> settings{
      {{"fyi", "true"}, {"augmentation-style", "fyi"}},
      {{"factor", "3"}, {"decode-type", "multi"}},
      {{"factor", "1"}, {"init", "random"}},
      {{"net", "ConvNet-2-BN-w8"}},
      {{"net", "ConvNet-2-LN-w8"}, {"metric", "mse"}},
      {{"networks", "synthetic"}, {"net-period", "2"}},
      {{"networks", "fresh"}, {"networks-per-iteration", "2"}},
      {{"init", "noise"}, {"image-space", "pixels"}, {"image-optimizer", "adam"}},
      {{"metric", "cos"}},
      {{"metric", "l1"}},
      {{"metric", "l1-mean"}},
  };
  for (const std::string name : {"dc", "dsa", "idc"}) {
    for (const auto& more : settings) {
      DYNAMIC_SECTION(name << " with " << more[0].first << " " << more[0].second) {
        CHECK(images_after(name, 3, more).isfinite().all().item<bool>());
      }
    }
  }
}

TEST_CASE("networks that train on the synthetic set serve other objectives too",
          "[methods][matching]") {
  const Settings settings{{"networks", "synthetic"}, {"net-period", "3"}, {"net-epochs", "1"}};
  const Tensor whole = images_after("dm", 5, settings);
  CHECK(whole.isfinite().all().item<bool>());
  CHECK(at::equal(images_after("dm", 5, settings, 4), whole));
}

TEST_CASE("two threads give the bits of one", "[methods][matching]") {
  const std::vector<std::pair<std::string, Settings>> runs{
      {"dsa", {{"net-period", "3"}}},
      {"idc", {{"net-cutmix", "1"}}},
      {"dm", {{"networks-per-iteration", "2"}}},
      {"dm", {{"discrepancy", "gaussian"}}},
      {"dm", {{"net", "ConvNet-2-BN-w8"}}},
      {"datadam", {{"net", "ConvNet-2-w8"}}},
      {"datadam", {{"net", "ConvNet-2-BN-w8"}}},
      {"gm",
       {{"networks", "pool"}, {"pool-size", "2"}, {"pool-steps", "2"}, {"cached-draws", "1"}}},
      {"gm", {{"networks", "fresh"}, {"net", "ConvNet-2-BN-w8"}}},
  };
  for (const auto& [name, settings] : runs) {
    INFO(name);
    const Tensor one = images_after(name, 4, settings);
    set_thread_count(2);
    const Tensor two = images_after(name, 4, settings);
    set_thread_count(1);
    CHECK(at::equal(two, one));
  }
}

TEST_CASE("settings without a meaning are refused with the reason", "[methods][matching][error]") {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  const auto refused = [&](const std::string& name, const Settings& settings,
                           const std::string& reason) {
    auto method = small_method(name, "1", settings);
    CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError, reason);
  };
  refused("dm", {{"clamp-every", "5"}}, "clamp-every 5 with image-space preprocessed");
  refused("gm", {{"networks-per-iteration", "2"}},
          "networks-per-iteration 2 with networks trained");
  refused("gm", {{"cached-draws", "2"}}, "cached-draws 2 with networks trained");
  refused("idc", {{"net", "MLP"}}, "match-parameters convolutions with network MLP");
}

TEST_CASE("an unknown metric is answered with the known ones", "[methods][matching][error]") {
  CHECK_THROWS_WITH_TEXT(gradient_matching::parse_metric("l2"), ConfigError, "l1-mean");
  CHECK_THROWS_WITH_TEXT(gradient_matching::gradient_distance(
                             {at::ones({2})}, {at::ones({2})}, gradient_matching::Metric::Squared,
                             gradient_matching::Scope::Convolutions),
                         ConfigError, "no parameters of the kind");
}

TEST_CASE("absolute distances agree with finite differences through the double backward",
          "[methods][matching][gradient]") {
  using gradient_matching::Metric;
  using gradient_matching::Scope;
  const auto network = nn::make_network("ConvNet-2-w8-swish", {3, 16, 16}, 4);
  nn::NetworkState state = network->initialize(Rng(3));
  for (Tensor& p : state.parameters) p = p.to(at::kDouble);
  const auto images = [](std::uint64_t seed) {
    return Rng(seed).normal_tensor({3, 3, 16, 16}).to(at::kDouble);
  };
  for (const Metric metric : {Metric::Absolute, Metric::AbsoluteMean, Metric::Rows}) {
    for (const Scope scope : {Scope::All, Scope::Convolutions}) {
      INFO("metric " << int(metric) << ", scope " << int(scope));
      const gradient_matching::GradientObjective objective(metric, scope);
      const auto loss = [&](const Tensor& x) {
        return objective.loss({*network, state}, {{1, images(5), x}}).total;
      };
      CHECK(retort::testing::direction_error(loss, images(6)) < 1e-6);
    }
  }
}

TEST_CASE("the distance of dc lies between 0 and twice the rows and falls from noise",
          "[methods][matching][learning]") {
  auto method = small_method("dc", "100", {{"batch-real", "32"}});
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(2)};
  method->initialize(run);
  const double rows = 8 + 8 + double(shapes().num_classes());  // two convolutions, the classifier
  double early = 0;
  double late = 0;
  for (std::int64_t i = 0; i < 100; ++i) {
    const double loss = method->update(i).loss;
    CHECK(loss >= 0);
    CHECK(loss <= 2 * rows);
    if (i == 0) CHECK(loss > 0.2 * rows);
    if (i < 10) early += loss;
    if (i >= 90) late += loss;
  }
  CHECK(late < 0.9 * early);
}

TEST_CASE("the predicted work counts training on the synthetic set and kept gradients",
          "[methods][matching][prediction]") {
  const RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(1)};
  const double classes = double(shapes().num_classes());
  const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
  const double forward = 2.0 * double(network->macs());
  const auto work = [&](const std::string& name, const Settings& more) {
    return small_method(name, "1", more)->work(run);
  };
  const double matching = classes * 8 * 2.93;
  const Work dc = work("dc", {{"net-epochs", "6"}, {"net-period", "4"}});
  CHECK(dc.per_iteration.fused ==
        Approx(forward * (matching + classes * 2 * 7.79 + 3 * 0.75 * 6 * classes * 2)));
  const Work mirrored = work("dc", {{"net-epochs", "6"}, {"net-period", "4"}, {"fyi", "true"}});
  CHECK(mirrored.per_iteration.fused - dc.per_iteration.fused ==
        Approx(forward * classes * 2 * (7.79 + 3 * 0.75 * 6)));
  const Work idc = work("idc", {{"max-decoded", "5"}, {"net-steps", "2"}, {"net-batch", "16"}});
  CHECK(idc.per_iteration.fused == Approx(forward * (matching + classes * 5 * 7.79 + 3 * 2 * 16)));
  const Settings pool{{"networks", "pool"}, {"pool-size", "2"}, {"pool-steps", "0"}};
  Settings kept = pool;
  kept.emplace_back("cached-draws", "3");
  const double synthetic = classes * 2 * 7.79;
  CHECK(work("gm", pool).per_iteration.fused == Approx(forward * (matching + synthetic)));
  CHECK(work("gm", kept).per_iteration.fused == Approx(forward * synthetic));
  CHECK(work("gm", kept).setup.fused == Approx(forward * matching * 2 * 3));
  CHECK(work("dm", {{"networks-per-iteration", "3"}}).per_iteration.fused ==
        Approx(3 * work("dm", {}).per_iteration.fused));
}

TEST_CASE("images condensed by gradient matching train a better classifier than what they began as",
          "[methods][matching][learning][slow]") {
  eval::Protocol protocol;
  protocol.epochs = 60;
  protocol.augmentation = "none";
  const eval::Evaluator evaluator(shapes(), protocol);
  const auto accuracy = [&](data::SyntheticSet set) {
    set.preprocessing = shapes().preprocessing();
    return evaluator.evaluate(synth::decode(set), "ConvNet-2-w16", {0, 1}).mean;
  };
  const Settings common{{"init", "noise"}, {"net", "ConvNet-2-w16"}, {"batch-real", "32"}};
  const std::vector<std::pair<std::string, Settings>> runs{
      {"dc", {{"net-period", "5"}, {"net-epochs", "5"}, {"lr-images", "1"}}},
      {"dsa", {{"net-period", "5"}, {"net-epochs", "5"}, {"lr-images", "1"}}},
      {"idc",
       {{"net-period", "20"}, {"clamp-every", "20"}, {"net-steps", "4"}, {"lr-images", "0.5"}}},
  };
  for (const auto& [name, own] : runs) {
    Settings settings = common;
    settings.insert(settings.end(), own.begin(), own.end());
    RunContext run{.dataset = shapes(), .ipc = 5, .rng = Rng(4)};
    auto method = small_method(name, "150", settings);
    method->initialize(run);
    const double before = accuracy(method->snapshot());
    for (std::int64_t i = 0; i < method->iterations(); ++i) method->update(i);
    const double after = accuracy(method->snapshot());
    INFO(name << ": noise " << before << " %, condensed " << after << " %");
    CHECK(after > before + 15);
  }
}
