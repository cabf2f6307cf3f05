#include "methods/trajectory_matching/inner_loop.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/synth/parametrization.h"
#include "methods/trajectory_matching/flat.h"

namespace retort::methods::trajectory_matching {
namespace {

/// One term of the loss: |theta - target|^2 weight / |theta_0 - target|^2.
struct Term {
  Tensor target;
  double factor = 1;  ///< weight / |theta_0 - target|^2

  Term(const InnerProblem& problem, const Tensor& to, double weight)
      : target(to), factor(weight / squared_distance(problem.start, to)) {}

  double value(const Tensor& theta) const { return factor * squared_distance(theta, target); }
  Tensor gradient(const Tensor& theta) const { return (theta - target).mul_(2 * factor); }
};

/// The terms of an inner problem by the step after which they are taken.
class Loss {
 public:
  explicit Loss(const InnerProblem& problem) : last_(problem, problem.target, 1) {
    for (const Waypoint& waypoint : problem.waypoints) {
      terms_.emplace_back(waypoint.step, Term(problem, waypoint.target, waypoint.weight));
    }
  }

  double value(const std::vector<Tensor>& thetas) const {
    double sum = last_.value(thetas.back());
    for (const auto& [step, term] : terms_) sum += term.value(thetas[std::size_t(step)]);
    return sum;
  }
  Tensor gradient_at_end(const Tensor& theta) const { return last_.gradient(theta); }
  void add_gradient(const Tensor& sum, std::size_t step, const Tensor& theta) const {
    for (const auto& [at, term] : terms_) {
      if (std::size_t(at) == step) sum.add_(term.gradient(theta));
    }
  }

 private:
  Term last_;
  std::vector<std::pair<std::int64_t, Term>> terms_;
};

/// The reverse sweep. With lambda_i = dL/dtheta_i, nu_i = dL/dv_i but for the way through theta_i
/// and H_i the Hessian of step i's loss, for i = N-1 .. 0:
///   u = nu_{i+1} - alpha lambda_{i+1}
///   dL/dalpha  -= <lambda_{i+1}, v_{i+1}>
///   dL/dimages += d<u, g_i>/dimages,  the same for labels
///   lambda_i = lambda_{i+1} + H_i u + what waypoints at step i add,  nu_i = momentum u
/// Tesla leaves H_i u out.
class Sweep {
 public:
  Sweep(const InnerProblem& problem, const EngineOptions& options)
      : problem_(problem), options_(options), kept_(problem.steps.size()) {}

  InnerResult run() {
    const at::NoGradGuard no_grad;
    forward();
    const Loss loss(problem_);
    InnerResult result{
        .loss = loss.value(thetas_), .end = thetas_.back(), .images = {}, .labels = {}};
    // Not a number fails every comparison.
    if (result.loss <= options_.threshold) backward(loss, result);
    return result;
  }

 private:
  void forward() {
    thetas_.push_back(problem_.start.detach());
    std::size_t first_kept = first_step_to_keep(std::nullopt);
    Tensor velocity;
    for (std::size_t i = 0; i < problem_.steps.size(); ++i) {
      leave_if_requested(options_.stop, "the student's training");
      auto pass = pass_at(i);
      const bool keep = i >= first_kept;
      const bool measure = i == 0 && options_.engine == Engine::Hybrid;
      const Tensor gradient = pass->gradient(keep || measure);
      if (measure) first_kept = first_step_to_keep(pass->graph_bytes());
      if (keep) kept_[i] = std::move(pass);
      velocity = velocity.defined() && problem_.momentum != 0
                     ? at::add(gradient, velocity, problem_.momentum)
                     : gradient;
      if (problem_.momentum != 0) velocities_.push_back(velocity);
      thetas_.push_back(at::sub(thetas_.back(), velocity, problem_.alpha));
    }
  }

  std::unique_ptr<StepPass> pass_at(std::size_t i) const {
    return std::make_unique<StepPass>(problem_.student, thetas_[i], problem_.steps[i],
                                      options_.micro_batch);
  }

  /// @param first_bytes what step 0 holds, the measure for all others; none: not known yet
  std::size_t first_step_to_keep(std::optional<std::int64_t> first_bytes) const {
    const std::size_t steps = problem_.steps.size();
    if (options_.engine != Engine::Hybrid) return steps;
    std::size_t first = steps - std::min<std::size_t>(steps, 1);
    if (!first_bytes) return first;
    const auto images = [&](std::size_t i) { return double(problem_.steps[i].rows.numel()); };
    const double per_image = double(*first_bytes) / images(0);
    double bytes = per_image * images(first);
    while (first > 0 && bytes + per_image * images(first - 1) <= double(options_.graph_bytes)) {
      bytes += per_image * images(--first);
    }
    return first;
  }

  void backward(const Loss& loss, InnerResult& result) {
    const InnerLabels& labels = problem_.student.labels;
    const bool exact = options_.engine != Engine::Tesla;
    result.images = at::zeros_like(problem_.student.images);
    if (labels.logits) result.labels = at::zeros_like(labels.values);
    Tensor lambda = loss.gradient_at_end(thetas_.back());
    Tensor nu;  // undefined: zero
    for (std::size_t i = problem_.steps.size(); i-- > 0;) {
      leave_if_requested(options_.stop, "the derivatives of the student's training");
      Tensor u = at::mul(lambda, -problem_.alpha);
      if (nu.defined()) u.add_(nu);
      const auto pass = kept_[i] ? std::move(kept_[i]) : pass_at(i);
      // Nothing asks for the derivative of theta_0.
      const auto found = pass->products(
          u, {.images = true, .targets = labels.logits, .parameters = exact && i > 0});
      // Without momentum v_{i+1} = g_i and u = -alpha lambda.
      result.alpha += problem_.momentum != 0 ? -inner_product(lambda, velocities_[i])
                                             : found.along / problem_.alpha;
      const Tensor rows = problem_.steps[i].rows.to(result.images.device());
      result.images.index_add_(0, rows, found.images);
      if (labels.logits) result.labels.index_add_(0, rows, found.labels);
      if (found.parameters.defined()) lambda.add_(found.parameters);
      loss.add_gradient(lambda, i, thetas_[i]);
      if (problem_.momentum != 0) nu = u.mul_(problem_.momentum);
    }
    if (!exact && options_.halved_images) result.images.mul_(0.5);
    result.differentiated = true;
  }

  const InnerProblem& problem_;
  const EngineOptions& options_;
  std::vector<Tensor> thetas_;      // theta_0 .. theta_N
  std::vector<Tensor> velocities_;  // v_1 .. v_N; none without momentum
  std::vector<std::unique_ptr<StepPass>> kept_;
};

/// All in one graph.
class Unrolled {
 public:
  Unrolled(const InnerProblem& problem, const EngineOptions& options)
      : problem_(problem), options_(options) {}

  InnerResult run() {
    const at::AutoGradMode gradients(true);
    const Student& student = problem_.student;
    images_ = student.images.detach().requires_grad_();
    labels_ = student.labels.values.detach();
    if (student.labels.logits) labels_.requires_grad_();
    alpha_ = at::scalar_tensor(problem_.alpha, at::kDouble).to(images_.options()).requires_grad_();
    const Tensor loss = forward();
    InnerResult result{
        .loss = loss.item<double>(), .end = end_.detach(), .images = {}, .labels = {}};
    if (!(result.loss <= options_.threshold)) return result;
    Tensors inputs{images_, alpha_};
    if (labels_.requires_grad()) inputs.push_back(labels_);
    const Tensors found = torch::autograd::grad({loss}, inputs);
    result.images = found[0];
    result.alpha = found[1].item<double>();
    if (labels_.requires_grad()) result.labels = found[2];
    result.differentiated = true;
    return result;
  }

 private:
  Tensor gradient_at(const Tensor& theta, const InnerStep& step) const {
    const Student& student = problem_.student;
    const Tensor rows = step.rows.to(images_.device());
    Tensor x = images_.index_select(0, rows);
    Tensor targets = labels_.index_select(0, rows);
    if (student.labels.logits) targets = targets.softmax(1);
    if (student.mirrored) {
      x = synth::with_flips(x);
      targets = at::cat({targets, targets});
    }
    x = augment::apply(student.strategy, step.draw, x);
    const nn::NetworkState state{nn::unflatten(theta, student.network.parameters()), {}};
    return nn::flatten(student.network.loss_gradients(state, x, targets)) * student.loss_factor;
  }

  /// As double: the parameters hardly move.
  Tensor term(const Tensor& theta, const Tensor& target, double weight) const {
    const Tensor moved = theta.to(at::kDouble) - target.to(at::kDouble);
    return moved.square().sum() * (weight / squared_distance(problem_.start, target));
  }

  Tensor forward() {
    Tensor theta = problem_.start.detach();
    Tensor velocity;
    Tensor loss = at::zeros({}, theta.options().dtype(at::kDouble));
    for (std::size_t i = 0; i < problem_.steps.size(); ++i) {
      leave_if_requested(options_.stop, "the student's training");
      const Tensor gradient = gradient_at(theta, problem_.steps[i]);
      velocity = velocity.defined() ? velocity * problem_.momentum + gradient : gradient;
      theta = theta - alpha_ * velocity;
      for (const Waypoint& waypoint : problem_.waypoints) {
        if (std::size_t(waypoint.step) != i + 1) continue;
        loss = loss + term(theta, waypoint.target, waypoint.weight);
      }
    }
    end_ = theta;
    return loss + term(theta, problem_.target, 1);
  }

  const InnerProblem& problem_;
  const EngineOptions& options_;
  Tensor images_, labels_, alpha_;
  Tensor end_;
};

}  // namespace

Engine parse_engine(const std::string& text) {
  if (text == "sweep") return Engine::Sweep;
  if (text == "hybrid") return Engine::Hybrid;
  if (text == "unrolled") return Engine::Unrolled;
  if (text == "tesla") return Engine::Tesla;
  throw ConfigError(
      unknown_name_message("gradient", text, {"sweep", "hybrid", "unrolled", "tesla"}));
}

InnerResult solve(const InnerProblem& problem, const EngineOptions& options) {
  const SingleThreaded single;
  if (options.engine != Engine::Unrolled) return Sweep(problem, options).run();
  InnerResult result;
  // One thread, so that bits do not depend on their number.
  parallel_tasks(1, [&](std::int64_t) { result = Unrolled(problem, options).run(); });
  return result;
}

}  // namespace retort::methods::trajectory_matching
