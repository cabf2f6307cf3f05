#include "lib/data/recorded_views.h"

#include <algorithm>
#include <limits>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::data {
namespace {

// Positions in a batch and pixels are stored in 16 bits, images and epochs in 32.
constexpr std::int64_t kMax16 = std::numeric_limits<std::uint16_t>::max();
constexpr std::int64_t kMax32 = std::numeric_limits<std::uint32_t>::max();

std::string size_text(ImageSize size) { return str(size.height, " x ", size.width, " pixels"); }

bool is_size(ImageSize size) {
  return size.height >= 1 && size.width >= 1 && size.height <= kMax16 && size.width <= kMax16;
}

std::string fault_in_sizes(const ViewBatch& batch, std::int64_t classes) {
  const std::size_t count = batch.images.size();
  const auto expected = [&](const char* part, std::size_t found) {
    return str(part, ": expected ", count, ", one per view of the batch, found ", found);
  };
  if (batch.views.crops.size() != count) return expected("crop", batch.views.crops.size());
  if (batch.views.flips.size() != count) return expected("flip", batch.views.flips.size());
  const Mix& mix = batch.views.mix;
  if (mix.kind == Mix::Kind::None ? !mix.partner.empty() : mix.partner.size() != count) {
    return expected("mix_perm", mix.partner.size());
  }
  const Tensor& values = batch.values;
  if (values.defined() && values.scalar_type() == at::kHalf && values.dim() == 2 &&
      values.size(0) == std::int64_t(count) && values.size(1) == classes) {
    return "";
  }
  return str("values: expected shape [", count, ", ", classes, "] of type Half, found ",
             values.defined()
                 ? str(shape_text(values), " of type ", c10::toString(values.scalar_type()))
                 : "none");
}

std::string fault_in_views(const ViewsInfo& info, const ViewBatch& batch) {
  for (const std::int64_t image : batch.images) {
    if (image >= 0 && image < info.images) continue;
    return str("image: expected images 0 .. ", info.images - 1, ", found ", image);
  }
  for (const PixelBox& crop : batch.views.crops) {
    if (crop.height >= 1 && crop.width >= 1 && lies_inside(crop, info.source)) continue;
    return str("crop: expected boxes inside of ", size_text(info.source), ", found ",
               box_text(crop));
  }
  return "";
}

std::string fault_in_mix(const ViewsInfo& info, const ViewBatch& batch) {
  const Mix& mix = batch.views.mix;
  if (!(mix.lambda >= 0 && mix.lambda <= 1) || double(float(mix.lambda)) != mix.lambda) {
    return str("mix_lambda: expected a float32 value in 0 .. 1, found ", mix.lambda);
  }
  const bool box_fits =
      mix.kind == Mix::Kind::CutMix ? lies_inside(mix.box, info.canvas) : mix.box == PixelBox{};
  if (!box_fits) {
    return str("mix_box: expected ",
               mix.kind == Mix::Kind::CutMix ? str("a box inside of ", size_text(info.canvas))
                                             : "an empty box without CutMix",
               ", found ", box_text(mix.box));
  }
  for (const std::int64_t row : mix.partner) {
    if (row >= 0 && row < std::int64_t(batch.images.size())) continue;
    return str("mix_perm: expected positions 0 .. ", batch.images.size() - 1,
               " in the batch, found ", row);
  }
  return "";
}

}  // namespace

std::string box_text(const PixelBox& box) {
  return str("(top ", box.top, ", left ", box.left, ", ", box.height, " x ", box.width, " pixels)");
}

bool lies_inside(const PixelBox& box, ImageSize image) {
  return box.top >= 0 && box.left >= 0 && box.height >= 0 && box.width >= 0 &&
         box.top + box.height <= image.height && box.left + box.width <= image.width;
}

void ViewList::append(ViewBatch batch) {
  for (const std::string& fault : {view_fault(info_), view_fault(info_, batch)}) {
    if (!fault.empty()) throw DataError(str("batch ", batches_.size(), " of views: ", fault));
  }
  views_ += std::int64_t(batch.images.size());
  batches_.push_back(std::move(batch));
}

std::string view_fault(const ViewsInfo& info) {
  if (info.images < 1 || info.images > kMax32) {
    return str("image: expected 1 .. ", kMax32, " images, found ", info.images);
  }
  if (info.classes < 1) return str("values: expected at least one class, found ", info.classes);
  if (!is_size(info.source)) return str("crop: not a size of images: ", size_text(info.source));
  if (!is_size(info.canvas)) return str("canvas: not a size of views: ", size_text(info.canvas));
  if (info.epochs < 1 || info.epochs > kMax32) {
    return str("epochs: expected at least one, found ", info.epochs);
  }
  if (info.batch < 1 || info.batch > kMax16) {
    return str("batch: expected 1 .. ", kMax16, " views, found ", info.batch);
  }
  if (!(info.tau0 > 0)) return str("tau0: expected a positive temperature, found ", info.tau0);
  if (!(info.prune_ratio >= 0 && info.prune_ratio < 1)) {
    return str("prune_ratio: expected a share in 0 .. 1, found ", info.prune_ratio);
  }
  return "";
}

std::string view_fault(const ViewsInfo& info, const ViewBatch& batch) {
  const auto count = std::int64_t(batch.images.size());
  if (count < 1 || count > info.batch) {
    return str("batch_ptr: expected batches of 1 .. ", info.batch, " views, found ", count);
  }
  if (batch.epoch < 0 || batch.epoch >= info.epochs) {
    return str("epoch: expected epochs 0 .. ", info.epochs - 1, ", found ", batch.epoch);
  }
  std::string fault = fault_in_sizes(batch, info.classes);
  if (fault.empty()) fault = fault_in_views(info, batch);
  if (fault.empty()) fault = fault_in_mix(info, batch);
  if (!fault.empty()) return fault;
  const auto bad = batch.values.isfinite().logical_not().sum().item<std::int64_t>();
  return bad == 0 ? "" : str("values: ", bad, " are not finite");
}

Tensor half_logits(const Tensor& logits) {
  constexpr double kLargest = 65504;
  return logits.clamp(-kLargest, kLargest).to(at::kHalf);
}

}  // namespace retort::data
