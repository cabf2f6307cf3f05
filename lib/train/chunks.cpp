#include "lib/train/chunks.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "lib/core/parallel.h"
#include "lib/train/supervised.h"

namespace retort::train {
namespace {

// ConvNet-3, images per second forward and backward on one thread: chunks of 32 are within a tenth
// of the best size, both with the fused kernels (which like more) and with LibTorch's (fewer).
constexpr std::int64_t kGradientChunk = 32;
// Smaller chunks than this cost a single network more than a second thread brings.
constexpr std::int64_t kSmallestChunk = 12;

/// Adds up gradients of chunks in the order of the chunks, whichever is finished first.
class OrderedSum {
 public:
  void add(std::int64_t chunk, Tensors gradients) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(chunk, std::move(gradients));
    for (auto it = waiting_.find(next_); it != waiting_.end(); it = waiting_.find(++next_)) {
      if (total_.empty()) {
        total_ = std::move(it->second);
      } else {
        for (std::size_t i = 0; i < total_.size(); ++i) total_[i].add_(it->second[i]);
      }
      waiting_.erase(it);
    }
  }
  Tensors take() { return std::move(total_); }

 private:
  std::mutex mutex_;
  std::map<std::int64_t, Tensors> waiting_;
  std::int64_t next_ = 0;
  Tensors total_;
};

}  // namespace

Tensors sum_over_chunks(std::int64_t rows, std::int64_t chunks,
                        const std::function<Tensors(const Chunk&)>& part) {
  OrderedSum sum;
  parallel_tasks(chunks, [&](std::int64_t number) {
    // Chunks of nearly equal size share the threads better than full ones and a remainder.
    const std::int64_t begin = rows * number / chunks;
    const std::int64_t end = rows * (number + 1) / chunks;
    sum.add(number, part({number, begin, end - begin}));
  });
  return sum.take();
}

std::int64_t gradient_chunks(std::int64_t images) {
  const std::int64_t needed = (images + kGradientChunk - 1) / kGradientChunk;
  const std::int64_t shared = std::min<std::int64_t>(2, images / kSmallestChunk);
  const std::int64_t chunks = std::max({std::int64_t{1}, needed, shared});
  return chunks == 1 ? 1
                     : (chunks + 1) / 2 * 2;  // even: most machines have an even number of cores
}

std::int64_t chunks_of(const nn::Network& network, const Tensor& images) {
  if (!network.per_sample(nn::Mode::Train)) return 0;
  // A device wants the whole batch at once, and its additions are not in a fixed order anyway.
  return images.is_cpu() ? gradient_chunks(images.size(0)) : 1;
}

}  // namespace retort::train
