// Recovering: recover_cifar.py, data_synthesis.py and CDA/recover_cda_tiny.py (VILA-Lab/SRe2L),
// recover.py and utils_recover.py (Jiacheng8/CV-DD), ufc_cifar.py (zhangxin-xd/UFC). Views are
// those that the code drew; nothing is drawn.

#include "lib/data/pixels.h"
#include "methods/decoupled/committee.h"
#include "methods/decoupled/pixel_adam.h"
#include "methods/decoupled/recover_loss.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

namespace decoupled = methods::decoupled;
using decoupled::LossWeights;
using decoupled::Recovered;
using decoupled::Voter;

augment::SharedView whole(const Tensor& images) {
  return {.crop = {0, 0, images.size(2), images.size(3)}};
}

/// @param group "steps/1"; a file without crops has no `crop_box`, one without mirrors no `flip`
augment::SharedView stored_view(const GoldenFile& file, const std::string& group,
                                const Tensor& images) {
  augment::SharedView view = whole(images);
  if (const auto box = file.integers_or_none(group, "crop_box"); !box.empty()) {
    view.crop = {box.at(0), box.at(1), box.at(2), box.at(3)};
  }
  view.flip = file.integer_or(group, "flip", 0) != 0;
  if (const auto roll = file.integers_or_none(group, "roll"); !roll.empty()) {
    view.roll_rows = roll.at(0);
    view.roll_cols = roll.at(1);
  }
  return view;
}

/// From the stored bounds [C,2]: (0 - m) / s and (1 - m) / s.
data::Preprocessing preprocessing_of_bounds(const Tensor& bounds) {
  std::vector<double> mean;
  std::vector<double> std;
  for (std::int64_t c = 0; c < bounds.size(0); ++c) {
    const double low = bounds[c][0].item<double>();
    std.push_back(1 / (bounds[c][1].item<double>() - low));
    mean.push_back(-low * std.back());
  }
  return data::Preprocessing::mean_std(mean, std);
}

/// A network of the file with its state.
struct Teacher {
  Teacher(const GoldenFile& file, const std::string& group, const Tensor& images)
      : network(make_stored_convnet(file, "", group, image_shape(images))),
        state(read_network(file, group, images.scalar_type())) {}
  Voter voter(double weight = 1) const { return {*network, state, state.buffers, weight}; }

  std::unique_ptr<nn::Network> network;
  nn::NetworkState state;
};

LossWeights weights_of(const GoldenFile& file, const std::string& group) {
  LossWeights weights;
  weights.batch_norm = file.number_or(group, "r_bn", 0);
  weights.first_layer = file.number_or(group, "first_bn_multiplier", 10);
  // The note of one file says that it ran at the code's defaults.
  if (file.text("", "note").find("tv_l2 and l2_scale at the code defaults") != std::string::npos) {
    weights.tv = 1e-4;
    weights.l2 = 1e-5;
  }
  return weights;
}

double step_size(const GoldenFile& file, const std::string& group) {
  return decoupled::cosine_step_size(file.number_or("", "lr", 0), file.integer(group, "iteration"),
                                     file.integer("", "iterations_T"));
}

void check_losses(const GoldenFile& file, const std::string& group,
                  const decoupled::RecoverLoss& loss, double tolerance) {
  const auto check = [&](double value, const std::string& name) {
    CHECK(value == Approx(file.number_or(group, name, 0)).epsilon(tolerance));
  };
  check(loss.total, "loss");
  check(loss.cross_entropy, "loss_ce");
  check(loss.batch_norm, "loss_bn");
}

/// What moves, and its moments: a whole run in small.
struct Moving {
  explicit Moving(const Tensor& start)
      : values(start.clone()), moments{at::zeros_like(start), at::zeros_like(start)} {}
  void step(const Tensor& gradient, double lr) {
    decoupled::adam_step(values, moments, gradient, lr, steps++);
  }

  Tensor values;
  decoupled::Moments moments;
  std::int64_t steps = 0;
};

/// Tolerances of images behind Adam, which divides by tiny numbers.
double after_adam(const Precision& precision) {
  return precision.dtype == at::kFloat ? 1e-3 : precision.tolerance;
}

void check_recover_loop(const GoldenFile& file, const Precision& precision) {
  const auto preprocessing = preprocessing_of_bounds(file.stored("clamp"));
  const Tensor classes = file.stored("inputs/labels");
  Moving images(file.tensor("inputs/x", precision.dtype));
  const Teacher teacher(file, "net", images.values);
  for (const std::string& step : file.children("steps")) {
    const std::string group = "steps/" + step;
    INFO(group << ", " << precision.name);
    const auto view = stored_view(file, group, images.values);
    CHECK_CLOSE(
        augment::apply_view(view, images.values, {images.values.size(2), images.values.size(3)}),
        file.tensor(group + "/view", precision.dtype), after_adam(precision));
    const auto found =
        decoupled::recover_gradient({.values = images.values, .classes = classes}, view,
                                    /*mirrored=*/false, {teacher.voter()}, weights_of(file, ""));
    check_losses(file, group, found.loss, after_adam(precision));
    CHECK_CLOSE(found.values, file.tensor(group + "/grad", precision.dtype), after_adam(precision));
    const double lr = step_size(file, group);
    CHECK(lr == Approx(file.number_or(group, "lr", 0)).epsilon(1e-12));
    images.step(found.values, lr);
    images.values = data::clamp_to_pixels(preprocessing, images.values);
    CHECK_CLOSE(images.values, file.tensor(group + "/images_after", precision.dtype),
                after_adam(precision));
  }
}

/// Rows of a table: two teachers and their weights.
void check_votes(const GoldenFile& file, const std::string& name) {
  INFO(name);
  const Tensor priors = file.stored("voter/" + name + "_priors");
  const Tensor table = file.stored("voter/" + name);
  const auto entry = [&](const Tensor& row, std::int64_t column) {
    return row[column].item<double>();
  };
  std::vector<decoupled::Pair> pairs;
  for (std::int64_t i = 0; i < table.size(0); ++i) {
    const Tensor row = table[i];
    pairs.push_back({std::int64_t(entry(row, 0)), std::int64_t(entry(row, 1))});
    const auto weights = decoupled::voting_weights(
        {priors[pairs.back().first].item<double>(), priors[pairs.back().second].item<double>()},
        decoupled::kRecoverTemperature);
    CHECK(weights[0] == Approx(entry(row, 2)).epsilon(1e-12));
    CHECK(weights[1] == Approx(entry(row, 3)).epsilon(1e-12));
  }
  const bool all = pairs == decoupled::all_pairs(priors.numel());  // Catch2 could not print them
  CHECK(all);
}

void check_committee(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const auto stored = [&](const std::string& name) {
    return file.tensor("recover/" + name, precision.dtype);
  };
  Moving images(stored("x"));
  const std::vector<Teacher> teachers = [&] {
    std::vector<Teacher> all;
    for (const char* group : {"net0", "net1"}) all.emplace_back(file, group, images.values);
    return all;
  }();
  const Tensor votes = file.stored("recover/weights");
  const Tensor classes = file.stored("recover/labels");
  const LossWeights weights = weights_of(file, "recover");
  const auto gradient = [&](const std::vector<Voter>& voters) {
    return decoupled::recover_gradient({.values = images.values, .classes = classes},
                                       whole(images.values),
                                       /*mirrored=*/false, voters, weights);
  };
  std::vector<Voter> both;
  for (std::size_t i = 0; i < teachers.size(); ++i) {
    const auto alone = gradient({teachers[i].voter()}).loss;
    const auto row = std::int64_t(i);
    CHECK(alone.cross_entropy ==
          Approx(stored("ce")[row].item<double>()).epsilon(precision.tolerance));
    CHECK(alone.batch_norm ==
          Approx(stored("bn")[row].item<double>()).epsilon(precision.tolerance));
    both.push_back(teachers[i].voter(votes[row].item<double>()));
  }
  const auto found = gradient(both);
  CHECK(found.loss.total == Approx(file.number("recover/loss")).epsilon(precision.tolerance));
  CHECK_CLOSE(found.values, stored("grad"), precision.tolerance);
  images.step(found.values, file.number_or("recover", "lr", 0));
  const auto preprocessing = data::Preprocessing::mean_std(file.numbers("recover", "mean"),
                                                           file.numbers("recover", "std"));
  CHECK_CLOSE(data::clamp_to_pixels(preprocessing, images.values), stored("images_after_step"),
              after_adam(precision));
}

}  // namespace

void check_recover(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_recover_loop(file, precision);
}

void check_cvdd(const GoldenFile& file) {
  for (const std::string& name : file.children("voter")) {
    if (file.has("voter/" + name + "_priors")) check_votes(file, name);
  }
  // Names of the committee, in the order of the priors.
  CHECK(file.texts("voter/expert_names").size() == 5);
  for (const auto& precision : precisions()) check_committee(file, precision);
  if (file.has("bssl")) check_bssl(file);
}

void check_infer(const GoldenFile& file) {
  for (const auto& precision : precisions()) {
    const Tensor real = file.tensor("inputs/P", precision.dtype);
    const Teacher teacher(file, "net", real);
    Moving compensator(at::zeros_like(real.slice(0, 0, 1)));
    Tensor before;
    for (const std::string& step : file.children("steps")) {
      const std::string group = "steps/" + step;
      INFO(group << ", " << precision.name);
      const auto found = decoupled::recover_gradient(
          {.values = compensator.values, .frozen = real, .classes = file.stored("inputs/labels")},
          stored_view(file, group, real), /*mirrored=*/false, {teacher.voter()},
          weights_of(file, ""));
      check_losses(file, group, found.loss, after_adam(precision));
      CHECK_CLOSE(found.values, file.tensor(group + "/grad_u", precision.dtype),
                  after_adam(precision));
      before = compensator.values.clone();
      compensator.step(found.values, step_size(file, group));
      CHECK_CLOSE(compensator.values, file.tensor(group + "/u_after", precision.dtype),
                  after_adam(precision));
    }
    // The code keeps what the last step looked at; this program what came of it.
    const auto preprocessing =
        data::Preprocessing::mean_std({0.4914, 0.4822, 0.4465}, {0.2023, 0.1994, 0.2010});
    CHECK_CLOSE(data::clamp_to_pixels(preprocessing, real + before),
                file.tensor("outputs/exported_normalised", precision.dtype), after_adam(precision));
  }
}

}  // namespace retort::testing::golden
