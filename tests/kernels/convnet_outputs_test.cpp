#include "lib/kernels/convnet_outputs.h"

#include <algorithm>
#include <limits>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "tests/kernels/convnet_cases.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using namespace retort::testing;
using kernels::convnet_outputs;
using kernels::convnet_outputs_reference;
using kernels::ConvNetOutputs;
using kernels::ConvNetRun;

namespace {

/// BatchLooked: evaluation, and the statistics of every two images looked at.
enum class Norm { Instance, Group, BatchTrain, BatchEval, BatchLooked };

constexpr Norm kNorms[] = {Norm::Instance, Norm::Group, Norm::BatchTrain, Norm::BatchEval,
                           Norm::BatchLooked};

bool on_running_statistics(Norm norm) {
  return norm == Norm::BatchEval || norm == Norm::BatchLooked;
}

ConvNetRun run_of(const ConvNetCase& c, Norm norm, double power) {
  return {.shape = (norm == Norm::Group ? with_groups(c) : c).shape,
          .norm = norm == Norm::BatchTrain      ? kernels::ConvNetNorm::BatchTrain
                  : on_running_statistics(norm) ? kernels::ConvNetNorm::BatchEval
                                                : kernels::ConvNetNorm::Instance,
          .attention_power = power,
          .statistics = norm == Norm::BatchLooked,
          .statistics_group = norm == Norm::BatchLooked ? 2 : 0};
}

bool has_batch_norm(const ConvNetRun& run) { return run.norm != kernels::ConvNetNorm::Instance; }

std::string name_of(const ConvNetRun& run) {
  const char* const norm = run.statistics                                 ? "looked at"
                           : run.norm == kernels::ConvNetNorm::BatchTrain ? "training"
                           : run.norm == kernels::ConvNetNorm::BatchEval  ? "evaluation"
                           : run.shape.norm_groups > 0                    ? "groups"
                                                                          : "instance";
  return std::string(norm) + ", power " + std::to_string(int(run.attention_power));
}

/// Running statistics as some training would have left them.
Tensors convnet_buffers(const ConvNetCase& c) {
  Tensors buffers;
  for (std::int64_t b = 0; b < c.shape.depth; ++b) {
    buffers.push_back(normal("mean" + std::to_string(b), {c.width}) * 0.5);
    buffers.push_back(normal("variance" + std::to_string(b), {c.width}).square() + 0.2);
  }
  return buffers;
}

Tensors copies(const Tensors& tensors, at::ScalarType dtype = at::kFloat) {
  Tensors result;
  for (const Tensor& t : tensors) result.push_back(t.detach().to(dtype, false, /*copy=*/true));
  return result;
}

Tensors cotangents(const Tensors& outputs) {
  Tensors result;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    // Attentions are sums over channels: their gradients would drown the others'.
    const double scale = i == 0 ? 1 : 0.03;
    result.push_back(normal("gy" + std::to_string(i), outputs[i].sizes()) * scale);
  }
  return result;
}

/// One case under one norm and power, in both arithmetics.
struct Problem {
  ConvNetRun run;
  bool biases_hidden;  // of the convolutions, whose means the norm takes out
  Tensors parameters;
  Tensor x;
  Tensors buffers;

  Problem(const ConvNetCase& c, Norm norm, double power)
      : run(run_of(c, norm, power)),
        biases_hidden(norm == Norm::BatchTrain ||
                      (!on_running_statistics(norm) && takes_channel_means(run.shape, c.width))),
        parameters(convnet_parameters(c)),
        x(leaf(normal("x", c.image))),
        buffers(has_batch_norm(run) ? convnet_buffers(c) : Tensors()) {}

  ConvNetOutputs fast() const { return convnet_outputs(x, parameters, buffers, run); }
};

const ConvNetCase kSmall{{3, 2, 7, 6}, 20, {2, 2}};

/// Outputs, and the gradients of images and parameters for one cotangent each.
struct Outcome {
  Tensors outputs, gradients;
};

Outcome fast_outcome(const Problem& p) {
  const Tensors outputs = all_outputs(p.fast());
  const Tensors gradients =
      torch::autograd::grad(outputs, with_input(p.x, p.parameters), cotangents(outputs));
  return {copies(outputs), gradients};
}

Outcome float64_outcome(const Problem& p) {
  const Tensors d = in_double(p.parameters);
  const Tensor x = leaf(p.x.to(at::kDouble));
  const Tensors outputs =
      all_outputs(convnet_outputs_reference(x, d, copies(p.buffers, at::kDouble), p.run));
  const Tensors gy = copies(cotangents(outputs), at::kDouble);
  return {copies(outputs, at::kDouble), torch::autograd::grad(outputs, with_input(x, d), gy)};
}

void check_outcome(const Problem& p, const Outcome& found, const Outcome& wanted,
                   double gradient_tolerance = 1e-5) {
  REQUIRE(found.outputs.size() == wanted.outputs.size());
  for (std::size_t i = 0; i < found.outputs.size(); ++i) {
    INFO("output " << i);
    CHECK_CLOSE(found.outputs[i], wanted.outputs[i], 1e-5);
  }
  for (std::size_t i = 0; i < found.gradients.size(); ++i) {
    INFO("gradient " << i);
    REQUIRE(found.gradients[i].sizes() == wanted.gradients[i].sizes());
    if (i % 4 == 2 && p.biases_hidden) {
      CHECK(found.gradients[i].abs().max().item<float>() == 0);
      CHECK(wanted.gradients[i].abs().max().item<double>() < 1e-9);
    } else {
      CHECK(distance(found.gradients[i], wanted.gradients[i]) < gradient_tolerance);
    }
  }
}

void check_against_float64(const Problem& p, double gradient_tolerance) {
  const Outcome wanted = float64_outcome(p);
  for_each_instruction_set([&] {
    const Outcome found = fast_outcome(p);
    check_outcome(p, found, wanted, gradient_tolerance);
    const at::NoGradGuard no_grad;
    const Tensors plain = all_outputs(p.fast());
    for (std::size_t i = 0; i < plain.size(); ++i) CHECK(at::equal(plain[i], found.outputs[i]));
    CHECK(kernels::counters().attention_fast == (p.run.attention_power > 0 ? 2 : 0));
    CHECK(kernels::counters().attention_fallback == 0);
    CHECK(kernels::counters().batch_norm_fast == (has_batch_norm(p.run) ? 2 : 0));
    CHECK(kernels::counters().batch_norm_fallback == 0);
    const bool plain_features = p.run.attention_power == 0 && !has_batch_norm(p.run);
    CHECK(kernels::counters().convnet_fast == (plain_features ? 2 : 0));
    CHECK(kernels::counters().second_order == 0);
  });
}

}  // namespace

TEST_CASE("a ConvNet's features, attention and gradients equal the float64 reference",
          "[kernels][outputs]") {
  for (const ConvNetCase& each : convnet_cases()) {
    for (const Norm norm : kNorms) {
      const bool large = each.width == 128;
      ConvNetCase c = each;
      // Training goes layer by layer and has no groups to cross; of the millions of activations of
      // more images one is at the ReLU's kink to the last digits, which costs all gradients 4e-3.
      if (large && norm == Norm::BatchTrain) {
        c.image[0] = std::min<std::int64_t>(c.image[0], 2);
      }
      INFO(c);
      // Measured 1.3e-5 behind a norm of four values, else at most 7e-6.
      const bool amplified = norm == Norm::Instance && ends_in_norm_of_four(c);
      for (const double power : {0, 1, 2, 4}) {
        if (large && power != 1) continue;
        const Problem p(c, norm, power);
        INFO(name_of(p.run));
        check_against_float64(p, amplified ? 2e-5 : 1e-5);
      }
    }
  }
}

TEST_CASE("the reference of a ConvNet's outputs agrees with finite differences",
          "[kernels][outputs]") {
  const ConvNetCase c{{3, 1, 6, 5}, 4, {2, 2}};
  for (const Norm norm : kNorms) {
    const Problem p(c, norm, 2);
    INFO(name_of(p.run));
    const Tensors d = in_double(p.parameters);
    const Tensor x = p.x.detach().to(at::kDouble);
    const auto outputs = [&](const Tensor& images, const Tensors& parameters) {
      const Tensors buffers = copies(p.buffers, at::kDouble);
      Tensors flat = all_outputs(convnet_outputs_reference(images, parameters, buffers, p.run));
      for (Tensor& t : flat) t = t.reshape(-1);
      return at::cat(flat);
    };
    CHECK(direction_error([&](const Tensor& v) { return outputs(v, d); }, x) < 1e-6);
    for (std::size_t i = 0; i < d.size(); ++i) {
      if (i % 4 == 1 && p.biases_hidden) continue;  // zero
      INFO("parameter " << i);
      const auto of_parameter = [&](const Tensor& v) {
        Tensors q = d;
        q[i] = v;
        return outputs(x, q);
      };
      CHECK(direction_error(of_parameter, d[i]) < 1e-6);
    }
  }
}

TEST_CASE("statistics of a group are those of its images alone, and of all without groups",
          "[kernels][outputs]") {
  const ConvNetCase c{{5, 3, 8, 8}, 20, {2, 1}};
  for_each_instruction_set([&] {
    const at::NoGradGuard no_grad;
    Problem p(c, Norm::BatchLooked, 0);
    const auto of = [&](const Tensor& x, std::int64_t group) {
      ConvNetRun run = p.run;
      run.statistics_group = group;
      return convnet_outputs(x, p.parameters, p.buffers, run).statistics;
    };
    const auto grouped = of(p.x, 2);
    for (std::int64_t g = 0; g < 3; ++g) {
      const auto alone = of(p.x.slice(0, 2 * g, 2 * g + 2), 0);
      REQUIRE(alone.size() == 2);
      for (std::size_t b = 0; b < alone.size(); ++b) {
        CHECK(at::equal(grouped[b].mean[g], alone[b].mean));
        CHECK(at::equal(grouped[b].variance[g], alone[b].variance));
      }
    }
    const auto all = of(p.x, 0);
    CHECK(all[0].mean.sizes() == at::IntArrayRef{20});
    const Tensor weights = at::tensor({2.0F, 2.0F, 1.0F}).unsqueeze(1) / 5;
    CHECK_CLOSE((grouped[1].mean * weights).sum(0), all[1].mean, 1e-6);
  });
}

TEST_CASE("attention is the sum over channels of the activation's power", "[kernels][outputs]") {
  const Tensor maps = at::tensor({1.0, -2.0, 3.0, 0.0, 2.0, 1.0}, at::kDouble).view({1, 3, 1, 2});
  CHECK_CLOSE(kernels::attention_sums(maps, 1), at::tensor({6.0, 3.0}, at::kDouble).view({1, 2}),
              0);
  CHECK_CLOSE(kernels::attention_sums(maps, 2), at::tensor({14.0, 5.0}, at::kDouble).view({1, 2}),
              1e-15);
  CHECK_CLOSE(kernels::attention_sums(maps, 4), at::tensor({98.0, 17.0}, at::kDouble).view({1, 2}),
              1e-15);
}

TEST_CASE("asking for attention leaves a ConvNet's features as they are", "[kernels][outputs]") {
  for_each_instruction_set([] {
    const at::NoGradGuard no_grad;
    for (const Norm norm : kNorms) {
      const Problem without(kSmall, norm, 0);
      INFO(name_of(without.run));
      const Tensor features = without.fast().features;
      for (const double power : {1, 2, 4}) {
        CHECK(at::equal(Problem(kSmall, norm, power).fast().features, features));
      }
    }
  });
}

TEST_CASE("training-mode BatchNorm moves the running statistics as LibTorch does, once a forward",
          "[kernels][outputs]") {
  for_each_instruction_set([] {
    const Problem p(kSmall, Norm::BatchTrain, 1);
    const Tensors expected = copies(p.buffers, at::kDouble);
    convnet_outputs_reference(p.x.to(at::kDouble), in_double(p.parameters), expected, p.run);
    const ConvNetOutputs outputs = p.fast();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO("buffer " << i);
      CHECK_CLOSE(p.buffers[i], expected[i], 1e-6);
    }
    const Tensors moved = copies(p.buffers);
    const Tensor loss = outputs.features.square().sum();
    torch::autograd::grad({loss}, {p.x}, {}, true, false);
    torch::autograd::grad({loss}, {p.x}, {}, true, /*create_graph=*/true);
    for (std::size_t i = 0; i < moved.size(); ++i) CHECK(at::equal(p.buffers[i], moved[i]));
  });
}

TEST_CASE("BatchNorm in evaluation keeps the running statistics, and its gradient those it saw",
          "[kernels][outputs]") {
  for_each_instruction_set([] {
    const Problem p(kSmall, Norm::BatchEval, 1);
    const Tensors before = copies(p.buffers);
    const Tensor gy = normal("gy", {3, 20 * 2 * 2});
    const auto gradient = [&](bool disturb) {
      const Tensor features = p.fast().features;
      if (disturb) {
        for (const Tensor& buffer : p.buffers) buffer.mul_(3);
      }
      return torch::autograd::grad({features}, {p.x}, {gy})[0];
    };
    const Tensor expected = gradient(false);
    for (std::size_t i = 0; i < before.size(); ++i) CHECK(at::equal(p.buffers[i], before[i]));
    CHECK(at::equal(gradient(true), expected));
  });
}

TEST_CASE("gradients of single outputs, and of single inputs, are those of all at once",
          "[kernels][outputs]") {
  for_each_instruction_set([] {
    for (const Norm norm : kNorms) {
      const Problem p(convnet_cases()[0], norm, 2);
      INFO(name_of(p.run));
      const Tensors outputs = all_outputs(p.fast());
      const Tensors gy = cotangents(outputs);
      const Tensors inputs = with_input(p.x, p.parameters);
      const Tensors all = torch::autograd::grad(outputs, inputs, gy, true);

      Tensors sums(inputs.size());
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        const Tensors part = torch::autograd::grad({outputs[i]}, inputs, {gy[i]}, true, false,
                                                   /*allow_unused=*/true);
        for (std::size_t k = 0; k < part.size(); ++k) {
          sums[k] = sums[k].defined() ? sums[k] + part[k] : part[k];
        }
      }
      for (std::size_t k = 0; k < sums.size(); ++k) CHECK_CLOSE(sums[k], all[k], 1e-5);

      Tensors frozen = copies(p.parameters);
      const auto outputs_of = [&](const Tensor& x, const Tensors& parameters) {
        return all_outputs(convnet_outputs(x, parameters, p.buffers, p.run));
      };
      CHECK(at::equal(torch::autograd::grad(outputs_of(p.x, frozen), {p.x}, gy)[0], all[0]));
      for (std::size_t only = 0; only < frozen.size(); ++only) {
        INFO("parameter " << only);
        Tensors one = frozen;
        one[only] = leaf(p.parameters[only]);
        const Tensors some = outputs_of(p.x.detach(), one);
        CHECK(at::equal(torch::autograd::grad(some, {one[only]}, gy)[0], all[only + 1]));
      }
      for (const Tensor& output : outputs_of(p.x.detach(), frozen)) CHECK(!output.requires_grad());
    }
  });
}

TEST_CASE("a ConvNet's outputs accept strided images and summed cotangents", "[kernels][outputs]") {
  for_each_instruction_set([] {
    for (const Norm norm : kNorms) {
      const Problem p(convnet_cases()[1], norm, 1);
      INFO(name_of(p.run));
      const auto loss = [](const ConvNetOutputs& o) {
        return o.features.sum() + o.attention[0].sum();
      };
      const Tensor expected = torch::autograd::grad({loss(p.fast())}, {p.x})[0];
      const Tensor turned = leaf(p.x.detach().permute({0, 2, 3, 1}));
      const Tensor strided = turned.permute({0, 3, 1, 2});
      const ConvNetOutputs outputs = convnet_outputs(strided, p.parameters, p.buffers, p.run);
      const Tensor found = torch::autograd::grad({loss(outputs)}, {turned})[0];
      CHECK(at::equal(found.permute({0, 3, 1, 2}), expected));
    }
  });
}

TEST_CASE("second order through a ConvNet's outputs is the reference's", "[kernels][outputs]") {
  for (const Norm norm : kNorms) {
    const Problem p({{2, 1, 6, 6}, 16, {2, 2}}, norm, 2);
    INFO(name_of(p.run));
    const auto second = [&](const auto& function, const Tensor& x, const Tensors& parameters) {
      const Tensors buffers = copies(p.buffers, x.scalar_type());
      const ConvNetOutputs o = function(x, parameters, buffers, p.run);
      // Without the last attention: a cotangent that is missing.
      const Tensor loss = o.features.square().sum() + 1e-3 * o.attention[0].square().sum();
      const Tensors first = torch::autograd::grad({loss}, {parameters[0], parameters[4]}, {}, true,
                                                  /*create_graph=*/true);
      return torch::autograd::grad({first[0].square().sum() + first[1].square().sum()},
                                   {x, parameters[4]});
    };
    const Tensors wanted =
        second(convnet_outputs_reference, leaf(p.x.to(at::kDouble)), in_double(p.parameters));
    for_each_instruction_set([&] {
      const Tensors found = second(convnet_outputs, p.x, p.parameters);
      CHECK(distance(found[0], wanted[0]) < 1e-5);
      CHECK(distance(found[1], wanted[1]) < 1e-5);
      CHECK(kernels::counters().second_order == 1);
    });
  }
}

TEST_CASE("what the fused outputs do not serve goes to the reference and is counted",
          "[kernels][outputs]") {
  kernels::reset_counters();
  const at::NoGradGuard no_grad;
  const Problem p(convnet_cases()[1], Norm::BatchEval, 1);
  const Tensor expected =
      convnet_outputs_reference(p.x, p.parameters, p.buffers, p.run).attention[0];
  kernels::set_policy(kernels::Policy::Reference);
  CHECK(at::equal(p.fast().attention[0], expected));
  kernels::set_policy(kernels::Policy::Fast);
  CHECK_CLOSE(convnet_outputs(p.x.to(at::kDouble), in_double(p.parameters),
                              copies(p.buffers, at::kDouble), p.run)
                  .attention[0],
              expected, 1e-5);
  ConvNetRun cubic = p.run;
  cubic.attention_power = 3;
  CHECK(convnet_outputs(p.x, p.parameters, p.buffers, cubic).attention.size() == 3);
  CHECK(kernels::counters().attention_fallback == 3);
  CHECK(kernels::counters().attention_fast == 0);
  CHECK(kernels::counters().batch_norm_fallback == 3);
  CHECK(kernels::counters().batch_norm_fast == 0);
  Tensors wide = p.buffers;
  wide[3] = wide[3].to(at::kDouble);
  CHECK(!kernels::serves_convnet_outputs(p.x, p.parameters, wide, p.run));
  CHECK_THROWS_WITH_TEXT(convnet_outputs(p.x, p.parameters, {}, p.run), ConfigError,
                         "a depth of 3 needs 12 parameters, 6 buffers");
  ConvNetRun grouped = p.run;
  grouped.shape.norm_groups = 4;
  CHECK_THROWS_WITH_TEXT(convnet_outputs(p.x, p.parameters, p.buffers, grouped), ConfigError,
                         "BatchNorm has no groups of channels, found 4");
  const Problem training(convnet_cases()[1], Norm::BatchTrain, 1);
  ConvNetRun both = training.run;
  both.statistics = true;
  CHECK_THROWS_WITH_TEXT(convnet_outputs(p.x, p.parameters, p.buffers, both), ConfigError,
                         "stand beside running ones only");
}

TEST_CASE("InstanceNorm and GroupNorm without attention go the way of the plain features",
          "[kernels][outputs]") {
  const at::NoGradGuard no_grad;
  for (const Norm norm : {Norm::Instance, Norm::Group}) {
    kernels::reset_counters();
    const Problem p(convnet_cases()[1], norm, 0);
    INFO(name_of(p.run));
    CHECK(at::equal(p.fast().features, kernels::convnet_features(p.x, p.parameters, p.run.shape)));
    CHECK(kernels::counters().convnet_fast + kernels::counters().convnet_fallback == 2);
    CHECK(kernels::counters().attention_fast + kernels::counters().attention_fallback == 0);
  }
}

TEST_CASE("a mean large against the deviation does not cost the norms their digits",
          "[kernels][outputs]") {
  for_each_instruction_set([] {
    const at::NoGradGuard no_grad;
    for (const Norm norm : {Norm::Instance, Norm::Group, Norm::BatchTrain}) {
      for (const double power : {0, 1}) {
        Problem p({{2, 3, 16, 16}, 16, {1, 1}}, norm, power);
        INFO(name_of(p.run));
        p.parameters[1] = p.parameters[1] + 100;
        const Tensors expected = all_outputs(convnet_outputs_reference(
            p.x.to(at::kDouble), in_double(p.parameters), copies(p.buffers, at::kDouble), p.run));
        const Tensors actual = all_outputs(p.fast());
        // Measured 1.9e-5: a map of 100 and more keeps 4e-6 to 8e-6 of a deviation of one.
        for (std::size_t i = 0; i < actual.size(); ++i) CHECK_CLOSE(actual[i], expected[i], 2e-5);
      }
    }
  });
}

TEST_CASE("a diverged network gives NaN features and attention, not zeros", "[kernels][outputs]") {
  for_each_instruction_set([] {
    const at::NoGradGuard no_grad;
    for (const Norm norm : kNorms) {
      Problem p(convnet_cases()[1], norm, 1);
      INFO(name_of(p.run));
      p.parameters[4] = p.parameters[4] * std::numeric_limits<float>::quiet_NaN();
      const ConvNetOutputs outputs = p.fast();
      CHECK(outputs.features.isnan().any().item<bool>());
      CHECK(outputs.attention[1].isnan().any().item<bool>());
    }
  });
}

TEST_CASE("a ConvNet's outputs are the same bits on any number of threads", "[kernels][outputs]") {
  for (const Norm norm : kNorms) {
    for (const ConvNetCase& c : {convnet_cases()[4], convnet_cases()[0], kNarrowOddBatch}) {
      const Problem p(c, norm, 4);
      INFO(name_of(p.run) << ", " << c);
      const auto run = [&] {
        const Tensors buffers = copies(p.buffers);
        const Tensors outputs = all_outputs(convnet_outputs(p.x, p.parameters, buffers, p.run));
        Tensors result =
            torch::autograd::grad(outputs, with_input(p.x, p.parameters), cotangents(outputs));
        for (const Tensor& output : outputs) result.push_back(output.detach());
        result.insert(result.end(), buffers.begin(), buffers.end());
        return result;
      };
      const Tensors here = run();
      check_same_bits_in_tasks(run, here);
      std::vector<Tensors> splits;
      for (const int threads : {2, 3}) {
        const WithThreads many(threads);
        splits.push_back(run());
      }
      const std::size_t parameters = p.parameters.size();
      for (std::size_t i = 0; i < here.size(); ++i) {
        INFO("tensor " << i);
        // Groups of images sum up parameter gradients by thread.
        const bool of_parameter = i >= 1 && i <= parameters;
        for (const Tensors& split : splits) {
          if (norm == Norm::BatchTrain || !of_parameter) {
            CHECK(at::equal(here[i], split[i]));
          } else {
            CHECK_CLOSE(split[i], here[i], 1e-5);
          }
        }
      }
    }
  }
}

TEST_CASE("a ConvNet's outputs for an odd batch on three threads equal the float64 reference",
          "[kernels][outputs]") {
  for (const Norm norm : kNorms) {
    const Problem p(kNarrowOddBatch, norm, 1);
    INFO(name_of(p.run));
    const Outcome wanted = float64_outcome(p);
    const WithThreads many(3);
    check_outcome(p, fast_outcome(p), wanted);
  }
}
