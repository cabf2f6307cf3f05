#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "lib/core/str.h"
#include "methods/matching/matching_method.h"
#include "tests/bench/benches.h"
#include "tests/bench/comparison.h"
#include "tests/bench/plain.h"

namespace retort::bench {
namespace {

struct MatchingCase {
  std::string name;
  std::string method;
  std::string net;
  std::int64_t batch_real = 256;
};

constexpr std::uint64_t kSeed = 5;
constexpr double kAllowed = 1e-4;
constexpr double kAllowedWithFlips = 1e-2;  // see difference_of_most_images

class MatchingComparison : public Comparison {
 public:
  MatchingComparison(const Workload& workload, const MatchingCase& wanted, std::int64_t ipc)
      : dataset_(workload.dataset),
        case_(wanted),
        ipc_(ipc),
        network_(nn::make_network(wanted.net, dataset_.shape(), dataset_.num_classes())),
        images_(dataset_.batch(data::Split::Train,
                               at::arange(dataset_.size(data::Split::Train), at::kLong))) {
    method_ = start_method(kLr);
    plain_ = start_plain(*method_, kLr);
  }

  std::vector<Difference> differences() override {
    // So large a step that the image it starts from costs no digits of it.
    constexpr double kHuge = 1e6;
    const auto method = start_method(kHuge);
    const auto plain = start_plain(*method, kHuge);
    const Tensor before = method->snapshot().images;
    const double loss = method->update(0).loss * double(dataset_.num_classes());
    const double plain_loss = plain->update(0);
    const Tensor gradient = (before - method->snapshot().images) / kHuge;
    return {{"gradient of 19 images in 20", difference_of_most_images(gradient, plain->velocity()),
             kAllowed},
            {"gradient of all images", relative_difference(gradient, plain->velocity()),
             kAllowedWithFlips},
            {"loss", std::abs(loss - plain_loss) / std::abs(plain_loss), kAllowed}};
  }

  void ours(std::int64_t round) override { method_->update(round); }
  void plain(std::int64_t round) override { plain_->update(round); }

 private:
  static constexpr double kLr = 1;

  std::unique_ptr<methods::DistillationMethod> start_method(double lr) const {
    const auto factory = methods::find_method(case_.method).factory();
    config::OptionTable table = factory->options();
    table.set("net", case_.net, config::Origin::Flag);
    table.set("batch-real", str(case_.batch_real), config::Origin::Flag);
    table.set("lr-images", str(lr), config::Origin::Flag);
    auto method = factory->create();
    methods::RunContext run{.dataset = dataset_, .ipc = ipc_, .rng = Rng(kSeed)};
    method->initialize(run);
    return method;
  }

  std::unique_ptr<PlainMatching> start_plain(const methods::DistillationMethod& method,
                                             double lr) const {
    const auto kind =
        case_.method == "dm" ? PlainMatching::Kind::Distribution : PlainMatching::Kind::Attention;
    PlainMatching::Setting setting{
        .kind = kind,
        .network = *network_,
        .images = images_,
        .of_class = {},
        .batch_real = case_.batch_real,
        .ipc = ipc_,
        .augmentation = methods::matching::make_strategy("auto", "dsa", dataset_.info().mirror_changes_class),
        .lr = lr};
    for (std::int64_t c = 0; c < dataset_.num_classes(); ++c) {
      setting.of_class.push_back(dataset_.class_indices(c));
    }
    return std::make_unique<PlainMatching>(std::move(setting), method.snapshot().images,
                                           Rng(kSeed));
  }

  const data::ImageDataset& dataset_;
  MatchingCase case_;
  std::int64_t ipc_;
  std::unique_ptr<nn::Network> network_;
  Tensor images_;
  std::unique_ptr<methods::DistillationMethod> method_;
  std::unique_ptr<PlainMatching> plain_;
};

}  // namespace

void register_matching(const std::vector<Workload>& workloads, const Sizes& sizes, bool& agreed) {
  const std::vector<MatchingCase> cases = {
      {"dm", "dm", "ConvNet-3" + sizes.width, sizes.dm_batch},
      {"datadam", "datadam", "ConvNet-3-BN" + sizes.width, sizes.datadam_batch},
      {"datadam-instancenorm", "datadam", "ConvNet-3" + sizes.width, sizes.datadam_batch},
  };
  for (const MatchingCase& wanted : cases) {
    for (const Workload& workload : workloads) {
      const auto run = [&workload, &agreed, wanted, ipc = sizes.ipc](benchmark::State& state) {
        MatchingComparison comparison(workload, wanted, ipc);
        agreed = run_comparison(state, comparison) && agreed;
      };
      benchmark::RegisterBenchmark(str(wanted.name, "/", workload.name).c_str(), run)
          ->Iterations(sizes.rounds)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace retort::bench
