// Training loops: of evaluation (VICO-UoE/DatasetCondensation, utils.py evaluate_synset and epoch)
// and of FTD's experts (AngusDujw/FTD-distillation, buffer/gsam/gsam.py); the regulariser of
// GUARD's teachers (yumozi/GUARD, pretrain/).

#include <torch/csrc/autograd/autograd.h>

#include "lib/train/curvature.h"
#include "lib/train/gsam.h"
#include "lib/train/supervised.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

train::TrainOptions stored_options(const GoldenFile& file) {
  train::TrainOptions options;
  options.lr = file.number_or("", "lr_net", 0.01);
  options.momentum = file.number_or("", "momentum", 0.9);
  options.weight_decay = file.number_or("", "weight_decay", 5e-4);
  options.batch_size = file.integer_or("", "batch_train", 256);
  options.shuffle = false;  // the stored run took consecutive batches
  return train::dc_schedule(options, file.integer_or("", "epoch_eval_train", 0));
}

/// One row of outputs/trace: 0 train or 1 test, mean loss, accuracy.
void check_row(const Tensor& row, int kind, double loss, double accuracy, double tolerance) {
  CHECK(row[0].item<double>() == kind);
  CHECK(loss == Approx(row[1].item<double>()).epsilon(tolerance));
  CHECK(accuracy == Approx(row[2].item<double>()).epsilon(tolerance));
}

void check_at(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const Tensor images = file.tensor("inputs/images", precision.dtype);
  const Tensor labels = file.tensor("inputs/labels", at::kLong);
  const auto network = make_stored_convnet(file, "", "net", image_shape(images));
  auto state = read_network(file, "net", precision.dtype);
  const Tensor trace = file.tensor("outputs/trace", at::kDouble);
  const auto options = stored_options(file);
  REQUIRE(trace.size(0) == options.epochs + 1);

  const train::TensorData data({images, data::HardLabels{labels}});
  train::train(*network, state, data, options, Rng(0), [&](const train::EpochReport& report) {
    INFO("after epoch " << report.epoch);
    const std::string name = "steps/theta_after_epoch" + std::to_string(report.epoch);
    CHECK_CLOSE(nn::flatten(state.parameters), file.tensor(name, precision.dtype),
                precision.tolerance);
    check_row(trace[report.epoch], 0, report.loss, report.accuracy, precision.tolerance);
    return true;
  });

  const at::NoGradGuard no_grad;
  const Tensor truth = file.tensor("inputs/test_labels", at::kLong);
  const Tensor test_images = file.tensor("inputs/test_images", precision.dtype);
  const Tensor logits = network->forward(state, test_images).logits;
  const double loss = -logits.log_softmax(1).gather(1, truth.unsqueeze(1)).mean().item<double>();
  const double accuracy = logits.argmax(1).eq(truth).to(at::kDouble).mean().item<double>();
  check_row(trace[options.epochs], 1, loss, accuracy, precision.tolerance);
}

train::Gsam stored_gsam(const GoldenFile& file) {
  return {.rho = file.number_or("", "rho", 0),
          .alpha = file.number_or("", "gsam_alpha", 0),
          .adaptive = file.integer("", "adaptive") != 0};
}

data::LabelledImages stored_batch(const GoldenFile& file, const std::string& step,
                                  at::ScalarType dtype) {
  return {file.tensor(step + "/x", dtype), data::HardLabels{file.tensor(step + "/y", at::kLong)}};
}

/// Both gradients of one step, where the second is taken and what comes of them.
void check_gsam_parts(const GoldenFile& file, const std::string& step, const Precision& precision,
                      const nn::Network& network, const nn::NetworkState& state,
                      const train::Gsam& gsam) {
  const auto close = [&](const Tensors& actual, const std::string& name) {
    INFO(name);
    CHECK_CLOSE(nn::flatten(actual), file.tensor(step + "/" + name, precision.dtype),
                precision.tolerance);
  };
  const auto batch = stored_batch(file, step, precision.dtype);
  const auto first = train::batch_gradient(network, state, batch.images, batch.labels);
  close(first.gradients, "grad0");
  const Tensors offsets = train::gsam_perturbation(state.parameters, first.gradients, gsam);
  close(offsets, "perturbation");
  nn::NetworkState perturbed = state.detached_clone();
  for (std::size_t i = 0; i < offsets.size(); ++i) perturbed.parameters[i].add_(offsets[i]);
  const auto second = train::batch_gradient(network, perturbed, batch.images, batch.labels);
  close(second.gradients, "grad1");
  close(train::gsam_direction(first.gradients, second.gradients, gsam.alpha), "direction");
}

void check_ftd_at(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const auto network =
      make_stored_convnet(file, "", "net", image_shape(file.tensor("steps/0/x", at::kDouble)));
  auto state = read_network(file, "net", precision.dtype);
  const double lr = file.number_or("", "lr", 0.01);
  train::TrainOptions options;
  options.gsam = stored_gsam(file);
  train::Sgd sgd(/*momentum=*/0, /*weight_decay=*/0);
  for (const std::string& number : file.children("steps")) {
    INFO("step " << number);
    const std::string step = "steps/" + number;
    if (file.has(step + "/grad0")) {
      check_gsam_parts(file, step, precision, *network, state, *options.gsam);
    }
    const auto report = train::train_step(
        *network, state, sgd, lr, stored_batch(file, step, precision.dtype), options, Rng(0));
    CHECK(report.loss == Approx(file.number(step + "/loss_before")).epsilon(precision.tolerance));
    CHECK_CLOSE(nn::flatten(state.parameters), file.tensor(step + "/theta_after", precision.dtype),
                precision.tolerance);
  }
}

/// Of the batch's mean cross-entropy, BatchNorm on its running statistics.
Tensor image_gradient(const nn::Network& network, const nn::NetworkState& state, const Tensor& at_x,
                      const Tensor& targets) {
  const at::AutoGradMode gradients_on(true);
  const Tensor x = at_x.detach().requires_grad_();
  const Tensor log_p = network.forward(state, x, {.second_order = true}).logits.log_softmax(1);
  return torch::autograd::grad({-(targets * log_p).sum() / double(x.size(0))}, {x})[0];
}

/// One form of the regulariser, after the training pass that moves the running statistics.
void check_curvature(const GoldenFile& file, const std::string& form, const Precision& precision,
                     const train::Curvature& curvature) {
  INFO(form << ", " << precision.name);
  const auto tensor = [&](const std::string& name) { return file.tensor(name, precision.dtype); };
  const Tensor x = tensor("inputs/x");
  const auto network = make_stored_convnet(file, "", "net", image_shape(x));
  auto state = read_network(file, "net", precision.dtype);
  const Tensor targets =
      train::target_probabilities(data::HardLabels{file.tensor("inputs/labels", at::kLong)},
                                  network->num_classes(), precision.dtype);
  auto main = train::batch_gradient(*network, state, x, targets);
  const Tensors buffers = read_buffers(file, form + "/buffers_after", precision.dtype);
  REQUIRE(buffers.size() == state.buffers.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    CHECK_CLOSE(state.buffers[i], buffers[i], precision.tolerance);
  }

  const Tensor z = train::curvature_steps(*network, state, x, targets, curvature.h);
  CHECK_CLOSE(z, tensor(form + "/z"), precision.tolerance);
  if (file.has(form + "/grad_difference")) {
    const Tensor turn = image_gradient(*network, state, x + z, targets) -
                        image_gradient(*network, state, x, targets);
    CHECK_CLOSE(turn, tensor(form + "/grad_difference"), precision.tolerance);
    CHECK_CLOSE(turn.flatten(1).norm(2, 1), tensor(form + "/diff_norms"), precision.tolerance);
  }
  const auto penalty = train::curvature_penalty(*network, state, x, targets, curvature);
  CHECK(penalty.value == Approx(file.number(form + "/regulariser")).epsilon(precision.tolerance));
  CHECK(main.loss + penalty.value ==
        Approx(file.number(form + "/loss")).epsilon(precision.tolerance));
  CHECK_CLOSE(nn::flatten(penalty.gradients), tensor(form + "/grad_regulariser"),
              precision.tolerance);
  for (std::size_t i = 0; i < main.gradients.size(); ++i) {
    main.gradients[i].add_(penalty.gradients[i]);
  }
  CHECK_CLOSE(nn::flatten(main.gradients), tensor(form + "/grad_total"), precision.tolerance);
}

}  // namespace

void check_guard(const GoldenFile& file) {
  using Kind = train::Curvature::Kind;
  const double h = file.number_or("", "h", 3);
  for (const auto& precision : precisions()) {
    check_curvature(file, "full", precision,
                    {.kind = Kind::Full, .h = h, .weight = file.number_or("", "lamda", 100)});
  }
  // A difference of two losses that are nearly equal.
  for (const auto& precision : precisions(1e-10, 1e-4)) {
    check_curvature(file, "simplified", precision,
                    {.kind = Kind::Simplified, .h = h, .weight = file.number_or("", "beta", 1e-4)});
  }
}

void check_eval_protocol(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_at(file, precision);
}

void check_ftd(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_ftd_at(file, precision);
  check_ftd_ema(file);
}

}  // namespace retort::testing::golden
