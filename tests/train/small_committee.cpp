#include "tests/train/small_committee.h"

#include <limits>

#include "lib/train/supervised.h"

namespace retort::testing {

train::Member fresh_member(const data::ImageDataset& dataset, const std::string& network,
                           std::int64_t seed) {
  train::Member member;
  member.name = network;
  member.number = seed;
  member.network = nn::make_network(network, dataset.shape(), dataset.num_classes());
  member.state = member.network->initialize(Rng(std::uint64_t(seed)));
  member.accuracy = std::numeric_limits<double>::quiet_NaN();
  return member;
}

train::Member trained_member(const data::ImageDataset& dataset, const std::string& network,
                             std::int64_t seed, double accuracy) {
  train::Member member = fresh_member(dataset, network, seed);
  member.accuracy = accuracy;
  train::TrainOptions options;
  options.epochs = 12;
  options.lr = 0.05;
  options.batch_size = 16;
  train::train(*member.network, member.state, train::TensorData(training_images(dataset)), options,
               Rng(std::uint64_t(seed)).child("training"));
  return member;
}

}  // namespace retort::testing
