#include "lib/synth/real_selection.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/names.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/nn/network.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/selection.h"
#include "lib/train/supervised.h"

namespace retort::synth {

void FeatureOptions::describe(config::OptionTable& table) {
  table.add("features", features, "space in which images are compared",
            config::one_of({"embedding", "pixels"}));
  table.add("feature-net", net, "network whose embedding is used", network_name());
  table.add("feature-epochs", epochs, "epochs that network is trained on the training split",
            config::in_range(std::int64_t{0}, 1000));
}

const std::vector<std::string>& selection_rules() {
  static const std::vector<std::string> rules{"random", "first", "herding", "k-center", "k-means"};
  return rules;
}

struct FeatureExtractor::State {
  const data::ImageDataset& dataset;
  std::unique_ptr<nn::Network> network;  // null: pixels
  nn::NetworkState parameters;
};

FeatureExtractor::FeatureExtractor(const data::ImageDataset& dataset, FeatureOptions options,
                                   const Rng& rng, const StopFlag* stop)
    : state_(std::make_unique<State>(State{dataset, nullptr, {}})) {
  if (options.features == "pixels") return;
  state_->network = nn::make_network(options.net, dataset.shape(), dataset.num_classes());
  state_->parameters = state_->network->initialize(rng.child("init"), dataset.device());
  if (options.epochs == 0) return;
  log::info(str("training ", state_->network->name(), " for features: ", options.epochs,
                options.epochs == 1 ? " epoch" : " epochs", " over ",
                dataset.size(data::Split::Train), " images"));
  train::TrainOptions training;
  training.epochs = options.epochs;
  training.lr = kFeatureLr;
  training.batch_size = kFeatureBatchSize;
  training.stop = stop;
  train::train(*state_->network, state_->parameters,
               train::DatasetData(dataset, data::Split::Train), training, rng.child("train"));
}

FeatureExtractor::~FeatureExtractor() = default;

Tensor FeatureExtractor::operator()(const Tensor& indices) const {
  if (!state_->network) {
    return state_->dataset.batch(data::Split::Train, indices).flatten(1).to(at::kCPU);
  }
  return train::embed(*state_->network, state_->parameters, state_->dataset, data::Split::Train,
                      indices);
}

namespace {

std::vector<std::int64_t> select_by_features(const std::string& rule, const Tensor& features,
                                             std::int64_t n, const Rng& rng) {
  if (rule == "herding") return herding(features, n);
  if (rule == "k-center") return k_center(features, n);
  return k_means(features, n, rng).nearest;
}

}  // namespace

Tensor select_real(const data::ImageDataset& dataset, const std::string& rule,
                   std::int64_t per_class, const FeatureOptions& features, const Rng& rng,
                   const StopFlag* stop) {
  const auto& rules = selection_rules();
  if (std::find(rules.begin(), rules.end(), rule) == rules.end()) {
    throw ConfigError(unknown_name_message("selection rule", rule, rules));
  }
  const std::int64_t classes = dataset.num_classes();
  for (std::int64_t c = 0; c < classes; ++c) {
    const std::int64_t available = dataset.class_indices(c).numel();
    if (available < per_class) {
      throw ConfigError(str("class '", dataset.info().class_names[std::size_t(c)], "' has ",
                            available, " training images, but ", per_class, " are needed"));
    }
  }
  std::unique_ptr<FeatureExtractor> extract;
  if (rule != "random" && rule != "first") {
    extract = std::make_unique<FeatureExtractor>(dataset, features, rng.child("features"), stop);
  }
  Tensors chosen(static_cast<std::size_t>(classes));
  // A task sees LibTorch on one thread: sums over features, and with them close calls between
  // images, do not depend on how many threads there are.
  parallel_tasks(classes, [&](std::int64_t c) {
    leave_if_requested(stop, "choosing real images");
    const Tensor& members = dataset.class_indices(c);
    const Rng class_rng = rng.child("class", c);
    std::vector<std::int64_t> picks;
    if (rule == "random") {
      picks = Rng(class_rng).sample(members.numel(), per_class);
    } else if (rule == "first") {
      for (std::int64_t i = 0; i < per_class; ++i) picks.push_back(i);
    } else {
      picks = select_by_features(rule, (*extract)(members), per_class, class_rng);
    }
    chosen[std::size_t(c)] = members.index_select(0, at::tensor(picks, at::kLong));
  });
  return at::cat(chosen);
}

Tensor pack_real(const data::ImageDataset& dataset, const Tensor& chosen, std::int64_t per_class,
                 const ImageDecoder& decoder) {
  Tensors packed;
  for (const Tensor& indices : chosen.split(per_class)) {
    packed.push_back(decoder.pack(dataset.batch(data::Split::Train, indices)));
  }
  return at::cat(packed);
}

}  // namespace retort::synth
