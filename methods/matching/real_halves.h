#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <tuple>

#include "lib/core/tensor.h"

namespace retort::methods::matching {

/// Real halves of losses that are met again: of every network of a pool, for every draw of a real
/// batch and its augmentation, by class. Holds as many as fit; others are computed each time, with
/// the same bits. Safe from several threads.
class RealHalves {
 public:
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  ///< network, draw, class

  explicit RealHalves(std::int64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  /// What is kept under `key`, else what `compute` gives, kept if there is room. Two threads that
  /// ask for the same key at once may both compute it.
  Tensors get(const Key& key, const std::function<Tensors()>& compute);

 private:
  std::int64_t limit_bytes_;
  std::int64_t used_bytes_ = 0;
  std::mutex mutex_;
  std::map<Key, Tensors> kept_;
};

}  // namespace retort::methods::matching
