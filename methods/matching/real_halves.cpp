#include "methods/matching/real_halves.h"

namespace retort::methods::matching {

Tensors RealHalves::get(const Key& key, const std::function<Tensors()>& compute) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = kept_.find(key);
    if (found != kept_.end()) return found->second;
  }
  Tensors half = compute();
  std::int64_t bytes = 0;
  for (const Tensor& t : half) bytes += std::int64_t(t.nbytes());
  const std::lock_guard lock(mutex_);
  if (used_bytes_ + bytes <= limit_bytes_ && kept_.emplace(key, half).second) used_bytes_ += bytes;
  return half;
}

}  // namespace retort::methods::matching
