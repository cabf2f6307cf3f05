// The evaluation training of VICO-UoE/DatasetCondensation, utils.py evaluate_synset and epoch.

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

}  // namespace

void check_eval_protocol(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_at(file, precision);
}

}  // namespace retort::testing::golden
