#include "methods/trajectory_matching/trajectory_matching.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <future>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/synth/real_selection.h"
#include "lib/train/experts.h"
#include "methods/matching/initial_images.h"
#include "methods/matching/strategy.h"
#include "methods/trajectory_matching/expert_choice.h"
#include "methods/trajectory_matching/flat.h"
#include "methods/trajectory_matching/predicted_work.h"
#include "methods/trajectory_matching/wanted_experts.h"

namespace retort::methods::trajectory_matching {
namespace {

constexpr std::int64_t kMostSkipsInRow = 100;
/// Of |theta_0|^2: an expert that moved less is noise.
constexpr double kLeastMove = 1e-10;
constexpr double kLowestStepSize = 1e-6;
constexpr double kHighestStepSize = 1;

std::vector<storage::ParameterLayout> stored_layout(const nn::Network& network) {
  std::vector<storage::ParameterLayout> layout;
  for (const auto& parameter : network.parameters()) {
    layout.push_back({parameter.name, parameter.shape});
  }
  return layout;
}

/// Whether every point to be compared with is at some distance from the start, before that is
/// perturbed.
bool expert_moves(const Segment& segment) {
  const double least = kLeastMove * squared_norm(segment.start);
  const auto away = [&](const Tensor& target) {
    return squared_distance(segment.start, target) > least;
  };
  return away(segment.target) && std::all_of(segment.between.begin(), segment.between.end(), away);
}

bool finite(const Tensor& values) {
  return !values.defined() || values.isfinite().all().item<bool>();
}

}  // namespace

TrajectoryMatching::TrajectoryMatching(TrajectoryOptions options)
    : options_(std::move(options)),
      image_step_("steps/images", options_.lr_images, options_.image_momentum),
      label_step_("steps/labels", options_.lr_labels, options_.label_momentum),
      alpha_step_("steps/lr", options_.lr_lr, options_.lr_momentum) {
  engine_.engine = parse_engine(options_.gradient);
  engine_.graph_bytes = options_.graph_memory * 1'000'000;
  engine_.micro_batch = options_.micro_batch;
  engine_.halved_images = options_.tesla_halving;
  if (options_.threshold > 0) engine_.threshold = options_.threshold;
}

void TrajectoryMatching::check_options() const {
  if (options_.current_max_start_epoch > 0 && options_.expansion_end == 0) {
    throw ConfigError(str("current-max-start-epoch ", options_.current_max_start_epoch,
                          " has no iteration to grow until: set expansion-end"));
  }
  if (options_.current_max_start_epoch > options_.max_start_epoch) {
    throw ConfigError(str("current-max-start-epoch ", options_.current_max_start_epoch,
                          ": it grows to max-start-epoch, which is ", options_.max_start_epoch,
                          "; 0: no growth"));
  }
  options_.check_start();
  if (network_->has_batch_norm()) {
    throw ConfigError(str("net ", network_->name(),
                          ": running statistics of BatchNorm are no part of a trajectory; take a "
                          "network without it"));
  }
  if (options_.intermediate != "none") {
    checkpoints_between(options_.expert_epochs, options_.syn_steps, false);
  }
}

void TrajectoryMatching::check(RunContext& run) {
  options_.experts.empty() ? prepare_student(run) : prepare(run);
}

void TrajectoryMatching::prepare_student(RunContext& run) {
  dataset_ = &run.dataset;
  ipc_ = run.ipc;
  rng_ = run.rng;
  engine_.stop = run.stop;
  network_ = nn::make_network(network_name(options_, run.dataset), run.dataset.shape(),
                              run.dataset.num_classes());
  check_options();
  strategy_ = matching::make_strategy(options_.augmentation, options_.augmentation_style,
                                      run.dataset.info().mirror_changes_class);
}

void TrajectoryMatching::prepare(RunContext& run) {
  prepare_student(run);
  open_experts(run);
  segments_.emplace(experts_,
                    SegmentOptions{.starts = {.lowest = options_.min_start_epoch,
                                              .bound = options_.max_start_epoch,
                                              .first_bound = options_.current_max_start_epoch,
                                              .expansion_end = options_.expansion_end},
                                   .epochs = options_.expert_epochs,
                                   .between = options_.intermediate != "none"},
                    rng_);
}

Prerequisites TrajectoryMatching::prerequisites() const {
  if (!options_.experts.empty()) return {};
  const std::int64_t epochs =
      options_.make_epochs > 0 ? options_.make_epochs : options_.usual_epochs();
  if (epochs < options_.last_followed()) {
    throw ConfigError(str("make-epochs ", epochs, ": this run follows experts to epoch ",
                          options_.last_followed(), " (max-start-epoch ", options_.max_start_epoch,
                          ", less one, and expert-epochs ", options_.expert_epochs, ")"));
  }
  return {.experts = ExpertsNeeded{.folder = options_.experts_dir,
                                   .recipe = options_.recipe,
                                   .settings = options_.make_settings,
                                   .net = options_.net,
                                   .count = options_.make_experts,
                                   .epochs = epochs,
                                   .followed = options_.last_followed()}};
}

void TrajectoryMatching::open_experts(const RunContext& run) {
  const std::string& file = options_.experts.empty() ? run.experts : options_.experts;
  const auto advice = [&](const std::string& out) {
    return str("This makes one, with the options of --dataset that are used here: ",
               experts_command(options_, run, out));
  };
  if (file.empty()) {
    throw ConfigError(
        str("option 'experts': which file of experts shall be followed? ", advice("experts.h5")));
  }
  if (!std::filesystem::exists(file)) {
    throw ConfigError(str("option 'experts': there is no file '", file, "'. ", advice(file)));
  }
  storage::ExpertReader experts(file);
  const std::int64_t followed = options_.experts_followed();
  if (followed > experts.experts()) {
    throw ConfigError(str("option '", options_.experts.empty() ? "make-experts" : "experts-count",
                          "': expected at most ", experts.experts(), ", the complete experts in '",
                          file, "', found ", followed));
  }
  if (followed > 0) experts.keep_first(followed);
  experts_ = std::make_shared<const storage::ExpertReader>(std::move(experts));
  storage::expect_fitting(*experts_, run.dataset, network_->name(), stored_layout(*network_));
  tell_of_experts();
}

void TrajectoryMatching::tell_of_experts() const {
  const storage::ExpertInfo& info = experts_->info();
  log::info(str("following ", experts_->experts(), " experts of recipe ", info.recipe, ", id ",
                experts_->id()));
  if (!options_.experts.empty()) {
    const auto differing = recipe_differences(info, options_);
    if (!differing.empty()) {
      log::warn(str("the experts of '", experts_->path().string(),
                    "' were not trained as this method and its settings ask for (theirs / asked "
                    "for): ",
                    config::differences_text(differing)));
    }
  }
  if (const std::string guessing = train::guessing_experts(*experts_); !guessing.empty()) {
    log::warn(str("'", experts_->path().string(),
                  "' has experts that had learned nothing after their last epoch: ", guessing,
                  "; the step size they were trained at (--lr) is the usual cause"));
  }
  if (info.dataset_note == dataset_->info().note) return;
  const auto described = [](const std::string& note) {
    return note.empty() ? std::string("the whole") : note;
  };
  log::warn(str("the experts were trained on another part of ", info.dataset,
                " than this run sees: ", described(info.dataset_note), " / ",
                described(dataset_->info().note),
                "; what is held out of one may not be held out of the other"));
}

Tensor TrajectoryMatching::initial_images(RunContext& run,
                                          const synth::ImageDecoder& packer) const {
  const Rng rng = rng_.child("init");
  const bool by_experts = options_.init == "right" || options_.init == "representative";
  if (by_experts && options_.init_set.empty()) {
    const ExpertNetworks experts(*experts_, *network_, run.stop);
    const std::int64_t per_class = ipc_ * packer.images_per_packed();
    const Tensor chosen = options_.init == "right"
                              ? choose_right(run.dataset, per_class, experts, rng)
                              : choose_representative(run.dataset, per_class, experts, rng);
    return synth::pack_real(run.dataset, chosen, per_class, packer);
  }
  return matching::initial_images(run.dataset, ipc_, options_, packer, rng, run.stop);
}

Tensor TrajectoryMatching::initial_logits(const RunContext& run) const {
  const ExpertNetworks experts(*experts_, *network_, run.stop);
  const Tensor images = decoded(parametrization_->stored().detach());
  return options_.label_init == "right" ? mean_logits(experts, images, parametrization_->labels())
                                        : experts.logits(0, images);
}

void TrajectoryMatching::initialize(RunContext& run) {
  prepare(run);
  auto images = options_.decoder_for(run.dataset);
  const Tensor start = initial_images(run, *images).to(run.dataset.device());
  parametrization_ =
      std::make_unique<synth::Parametrization>(start, run.dataset.num_classes(), std::move(images));
  if (options_.image_ema > 0) mean_ = parametrization_->stored().detach().clone();
  if (options_.labels == "learned") labels_ = initial_logits(run).to(run.dataset.device());
  alpha_ = at::scalar_tensor(options_.lr_teacher, at::kDouble);
}

Tensor TrajectoryMatching::decoded(const Tensor& stored) const {
  const synth::ImageDecoder& images = parametrization_->decoder();
  if (images.images_per_stored() == 1) return images.decode(stored);
  Tensors classes;
  for (const Tensor& of_class : stored.split(ipc_)) classes.push_back(images.decode(of_class));
  return at::cat(classes);
}

InnerLabels TrajectoryMatching::labels_for(const Segment& segment, const Tensor& images) const {
  if (options_.labels == "learned") return {.values = labels_, .logits = true};
  if (options_.labels == "target") {
    return {.values = network_logits(*network_, segment.target, images, engine_.stop).softmax(1)};
  }
  return hard_labels(parametrization_->labels().to(images.device()), dataset_->num_classes(),
                     images.scalar_type());
}

std::vector<InnerStep> TrajectoryMatching::student_steps(std::int64_t iteration,
                                                         std::int64_t images) const {
  const auto shape = dataset_->shape();
  const Rng rng = rng_.child("iteration", iteration);
  std::vector<InnerStep> steps;
  for (const Tensor& rows :
       chunk_rows(images, options_.batch_syn, options_.syn_steps, rng.child("chunks"))) {
    Rng draw = rng.child("augment", std::int64_t(steps.size()));
    const std::int64_t visible = rows.numel() * (options_.fyi ? 2 : 1);
    steps.push_back({rows, augment::draw(strategy_, augment::Sharing::PerSample, visible,
                                         shape.height, shape.width, draw)});
  }
  return steps;
}

InnerProblem TrajectoryMatching::problem_for(const Segment& segment, const Tensor& images) const {
  const auto here = [&](const Tensor& t) { return t.to(images.device()); };
  InnerProblem problem{.student = {.network = *network_,
                                   .images = images,
                                   .labels = labels_for(segment, images),
                                   .strategy = strategy_,
                                   .mirrored = options_.fyi},
                       .steps = student_steps(segment.iteration, images.size(0)),
                       .start = here(segment.start),
                       .target = here(segment.target),
                       .alpha = alpha_.item<double>(),
                       .momentum = options_.inner_momentum};
  if (options_.perturb_weights) {
    problem.start =
        with_perturbed_convolutions(problem.start, network_->parameters(),
                                    rng_.child("iteration", segment.iteration).child("perturb"));
  }
  if (options_.balanced_loss) {
    problem.student.loss_factor =
        balanced_loss_factor(segment.start_epoch, options_.max_start_epoch);
  }
  if (options_.intermediate == "none") return problem;
  for (const Checkpoint& checkpoint : checkpoints_between(
           options_.expert_epochs, options_.syn_steps, options_.intermediate == "growing")) {
    problem.waypoints.push_back({.step = checkpoint.step,
                                 .target = here(segment.between[std::size_t(checkpoint.epoch - 1)]),
                                 .weight = checkpoint.weight});
  }
  return problem;
}

TrajectoryMatching::Attempt TrajectoryMatching::follow(const Segment& segment) {
  const at::AutoGradMode gradients(true);
  const Tensor leaf = parametrization_->stored().detach().requires_grad_();
  // One thread: the way back through an enlargement adds in an order that follows their number.
  Tensor images;
  parallel_tasks(1, [&](std::int64_t) { images = decoded(leaf); });

  Attempt attempt;
  if (!expert_moves(segment)) {
    attempt.result.loss = last_loss_;
    attempt.skipped = "the expert does not move";
    return attempt;
  }
  const InnerProblem problem = problem_for(segment, images.detach());
  attempt.result = solve(problem, engine_);
  if (options_.labels == "target") attempt.labels = problem.student.labels.values;
  const InnerResult& result = attempt.result;
  if (!std::isfinite(result.loss)) {
    attempt.skipped = str("its loss is ", result.loss);
  } else if (!result.differentiated) {
    attempt.skipped = str("its loss ", result.loss, " is above ", engine_.threshold);
  } else if (!finite(result.images) || !finite(result.labels) || !std::isfinite(result.alpha)) {
    attempt.skipped = "its gradient is not finite";
  } else if (images.is_same(leaf)) {
    attempt.stored = result.images;
  } else {
    parallel_tasks(1, [&](std::int64_t) {
      attempt.stored = torch::autograd::grad({images}, {leaf}, {result.images})[0];
    });
  }
  return attempt;
}

void TrajectoryMatching::apply(const Attempt& attempt) {
  skipped_in_row_ = 0;
  const Tensor stored = parametrization_->stored().detach();
  image_step_.step(stored, attempt.stored);
  if (attempt.result.labels.defined()) label_step_.step(labels_, attempt.result.labels);
  if (attempt.labels.defined()) labels_ = attempt.labels;
  const double before = alpha_.item<double>();
  alpha_step_.step(alpha_, at::scalar_tensor(attempt.result.alpha, at::kDouble));
  if (mean_.defined()) move_mean(mean_, stored, options_.image_ema);
  check_step_size(attempt, before);
}

void TrajectoryMatching::check_step_size(const Attempt& attempt, double before) {
  if (options_.clamp_lr) {
    alpha_.clamp_(kLowestStepSize, kHighestStepSize);
    return;
  }
  const double alpha = alpha_.item<double>();
  if (alpha > 0) return;
  // One in a hundred of the step size an iteration, as a power of ten.
  const double calm = std::pow(
      10, std::floor(std::log10(0.01 * before / std::max(1e-30, std::abs(attempt.result.alpha)))));
  const std::string far =
      attempt.result.loss > 1
          ? str(" The student ended ", std::sqrt(attempt.result.loss),
                " times as far from the target as it began: start it with a smaller --lr-teacher, ",
                "it was ", options_.lr_teacher, ".")
          : "";
  throw NumericalError(str("the student's step size has fallen to ", alpha, " (its gradient is ",
                           attempt.result.alpha, ", the loss ", attempt.result.loss,
                           "): in a new run, --lr-lr ", std::min(calm, options_.lr_lr),
                           " or less, it was ", options_.lr_lr, ", or --clamp-lr.", far));
}

void TrajectoryMatching::count_skip(const Segment& segment, const Attempt& attempt) {
  ++skipped_;
  ++skipped_in_row_;
  const std::string what =
      str("iteration ", segment.iteration, " is skipped: ", attempt.skipped, " (expert ",
          segment.expert, ", start epoch ", segment.start_epoch, ")");
  log::info(what);
  if (skipped_in_row_ < kMostSkipsInRow) return;
  throw NumericalError(str(kMostSkipsInRow, " iterations in a row were skipped; ", what,
                           ". A step size that is too large (--lr-images ", options_.lr_images,
                           ", --lr-teacher ", options_.lr_teacher,
                           ") or a threshold that is too low are the usual causes"));
}

UpdateReport TrajectoryMatching::update(std::int64_t iteration) {
  const Segment segment =
      next_ && next_->iteration == iteration ? *next_ : segments_->read(iteration);
  std::future<Segment> ahead;
  if (iteration + 1 < options_.iterations) {
    ahead = std::async(std::launch::async, [&] { return segments_->read(iteration + 1); });
  }
  const double alpha = alpha_.item<double>();
  const Attempt attempt = follow(segment);
  // Before anything changes: it may throw.
  next_ = ahead.valid() ? std::optional(ahead.get()) : std::nullopt;
  if (std::isfinite(attempt.result.loss)) last_loss_ = attempt.result.loss;
  if (attempt.skipped.empty()) {
    apply(attempt);
  } else {
    count_skip(segment, attempt);
  }
  return {.loss = last_loss_,
          .columns = {{"lr", alpha},
                      {"expert", double(segment.expert)},
                      {"start_epoch", double(segment.start_epoch)},
                      {"skipped", double(skipped_)}}};
}

data::SyntheticSet TrajectoryMatching::snapshot() const {
  data::SyntheticSet set;
  const Tensor stored = mean_.defined() ? mean_ : parametrization_->stored().detach();
  set.images = stored.to(at::kCPU).clone();
  set.class_index = at::arange(dataset_->num_classes(), at::kLong).repeat_interleave(ipc_);
  const Tensor classes = parametrization_->labels();
  if (labels_.defined()) {
    const bool learned = options_.labels == "learned";
    using Kind = data::SoftLabels::Kind;
    set.labels = data::SoftLabels{.classes = classes,
                                  .values = labels_.to(at::kCPU).clone(),
                                  .kind = learned ? Kind::Logit : Kind::Probability,
                                  .learned = learned};
  } else {
    set.labels = data::HardLabels{classes};
  }
  set.decoder = parametrization_->decoder().spec();
  set.learned_lr = alpha_.item<double>();
  return set;
}

std::vector<data::Asset> TrajectoryMatching::assets() const {
  if (!experts_) return {};
  const storage::ExpertInfo& info = experts_->info();
  double seconds = 0;
  for (std::int64_t expert = 0; expert < experts_->experts(); ++expert) {
    for (std::int64_t s = 0; s < std::int64_t(info.epochs.size()); ++s) {
      seconds += experts_->log(expert, s).wall_seconds;
    }
  }
  return {{.role = "experts",
           .file = experts_->path().filename().string(),
           .sha256 = experts_->sha256(),
           .id = experts_->id(),
           .count = experts_->experts(),
           .wall_seconds = seconds,
           .note = str("recipe ", info.recipe, ", ", info.network, " on ", info.train_images,
                       " images of ", info.dataset, ", ", info.epochs.back(), " epochs")}};
}

void TrajectoryMatching::save_state(storage::StateWriter& out) const {
  out.text("experts/id", experts_->id());
  out.text("experts/sha256", experts_->sha256());
  out.integer("experts/count", experts_->experts());
  out.tensor("stored", parametrization_->stored().detach());
  if (mean_.defined()) out.tensor("mean", mean_);
  if (labels_.defined()) out.tensor("labels", labels_);
  out.tensor("lr", alpha_);
  image_step_.save_state(out);
  label_step_.save_state(out);
  alpha_step_.save_state(out);
  out.integer("skipped", skipped_);
  out.integer("skipped_in_row", skipped_in_row_);
  out.number("last_loss", last_loss_);
}

void TrajectoryMatching::expect_experts_of(const storage::StateReader& begun) const {
  const std::string id = begun.text("experts/id");
  const std::string sha256 = begun.text("experts/sha256");
  if (id == experts_->id() && sha256 == experts_->sha256()) return;
  const auto text = [](std::int64_t count, const std::string& theirs, const std::string& bits) {
    return str(count, " of id ", theirs, ", SHA-256 ", bits);
  };
  throw ConfigError(str("experts '", experts_->path().string(), "': this run began with others (",
                        text(begun.integer("experts/count"), id, sha256), "), the file has ",
                        text(experts_->experts(), experts_->id(), experts_->sha256())));
}

void TrajectoryMatching::load_state(RunContext& run, const storage::StateReader& in) {
  prepare(run);
  expect_experts_of(in);
  const at::Device device = run.dataset.device();
  parametrization_ = std::make_unique<synth::Parametrization>(
      in.tensor("stored").to(device), run.dataset.num_classes(), options_.decoder_for(run.dataset));
  if (options_.image_ema > 0) mean_ = in.tensor("mean").to(device);
  if (in.has("labels")) labels_ = in.tensor("labels").to(device);
  alpha_ = in.tensor("lr");
  image_step_.load_state(in, device);
  label_step_.load_state(in, device);
  alpha_step_.load_state(in, at::kCPU);
  skipped_ = in.integer("skipped");
  skipped_in_row_ = in.integer("skipped_in_row");
  last_loss_ = in.number("last_loss");
}

Work TrajectoryMatching::work(const RunContext& run) const { return predicted_work(options_, run); }

namespace {

template <class Options>
std::unique_ptr<MethodFactory> make_factory() {
  return std::make_unique<SimpleFactory<Options, TrajectoryMatching>>();
}

}  // namespace

MethodInfo mtt_info() {
  return {"mtt", "Matching training trajectories", "Cazenavette et al., CVPR 2022",
          "Leads students along the trajectories of networks trained on real data.",
          make_factory<MttOptions>};
}

MethodInfo ftd_info() {
  return {"ftd", "Flat trajectory distillation", "Du et al., CVPR 2023",
          "MTT along experts in flat minima, and a running mean of the images.",
          make_factory<FtdOptions>};
}

MethodInfo datm_info() {
  return {"datm", "Difficulty-aligned trajectory matching", "Guo et al., ICLR 2024",
          "MTT that follows early epochs first, with learned soft labels.",
          make_factory<DatmOptions>};
}

MethodInfo ast_info() {
  return {"ast", "Alignment with smooth and high-quality experts", "Shen et al., 2023",
          "MTT along stronger experts, with smoothed students.", make_factory<AstOptions>};
}

MethodInfo tesla_info() {
  return {"tesla", "Trajectory matching with soft labels and constant memory",
          "Cui et al., ICML 2023", "MTT with a gradient that takes earlier parameters as constant.",
          make_factory<TeslaOptions>};
}

}  // namespace retort::methods::trajectory_matching
