#include "lib/kernels/convnet_gradient.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "tests/kernels/gradient_problem.h"

using namespace retort;
using namespace retort::testing;
using kernels::convnet_loss_gradients;
using kernels::convnet_loss_gradients_reference;
using kernels::LossProducts;

namespace {

void check_loss_gradients(const Setting& s) {
  if (amplifies_rounding(s)) return;
  INFO(s);
  const Problem p(s);
  const Problem::Orders wanted = p.reference();
  for_each_instruction_set([&] {
    check_orders(p, p.fast(), wanted);
    CHECK(kernels::counters().gradient_fast == 1);
    CHECK(kernels::counters().gradient_fallback == 0);
    CHECK(kernels::counters().second_order == 0);
  });
}

}  // namespace

TEST_CASE("fused loss gradients and their own gradient equal the float64 reference",
          "[kernels][convnet][second-order]") {
  for (const ConvNetCase& c : convnet_cases()) {
    check_loss_gradients({c});
    check_loss_gradients({c, Statistics::Given});
  }
}

TEST_CASE("fused loss gradients and their own gradient under GroupNorm equal the float64 reference",
          "[kernels][convnet][second-order][group-norm]") {
  for (const ConvNetCase& c : convnet_cases()) {
    for (const ConvNetCase& grouped : under_group_norm(c)) check_loss_gradients({grouped});
  }
}

TEST_CASE(
    "where a norm of four values amplifies rounding, it does so in LibTorch's float32 as well",
    "[kernels][convnet][second-order]") {
  const Problem p({{14, 4, 8, 8}, 48, {3, 1}});
  const Tensor exact = p.reference().second[0];
  const double plain = distance(p.reference(at::kFloat).second[0], exact);
  for_each_instruction_set([&] {
    CHECK(distance(p.fast().second[0], exact) < 4 * plain);
    CHECK(kernels::counters().gradient_fast == 1);
  });
}

TEST_CASE("the reference of loss gradients agrees with finite differences to second order",
          "[kernels][convnet][second-order]") {
  const ConvNetCase& c = kSmall;
  const Tensors p = to_double(parameters_with_classifier(c));
  const Tensor t = make_targets(c).to(at::kDouble);
  const Tensor x = normal("x", c.image).to(at::kDouble);
  const auto joined = [](const Tensors& tensors) {
    Tensors flat;
    for (const Tensor& g : tensors) flat.push_back(g.reshape(-1));
    return at::cat(flat);
  };
  for (const Setting& s : small_settings()) {
    INFO(s);
    const Tensors buffers = to_double(make_buffers(s.c, s.statistics));
    const auto of_images = [&](const Tensor& in) {
      return joined(convnet_loss_gradients_reference(in, t, p, s.c.shape, buffers));
    };
    CHECK(direction_error(of_images, x) < 1e-6);
    CHECK(second_direction_error(of_images, x) < 1e-6);
    CHECK(direction_error(
              [&](const Tensor& in) {
                return joined(convnet_loss_gradients_reference(x, in, p, s.c.shape, buffers));
              },
              t) < 1e-6);
  }
}

TEST_CASE(
    "the reference's products with a direction agree with finite differences of its gradients",
    "[kernels][convnet][second-order]") {
  for (const Setting& s : small_settings()) {
    INFO(s);
    const Problem p(s);
    const Tensors parameters = to_double(p.parameters);
    const LossProducts products = p.reference_products();
    const auto along = [&](double h) {
      Tensors moved;
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        moved.push_back(parameters[i] + h * p.directions[i].to(at::kDouble));
      }
      const Tensors gradients = convnet_loss_gradients_reference(
          p.x.to(at::kDouble), p.targets.to(at::kDouble), moved, p.shape, to_double(p.buffers));
      Tensors detached;
      for (const Tensor& g : gradients) detached.push_back(g.detach());
      return detached;
    };
    constexpr double kStep = 1e-6;
    const Tensors numeric = combined(0.5 / kStep, along(kStep), -0.5 / kStep, along(-kStep));
    for (std::size_t i = 0; i < numeric.size(); ++i) {
      INFO("parameter " << i);
      if (p.is_idle_bias(i)) continue;  // zero on both sides
      CHECK(distance(products.parameters[i], numeric[i]) < 1e-6);
    }
  }
}

TEST_CASE("loss gradients keep the running statistics, and their own gradient those it saw",
          "[kernels][convnet][second-order]") {
  for_each_instruction_set([] {
    const ConvNetCase c{{2, 3, 9, 14}, 20, {2, 1}};
    const Tensors p = parameters_with_classifier(c);
    const Tensors untouched = make_buffers(c, Statistics::Given);
    const auto gradient = [&](bool disturb, bool create_graph) {
      const Tensors buffers = make_buffers(c, Statistics::Given);
      const Tensor x = leaf(normal("x", c.image));
      const Tensors found = convnet_loss_gradients(x, make_targets(c), p, c.shape, buffers);
      for (std::size_t i = 0; i < buffers.size(); ++i) CHECK(at::equal(buffers[i], untouched[i]));
      if (disturb) {
        for (const Tensor& buffer : buffers) buffer.mul_(3);
      }
      return torch::autograd::grad(found, {x}, make_directions(p), true, create_graph)[0];
    };
    for (const bool create_graph : {false, true}) {
      CHECK(at::equal(gradient(true, create_graph), gradient(false, create_graph)));
    }
  });
}

TEST_CASE("loss gradients do not depend on the number of threads but by rounding",
          "[kernels][convnet][second-order]") {
  for (const Setting& s : under_norms(kNarrowOddBatch)) {
    INFO(s);
    const Problem p(s);
    const Problem::Orders wanted = p.reference();
    const Problem::Orders here = p.fast();
    CHECK(at::equal(p.fast().second[0], here.second[0]));
    const auto check = [&](const Problem::Orders& there) {
      check_orders(p, there, wanted);
      for (std::size_t i = 0; i < 2; ++i) CHECK(distance(there.second[i], here.second[i]) < 1e-6);
    };
    // Tasks are what gradient matching runs its classes in: the same bits in any.
    Problem::Orders in_task;
    parallel_tasks(1, [&](std::int64_t) { in_task = p.fast(); });
    check(in_task);
    for (const int threads : {2, 3}) {
      INFO(threads << " threads");
      const WithThreads many(threads);
      check(p.fast());
      std::vector<Problem::Orders> in_tasks(3);
      parallel_tasks(3, [&](std::int64_t task) { in_tasks[std::size_t(task)] = p.fast(); });
      for (const Problem::Orders& other : in_tasks) {
        for (std::size_t i = 0; i < in_task.first.size(); ++i) {
          CHECK(at::equal(other.first[i], in_task.first[i]));
        }
        CHECK(at::equal(other.second[0], in_task.second[0]));
      }
    }
  }
}

TEST_CASE("loss gradients fall back where a parameter needs a gradient or a norm is missing",
          "[kernels][convnet][second-order]") {
  kernels::reset_counters();
  const ConvNetCase& c = kSmall;
  Tensors p = parameters_with_classifier(c);
  const Tensor x = leaf(normal("x", c.image));
  p[0].requires_grad_();
  const Tensors found = convnet_loss_gradients(x, make_targets(c), p, c.shape);
  CHECK(kernels::counters().gradient_fallback == 1);
  const Tensors again = torch::autograd::grad({found[0].square().sum()}, {x, p[0]}, {},
                                              /*retain_graph=*/true, /*create_graph=*/true);
  CHECK(again[1].requires_grad());
}

TEST_CASE("loss gradients leave running statistics that are not float32 to the reference",
          "[kernels][convnet][second-order]") {
  kernels::reset_counters();
  const ConvNetCase& c = kSmall;
  const Tensors p = parameters_with_classifier(c);
  const Tensor x = normal("x", c.image);
  const Tensor t = make_targets(c);
  Tensors buffers = make_buffers(c, Statistics::Given);
  const auto served = [&](const Tensors& statistics) {
    return kernels::serves_convnet_loss_gradients(x, p, c.shape, statistics);
  };
  CHECK(served(buffers) == served({}));
  CHECK(!served(to_double(buffers)));
  convnet_loss_gradients(x.to(at::kDouble), t.to(at::kDouble), to_double(p), c.shape,
                         to_double(buffers));
  CHECK(kernels::counters().gradient_fallback == 1);
  CHECK(kernels::counters().gradient_fast == 0);
  buffers.pop_back();
  CHECK_THROWS_WITH_TEXT(convnet_loss_gradients(x, t, p, c.shape, buffers), ConfigError,
                         "a depth of 2 needs 8 parameters, 4 buffers");
}

TEST_CASE("loss gradients of the fast path can be differentiated twice, by the reference",
          "[kernels][convnet][second-order]") {
  const ConvNetCase& c = kSmall;
  const Tensors p = parameters_with_classifier(c);
  const auto second = [&](const Tensor& x, const Tensors& gradients) {
    const Tensor once = torch::autograd::grad({gradients[0].square().sum()}, {x}, {},
                                              /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({once.square().sum()}, {x})[0];
  };
  const Tensor x = leaf(normal("x", c.image));
  const Tensor xd = leaf(x.to(at::kDouble));
  const Tensor t = make_targets(c);
  for (const Setting& s : small_settings()) {
    INFO(s);
    const Tensors buffers = make_buffers(s.c, s.statistics);
    kernels::reset_counters();
    const Tensor found = second(x, convnet_loss_gradients(x, t, p, s.c.shape, buffers));
    const Tensor wanted =
        second(xd, convnet_loss_gradients_reference(xd, t.to(at::kDouble), to_double(p), s.c.shape,
                                                    to_double(buffers)));
    CHECK(kernels::counters().second_order == 1);
    CHECK(distance(found, wanted) < 1e-5);
  }
}
