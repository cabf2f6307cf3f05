#include "experiments/continual/own_statistics.h"

namespace retort::experiments::continual {
namespace {

using data::Split;

/// The training split as a store of its own.
class TrainingImages final : public data::ImageStore {
 public:
  explicit TrainingImages(const data::ImageDataset& dataset) : dataset_(dataset) {}
  std::int64_t size() const override { return dataset_.size(Split::Train); }
  data::ImageShape shape() const override { return dataset_.shape(); }
  Tensor pixels(const Tensor& indices) const override {
    return dataset_.pixels(Split::Train, indices);
  }

 private:
  const data::ImageDataset& dataset_;
};

}  // namespace

data::Preprocessing own_mean_std(const data::ImageDataset& dataset) {
  return data::compute_mean_std(TrainingImages(dataset));
}

}  // namespace retort::experiments::continual
