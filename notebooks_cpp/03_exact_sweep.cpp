// %% [markdown]
// # The exact sweep against the unrolled graph
//
// *Trajectory matching* (Cazenavette et al., CVPR 2022) trains a *student* on the synthetic images
// for $N$ steps, from where a network in training on real images, an *expert*, once was:
//
// $$\theta_{i+1} = \theta_i - \alpha\, g(\theta_i, X), \qquad
//   L = |\theta_N - \theta^*|^2 / |\theta_0 - \theta^*|^2$$
//
// and then moves the images $X$ so that it ends where the expert was some epochs later. That takes
// $dL/dX$ *through* all steps, each of which holds a gradient $g$ already: second derivatives.
//
// Automatic differentiation does it by keeping the graphs of all $N$ steps. Memory grows with $N$,
// and this is what limits the method. But the way back needs the graph of one step at a time, and
// $\theta_i$ is all it takes to build that graph again. With $\lambda_i = dL/d\theta_i$ and $H_i$
// the second derivative of step $i$'s loss:
//
// $$dL/dX \mathrel{+}= -\alpha\, \partial \langle \lambda_{i+1}, g_i \rangle / \partial X, \qquad
//   \lambda_i = \lambda_{i+1} - \alpha H_i \lambda_{i+1}$$
//
// One backward pass through $\langle \lambda_{i+1}, g_i \rangle$ gives both, and nothing is
// approximated. This page checks that, and looks at what either way costs.

// %% [globals]
#include <algorithm>
#include <cmath>
#include <memory>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "datasets/dataset.h"
#include "lib/core/clock.h"
#include "lib/core/parallel.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/synth/picture.h"
#include "lib/train/experts.h"
#include "methods/trajectory_matching/inner_loop.h"
#include "methods/trajectory_matching/labels.h"

using namespace retort;
using namespace retort::methods::trajectory_matching;

// %% [markdown]
// ## An expert
//
// A small network trains on the real images, and its parameters are kept after every epoch. The
// student will start at epoch 1 and should end where the expert was after epoch 3.

// %%
set_thread_count(1);  // what is measured below is measured on one core
const data::ImageDataset dataset = datasets::open_dataset("shapes", {});
const auto network = nn::make_network(nb::fast() ? "ConvNet-2-w8" : "ConvNet-2-w32",
                                      dataset.shape(), dataset.num_classes());
train::ExpertRecipe recipe = train::ExpertRecipe::defaults("sgd");
recipe.lr = 0.05;
recipe.batch_size = 32;
recipe.augmentation = "none";
train::ExpertTraining training(*network, dataset, recipe, train::expert_seeds(0, 0));
Tensors snapshots = {training.snapshot()};
for (int epoch = 1; epoch <= 3; ++epoch) {
  const auto trained = training.epoch();
  nb::out("epoch ", epoch, ": loss ", fixed(trained.loss, 3));
  snapshots.push_back(training.snapshot());
}
nb::out(network->name(), " has ", network->parameter_count(), " parameters");

// %% [markdown]
// ## The student's problem
//
// Ten real images per class to start with, all of them in every step, in double precision: there
// the two ways can be told apart to ten digits.

// %% [globals]
/// A student of `steps` steps from epoch 1, which should end at epoch 3.
InnerProblem problem_of(const nn::Network& network, const Tensors& snapshots, const Tensor& images,
                        const Tensor& classes, std::int64_t steps) {
  const auto type = images.scalar_type();
  return {.student = {.network = network,
                      .images = images,
                      .labels = hard_labels(classes, network.num_classes(), type),
                      .strategy = {}},
          .steps = std::vector<InnerStep>(std::size_t(steps),
                                          {at::arange(images.size(0), at::kLong), {}}),
          .start = snapshots[1].to(type),
          .target = snapshots[3].to(type),
          .alpha = 0.05};
}

// %%
const std::int64_t ipc = nb::fast() ? 2 : 10;
const std::int64_t steps = nb::fast() ? 4 : 10;
Tensors firsts;
for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
  firsts.push_back(dataset.class_indices(c).slice(0, 0, ipc));
}
const Tensor rows = at::cat(firsts);
const Tensor classes = dataset.labels(data::Split::Train).index_select(0, rows);
const Tensor images = dataset.batch(data::Split::Train, rows).to(at::kDouble);
const InnerProblem problem = problem_of(*network, snapshots, images, classes, steps);

// %% [markdown]
// ## The same gradient
//
// The sweep, and LibTorch's automatic differentiation through the unrolled graph:

// %%
const InnerResult sweep = solve(problem, {.engine = Engine::Sweep});
const InnerResult unrolled = solve(problem, {.engine = Engine::Unrolled});
const double largest = unrolled.images.abs().max().item<double>();
const double deviation = (sweep.images - unrolled.images).abs().max().item<double>() / largest;
nb::out("loss of the student: ", fixed(sweep.loss, 6), " (1: it has gone nowhere)");
nb::out("largest deviation of the two gradients, relative to the largest entry: ", deviation);
if (!(deviation < 1e-10)) throw NumericalError(str("the two gradients differ by ", deviation));

// %% [markdown]
// A third witness knows nothing of derivatives: the difference quotient
// $(L(X + hD) - L(X - hD)) / 2h$ along a random direction $D$. It needs a network without kinks.
// Where a ReLU switches on, the gradient $g$ of a step jumps, and $L$ jumps with it; no quotient
// forgives that. So the same parameters go into the same network with a smooth activation, swish.

// %%
const auto smooth =
    nn::make_network(network->name() + "-swish", dataset.shape(), dataset.num_classes());
Rng rng = Rng(0).child("direction");
const Tensor direction = rng.normal_tensor(images.sizes()).to(at::kDouble);
const auto solved_at = [&](double t) {
  return solve(problem_of(*smooth, snapshots, images + t * direction, classes, steps), {});
};
const double h = 1e-4;
const double quotient = (solved_at(h).loss - solved_at(-h).loss) / (2 * h);
const double along = (solved_at(0).images * direction).sum().item<double>();
nb::out("along a random direction: sweep ", along, ", difference quotient ", quotient);
if (!(std::abs(along / quotient - 1) < 1e-4)) {
  throw NumericalError(str("the sweep gives ", along, " where differences give ", quotient));
}

// %% [markdown]
// ## Where memory goes
//
// LibTorch tells whoever asks of every tensor that is made and freed. So the bytes that are alive
// can be drawn as they come and go: one step to the right is one allocation or release.

// %% [globals]
/// Bytes of the tensors that this thread has made since, after every allocation and release.
class LiveBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
    live_ += double(size);
    history.push_back(live_);
  }
  bool memoryProfilingEnabled() const override { return true; }

  double peak() const { return *std::max_element(history.begin(), history.end()); }

  std::vector<double> history = {0};

 private:
  double live_ = 0;
};

struct Cost {
  double seconds = 0;
  std::shared_ptr<LiveBytes> memory = std::make_shared<LiveBytes>();
};

Cost cost_of(const InnerProblem& problem, const EngineOptions& options) {
  Cost cost;
  const double begun = wall_seconds();
  solve(problem, options);
  cost.seconds = wall_seconds() - begun;
  // A task inside of a task stays on its thread, the one that is listened to.
  parallel_tasks(1, [&](std::int64_t) {
    const c10::DebugInfoGuard listen(c10::DebugInfoKind::PROFILER_STATE, cost.memory);
    solve(problem, options);
  });
  return cost;
}

/// The history as a curve over the share of the way, in MB.
report::Curve curve_of(const std::string& name, const LiveBytes& memory) {
  report::Curve curve{.name = name, .x = {}, .y = {}, .spread = {}};
  for (std::size_t i = 0; i < memory.history.size(); ++i) {
    curve.x.push_back(100 * double(i) / double(memory.history.size()));
    curve.y.push_back(memory.history[i] / 1e6);
  }
  return report::thinned(curve, 400);
}

// %%
const Cost of_sweep = cost_of(problem, {.engine = Engine::Sweep});
const Cost of_unrolled = cost_of(problem, {.engine = Engine::Unrolled});
nb::chart({.title = str("Memory that is alive during ", steps, " steps and the way back"),
           .x_title = "% of all allocations and releases",
           .y_title = "MB",
           .curves = {curve_of("sweep", *of_sweep.memory),
                      curve_of("unrolled", *of_unrolled.memory)}});

// %% [markdown]
// The unrolled graph climbs on the way there, one stair for every step, and comes down on the way
// back. The sweep rises and falls within each step, on the way there to find $g_i$ and on the way
// back to differentiate it, and keeps nothing in between but one vector of parameters per step.

// %%
std::vector<std::vector<std::string>> table;
report::Curve sweep_peaks{.name = "sweep", .x = {}, .y = {}, .spread = {}};
report::Curve unrolled_peaks{.name = "unrolled", .x = {}, .y = {}, .spread = {}};
for (const std::int64_t n :
     nb::fast() ? std::vector<std::int64_t>{1, 4} : std::vector<std::int64_t>{1, 5, 10, 20, 40}) {
  const InnerProblem longer = problem_of(*network, snapshots, images, classes, n);
  const Cost one = cost_of(longer, {.engine = Engine::Sweep});
  const Cost all = cost_of(longer, {.engine = Engine::Unrolled});
  table.push_back({std::to_string(n), bytes_text(one.memory->peak()), fixed(one.seconds, 2),
                   bytes_text(all.memory->peak()), fixed(all.seconds, 2)});
  sweep_peaks.x.push_back(double(n));
  sweep_peaks.y.push_back(one.memory->peak() / 1e6);
  unrolled_peaks.x.push_back(double(n));
  unrolled_peaks.y.push_back(all.memory->peak() / 1e6);
}
nb::chart({.title = "Peak of memory by the number of steps",
           .x_title = "steps",
           .y_title = "MB",
           .curves = {sweep_peaks, unrolled_peaks}});
nb::table({"steps", "sweep", "seconds", "unrolled", "seconds"}, table);

// %% [markdown]
// Computing every step again costs the sweep a third more passes than keeping the graphs:
// `methods/trajectory_matching/README.md` counts 12 forward passes per step against 9. In float32,
// where kernels of Retort's own serve the sweep, it is the faster one all the same:

// %%
std::vector<std::vector<std::string>> single;
const InnerProblem in_float =
    problem_of(*network, snapshots, images.to(at::kFloat), classes, steps);
for (const auto& [name, options] : std::vector<std::pair<std::string, EngineOptions>>{
         {"sweep", {.engine = Engine::Sweep}},
         {"hybrid, all graphs kept", {.engine = Engine::Hybrid, .graph_bytes = 1'000'000'000}},
         {"unrolled", {.engine = Engine::Unrolled}}}) {
  const Cost cost = cost_of(in_float, options);
  single.push_back({name, bytes_text(cost.memory->peak()), fixed(cost.seconds, 3)});
}
nb::out(steps, " steps in float32:");
nb::table({"way", "peak of tensors", "seconds"}, single);

// %% [markdown]
// ## What it is good for
//
// Some steps of the images down this gradient, each of length 2, and the student ends nearer to the
// expert. The method `mtt` does the same from random epochs of many experts, and learns the step
// size $\alpha$ as well.

// %%
const std::int64_t moves = nb::fast() ? 3 : 60;
Tensor moved = images.to(at::kFloat);
report::Curve losses{.name = "loss", .x = {}, .y = {}, .spread = {}};
for (std::int64_t i = 0; i < moves; ++i) {
  const InnerResult result = solve(problem_of(*network, snapshots, moved, classes, steps), {});
  losses.x.push_back(double(i));
  losses.y.push_back(result.loss);
  moved = moved - 2 * result.images / result.images.norm();
}
nb::chart({.title = "Distance of the student from the expert",
           .x_title = "steps of the images",
           .y_title = "loss",
           .curves = {losses}});

// %%
const auto pixels = [&](const Tensor& of) {
  return synth::to_pixels(of.to(at::kFloat), dataset.preprocessing()).values.slice(0, 0, ipc);
};
nb::grid({{"before", pixels(images)}, {"after", pixels(moved)}},
         str("Images of the class ", dataset.info().class_names[0], " before and after"));
