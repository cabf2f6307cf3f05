#include <utility>

#include "lib/core/str.h"
#include "methods/matching/strategy.h"
#include "methods/method.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_matching.h"

namespace retort::bench {
namespace {

struct MatchingCase {
  std::string name;
  std::string method;
  std::string net;
  std::int64_t batch_real = 256;
};

constexpr std::uint64_t kSeed = 5;

class MatchingComparison : public Comparison {
 public:
  MatchingComparison(Scene& scene, const std::string& workload, const MatchingCase& wanted,
                     Style style)
      : scene_(scene),
        key_(str(wanted.name, "/", workload)),
        case_(wanted),
        style_(style),
        dataset_(scene.workloads.get(workload)),
        network_(nn::make_network(wanted.net, dataset_.shape(), dataset_.num_classes())),
        images_(dataset_.batch(data::Split::Train,
                               at::arange(dataset_.size(data::Split::Train), at::kLong))) {
    method_ = start_method(1);
    plain_ = start_plain(method_->snapshot().images, style);
  }

  std::vector<Check> checks() override {
    // So large a step that the image it starts from costs no digits of it.
    constexpr double kHuge = 1e6;
    const auto method = start_method(kHuge);
    const Tensor before = method->snapshot().images;
    const double loss = method->update(0).loss * double(dataset_.num_classes());
    const Tensor gradient = (before - method->snapshot().images) / kHuge;
    const auto plain = start_plain(before, style_)->gradients(0, {0})[0];
    const auto& exact = scene_.exact.get(key_, [&] { return exact_gradient(before); });
    return {{"gradient of the images", gradient, plain.images, exact[0], true},
            {"loss", at::scalar_tensor(loss, at::kDouble), plain.loss, exact[1]}};
  }

  void ours(std::int64_t round) override { method_->update(round); }
  void plain(std::int64_t round) override { plain_->update(round); }

 private:
  std::vector<Exact> exact_gradient(const Tensor& start) const {
    const auto plain = start_plain(start.to(at::kDouble), Style::Best);
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const auto& g : plain->gradients(0, thresholds)) results.push_back({g.images, g.loss});
      return results;
    });
  }

  std::unique_ptr<methods::DistillationMethod> start_method(double lr) const {
    const auto factory = methods::find_method(case_.method).factory();
    config::OptionTable table = factory->options();
    table.set("net", case_.net, config::Origin::Flag);
    table.set("batch-real", str(case_.batch_real), config::Origin::Flag);
    table.set("lr-images", str(lr), config::Origin::Flag);
    auto method = factory->create();
    methods::RunContext run{.dataset = dataset_, .ipc = scene_.sizes.ipc, .rng = Rng(kSeed)};
    method->initialize(run);
    return method;
  }

  std::unique_ptr<PlainMatching> start_plain(const Tensor& start, Style style) const {
    const bool attention = case_.method == "datadam";
    PlainMatching::Setting setting{
        .kind = attention ? PlainMatching::Kind::Attention : PlainMatching::Kind::Distribution,
        .style = style,
        .network = *network_,
        .images = images_,
        .of_class = {},
        .batch_real = case_.batch_real,
        .ipc = scene_.sizes.ipc,
        .augmentation =
            methods::matching::make_strategy("auto", "dsa", dataset_.info().mirror_changes_class)};
    for (std::int64_t c = 0; c < dataset_.num_classes(); ++c) {
      setting.of_class.push_back(dataset_.class_indices(c));
    }
    return std::make_unique<PlainMatching>(std::move(setting), start, Rng(kSeed));
  }

  Scene& scene_;
  std::string key_;
  MatchingCase case_;
  Style style_;
  const data::ImageDataset& dataset_;
  std::unique_ptr<nn::Network> network_;
  Tensor images_;
  std::unique_ptr<methods::DistillationMethod> method_;
  std::unique_ptr<PlainMatching> plain_;
};

}  // namespace

std::vector<Line> matching_lines(Scene& scene) {
  const Sizes& sizes = scene.sizes;
  const std::vector<MatchingCase> cases = {
      {"dm", "dm", "ConvNet-3" + sizes.width, sizes.dm_batch},
      {"datadam", "datadam", "ConvNet-3-BN" + sizes.width, sizes.datadam_batch},
      {"datadam-instancenorm", "datadam", "ConvNet-3" + sizes.width, sizes.datadam_batch},
  };
  return lines_of<MatchingComparison>(scene, cases);
}

}  // namespace retort::bench
