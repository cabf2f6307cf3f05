#include "lib/kernels/convnet_gradient.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "tests/kernels/convnet_cases.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::testing;
using kernels::convnet_loss_gradients;
using kernels::convnet_loss_gradients_reference;

namespace {

enum class Statistics { Own, Given };  // InstanceNorm or GroupNorm; BatchNorm in evaluation

/// A case and the norm it has.
struct Setting {
  ConvNetCase c;
  Statistics statistics = Statistics::Own;
};

std::ostream& operator<<(std::ostream& out, const Setting& s) {
  return out << s.c << (s.statistics == Statistics::Own ? "" : ", batch norm");
}

/// Under every norm once.
std::vector<Setting> under_norms(const ConvNetCase& c) {
  return {{c}, {with_groups(c)}, {c, Statistics::Given}};
}

/// Running mean and variance of every block, far from the 0 and 1 they start from; or none.
Tensors make_buffers(const ConvNetCase& c, Statistics statistics) {
  Tensors buffers;
  if (statistics == Statistics::Own) return buffers;
  for (std::int64_t b = 0; b < c.shape.depth; ++b) {
    buffers.push_back(normal("mean" + std::to_string(b), {c.width}) * 2 + 0.5);
    buffers.push_back(normal("variance" + std::to_string(b), {c.width}).square() * 3 + 0.3);
  }
  return buffers;
}

Tensors to_double(Tensors tensors) {
  for (Tensor& t : tensors) t = t.to(at::kDouble);
  return tensors;
}

Tensors make_directions(const Tensors& parameters) {
  Tensors result;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    result.push_back(normal("v" + std::to_string(i), parameters[i].sizes()) * 0.1);
  }
  return result;
}

struct Problem {
  /// Gradients of the parameters; and those of images and targets for the directions as cotangents.
  struct Orders {
    Tensors first, second;
  };

  kernels::ConvNetShape shape;
  bool biases_hidden;  // of the convolutions, whose means the norm takes out
  Tensors parameters, buffers, directions;
  Tensor x, targets;

  explicit Problem(const Setting& s) : Problem(s.c, s.statistics) {}
  explicit Problem(const ConvNetCase& c, Statistics statistics = Statistics::Own)
      : shape(c.shape),
        biases_hidden(statistics == Statistics::Own && takes_channel_means(c.shape, c.width)),
        parameters(parameters_with_classifier(c)),
        buffers(make_buffers(c, statistics)),
        directions(make_directions(parameters)),
        x(normal("x", c.image)),
        targets(make_targets(c)) {}

  Orders fast() const { return orders(convnet_loss_gradients, at::kFloat); }
  Orders reference(at::ScalarType dtype = at::kDouble) const {
    return orders(convnet_loss_gradients_reference, dtype);
  }

 private:
  template <class Function>
  Orders orders(const Function& function, at::ScalarType dtype) const {
    const auto cast = [dtype](Tensors tensors) {
      for (Tensor& t : tensors) t = t.to(dtype);
      return tensors;
    };
    const Tensor images = leaf(x.to(dtype));
    const Tensor rows = leaf(targets.to(dtype));
    Orders result;
    result.first = function(images, rows, cast(parameters), shape, cast(buffers));
    result.second = torch::autograd::grad(result.first, {images, rows}, cast(directions));
    for (Tensor& g : result.first) g = g.detach();
    return result;
  }
};

void check_orders(const Problem& p, const Problem::Orders& found, const Problem::Orders& wanted) {
  REQUIRE(found.first.size() == wanted.first.size());
  for (std::size_t i = 0; i < found.first.size(); ++i) {
    INFO("gradient " << i);
    REQUIRE(found.first[i].sizes() == wanted.first[i].sizes());
    if (p.biases_hidden && i % 4 == 1 && i < found.first.size() - 2) {
      CHECK(found.first[i].abs().max().item<float>() == 0);
    } else {
      CHECK(distance(found.first[i], wanted.first[i]) < 1e-5);
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    INFO("second order, " << (i == 0 ? "images" : "targets"));
    CHECK(distance(found.second[i], wanted.second[i]) < 1e-5);
  }
}

void check_against_float64(const Setting& s) {
  if (s.statistics == Statistics::Own && ends_in_norm_of_four(s.c)) return;  // a test of its own
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
    for (const Setting& s : {Setting{c}, Setting{c, Statistics::Given}}) check_against_float64(s);
  }
}

TEST_CASE("fused loss gradients and their own gradient under GroupNorm equal the float64 reference",
          "[kernels][convnet][second-order][group-norm]") {
  for (const ConvNetCase& c : convnet_cases()) {
    for (const ConvNetCase& grouped : under_group_norm(c)) check_against_float64({grouped});
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
  const ConvNetCase c{{2, 1, 6, 6}, 4, {2, 2}};
  const Tensors p = to_double(parameters_with_classifier(c));
  const Tensor t = make_targets(c).to(at::kDouble);
  const Tensor x = normal("x", c.image).to(at::kDouble);
  const auto joined = [](const Tensors& tensors) {
    Tensors flat;
    for (const Tensor& g : tensors) flat.push_back(g.reshape(-1));
    return at::cat(flat);
  };
  std::vector<Setting> settings = under_norms(c);
  settings.push_back({with_groups(c, 2)});
  for (const Setting& s : settings) {
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
  const ConvNetCase c{{2, 1, 6, 6}, 4, {2, 2}};
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
  const ConvNetCase c{{2, 1, 6, 6}, 4, {2, 2}};
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
  const ConvNetCase c{{2, 1, 6, 6}, 4, {2, 2}};
  const Tensors p = parameters_with_classifier(c);
  const auto second = [&](const Tensor& x, const Tensors& gradients) {
    const Tensor once = torch::autograd::grad({gradients[0].square().sum()}, {x}, {},
                                              /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({once.square().sum()}, {x})[0];
  };
  const Tensor x = leaf(normal("x", c.image));
  const Tensor xd = leaf(x.to(at::kDouble));
  const Tensor t = make_targets(c);
  std::vector<Setting> settings = under_norms(c);
  settings.push_back({with_groups(c, 2)});
  for (const Setting& s : settings) {
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
