// Mixes of views: mix_aug and rand_bbox of relabel/utils_fkd.py (VILA-Lab/SRe2L), PyTorch's
// KLDivLoss. The stored draws are injected; nothing is drawn.

#include "lib/augment/mix.h"
#include "lib/train/student_loss.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using data::Mix;

data::ImageSize size_of(const Tensor& images) { return {images.size(2), images.size(3)}; }

std::vector<std::int64_t> integers(const Tensor& values) {
  const Tensor wide = values.to(at::kLong).contiguous();
  const auto* begin = wide.const_data_ptr<std::int64_t>();
  return {begin, begin + wide.numel()};
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
    const Tensor student = file.tensor("kl/student", precision.dtype);
    const auto images = double(student.size(0));
    const auto found = train::student_loss(
        {.kind = train::StudentLoss::Kind::Divergence, .temperature = std::stod(tau.substr(3))},
        student, {file.tensor("kl/teacher", precision.dtype), {}});
    CHECK_CLOSE(at::scalar_tensor(found.loss / images, precision.dtype),
                file.tensor("kl/" + name, precision.dtype), precision.tolerance);
    CHECK_CLOSE(found.gradient / images,
                file.tensor("kl/" + tau + "_grad_student", precision.dtype), precision.tolerance);
  }
}

}  // namespace

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
