#include "apps/commands/labelling_plan.h"

#include "apps/cli/command.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/kernels/policy.h"

namespace retort::commands {
namespace {

std::string images_sha256(const Tensor& images, const Tensor& classes) {
  Sha256 hash;
  for (const Tensor& part : {images, classes}) {
    const Tensor values = part.cpu().contiguous();
    hash.update({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  }
  return hash.hex();
}

}  // namespace

std::string labelling_plan(const train::RelabelRecipe& recipe, const Tensor& images,
                           const Tensor& classes, const data::Asset& labelers) {
  const bool fast = kernels::policy() == kernels::Policy::Fast;
  const bool mixed = kernels::precision() == kernels::Precision::Mixed;
  return str(recipe.text(), "images-sha256 = ", images_sha256(images, classes),
             "\nlabelers = ", labelers.sha256, "\ndevice = ", images.device().str(),
             "\nkernels = ", fast ? "fast" : "reference",
             "\nprecision = ", mixed ? "mixed" : "fp32", "\nprogram = ", cli::program_version(),
             "\n");
}

}  // namespace retort::commands
