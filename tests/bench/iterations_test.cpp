#include "datasets/dataset.h"
#include "lib/kernels/policy.h"
#include "methods/matching/strategy.h"
#include "methods/method.h"
#include "tests/bench/plain_matching.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::bench;

namespace {

constexpr std::int64_t kIpc = 2;
constexpr std::int64_t kBatchReal = 8;
constexpr char kNet[] = "ConvNet-2-w16";

std::unique_ptr<methods::DistillationMethod> start_method(const std::string& name,
                                                          const data::ImageDataset& dataset) {
  const auto factory = methods::find_method(name).factory();
  config::OptionTable table = factory->options();
  table.set("net", kNet, config::Origin::Flag);
  table.set("batch-real", std::to_string(kBatchReal), config::Origin::Flag);
  auto method = factory->create();
  methods::RunContext run{.dataset = dataset, .ipc = kIpc, .rng = Rng(4)};
  method->initialize(run);
  return method;
}

PlainMatching start_looped(PlainMatching::Kind kind, const nn::Network& network,
                           const data::ImageDataset& dataset, const Tensor& start) {
  PlainMatching::Setting setting{
      .kind = kind,
      .style = Style::Papers,
      .network = network,
      .images = dataset.batch(data::Split::Train,
                              at::arange(dataset.size(data::Split::Train), at::kLong)),
      .of_class = {},
      .batch_real = kBatchReal,
      .ipc = kIpc,
      .augmentation =
          methods::matching::make_strategy("auto", "dsa", dataset.info().mirror_changes_class)};
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    setting.of_class.push_back(dataset.class_indices(c));
  }
  return {std::move(setting), start, Rng(4)};
}

}  // namespace

TEST_CASE("100 iterations over all classes at once equal 100 iterations in the papers' loop",
          "[bench][matching]") {
  const data::ImageDataset dataset = datasets::open_dataset("shapes", {});
  const auto network = nn::make_network(kNet, dataset.shape(), dataset.num_classes());
  for (const auto& [name, kind] : {std::pair{"dm", PlainMatching::Kind::Distribution},
                                   std::pair{"datadam", PlainMatching::Kind::Attention}}) {
    INFO(name);
    kernels::set_policy(kernels::Policy::Reference);
    const auto method = start_method(name, dataset);
    const Tensor start = method->snapshot().images;
    PlainMatching looped = start_looped(kind, *network, dataset, start);
    for (std::int64_t i = 0; i < 100; ++i) {
      method->update(i);
      looped.update(i);
    }
    kernels::set_policy(kernels::Policy::Fast);
    const Tensor images = method->snapshot().images;
    CHECK((images - start).norm().item<double>() > 0.1 * start.norm().item<double>());
    CHECK_CLOSE(images, looped.images(), 1e-4);
  }
}
