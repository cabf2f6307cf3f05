// The loss graph: loss, gradients and products with the Hessian, against float64.
#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/kernels/convnet_gradient.h"
#include "tests/kernels/gradient_problem.h"

using namespace retort;
using namespace retort::testing;
using kernels::LossProducts;
using kernels::WantedProducts;

namespace {

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

constexpr WantedProducts kParametersOnly{.images = false, .targets = false, .parameters = true};

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
