#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/augment/augment.h"
#include "lib/storage/expert_file.h"
#include "lib/synth/parametrization.h"
#include "methods/method.h"
#include "methods/trajectory_matching/inner_loop.h"
#include "methods/trajectory_matching/momentum.h"
#include "methods/trajectory_matching/segment.h"
#include "methods/trajectory_matching/trajectory_options.h"

namespace retort::methods::trajectory_matching {

/// Per iteration: a segment of an expert; a student that starts where it starts and takes some
/// steps on the synthetic set; the distance of where it ends from where the segment ends; one step
/// of images, step size and labels down its gradient.
///
/// An iteration whose loss or gradient is not finite, whose loss is above the threshold, or whose
/// expert does not move is skipped: nothing changes but its count. Its loss, if not finite, is
/// reported as that of the iteration before.
class TrajectoryMatching : public DistillationMethod {
 public:
  explicit TrajectoryMatching(TrajectoryOptions options);

  std::int64_t iterations() const override { return options_.iterations; }
  Work work(const RunContext& run) const override;
  Prerequisites prerequisites() const override;
  void check(RunContext& run) override;
  void initialize(RunContext& run) override;
  /// @throws NumericalError when the step size falls to zero or below, unless it is clamped, and
  ///         after 100 skipped iterations in a row
  UpdateReport update(std::int64_t iteration) override;
  data::SyntheticSet snapshot() const override;
  std::vector<data::Asset> assets() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 private:
  /// What came of following a segment.
  struct Attempt {
    std::string skipped;  ///< why; empty: it was not
    InnerResult result;
    Tensor stored;  ///< gradient of the stored images, [K*ipc,C,H,W]
    Tensor labels;  ///< what the target's network says, [N,K]; undefined unless asked for
  };

  /// All that needs no experts.
  void prepare_student(RunContext& run);
  void prepare(RunContext& run);
  void check_options() const;
  void open_experts(const RunContext& run);
  void tell_of_experts() const;
  /// @throws ConfigError for others than a run began with
  void expect_experts_of(const storage::StateReader& begun) const;
  Tensor initial_images(RunContext& run, const synth::ImageDecoder& decoder) const;
  Tensor initial_logits(const RunContext& run) const;
  Tensor decoded(const Tensor& stored) const;
  InnerLabels labels_for(const Segment& segment, const Tensor& decoded) const;
  InnerProblem problem_for(const Segment& segment, const Tensor& decoded) const;
  std::vector<InnerStep> student_steps(std::int64_t iteration, std::int64_t images) const;
  Attempt follow(const Segment& segment);
  void apply(const Attempt& attempt);
  void check_step_size(const Attempt& attempt, double before);
  void count_skip(const Segment& segment, const Attempt& attempt);

  TrajectoryOptions options_;
  EngineOptions engine_;
  const data::ImageDataset* dataset_ = nullptr;
  std::int64_t ipc_ = 0;
  Rng rng_{0};
  augment::Strategy strategy_;
  std::shared_ptr<const nn::Network> network_;
  std::shared_ptr<const storage::ExpertReader> experts_;
  std::optional<SegmentReader> segments_;
  std::optional<Segment> next_;  ///< read during the last update

  std::unique_ptr<synth::Parametrization> parametrization_;
  Tensor mean_;    ///< running mean of the stored images; undefined if not asked for
  Tensor labels_;  ///< [M,K] logits if learned, probabilities if of targets; else undefined
  Tensor alpha_;   ///< float64 scalar: the student's step size
  MomentumStep image_step_;
  MomentumStep label_step_;
  MomentumStep alpha_step_;
  std::int64_t skipped_ = 0;
  std::int64_t skipped_in_row_ = 0;
  double last_loss_ = 1;  ///< finite; 1: a student that stays where it starts
};

/// `mtt`, and the base of the others.
struct MttOptions : TrajectoryOptions {};

/// `ftd`: experts in flat minima, a running mean of the images.
struct FtdOptions : TrajectoryOptions {
  FtdOptions() {
    image_ema = 0.9995;
    recipe = "ftd";
  }
};

/// `datm`: early epochs first, learned labels, images that experts classify correctly.
struct DatmOptions : TrajectoryOptions {
  DatmOptions() {
    iterations = 10000;
    syn_steps = 80;
    expert_epochs = 2;
    max_start_epoch = 40;
    current_max_start_epoch = 20;
    expansion_end = 3000;
    threshold = 1;
    labels = "learned";
    init = "right";
    recipe = "ftd";
    recipe_epochs = 100;
  }
};

/// `ast`: everything that smooths the student's way.
struct AstOptions : TrajectoryOptions {
  AstOptions() {
    max_start_epoch = 20;
    inner_momentum = 0.9;
    perturb_weights = true;
    balanced_loss = true;
    intermediate = "equal";
    init = "representative";
    recipe = "ast";
  }
};

/// `tesla`: the gradient of frozen parameters.
struct TeslaOptions : TrajectoryOptions {
  TeslaOptions() {
    iterations = 10000;
    gradient = "tesla";
  }
};

MethodInfo mtt_info();
MethodInfo ftd_info();
MethodInfo datm_info();
MethodInfo ast_info();
MethodInfo tesla_info();

}  // namespace retort::methods::trajectory_matching
