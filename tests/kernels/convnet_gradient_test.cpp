#include "lib/kernels/convnet_gradient.h"

#include <algorithm>
#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "tests/kernels/convnet_cases.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::testing;
using kernels::convnet_loss_gradients;
using kernels::convnet_loss_gradients_reference;
using kernels::LossProducts;
using kernels::WantedProducts;

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

/// A case for finite differences and the reference alone.
const ConvNetCase kSmall{{2, 1, 6, 6}, 4, {2, 2}};

std::vector<Setting> small_settings() {
  std::vector<Setting> settings = under_norms(kSmall);
  for (const std::int64_t groups : {1, 2}) settings.push_back({with_groups(kSmall, groups)});
  return settings;
}

/// A norm of four values amplifies rounding, which a test of its own looks at.
bool amplifies_rounding(const Setting& s) {
  return s.statistics == Statistics::Own && ends_in_norm_of_four(s.c);
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
  bool idle_biases;  // of the convolutions, whose means the norm takes out
  Tensors parameters, buffers, directions;
  Tensor x, targets;

  explicit Problem(const Setting& s) : Problem(s.c, s.statistics) {}
  explicit Problem(const ConvNetCase& c, Statistics statistics = Statistics::Own)
      : shape(c.shape),
        idle_biases(statistics == Statistics::Own && takes_channel_means(c.shape, c.width)),
        parameters(parameters_with_classifier(c)),
        buffers(make_buffers(c, statistics)),
        directions(make_directions(parameters)),
        x(normal("x", c.image)),
        targets(make_targets(c)) {}

  bool is_idle_bias(std::size_t i) const {
    return idle_biases && i % 4 == 1 && i + 2 < parameters.size();
  }
  std::unique_ptr<kernels::LossGraph> graph() const {
    return kernels::convnet_loss_graph(x, targets, parameters, shape, buffers);
  }
  /// What the graph's products should be, by autograd.
  LossProducts reference_products(at::ScalarType dtype = at::kDouble) const {
    const auto cast = [dtype](Tensors tensors) {
      for (Tensor& t : tensors) t = t.to(dtype);
      return tensors;
    };
    Tensors inputs = {leaf(x.to(dtype)), leaf(targets.to(dtype))};
    for (const Tensor& t : parameters) inputs.push_back(leaf(t.to(dtype)));
    const Tensors gradients = convnet_loss_gradients_reference(
        inputs[0], inputs[1], std::span(inputs).subspan(2), shape, cast(buffers));
    const Tensors found = torch::autograd::grad(gradients, inputs, cast(directions));
    return {.along = 0,
            .images = found[0],
            .targets = found[1],
            .parameters = Tensors(found.begin() + 2, found.end())};
  }

  double reference_loss() const {
    const Tensors p = to_double(parameters);
    const Tensor features = kernels::convnet_outputs_reference(
                                x.to(at::kDouble), p, to_double(buffers),
                                {.shape = shape,
                                 .norm = buffers.empty() ? kernels::ConvNetNorm::Instance
                                                         : kernels::ConvNetNorm::BatchEval})
                                .features;
    const Tensor logs = at::linear(features, p[p.size() - 2], p.back()).log_softmax(1);
    return -(targets.to(at::kDouble) * logs).sum().item<double>() / double(x.size(0));
  }

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
    if (p.is_idle_bias(i)) {
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

/// Some sizes of a batch beside those of convnet_cases: alone, odd, with a rest in its groups and
/// its parts.
std::vector<ConvNetCase> more_batches() {
  return {{{1, 3, 32, 32}, 20, {3, 1}},   {{7, 1, 28, 28}, 40, {3, 3}},
          {{33, 3, 32, 32}, 20, {3, 1}},  {{33, 1, 28, 28}, 20, {2, 3}},
          {{100, 3, 16, 16}, 24, {2, 1}}, {{100, 1, 9, 11}, 16, {2, 3}}};
}

double dot(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += (a[i].to(at::kDouble) * b[i].to(at::kDouble)).sum().item<double>();
  }
  return sum;
}

constexpr double kTolerance = 1e-5;

/// @param plain the reference in float32: where a sum cancels, nobody is better than rounding
void check_products(const Problem& p, const LossProducts& found, const LossProducts& wanted,
                    const LossProducts& plain) {
  CHECK(distance(found.images, wanted.images) < kTolerance);
  CHECK(distance(found.targets, wanted.targets) < kTolerance);
  REQUIRE(found.parameters.size() == wanted.parameters.size());
  for (std::size_t i = 0; i < found.parameters.size(); ++i) {
    INFO("parameter " << i);
    REQUIRE(found.parameters[i].sizes() == wanted.parameters[i].sizes());
    if (p.is_idle_bias(i)) {
      CHECK(found.parameters[i].abs().max().item<float>() == 0);
    } else {
      const double rounding = distance(plain.parameters[i], wanted.parameters[i]);
      CHECK(distance(found.parameters[i], wanted.parameters[i]) <
            std::max(kTolerance, 4 * rounding));
    }
  }
}

/// All numbers of a graph and its products.
Tensors all_of(kernels::LossGraph& graph, const Tensors& directions) {
  const LossProducts products = graph.products(directions, {true, true, true});
  Tensors all = graph.gradients();
  all.insert(all.end(), products.parameters.begin(), products.parameters.end());
  all.insert(all.end(), {products.images, products.targets,
                         at::tensor({graph.loss(), products.along}, at::kDouble)});
  return all;
}

Tensors combined(double p, const Tensors& a, double q, const Tensors& b) {
  Tensors result;
  for (std::size_t i = 0; i < a.size(); ++i) result.push_back(p * a[i] + q * b[i]);
  return result;
}

constexpr WantedProducts kParametersOnly{.images = false, .targets = false, .parameters = true};

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

void check_loss_graph(const Setting& s) {
  if (amplifies_rounding(s)) return;
  INFO(s);
  const Problem p(s);
  const Problem::Orders orders = p.reference();
  const LossProducts wanted = p.reference_products();
  const LossProducts plain = p.reference_products(at::kFloat);
  for_each_instruction_set([&] {
    const auto graph = p.graph();
    CHECK(kernels::counters().gradient_fast == 1);
    CHECK(graph->loss() == Approx(p.reference_loss()).epsilon(1e-5));
    const LossProducts found = graph->products(p.directions, {true, true, true});
    check_orders(p, {graph->gradients(), {found.images, found.targets}}, orders);
    check_products(p, found, wanted, plain);
    CHECK(found.along == Approx(dot(graph->gradients(), p.directions)).epsilon(1e-4));
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

TEST_CASE("a loss graph equals the float64 reference: loss, gradients, products of every parameter",
          "[kernels][convnet][second-order]") {
  for (const auto& cases : {convnet_cases(), more_batches()}) {
    for (const ConvNetCase& c : cases) {
      check_loss_graph({c});
      check_loss_graph({c, Statistics::Given});
    }
  }
}

TEST_CASE("a loss graph under GroupNorm equals the float64 reference",
          "[kernels][convnet][second-order][group-norm]") {
  for (const ConvNetCase& c : convnet_cases()) {
    for (const ConvNetCase& grouped : under_group_norm(c)) check_loss_graph({grouped});
  }
  for (const ConvNetCase& c : more_batches()) {
    check_loss_graph({with_groups(c, 1)});
    check_loss_graph({with_groups(c)});
  }
}

TEST_CASE("as many groups as channels have the loss graph of InstanceNorm",
          "[kernels][convnet][second-order][group-norm]") {
  const ConvNetCase& c = convnet_cases()[2];
  for_each_instruction_set([&] {
    const Problem p(c), grouped(with_groups(c, c.width));
    const Tensors wanted = all_of(*p.graph(), p.directions);
    const Tensors found = all_of(*grouped.graph(), grouped.directions);
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(at::equal(found[i], wanted[i]));
  });
}

TEST_CASE("under GroupNorm channels without a weight share in the loss graph all the same",
          "[kernels][convnet][second-order][group-norm]") {
  Problem p(with_groups(convnet_cases()[2], 4));
  // One of every group of five, and all of the last.
  for (const std::size_t norm : {2, 6}) {
    for (const std::int64_t channel : {0, 7, 12, 15, 16, 17, 18, 19}) {
      p.parameters[norm][channel].zero_();
    }
  }
  const LossProducts wanted = p.reference_products();
  const LossProducts plain = p.reference_products(at::kFloat);
  for_each_instruction_set([&] {
    check_products(p, p.graph()->products(p.directions, {true, true, true}), wanted, plain);
  });
}

TEST_CASE("where a norm of four values amplifies rounding, a loss graph is as good as LibTorch",
          "[kernels][convnet][second-order]") {
  const Problem p({{14, 4, 8, 8}, 48, {3, 1}});
  const LossProducts exact = p.reference_products();
  const LossProducts plain = p.reference_products(at::kFloat);
  for_each_instruction_set([&] {
    const LossProducts found = p.graph()->products(p.directions, kParametersOnly);
    for (const std::size_t i : {0, 2, 4, 8, 12}) {
      INFO("parameter " << i);
      CHECK(distance(found.parameters[i], exact.parameters[i]) <
            4 * distance(plain.parameters[i], exact.parameters[i]));
    }
  });
}

TEST_CASE("a Hessian is symmetric and its products are linear in the direction",
          "[kernels][convnet][second-order]") {
  for (const Setting& s : under_norms(kNarrowOddBatch)) {
    INFO(s);
    const Problem p(s);
    Tensors other;
    for (std::size_t i = 0; i < p.parameters.size(); ++i) {
      other.push_back(normal("other" + std::to_string(i), p.parameters[i].sizes()) * 0.1);
    }
    for_each_instruction_set([&] {
      const auto times = [&](const Tensors& v) {
        return p.graph()->products(v, kParametersOnly).parameters;
      };
      const Tensors hv = times(p.directions);
      const Tensors hu = times(other);
      const double size = std::sqrt(dot(other, other) * dot(hv, hv));
      CHECK(std::abs(dot(other, hv) - dot(p.directions, hu)) < 1e-5 * size);
      const Tensors together = times(combined(2, p.directions, -3, other));
      const Tensors apart = combined(2, hv, -3, hu);
      for (std::size_t i = 0; i < apart.size(); ++i) {
        INFO("parameter " << i);
        if (p.is_idle_bias(i)) continue;
        CHECK(distance(together[i], apart[i]) < 1e-5);
      }
    });
  }
}

TEST_CASE("a loss graph has the same bits on any number of threads and in tasks",
          "[kernels][convnet][second-order]") {
  if (kernels::available_loops().count == 0) return;
  for (const std::int64_t images : {3, 33, 100}) {
    for (const Setting& s : under_norms({{images, 3, 16, 16}, 32, {3, 1}})) {
      INFO(s);
      const Problem p(s);
      const auto run = [&] { return all_of(*p.graph(), p.directions); };
      const Tensors here = run();
      const auto check_same = [&](const Tensors& there) {
        for (std::size_t i = 0; i < here.size(); ++i) {
          INFO("tensor " << i);
          CHECK(at::equal(there[i], here[i]));
        }
      };
      check_same(run());
      for (const int threads : {2, 3}) {
        INFO(threads << " threads");
        const WithThreads many(threads);
        check_same(run());
        check_same_bits_in_tasks(run, here);
      }
    }
  }
}

TEST_CASE("a loss graph gives what is wanted and nothing else, of parameters of any strides",
          "[kernels][convnet][second-order]") {
  if (kernels::available_loops().count == 0) return;
  Problem p(kNarrowOddBatch);
  const LossProducts all = p.graph()->products(p.directions, {true, true, true});
  // Pieces of one vector are what students are made of.
  p.x = p.x.contiguous(at::MemoryFormat::ChannelsLast);
  p.targets = p.targets.t().contiguous().t();
  for (Tensor& t : p.parameters) {
    t = at::cat({at::ones({16}), t.flatten()}).narrow(0, 16, t.numel()).view(t.sizes());
  }
  for (Tensor& t : p.directions) t = at::stack({t, t}, t.dim()).select(t.dim(), 1);
  for (const bool images : {false, true}) {
    for (const bool targets : {false, true}) {
      for (const bool parameters : {false, true}) {
        INFO(images << targets << parameters);
        const LossProducts found = p.graph()->products(p.directions, {images, targets, parameters});
        CHECK(found.images.defined() == images);
        CHECK(found.targets.defined() == targets);
        CHECK(found.parameters.size() == (parameters ? p.parameters.size() : 0));
        if (images) CHECK(at::equal(found.images, all.images));
        if (targets) CHECK(at::equal(found.targets, all.targets));
        for (std::size_t i = 0; i < found.parameters.size(); ++i) {
          CHECK(at::equal(found.parameters[i], all.parameters[i]));
        }
      }
    }
  }
}

TEST_CASE("a loss graph of products alone has the same ones, and no gradients",
          "[kernels][convnet][second-order]") {
  for (const std::int64_t depth : {1, 3}) {
    for (const std::int64_t channels : {3, 20}) {
      for (const Setting& s : under_norms({{7, channels, 16, 16}, 16, {depth, 1}})) {
        INFO(s);
        const Problem p(s);
        for_each_instruction_set([&] {
          const auto both = p.graph();
          const auto alone = kernels::convnet_loss_graph(p.x, p.targets, p.parameters, p.shape,
                                                         p.buffers, {.gradients = false});
          CHECK(alone->gradients().empty());
          CHECK(alone->loss() == both->loss());
          const LossProducts wanted = both->products(p.directions, {true, true, true});
          const LossProducts found = alone->products(p.directions, {true, true, true});
          CHECK(found.along == wanted.along);
          CHECK(at::equal(found.images, wanted.images));
          CHECK(at::equal(found.targets, wanted.targets));
          for (std::size_t i = 0; i < wanted.parameters.size(); ++i) {
            CHECK(at::equal(found.parameters[i], wanted.parameters[i]));
          }
        });
      }
    }
  }
}

TEST_CASE("a loss graph refuses directions that are not the parameters'",
          "[kernels][convnet][second-order]") {
  if (kernels::available_loops().count == 0) return;
  const Problem p(kSmall);
  const auto graph = p.graph();
  Tensors v = p.directions;
  v.pop_back();
  CHECK_THROWS_WITH_TEXT(graph->products(v, {}), ConfigError,
                         "expected 10 tensors, one per parameter, found 9");
  v.push_back(at::zeros({7}));
  CHECK_THROWS_WITH_TEXT(graph->products(v, {}), ConfigError,
                         "direction 9 of a loss: expected [2] Float like the parameter, found [7]");
  CHECK_THROWS_WITH_TEXT(graph->products(to_double(p.directions), {}), ConfigError,
                         "found [4, 1, 3, 3] Double");
}

TEST_CASE("a loss graph says how many bytes it holds", "[kernels][convnet][second-order]") {
  if (kernels::available_loops().count == 0) return;
  constexpr std::int64_t kImages = 25, kPadded = 32;  // of 24 channels
  const Problem p({{kImages, 3, 16, 16}, 24, {2, 1}});
  const std::int64_t outputs = (8 * 8 + 4 * 4) * kPadded;  // cotangents of both blocks
  const std::int64_t map = 8 * 8 * kPadded;                // of the second block
  const std::int64_t statistics = 2 * 2 * kPadded;
  const std::int64_t classifier = 24 * 4 * 4 + 2 * 3;  // features, probabilities, cotangents
  const std::int64_t padded_vectors = 2 * 3 * kPadded;
  CHECK(p.graph()->bytes() ==
        4 * (kImages * (outputs + map + statistics + classifier) + padded_vectors));
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
