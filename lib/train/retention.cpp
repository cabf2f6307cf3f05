#include "lib/train/retention.h"

#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::train {
namespace {

/// Of the same shape but for the number of rows, of which `wide` has no fewer.
bool grows_into(const Tensor& narrow, const Tensor& wide) {
  return narrow.dim() == wide.dim() && narrow.size(0) <= wide.size(0) &&
         narrow.sizes().slice(1) == wide.sizes().slice(1);
}

}  // namespace

nn::NetworkState widened(const nn::Network& wide, const nn::NetworkState& narrow, const Rng& rng) {
  const at::NoGradGuard no_grad;
  const at::Device device = narrow.parameters.at(0).device();
  nn::NetworkState state = wide.initialize(rng, device);
  if (state.parameters.size() != narrow.parameters.size() ||
      state.buffers.size() != narrow.buffers.size()) {
    throw ConfigError(str(wide.name(), " cannot go on from a network with other layers"));
  }
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    const Tensor& before = narrow.parameters[i];
    Tensor& now = state.parameters[i];
    if (!grows_into(before, now)) {
      throw ConfigError(str(wide.name(), " cannot go on from a network whose '",
                            wide.parameters()[i].name, "' has another shape"));
    }
    now.narrow(0, 0, before.size(0)).copy_(before);
  }
  for (std::size_t i = 0; i < state.buffers.size(); ++i) state.buffers[i].copy_(narrow.buffers[i]);
  return state;
}

Lessons::Epoch RetainingLessons::epoch(std::int64_t epoch, const Rng& rng) const {
  return [this, lesson_of = lessons_->epoch(epoch, rng)](std::int64_t step) {
    const at::NoGradGuard no_grad;
    Lesson lesson = lesson_of(step);
    lesson.targets.earlier = earlier_.forward(state_, lesson.images).logits;
    return lesson;
  };
}

}  // namespace retort::train
