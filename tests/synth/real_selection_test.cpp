#include "lib/synth/real_selection.h"

#include <atomic>
#include <memory>

#include <ATen/Parallel.h>

#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using data::Split;
using testing::kTinyNet;
using testing::separable_dataset;
using testing::WithThreads;

namespace {

/// Remembers whether LibTorch had more than one thread where the pixels were asked for.
class WatchedStore : public data::ImageStore {
 public:
  explicit WatchedStore(const Tensor& images) : store_(images) {}
  std::int64_t size() const override { return store_.size(); }
  data::ImageShape shape() const override { return store_.shape(); }
  Tensor pixels(const Tensor& indices) const override {
    if (at::get_num_threads() > 1) ++threaded_;
    return store_.pixels(indices);
  }
  int threaded() const { return threaded_; }

 private:
  data::MemoryStore store_;
  mutable std::atomic<int> threaded_{0};
};

}  // namespace

TEST_CASE("one or two threads choose the same real images", "[synth][threads]") {
  const auto dataset = separable_dataset(400, 3);
  for (const std::string features : {"pixels", "embedding"}) {
    for (const std::string& rule : synth::selection_rules()) {
      INFO(rule << " by " << features);
      const synth::FeatureOptions options{.features = features, .net = kTinyNet};
      const auto choose = [&] { return synth::select_real(dataset, rule, 20, options, Rng(5)); };
      const Tensor one = choose();
      REQUIRE(one.numel() == 3 * 20);
      CHECK(dataset.labels(Split::Train)
                .index_select(0, one)
                .equal(at::arange(3, at::kLong).repeat_interleave(20)));
      const WithThreads two(2);
      CHECK(choose().equal(one));
    }
  }
}

TEST_CASE("images are compared where LibTorch has one thread", "[synth][threads]") {
  const auto base = separable_dataset(30, 3);
  const auto rows = at::arange(base.size(Split::Train), at::kLong);
  const auto watched = std::make_shared<WatchedStore>(base.pixels(Split::Train, rows));
  const data::DataSplit train{watched, base.labels(Split::Train)};
  const data::ImageDataset dataset(base.info(), train, train, base.preprocessing());
  const WithThreads two(2);
  const int before = watched->threaded();
  for (const std::string& rule : synth::selection_rules()) {
    synth::select_real(dataset, rule, 4, {.features = "pixels"}, Rng(5));
  }
  CHECK(watched->threaded() == before);
}
