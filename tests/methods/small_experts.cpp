#include "tests/methods/small_experts.h"

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "lib/core/str.h"
#include "lib/storage/expert_file.h"
#include "lib/train/supervised.h"
#include "tests/methods/small.h"
#include "tests/support/process.h"

namespace retort::testing {
namespace {

storage::ExpertInfo small_info(const nn::Network& network, const std::string& recipe) {
  storage::ExpertInfo info;
  info.recipe = recipe;
  info.dataset = shapes().info().name;
  info.dataset_sha256 = shapes().info().sha256;
  info.dataset_note = shapes().info().note;
  info.class_names = shapes().info().class_names;
  info.image = shapes().shape();
  info.train_images = shapes().size(data::Split::Train);
  info.network = network.name();
  for (const auto& p : network.parameters()) info.layout.push_back({p.name, p.shape});
  info.preprocessing = shapes().preprocessing();
  for (std::int64_t epoch = 0; epoch <= kSmallExpertEpochs; ++epoch) info.epochs.push_back(epoch);
  info.options = recipe == "ast" ? "lr = 0.003\n" : "lr = 0.01\n";
  return info;
}

storage::ExpertPart small_expert(const nn::Network& network, const std::string& recipe,
                                 std::int64_t number) {
  storage::ExpertPart part;
  part.info = small_info(network, recipe);
  part.number = number;
  const auto seed = std::uint64_t(number);
  part.seeds = {.init = seed, .data = seed, .augment = seed};
  const Rng rng = Rng(seed).child("small experts");
  nn::NetworkState state = network.initialize(rng.child("init"));
  part.snapshots.push_back(nn::flatten(state.parameters));
  train::TrainOptions options;
  options.epochs = kSmallExpertEpochs;
  options.momentum = 0;
  options.weight_decay = 0;
  options.batch_size = 32;
  train::train(network, state, train::DatasetData(shapes(), data::Split::Train), options, rng,
               [&](const train::EpochReport&) {
                 part.snapshots.push_back(nn::flatten(state.parameters));
                 return true;
               });
  part.log.resize(part.snapshots.size());
  part.complete = true;
  return part;
}

class SmallExperts {
 public:
  explicit SmallExperts(const std::string& recipe) : folder_("retort-small-experts") {
    const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
    std::vector<std::filesystem::path> parts;
    for (std::int64_t i = 0; i < kSmallExperts; ++i) {
      parts.push_back(folder_.path() / str("part-", i, ".h5"));
      storage::write_part(parts.back(), small_expert(*network, recipe, i));
    }
    path_ = (folder_.path() / "experts.h5").string();
    storage::merge_experts(path_, std::nullopt, parts);
  }

  const std::string& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace

const std::string& small_experts(const std::string& recipe) {
  static std::map<std::string, std::unique_ptr<SmallExperts>> made;
  auto& experts = made[recipe];
  if (!experts) experts = std::make_unique<SmallExperts>(recipe);
  return experts->path();
}

}  // namespace retort::testing
