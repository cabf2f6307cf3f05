#include "methods/decoupled/layout.h"

#include <algorithm>
#include <functional>

namespace retort::methods::decoupled {
namespace {

/// @param groups each of `size` members, cut into parts of up to `largest`
/// @param batch_of group, first member and member behind the last
std::vector<Batch> cut(
    std::int64_t groups, std::int64_t size, std::int64_t largest,
    const std::function<Batch(std::int64_t, std::int64_t, std::int64_t)>& batch_of) {
  std::vector<Batch> batches;
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t first = 0; first < size; first += largest) {
      batches.push_back(batch_of(group, first, std::min(first + largest, size)));
      batches.back().group = group;
      batches.back().part = first / largest;
    }
  }
  return batches;
}

}  // namespace

Rng Batch::stream(const Rng& rng) const { return rng.child("group", group).child("part", part); }

std::vector<Batch> across_classes(std::int64_t classes, std::int64_t ipc, std::int64_t largest) {
  return cut(ipc, classes, largest, [&](std::int64_t index, std::int64_t first, std::int64_t end) {
    const Tensor some = at::arange(first, end, at::kLong);
    return Batch{.images = some * ipc + index, .classes = some};
  });
}

std::vector<Batch> within_classes(std::int64_t classes, std::int64_t ipc, std::int64_t largest) {
  return cut(classes, ipc, largest, [&](std::int64_t c, std::int64_t first, std::int64_t end) {
    return Batch{.images = at::arange(c * ipc + first, c * ipc + end, at::kLong),
                 .classes = at::full({end - first}, c, at::kLong)};
  });
}

std::vector<Batch> for_compensators(std::int64_t classes, std::int64_t ipc, std::int64_t teachers) {
  return cut(teachers, ipc, 1, [&](std::int64_t, std::int64_t place, std::int64_t) {
    const Tensor all = at::arange(classes, at::kLong);
    return Batch{.images = all * ipc + place, .classes = all};
  });
}

}  // namespace retort::methods::decoupled
