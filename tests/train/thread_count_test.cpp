// Where nobody sets the number of threads it is LibTorch's at the first call and stays that, also
// while training holds LibTorch to one thread.

#include <cstdio>

#include <ATen/Parallel.h>

#include "lib/core/parallel.h"
#include "lib/train/supervised.h"
#include "tests/train/separable.h"

using namespace retort;

namespace {

constexpr int kThreads = 3;

/// Looks at the number of threads from inside a training.
class Looking : public train::TensorData {
 public:
  using TensorData::TensorData;
  data::LabelledImages batch(const Tensor& indices) const override {
    seen_libtorch = at::get_num_threads();
    seen = thread_count();
    return TensorData::batch(indices);
  }
  mutable int seen_libtorch = 0;
  mutable int seen = 0;
};

}  // namespace

int main() {
  at::set_num_threads(kThreads);
  const auto dataset = testing::separable_dataset(8, 1);
  const Looking data(testing::training_images(dataset));
  const auto network = nn::make_network(testing::kTinyNet, dataset.shape(), dataset.num_classes());
  nn::NetworkState state = network->initialize(Rng(1));
  train::train(*network, state, data, {}, Rng(2));
  std::printf("in training: %d, LibTorch %d; afterwards: %d (expected %d, 1, %d)\n", data.seen,
              data.seen_libtorch, thread_count(), kThreads, kThreads);
  const bool right = data.seen == kThreads && data.seen_libtorch == 1 && thread_count() == kThreads;
  return right ? 0 : 1;
}
