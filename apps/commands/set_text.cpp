#include "apps/commands/set_text.h"

#include <variant>

#include "lib/core/str.h"

namespace retort::commands {

std::string per_class_text(const data::SyntheticSet& set) {
  const Tensor counts = at::bincount(set.class_index, {}, set.num_classes());
  const auto low = counts.min().item<std::int64_t>();
  const auto high = counts.max().item<std::int64_t>();
  return low == high ? str(low) : str(low, " to ", high);
}

std::string stored_images_text(const data::SyntheticSet& set) {
  const data::ImageShape shape = set.shape();
  return str(set.images.size(0), " of ", shape.channels, "x", shape.height, "x", shape.width, ", ",
             per_class_text(set), " per class, ", set.num_classes(), " classes");
}

std::string labels_text(const data::Labels& labels) {
  if (std::holds_alternative<data::HardLabels>(labels)) return "one class per training image";
  const auto& soft = std::get<data::SoftLabels>(labels);
  return str(soft.learned ? "learned" : "fixed", " soft labels over ", soft.values.size(1),
             " classes, as ",
             soft.kind == data::SoftLabels::Kind::Logit ? "logits" : "probabilities");
}

std::string class_name(const data::SyntheticSet& set, std::int64_t c) {
  const auto& names = set.provenance.class_names;
  return std::size_t(c) < names.size() ? names[std::size_t(c)] : str("class ", c);
}

}  // namespace retort::commands
