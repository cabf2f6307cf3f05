#include "tests/methods/small_committee.h"

#include <memory>

#include "lib/storage/teacher_file.h"
#include "lib/train/supervised.h"
#include "lib/train/teachers.h"
#include "tests/methods/small.h"
#include "tests/support/process.h"

namespace retort::testing {
namespace {

/// Means and biased variances of the inputs of every BatchNorm layer, [K,C_l] each.
std::vector<storage::NamedTensor> statistics_of_classes(const nn::Network& network,
                                                        const nn::NetworkState& state) {
  const at::NoGradGuard no_grad;
  std::vector<Tensors> rows(network.buffers().size());
  for (std::int64_t c = 0; c < shapes().num_classes(); ++c) {
    const Tensor images = shapes().batch(data::Split::Train, shapes().class_indices(c));
    const auto found = network.forward(state, images, {.batch_norm_statistics = true});
    for (std::size_t l = 0; l < found.batch_norm_statistics.size(); ++l) {
      rows[2 * l].push_back(found.batch_norm_statistics[l].mean);
      rows[2 * l + 1].push_back(found.batch_norm_statistics[l].variance);
    }
  }
  std::vector<storage::NamedTensor> statistics;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    statistics.push_back({network.buffers()[i].name, at::stack(rows[i])});
  }
  return statistics;
}

storage::Teacher small_teacher(const std::string& net, std::uint64_t seed) {
  const auto network = nn::make_network(net, shapes().shape(), shapes().num_classes());
  const Rng rng = Rng(seed).child("small committee");
  nn::NetworkState state = network->initialize(rng.child("init"));
  train::TrainOptions options;
  options.epochs = 5;
  options.batch_size = 32;
  options.lr = 0.05;
  train::train(*network, state, train::DatasetData(shapes(), data::Split::Train), options, rng);
  storage::Teacher teacher = train::as_teacher(*network, state);
  teacher.class_statistics = statistics_of_classes(*network, state);
  teacher.seed = seed;
  teacher.epochs = options.epochs;
  teacher.accuracy = 90 - double(seed);  // what votes go by; all differ
  return teacher;
}

class SmallCommittee {
 public:
  SmallCommittee() : folder_("retort-small-committee") {
    std::vector<storage::Teacher> teachers;
    for (const std::string& net : small_committee_nets()) {
      teachers.push_back(small_teacher(net, teachers.size()));
    }
    path_ = (folder_.path() / "teachers.h5").string();
    storage::write_teachers(path_, storage::TrainedOn::of(shapes()), teachers);
  }

  const std::string& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace

const std::vector<std::string>& small_committee_nets() {
  static const std::vector<std::string> nets = {"ConvNet-2-BN-w8", "ConvNet-1-BN-w8",
                                                "ConvNet-2-BN-w4"};
  return nets;
}

const std::string& small_committee() {
  static const SmallCommittee committee;
  return committee.path();
}

}  // namespace retort::testing
