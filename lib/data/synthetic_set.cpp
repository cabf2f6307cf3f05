#include "lib/data/synthetic_set.h"

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::data {

std::string decoder_text(const Decoder& decoder) {
  std::vector<std::string> settings;
  for (const auto& [key, value] : decoder.config) settings.push_back(key + " " + value);
  return decoder.id + (settings.empty() ? "" : str(" (", join(settings), ")"));
}

const Tensor& hard_classes(const Labels& labels) {
  return std::visit([](const auto& kind) -> const Tensor& { return kind.classes; }, labels);
}

ImageShape SyntheticSet::shape() const {
  if (!images.defined() || images.dim() != 4) {
    throw DataError(str("synthetic set: expected images [M,C,H,W], found ",
                        images.defined() ? shape_text(images) : "none"));
  }
  return {images.size(1), images.size(2), images.size(3)};
}

std::int64_t SyntheticSet::num_classes() const {
  if (!provenance.class_names.empty()) return std::int64_t(provenance.class_names.size());
  const Tensor& classes = hard_classes(labels);
  if (!classes.defined() || classes.numel() == 0) return 0;
  return classes.max().item<std::int64_t>() + 1;
}

}  // namespace retort::data
