// Training loops: of evaluation (VICO-UoE/DatasetCondensation, utils.py evaluate_synset and epoch)
// and of FTD's experts (AngusDujw/FTD-distillation, buffer/gsam/gsam.py).

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

}  // namespace

void check_eval_protocol(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_at(file, precision);
}

void check_ftd(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_ftd_at(file, precision);
  check_ftd_ema(file);
}

}  // namespace retort::testing::golden
