// The mathematics of trajectory matching: students, their derivatives, what they follow.
#include <algorithm>
#include <atomic>
#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "methods/trajectory_matching/flat.h"
#include "methods/trajectory_matching/inner_loop.h"
#include "methods/trajectory_matching/schedule.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods::trajectory_matching;

namespace {

constexpr std::int64_t kClasses = 3;
constexpr std::int64_t kImages = 6;

std::unique_ptr<nn::Network> tiny_network(nn::Activation activation) {
  return nn::make_convnet({.width = 4, .depth = 2, .activation = activation}, {3, 8, 8}, kClasses);
}

struct Case {
  std::string name = "";
  double momentum = 0;
  bool waypoints = false;
  std::int64_t batch = 0;
  bool logits = true;
  bool mirrored = false;
  double loss_factor = 1;
  std::string augmentation = "color_crop_cutout_flip_scale_rotate";
  std::int64_t steps = 5;
};

Tensor normal(const Rng& rng, at::IntArrayRef shape) {
  Rng stream = rng;
  return stream.normal_tensor(shape).to(at::kDouble);
}

/// A student in float64 whose steps move it far, so that later steps feel earlier ones.
InnerProblem make_problem(const nn::Network& network, const Case& c) {
  const Rng rng(7);
  const Tensor classes = at::arange(kClasses).repeat_interleave(kImages / kClasses);
  InnerProblem problem{
      .student = {.network = network,
                  .images = normal(rng.child("images"), {kImages, 3, 8, 8}),
                  .labels =
                      c.logits ? InnerLabels{normal(rng.child("labels"), {kImages, kClasses}), true}
                               : hard_labels(classes, kClasses, at::kDouble),
                  .strategy = augment::Strategy::of(c.augmentation, "mtt"),
                  .mirrored = c.mirrored,
                  .loss_factor = c.loss_factor},
      .steps = {},
      .start = {},
      .target = {},
      .alpha = 0.3,
      .momentum = c.momentum};
  const Tensor start = nn::flatten(network.initialize(rng.child("net")).parameters);
  problem.start = start.to(at::kDouble) + 0.1 * normal(rng.child("jitter"), start.sizes());
  problem.target = problem.start + 0.2 * normal(rng.child("target"), start.sizes());
  for (const Tensor& rows : chunk_rows(kImages, c.batch, c.steps, rng.child("chunks"))) {
    Rng draw = rng.child("augment", std::int64_t(problem.steps.size()));
    problem.steps.push_back(
        {rows, augment::draw(problem.student.strategy, augment::Sharing::PerSample,
                             rows.numel() * (c.mirrored ? 2 : 1), 8, 8, draw)});
  }
  if (c.waypoints) {
    for (std::int64_t step : {2, 4}) {
      problem.waypoints.push_back(
          {.step = step,
           .target = problem.start + 0.2 * normal(rng.child("waypoint", step), start.sizes()),
           .weight = 0.25 * double(step)});
    }
  }
  return problem;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {.name = "all images in every step"},
      {.name = "momentum", .momentum = 0.9},
      {.name = "waypoints", .waypoints = true},
      {.name = "momentum and waypoints", .momentum = 0.9, .waypoints = true, .batch = 4},
      {.name = "a short chunk first", .batch = 4},
      {.name = "hard labels", .batch = 4, .logits = false},
      {.name = "mirror images", .batch = 4, .mirrored = true},
      {.name = "a factor of the loss", .momentum = 0.5, .loss_factor = 1.3},
      {.name = "no augmentation", .augmentation = "none"},
      {.name = "one step", .steps = 1},
  };
  return all;
}

double relative(double actual, double expected) {
  return std::abs(actual - expected) / std::max(1e-300, std::abs(expected));
}

void check_same(const InnerResult& actual, const InnerResult& expected, double tolerance) {
  CHECK(actual.differentiated == expected.differentiated);
  CHECK(relative(actual.loss, expected.loss) <= tolerance);
  CHECK_CLOSE(actual.end, expected.end, tolerance);
  CHECK_CLOSE(actual.images, expected.images, tolerance);
  CHECK(relative(actual.alpha, expected.alpha) <= tolerance);
  REQUIRE(actual.labels.defined() == expected.labels.defined());
  if (expected.labels.defined()) CHECK_CLOSE(actual.labels, expected.labels, tolerance);
}

void check_same_bits(const InnerResult& a, const InnerResult& b) {
  CHECK(a.loss == b.loss);
  CHECK(a.alpha == b.alpha);
  CHECK(at::equal(a.end, b.end));
  CHECK(at::equal(a.images, b.images));
  if (a.labels.defined()) CHECK(at::equal(a.labels, b.labels));
}

Tensor flat(const Tensor& t) { return t.reshape(-1); }

double cosine(const Tensor& a, const Tensor& b) {
  return inner_product(a, b) / std::sqrt(squared_norm(a) * squared_norm(b));
}

}  // namespace

TEST_CASE("the reverse sweep gives the gradient of the unrolled graph", "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  for (const Case& c : cases()) {
    DYNAMIC_SECTION(c.name) {
      const InnerProblem problem = make_problem(*network, c);
      const InnerResult unrolled = solve(problem, {.engine = Engine::Unrolled});
      REQUIRE(unrolled.differentiated);
      CHECK(unrolled.images.abs().max().item<double>() > 1e-4);
      check_same(solve(problem, {.engine = Engine::Sweep}), unrolled, 1e-10);
    }
  }
}

TEST_CASE("cutting a batch changes rounding only", "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  for (const bool mirrored : {false, true}) {
    const InnerProblem problem =
        make_problem(*network, {.momentum = 0.9, .batch = 4, .mirrored = mirrored});
    const InnerResult whole = solve(problem, {.engine = Engine::Sweep, .micro_batch = 100});
    for (const std::int64_t n : {1, 2, 3}) {
      INFO("micro-batch " << n << (mirrored ? ", mirrored" : ""));
      check_same(solve(problem, {.engine = Engine::Sweep, .micro_batch = n}), whole, 1e-12);
    }
  }
}

TEST_CASE("kept graphs change no bit, whatever the budget", "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  const InnerProblem problem = make_problem(*network, {.momentum = 0.9, .batch = 4});
  const InnerResult sweep = solve(problem, {.engine = Engine::Sweep});
  for (const std::int64_t bytes : {0, 20'000, 1'000'000'000}) {
    INFO(bytes << " bytes");
    check_same_bits(solve(problem, {.engine = Engine::Hybrid, .graph_bytes = bytes}), sweep);
  }
}

TEST_CASE("a gradient that is computed again has the same bits", "[methods][trajectory]") {
  // The network of production in float32: the fused kernels, where the machine has them.
  const auto network = nn::make_network("ConvNet-3", {3, 32, 32}, 10);
  const Rng rng(3);
  const Student student{.network = *network,
                        .images = normal(rng.child("images"), {40, 3, 32, 32}).to(at::kFloat),
                        .labels = hard_labels(at::arange(40) % 10, 10, at::kFloat),
                        .strategy = augment::Strategy::of("rotate", "mtt")};
  const Tensor theta = nn::flatten(network->initialize(rng.child("net")).parameters);
  const Tensor rows = at::arange(40);
  Rng draw = rng.child("draw");
  const InnerStep step{
      rows, augment::draw(student.strategy, augment::Sharing::PerSample, 40, 32, 32, draw)};
  const Tensor once = StepPass(student, theta, step, 0).gradient(false);
  CHECK(at::equal(StepPass(student, theta, step, 0).gradient(true), once));
  const Tensor direction = normal(rng.child("direction"), theta.sizes()).to(at::kFloat);
  const auto again = StepPass(student, theta, step, 0).products(direction, {});
  CHECK(again.along == Approx(inner_product(direction, once)).epsilon(1e-4));
  StepPass kept(student, theta, step, 0);
  kept.gradient(true);
  CHECK(kept.graph_bytes() > 0);
  const auto products = kept.products(direction, {});
  CHECK(products.along == again.along);
  CHECK(at::equal(products.images, again.images));
  CHECK(at::equal(products.parameters, again.parameters));
}

TEST_CASE("students and their derivatives have the same bits on one thread and two",
          "[methods][trajectory]") {
  const auto network = nn::make_network("ConvNet-3-w32", {3, 32, 32}, 10);
  const Rng rng(5);
  const Tensor start = nn::flatten(network->initialize(rng.child("net")).parameters);
  const Tensor images = normal(rng.child("images"), {50, 3, 32, 32}).to(at::kFloat);
  const InnerLabels labels{normal(rng.child("labels"), {50, 10}).to(at::kFloat), true};
  const Student student{
      .network = *network,
      .images = images,
      .labels = labels,
      .strategy = augment::Strategy::of("color_crop_cutout_flip_scale_rotate", "mtt")};
  InnerProblem problem{.student = student, .steps = {}, .start = start, .target = {}};
  problem.target = start + 0.01 * normal(rng.child("target"), start.sizes()).to(at::kFloat);
  problem.momentum = 0.9;
  for (const Tensor& chunk : chunk_rows(50, 30, 4, rng)) {
    Rng draw = rng.child("augment", std::int64_t(problem.steps.size()));
    problem.steps.push_back(
        {chunk, augment::draw(problem.student.strategy, augment::Sharing::PerSample, chunk.numel(),
                              32, 32, draw)});
  }
  for (const Engine engine : {Engine::Hybrid, Engine::Tesla, Engine::Unrolled}) {
    set_thread_count(2);
    const InnerResult two = solve(problem, {.engine = engine, .graph_bytes = 50'000'000});
    set_thread_count(1);
    const InnerResult one = solve(problem, {.engine = engine, .graph_bytes = 50'000'000});
    INFO("engine " << int(engine));
    check_same_bits(one, two);
  }
}

TEST_CASE("the sweep's derivatives agree with central differences", "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Swish);
  InnerProblem problem = make_problem(*network, {.momentum = 0.9, .waypoints = true, .batch = 4});
  const InnerResult result = solve(problem, {.engine = Engine::Sweep});
  constexpr double kStep = 1e-5;
  const auto slope = [&](const std::function<void(double)>& move) {
    move(kStep);
    const double above = solve(problem, {.engine = Engine::Sweep, .threshold = -1}).loss;
    move(-2 * kStep);
    const double below = solve(problem, {.engine = Engine::Sweep, .threshold = -1}).loss;
    move(kStep);
    return (above - below) / (2 * kStep);
  };
  CHECK(relative(result.alpha, slope([&](double h) { problem.alpha += h; })) < 1e-6);
  const double largest = result.images.abs().max().item<double>();
  for (const std::int64_t pixel : {0, 100, 500, 777, 1151}) {
    const Tensor value = flat(problem.student.images)[pixel];
    INFO("pixel " << pixel);
    CHECK(std::abs(flat(result.images)[pixel].item<double>() -
                   slope([&](double h) { value.add_(h); })) < 1e-6 * largest);
  }
  for (const std::int64_t entry : {0, 7, 17}) {
    const Tensor value = flat(problem.student.labels.values)[entry];
    INFO("logit " << entry);
    CHECK(std::abs(flat(result.labels)[entry].item<double>() - slope([&](double h) {
                     value.add_(h);
                   })) < 1e-6 * result.labels.abs().max().item<double>());
  }
}

TEST_CASE("the gradient of labels is the tangent of the logits along the direction",
          "[methods][trajectory]") {
  // dphi/dy_j = -1/b (diag(q_j) - q_j q_j^T) dz_j with dz the logits' derivative along u.
  const auto network = tiny_network(nn::Activation::Swish);
  const InnerProblem problem = make_problem(*network, {.augmentation = "none", .steps = 1});
  const InnerResult result = solve(problem, {.engine = Engine::Sweep});
  const Tensor lambda =
      2 * (result.end - problem.target) / squared_distance(problem.start, problem.target);
  const Tensor u = -problem.alpha * lambda;
  const at::NoGradGuard no_grad;
  const auto logits_at = [&](double h) {
    const nn::NetworkState state{nn::unflatten(problem.start + h * u, network->parameters()), {}};
    return network->forward(state, problem.student.images).logits;
  };
  const double h = 1e-5 / std::sqrt(squared_norm(u));
  const Tensor tangent = (logits_at(h) - logits_at(-h)) / (2 * h);
  const Tensor q = problem.student.labels.values.softmax(1);
  const Tensor expected = -q * (tangent - (q * tangent).sum(1, true)) / double(kImages);
  CHECK_CLOSE(result.labels, expected, 1e-7);
}

TEST_CASE("frozen parameters are exact for one step, and for the last of several",
          "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  const InnerProblem one = make_problem(*network, {.steps = 1});
  check_same_bits(solve(one, {.engine = Engine::Tesla}), solve(one, {.engine = Engine::Sweep}));

  InnerProblem two = make_problem(*network, {.steps = 2});
  two.steps[0].rows = at::tensor({0, 1, 2}, at::kLong);
  two.steps[1].rows = at::tensor({3, 4, 5}, at::kLong);
  two.student.strategy = {};
  for (InnerStep& step : two.steps) step.draw = {};
  const InnerResult tesla = solve(two, {.engine = Engine::Tesla});
  const InnerResult exact = solve(two, {.engine = Engine::Sweep});
  CHECK(tesla.loss == exact.loss);
  CHECK(at::equal(tesla.images.slice(0, 3), exact.images.slice(0, 3)));
  const double similarity = cosine(tesla.images.slice(0, 0, 3), exact.images.slice(0, 0, 3));
  CHECK(similarity < 0.9999);
  CHECK(similarity > 0.5);

  const InnerResult halved = solve(two, {.engine = Engine::Tesla, .halved_images = true});
  CHECK_CLOSE(halved.images, 0.5 * tesla.images, 1e-15);
  CHECK(halved.alpha == tesla.alpha);
  CHECK(at::equal(halved.labels, tesla.labels));
}

TEST_CASE("frozen parameters with momentum weigh every step by what it moves",
          "[methods][trajectory]") {
  // theta_N = theta_0 - alpha sum_i c_i g_i with c_i = (1 - mu^(N-i)) / (1 - mu).
  const auto network = tiny_network(nn::Activation::Relu);
  const InnerProblem problem =
      make_problem(*network, {.momentum = 0.9, .augmentation = "none", .steps = 4});
  const InnerResult tesla = solve(problem, {.engine = Engine::Tesla});
  const Tensor lambda =
      2 * (tesla.end - problem.target) / squared_distance(problem.start, problem.target);
  Tensor theta = problem.start;
  Tensor velocity = at::zeros_like(theta);
  Tensor expected = at::zeros_like(problem.student.images);
  for (std::size_t i = 0; i < problem.steps.size(); ++i) {
    StepPass pass(problem.student, theta, problem.steps[i], 0);
    const double c = (1 - std::pow(0.9, double(4 - i))) / 0.1;
    const auto found = pass.products(-problem.alpha * c * lambda, {.parameters = false});
    expected.index_add_(0, problem.steps[i].rows, found.images);
    velocity = 0.9 * velocity + pass.gradient(false);
    theta = theta - problem.alpha * velocity;
  }
  CHECK_CLOSE(tesla.images, expected, 1e-12);
}

namespace {

/// A network that counts the loss graphs that exist.
class Counting : public nn::Network {
 public:
  explicit Counting(const nn::Network& network)
      : Network(network.name(), network.input(), network.num_classes()), network_(network) {
    parameters_ = network.parameters();
  }
  nn::ForwardResult forward(const nn::NetworkState& state, const Tensor& x,
                            const nn::ForwardOptions& options) const override {
    return network_.forward(state, x, options);
  }
  std::int64_t macs() const override { return network_.macs(); }
  std::unique_ptr<nn::LossGraph> make_loss_graph(const nn::NetworkState& state, const Tensor& x,
                                                 const Tensor& targets,
                                                 nn::LossUse use) const override {
    return std::make_unique<Counted>(*this, network_.loss_graph(state, x, targets, use), x.size(0));
  }

  mutable std::atomic<std::int64_t> images_now{0};
  mutable std::atomic<std::int64_t> images_most{0};
  mutable std::atomic<std::int64_t> graphs_made{0};

 private:
  static constexpr std::int64_t kBytesPerImage = 100'000;

  class Counted : public nn::LossGraph {
   public:
    Counted(const Counting& owner, std::unique_ptr<nn::LossGraph> graph, std::int64_t images)
        : owner_(owner), graph_(std::move(graph)), images_(images) {
      ++owner_.graphs_made;
      owner_.images_now += images_;
      owner_.images_most = std::max(owner_.images_most.load(), owner_.images_now.load());
    }
    ~Counted() override { owner_.images_now -= images_; }
    double loss() const override { return graph_->loss(); }
    const Tensors& gradients() const override { return graph_->gradients(); }
    std::int64_t bytes() const override { return kBytesPerImage * images_; }
    nn::LossProducts products(const Tensors& directions,
                              const nn::WantedProducts& wanted) override {
      return graph_->products(directions, wanted);
    }

   private:
    const Counting& owner_;
    std::unique_ptr<nn::LossGraph> graph_;
    std::int64_t images_;
  };

  const nn::Network& network_;
};

}  // namespace

TEST_CASE("a sweep holds the graph of one piece, however many steps; kept graphs fit their budget",
          "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  struct Row {
    EngineOptions options;
    std::int64_t steps, most, made;
  };
  const std::vector<Row> rows{
      {{.engine = Engine::Sweep}, 4, kImages, 2 * 4},
      {{.engine = Engine::Sweep}, 8, kImages, 2 * 8},
      {{.engine = Engine::Sweep, .micro_batch = 2}, 8, 2, 3 * 2 * 8},
      {{.engine = Engine::Tesla, .micro_batch = 2}, 8, 2, 3 * 2 * 8},
      // The last step is kept always; 1.3 MB hold fewer than 13 images, two steps of 6.
      {{.engine = Engine::Hybrid, .graph_bytes = 0}, 8, kImages, 2 * 8 - 1},
      {{.engine = Engine::Hybrid, .graph_bytes = 1'300'000}, 8, 2 * kImages, 2 * 8 - 2},
  };
  set_thread_count(1);
  for (const Row& row : rows) {
    const Counting counting(*network);
    const InnerProblem problem = make_problem(counting, {.steps = row.steps});
    solve(problem, row.options);
    INFO("engine " << int(row.options.engine) << ", " << row.steps << " steps");
    CHECK(counting.images_most == row.most);
    CHECK(counting.graphs_made == row.made);
    CHECK(counting.images_now == 0);
  }
}

TEST_CASE("there are no derivatives above the threshold, nor of what is not a number",
          "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  InnerProblem problem = make_problem(*network, {});
  const double loss = solve(problem, {}).loss;
  for (const Engine engine : {Engine::Sweep, Engine::Hybrid, Engine::Unrolled, Engine::Tesla}) {
    INFO("engine " << int(engine));
    CHECK(solve(problem, {.engine = engine, .threshold = loss + 1e-9}).differentiated);
    const InnerResult above = solve(problem, {.engine = engine, .threshold = loss - 1e-9});
    CHECK_FALSE(above.differentiated);
    CHECK_FALSE(above.images.defined());
    CHECK(above.loss == Approx(loss));
  }
  problem.student.images[0][0][0][0] = std::nan("");
  CHECK_FALSE(solve(problem, {}).differentiated);
}

TEST_CASE("a student that is stopped leaves at once", "[methods][trajectory]") {
  const auto network = tiny_network(nn::Activation::Relu);
  const InnerProblem problem = make_problem(*network, {});
  StopFlag stop;
  stop.request();
  for (const Engine engine : {Engine::Sweep, Engine::Unrolled}) {
    CHECK_THROWS_AS(solve(problem, {.engine = engine, .stop = &stop}), Interrupted);
  }
}
