#include "experiments/continual/memory.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/synth/parametrization.h"

namespace retort::experiments::continual {

namespace {

bool alike(const data::Preprocessing& a, const data::Preprocessing& b) {
  using Kind = data::Preprocessing::Kind;
  return a.kind() == Kind::MeanStd && b.kind() == Kind::MeanStd && a.mean() == b.mean() &&
         a.std() == b.std();
}

}  // namespace

void Memory::add(const data::SyntheticSet& set, const Classes& classes) {
  data::LabelledImages decoded = synth::decode(set);
  if (!alike(set.preprocessing, preprocessing_)) {
    decoded.images = preprocessing_.apply(set.preprocessing.invert(decoded.images));
  }
  const Tensor& places = data::hard_classes(decoded.labels);
  const auto largest = places.max().item<std::int64_t>();
  if (largest >= std::int64_t(classes.size())) {
    throw DataError(
        str("the set of a step of ", classes.size(), " classes: found label ", largest));
  }
  const Tensor labels = at::tensor(classes, at::kLong).index_select(0, places);
  if (size() == 0) {
    images_ = {decoded.images.clone(), data::HardLabels{labels}};
  } else {
    images_ = {at::cat({images_.images, decoded.images}),
               data::HardLabels{at::cat({data::hard_classes(images_.labels), labels})}};
  }
  stored_ += set.images.size(0);
}

std::int64_t Memory::size() const { return images_.images.defined() ? images_.images.size(0) : 0; }

std::int64_t Memory::stored() const { return stored_; }

}  // namespace retort::experiments::continual
