// Views and mixes of the decoupled methods: data_synthesis.py and CDA/recover_cda_tiny.py, mix_aug
// and rand_bbox of relabel/utils_fkd.py (VILA-Lab/SRe2L), PyTorch's KLDivLoss. The stored draws are
// injected; nothing is drawn.

#include "lib/augment/views.h"

#include <torch/csrc/autograd/autograd.h>

#include "lib/augment/mix.h"
#include "lib/data/pixels.h"
#include "lib/train/distillation_loss.h"
#include "lib/train/student_loss.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using data::ImageSize;
using data::Mix;

ImageSize size_of(const Tensor& images) { return {images.size(2), images.size(3)}; }

std::vector<std::int64_t> integers(const Tensor& values) {
  const Tensor wide = values.to(at::kLong).contiguous();
  const auto* begin = wide.const_data_ptr<std::int64_t>();
  return {begin, begin + wide.numel()};
}

/// @param group "steps/1"; a file without crops has no `crop_box`, one without mirrors no `flip`
augment::SharedView stored_view(const GoldenFile& file, const std::string& group, ImageSize image) {
  augment::SharedView view;
  view.crop = {0, 0, image.height, image.width};
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
data::Preprocessing preprocessing_of(const Tensor& bounds) {
  std::vector<double> mean;
  std::vector<double> std;
  for (std::int64_t c = 0; c < bounds.size(0); ++c) {
    const double low = bounds[c][0].item<double>();
    std.push_back(1 / (bounds[c][1].item<double>() - low));
    mean.push_back(-low * std.back());
  }
  return data::Preprocessing::mean_std(mean, std);
}

void check_cutmix(const GoldenFile& file, const std::string& group) {
  for (const auto& precision : precisions()) {
    INFO(group << ", " << precision.name);
    const Tensor images = file.tensor(group + "/images", precision.dtype);
    const double lambda = file.number(group + "/lam");
    Mix mix;
    mix.kind = Mix::Kind::CutMix;
    mix.lambda = lambda;
    mix.partner = integers(file.stored(group + "/index"));
    mix.box = augment::cutmix_box(lambda, std::int64_t(file.number(group + "/draws/02")),
                                  std::int64_t(file.number(group + "/draws/03")), size_of(images));
    const auto& box = mix.box;
    CHECK(integers(file.stored(group + "/box")) ==
          std::vector<std::int64_t>{box.top, box.left, box.top + box.height, box.left + box.width});
    CHECK(at::equal(augment::apply_mix(mix, images),
                    file.tensor(group + "/output", precision.dtype)));
  }
}

void check_mixup(const GoldenFile& file) {
  for (const auto& precision : precisions()) {
    INFO("mixup, " << precision.name);
    Mix mix;
    mix.kind = Mix::Kind::MixUp;
    mix.lambda = file.number("mixup/lam");
    mix.partner = integers(file.stored("mixup/index"));
    CHECK_CLOSE(augment::apply_mix(mix, file.tensor("mixup/images", precision.dtype)),
                file.tensor("mixup/output", precision.dtype), precision.tolerance);
  }
}

/// @param name "tau4_loss"
void check_kl(const GoldenFile& file, const std::string& name) {
  const std::string tau = name.substr(0, name.find('_'));
  for (const auto& precision : precisions()) {
    INFO("kl, " << tau << ", " << precision.name);
    const at::AutoGradMode gradients(true);
    const Tensor student = file.tensor("kl/student", precision.dtype).requires_grad_();
    const Tensor loss = train::distillation_loss(
        student, file.tensor("kl/teacher", precision.dtype), std::stod(tau.substr(3)));
    CHECK_CLOSE(loss, file.tensor("kl/" + name, precision.dtype), precision.tolerance);
    CHECK_CLOSE(torch::autograd::grad({loss}, {student})[0],
                file.tensor("kl/" + tau + "_grad_student", precision.dtype), precision.tolerance);
    const auto closed = train::student_loss(
        {.kind = train::StudentLoss::Kind::Divergence, .temperature = std::stod(tau.substr(3))},
        student.detach(), {file.tensor("kl/teacher", precision.dtype), {}});
    CHECK_CLOSE(closed.gradient / double(student.size(0)),
                file.tensor("kl/" + tau + "_grad_student", precision.dtype), precision.tolerance);
  }
}

}  // namespace

void check_recover(const GoldenFile& file) {
  const auto preprocessing = preprocessing_of(file.stored("clamp"));
  for (const auto& precision : precisions()) {
    Tensor images = file.tensor("inputs/x", precision.dtype);
    for (const std::string& step : file.children("steps")) {
      const std::string group = "steps/" + step;
      INFO(group << ", " << precision.name);
      const auto view = stored_view(file, group, size_of(images));
      CHECK_CLOSE(augment::apply_view(view, images, size_of(images)),
                  file.tensor(group + "/view", precision.dtype), precision.tolerance);
      images = file.tensor(group + "/images_after", precision.dtype);
      CHECK_CLOSE(data::clamp_to_pixels(preprocessing, images), images, precision.tolerance);
    }
  }
}

void check_fkd_mix_kl(const GoldenFile& file) {
  const auto cutmixes = file.children("cutmix");
  REQUIRE_FALSE(cutmixes.empty());
  for (const std::string& name : cutmixes) check_cutmix(file, "cutmix/" + name);
  check_mixup(file);
  for (const std::string& name : file.children("kl")) {
    if (name.ends_with("_loss")) check_kl(file, name);
  }
  if (file.has("lpld")) file.skip("lpld", "the pruning of labels has no code yet");
}

}  // namespace retort::testing::golden
