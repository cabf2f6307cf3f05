#include "lib/train/student_loss.h"

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

LogitGradient cross_entropy(const Tensor& logits, const Tensor& targets) {
  const Tensor log_p = logits.log_softmax(1);
  // The softmax is scaled by the target's sum, 1 for distributions.
  return {-(targets * log_p).sum().item<double>(), log_p.exp() * targets.sum(1, true) - targets};
}

LogitGradient divergence(const StudentLoss& loss, const Tensor& logits, const Tensor& teacher) {
  const double tau = loss.temperature;
  const double factor = loss.temperature_squared ? tau * tau : 1;
  const Tensor log_p = (teacher / tau).log_softmax(1);
  const Tensor log_q = (logits / tau).log_softmax(1);
  const Tensor p = log_p.exp();
  return {factor * (p * (log_p - log_q)).sum().item<double>(), (log_q.exp() - p) * (factor / tau)};
}

LogitGradient squared_error(const StudentLoss& loss, const Tensor& logits, const Targets& targets) {
  const auto classes = double(logits.size(1));
  const Tensor difference = logits - targets.values;
  LogitGradient result{difference.square().sum().item<double>() / classes,
                       difference * (2 / classes)};
  if (loss.hard_weight != 0) {
    const LogitGradient hard = cross_entropy(logits, targets.classes);
    result.loss += loss.hard_weight * hard.loss;
    result.gradient.add_(hard.gradient, loss.hard_weight);
  }
  return result;
}

LogitGradient retention(const StudentLoss& loss, const Tensor& logits, const Targets& targets) {
  const StudentLoss squared{.kind = StudentLoss::Kind::Divergence,
                            .temperature = loss.temperature,
                            .temperature_squared = true};
  const std::int64_t known = targets.earlier.size(1);
  LogitGradient result = cross_entropy(logits, targets.values);
  const LogitGradient kept = divergence(squared, logits.narrow(1, 0, known), targets.earlier);
  result.loss += kept.loss;
  result.gradient.narrow(1, 0, known).add_(kept.gradient);
  return result;
}

}  // namespace

Targets Targets::rows(std::int64_t begin, std::int64_t count) const {
  const auto cut = [&](const Tensor& x) { return x.defined() ? x.narrow(0, begin, count) : x; };
  return {cut(values), cut(classes), cut(earlier)};
}

LogitGradient student_loss(const StudentLoss& loss, const Tensor& logits, const Targets& targets) {
  const at::NoGradGuard no_grad;
  switch (loss.kind) {
    case StudentLoss::Kind::CrossEntropy:
      return cross_entropy(logits, targets.values);
    case StudentLoss::Kind::Divergence:
      return divergence(loss, logits, targets.values);
    case StudentLoss::Kind::SquaredError:
      return squared_error(loss, logits, targets);
    case StudentLoss::Kind::Retention:
      return retention(loss, logits, targets);
  }
  throw Error("a loss of students that nobody knows");
}

void check_loss(const StudentLoss& loss) {
  if (loss.temperature > 0 && loss.hard_weight >= 0) return;
  throw ConfigError(
      str("a loss of students needs a temperature above 0 and a weight of classes of ",
          "0 or more, found ", loss.temperature, " and ", loss.hard_weight));
}

}  // namespace retort::train
