#include "lib/core/str.h"
#include "methods/trajectory_matching/inner_loop.h"
#include "methods/trajectory_matching/schedule.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_trajectory.h"

namespace retort::bench {
namespace {

namespace tm = methods::trajectory_matching;

/// Steps that both sides also take in float64, where no graph of all steps would fit.
constexpr std::int64_t kCheckedSteps = 3;

struct TrajectoryCase {
  std::string name;
  tm::EngineOptions engine;
};

/// One matching iteration: N steps of a student on all images, and the gradient of where it ends.
class TrajectoryComparison : public Comparison {
 public:
  TrajectoryComparison(Scene& scene, const std::string& workload, const TrajectoryCase& wanted)
      : scene_(scene), key_(str("trajectory/", workload)), engine_(wanted.engine) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    run_ = make_run(dataset);
  }

  std::vector<Check> checks() override {
    InnerRun few = run_;
    few.batches.resize(kCheckedSteps);
    few.draws.resize(kCheckedSteps);
    const TrajectoryGradient mine = our_gradient(few);
    const TrajectoryGradient other = plain_trajectory_gradient(*network_, few);
    const auto& exact = scene_.exact.get(key_, [&] { return exact_gradient(few); });
    return {{"gradient of the images", mine.images, other.images, exact[0]},
            {"gradient of the step size", mine.lr, other.lr, exact[1]},
            {"distance", mine.loss, other.loss, exact[2]}};
  }

  void ours(std::int64_t) override { our_gradient(run_); }
  void plain(std::int64_t) override { plain_trajectory_gradient(*network_, run_); }

 private:
  InnerRun make_run(const data::ImageDataset& dataset) const {
    const Batch batch = training_batch(dataset, 0, 10 * scene_.sizes.ipc);
    InnerRun run{
        .start = network_->initialize(Rng(3)),
        .target = network_->initialize(Rng(4)).parameters,
        .images = batch.images,
        .labels = batch.labels,
        .augmentation = augment::Strategy::of("color_crop_cutout_flip_scale_rotate", "mtt")};
    const std::int64_t images = batch.images.size(0);
    run.batches = tm::chunk_rows(images, 0, scene_.sizes.inner_steps, Rng(5));
    for (std::int64_t step = 0; step < run.steps(); ++step) {
      Rng rng = Rng(6).child(step);
      run.draws.push_back(augment::draw(run.augmentation, augment::Sharing::PerSample, images,
                                        batch.images.size(2), batch.images.size(3), rng));
    }
    return run;
  }

  TrajectoryGradient our_gradient(const InnerRun& run) const {
    tm::InnerProblem problem{
        .student = {.network = *network_,
                    .images = run.images,
                    .labels = tm::hard_labels(run.labels, network_->num_classes(), at::kFloat),
                    .strategy = run.augmentation},
        .steps = {},
        .start = nn::flatten(run.start.parameters),
        .target = nn::flatten(run.target),
        .alpha = run.lr};
    for (std::size_t i = 0; i < run.batches.size(); ++i) {
      problem.steps.push_back({run.batches[i], run.draws[i]});
    }
    const tm::InnerResult found = tm::solve(problem, engine_);
    return {at::scalar_tensor(found.loss, at::kDouble), found.images,
            at::scalar_tensor(found.alpha, at::kDouble)};
  }

  std::vector<Exact> exact_gradient(InnerRun run) const {
    run.start = in_float64(run.start);
    run.images = run.images.to(at::kDouble);
    for (Tensor& t : run.target) t = t.to(at::kDouble);
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const double threshold : thresholds) {
        const auto g = plain_trajectory_gradient(*network_, run, threshold);
        results.push_back({g.images, g.lr, g.loss});
      }
      return results;
    });
  }

  Scene& scene_;
  std::string key_;
  tm::EngineOptions engine_;
  std::unique_ptr<nn::Network> network_;
  InnerRun run_;
};

}  // namespace

std::vector<Line> trajectory_lines(Scene& scene) {
  const std::vector<TrajectoryCase> cases = {
      {"trajectory/sweep", {.engine = tm::Engine::Sweep}},
      {"trajectory/hybrid", {.engine = tm::Engine::Hybrid, .graph_bytes = 1'500'000'000}},
  };
  std::vector<Line> lines;
  for (const TrajectoryCase& wanted : cases) {
    for (const std::string& workload : Workloads::names()) {
      lines.push_back({"unrolled", wanted.name + "/" + workload, [&scene, workload, wanted] {
                         return std::make_unique<TrajectoryComparison>(scene, workload, wanted);
                       }});
    }
  }
  return lines;
}

}  // namespace retort::bench
