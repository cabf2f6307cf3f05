// Trajectory matching: an outer iteration of GeorgeCazenavette/mtt-distillation (distill.py),
// NUS-HPC-AI-Lab/DATM (distill/DATM.py), justincui03/tesla (distill.py) and cvlab-yonsei/FYI
// (MTT/distill.py), and the running mean of AngusDujw/FTD-distillation (distill/model_ema.py).
// Chunks and augmentation are injected.

#include <cstdio>
#include <limits>

#include "lib/core/str.h"
#include "methods/trajectory_matching/inner_loop.h"
#include "methods/trajectory_matching/momentum.h"
#include "methods/trajectory_matching/schedule.h"
#include "tests/golden/draws.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using namespace methods::trajectory_matching;

/// "chunk00", "theta03", ...
std::string numbered(const std::string& name, std::size_t number) {
  char digits[8];
  std::snprintf(digits, sizeof digits, "%02zu", number);
  return name + digits;
}

augment::Strategy all_operations() {
  return augment::Strategy::of("color_crop_cutout_flip_scale_rotate", "mtt");
}

std::vector<InnerStep> read_steps(const GoldenFile& file) {
  std::vector<InnerStep> steps;
  for (std::size_t i = 0; file.has(numbered("inputs/chunk", i)); ++i) {
    InnerStep step{file.stored(numbered("inputs/chunk", i)), {}};
    const std::string group = numbered("steps/aug", i);
    if (file.has(group)) {
      const std::string operation = file.text(group, "op");
      check_choice(file, group, all_operations().operations, operation);
      check_formulas(file, group, all_operations());
      step.draw = read_draw(file, group, operation);
    }
    steps.push_back(step);
  }
  return steps;
}

InnerLabels read_labels(const GoldenFile& file, std::int64_t classes, at::ScalarType dtype) {
  const Tensor stored = file.tensor("inputs/labels", dtype);
  return stored.is_floating_point() ? InnerLabels{stored, true}
                                    : hard_labels(stored, classes, dtype);
}

/// One outer iteration as a file describes it.
struct Iteration {
  std::unique_ptr<nn::Network> network;
  InnerProblem problem;

  Iteration(const GoldenFile& file, at::ScalarType dtype, bool mirrored)
      : network(make_stored_convnet(file, "", "net", image_shape(file.stored("inputs/images")))),
        problem{.student = {.network = *network,
                            .images = file.tensor("inputs/images", dtype),
                            .labels = read_labels(file, network->num_classes(), dtype),
                            .strategy = all_operations(),
                            .mirrored = mirrored},
                .steps = read_steps(file),
                .start = file.tensor("inputs/start", dtype),
                .target = file.tensor("inputs/target", dtype),
                .alpha = file.number_or("", "alpha0", 0)} {
    check_layout(*network, file, "net");
  }
};

/// Sizes of chunks, and what an augmented one looks like.
void check_batches(const GoldenFile& file, const Precision& precision, const Iteration& it) {
  const InnerProblem& problem = it.problem;
  const auto ours = chunk_rows(problem.student.images.size(0), file.integer("", "batch_syn"),
                               file.integer("", "syn_steps"), Rng(0));
  REQUIRE(ours.size() == problem.steps.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const InnerStep& step = problem.steps[i];
    CHECK(ours[i].numel() == step.rows.numel());
    const std::string augmented = numbered("steps/aug", i) + "/x_augmented";
    if (!file.has(augmented)) continue;
    const Tensor images = problem.student.images.index_select(0, step.rows);
    CHECK_CLOSE(augment::apply(problem.student.strategy, step.draw, images),
                file.tensor(augmented, precision.dtype), precision.tolerance);
  }
}

/// The student after every step.
void check_path(const GoldenFile& file, const Precision& precision, const Iteration& it) {
  InnerProblem part = it.problem;
  for (std::size_t i = 0; file.has(numbered("steps/theta", i)); ++i) {
    INFO("after " << i << " steps");
    part.steps.assign(it.problem.steps.begin(), it.problem.steps.begin() + std::ptrdiff_t(i));
    CHECK_CLOSE(solve(part, {.threshold = -1}).end,
                file.tensor(numbered("steps/theta", i), precision.dtype), precision.tolerance);
  }
}

Tensor scalar(double value) { return at::scalar_tensor(value, at::kDouble); }

void check_gradients(const GoldenFile& file, const Precision& precision, const InnerResult& result,
                     const std::string& prefix) {
  const auto stored = [&](const std::string& name) {
    return file.tensor("outputs/" + prefix + name, precision.dtype);
  };
  REQUIRE(result.differentiated);
  CHECK_CLOSE(result.images, stored("grad_images"), precision.tolerance);
  CHECK_CLOSE(scalar(result.alpha), stored("grad_syn_lr"), precision.tolerance);
  if (file.has("outputs/" + prefix + "grad_labels")) {
    CHECK_CLOSE(result.labels, stored("grad_labels"), precision.tolerance);
  }
}

/// The first step of every optimiser, unless the loss is above a threshold.
void check_outer_step(const GoldenFile& file, const Precision& precision, const Iteration& it,
                      const InnerResult& result) {
  const double threshold = file.number_or("", "threshold", std::numeric_limits<double>::infinity());
  const bool stepped = result.loss <= threshold;
  CHECK(stepped == (file.integer_or("", "stepped", 1) != 0));
  CHECK(solve(it.problem, {.threshold = threshold}).differentiated == stepped);
  const auto check = [&](const std::string& after, const std::string& lr,
                         const std::string& momentum, const Tensor& before,
                         const Tensor& gradient) {
    if (!file.has("outputs/" + after)) return;
    INFO(after);
    const Tensor moved = before.clone();
    MomentumStep step("", file.number_or("", lr, 0), file.number_or("", momentum, 0));
    if (stepped) step.step(moved, gradient);
    CHECK_CLOSE(moved, file.tensor("outputs/" + after, precision.dtype), precision.tolerance);
  };
  const Student& student = it.problem.student;
  check("images_after", "lr_img", "momentum", student.images, result.images);
  check("labels_after", "lr_y", "momentum_y", student.labels.values, result.labels);
  check("syn_lr_after", "lr_lr", "momentum", scalar(it.problem.alpha), scalar(result.alpha));
}

/// @param exact the file's gradients are those of the loss; else of frozen parameters
void check_iteration(const GoldenFile& file, bool exact, bool mirrored, bool halved) {
  for (const Precision& precision : precisions()) {
    INFO(precision.name);
    const Iteration it(file, precision.dtype, mirrored);
    check_batches(file, precision, it);
    check_path(file, precision, it);
    std::vector<Engine> engines{Engine::Sweep, Engine::Hybrid, Engine::Unrolled};
    if (!exact) engines.push_back(Engine::Tesla);
    for (const Engine engine : engines) {
      INFO("engine " << int(engine));
      const InnerResult result = solve(it.problem, {.engine = engine, .halved_images = halved});
      CHECK_CLOSE(scalar(result.loss), file.tensor("outputs/grand_loss", precision.dtype),
                  precision.tolerance);
      const bool reference = exact || engine == Engine::Tesla;
      check_gradients(file, precision, result, reference ? "" : "exact_");
      if (reference) check_outer_step(file, precision, it, result);
    }
  }
}

}  // namespace

void check_mtt(const GoldenFile& file) { check_iteration(file, true, false, false); }

void check_datm(const GoldenFile& file) { check_iteration(file, true, false, false); }

void check_tesla(const GoldenFile& file) { check_iteration(file, false, false, true); }

void check_fyi_mtt(const GoldenFile& file) { check_iteration(file, false, true, false); }

void check_ftd_ema(const GoldenFile& file) {
  for (const Precision& precision : precisions()) {
    INFO("ema, " << precision.name);
    const Tensor images = file.tensor("ema/images", precision.dtype);  // [iterations, ...]
    const Tensor expected = file.tensor("ema/ema", precision.dtype);
    const Tensor mean = images[0].clone();
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      if (i > 0) move_mean(mean, images[i], file.number_or("ema", "decay", 0));
      CHECK_CLOSE(mean, expected[i], precision.tolerance);
    }
  }
}

void check_datm_labels_schedule(const GoldenFile& file) {
  for (const Precision& precision : precisions()) {
    INFO(precision.name);
    const auto stored = [&](const std::string& path) { return file.tensor(path, precision.dtype); };
    LogitMean mean(file.stored("inputs/labels"));
    for (const Tensor& logits : stored("inputs/expert_logits").unbind(0)) mean.add(logits);
    CHECK_CLOSE(mean.result(), stored("outputs/initial_labels"), precision.tolerance);

    const Tensor y = stored("softce/target");
    const Tensor z = stored("softce/logits");
    const auto rows = double(y.size(0));
    const Tensor q = targets_of({y, true}, at::arange(y.size(0)));
    const Tensor surprise = -z.log_softmax(1) / rows;
    CHECK_CLOSE((q * surprise).sum(), stored("softce/loss"), precision.tolerance);
    CHECK_CLOSE((z.softmax(1) - q) / rows, stored("softce/grad_logits"), precision.tolerance);
    CHECK_CLOSE(through_softmax(y, surprise), stored("softce/grad_target"), precision.tolerance);
  }
  for (const std::string& number : file.children("schedule")) {
    const std::string path = "schedule/" + number;
    const bool sequential = file.integer(path, "sequential") != 0;
    const StartEpochs starts{
        .lowest = 0,
        .bound = file.integer(path, "max_start_epoch"),
        .first_bound = sequential ? file.integer(path, "current_max_start_epoch") : 0,
        .expansion_end = file.integer(path, "expansion_end_epoch")};
    const Tensor table = file.stored(path);
    for (std::int64_t row = 0; row < table.size(0); ++row) {
      INFO(path << " row " << row);
      CHECK(starts.bound_at(table[row][0].item<std::int64_t>()) ==
            table[row][1].item<std::int64_t>());
    }
  }
}

}  // namespace retort::testing::golden
