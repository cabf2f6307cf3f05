#include "methods/trajectory_matching/flat.h"

#include "lib/core/parallel.h"

namespace retort::methods::trajectory_matching {
namespace {

/// A task's LibTorch has one thread, which always adds in the same order.
template <class Sum>
double in_one_thread(Sum&& sum) {
  const at::NoGradGuard no_grad;
  double result = 0;
  parallel_tasks(1, [&](std::int64_t) { result = sum().template item<double>(); });
  return result;
}

}  // namespace

double inner_product(const Tensor& a, const Tensor& b) {
  return in_one_thread([&] { return (a.to(at::kDouble) * b.to(at::kDouble)).sum(); });
}

double squared_distance(const Tensor& a, const Tensor& b) {
  return in_one_thread([&] { return (a.to(at::kDouble) - b.to(at::kDouble)).square().sum(); });
}

double squared_norm(const Tensor& a) { return inner_product(a, a); }

}  // namespace retort::methods::trajectory_matching
