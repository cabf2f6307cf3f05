#include "experiments/continual/kept_networks.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "lib/core/clock.h"
#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/eval/material.h"
#include "lib/storage/state_file.h"
#include "lib/train/retention.h"
#include "lib/train/supervised.h"

namespace retort::experiments::continual {
namespace {

namespace fs = std::filesystem;

constexpr double kTemperature = 2;

using Confusion = std::vector<std::vector<std::int64_t>>;

fs::path file_of(const fs::path& folder, std::int64_t number) {
  return folder / str("network-", number, ".h5");
}

Tensor to_tensor(const Confusion& confusion) {
  std::vector<std::int64_t> values;
  for (const auto& row : confusion) values.insert(values.end(), row.begin(), row.end());
  const auto side = std::int64_t(confusion.size());
  return at::tensor(values, at::kLong).view({side, side});
}

Confusion to_confusion(const Tensor& counts) {
  const Tensor rows = counts.contiguous();
  const auto* value = rows.const_data_ptr<std::int64_t>();
  Confusion result;
  for (std::int64_t row = 0; row < rows.size(0); ++row, value += rows.size(1)) {
    result.emplace_back(value, value + rows.size(1));
  }
  return result;
}

/// Between classes of the dataset instead of between places in `seen`.
Confusion of_classes(const Tensor& places, const Classes& seen, std::int64_t count) {
  const Tensor classes = at::tensor(seen, at::kLong);
  Tensor all = at::zeros({count, count}, at::kLong);
  all.index_put_({classes.unsqueeze(1), classes.unsqueeze(0)}, places);
  return to_confusion(all);
}

data::LabelledImages by_place(const data::LabelledImages& memory, const Classes& seen,
                              std::int64_t count) {
  Tensor places = at::zeros({count}, at::kLong);
  places.index_put_({at::tensor(seen, at::kLong)},
                    at::arange(std::int64_t(seen.size()), at::kLong));
  return {memory.images,
          data::HardLabels{places.index_select(0, data::hard_classes(memory.labels))}};
}

/// Of all its numbers.
void hash(Sha256& sha, const Tensors& tensors) {
  for (const Tensor& tensor : tensors) {
    const Tensor values = tensor.detach().cpu().contiguous();
    sha.update(std::string_view(shape_text(values)));
    sha.update(std::span(static_cast<const std::byte*>(values.const_data_ptr()),
                         std::size_t(values.nbytes())));
  }
}

void write_kept(const fs::path& file, const std::string& key, const KeptNetwork& network) {
  const eval::RunResult& result = network.run.result;
  storage::StateWriter out;
  out.text("key", key);
  out.tensors("parameters", network.state.parameters);
  out.tensors("buffers", network.state.buffers);
  out.tensor("confusion", to_tensor(network.run.confusion));
  out.integer("seed", std::int64_t(result.seed));
  out.number("accuracy", result.last);
  out.number("train_loss", result.train_loss);
  out.number("seconds", result.seconds);
  out.save(file);
}

/// Nothing if there is no such file, or one of a network that depends on something else.
std::optional<KeptNetwork> read_kept(const fs::path& file, const std::string& key,
                                     at::Device device) {
  if (!fs::exists(file)) return std::nullopt;
  const storage::StateReader in(file);
  if (!in.has("key") || in.text("key") != key) return std::nullopt;
  KeptNetwork network;
  network.state = nn::NetworkState{in.tensors("parameters"), in.tensors("buffers")}.to(device);
  network.run.confusion = to_confusion(in.tensor("confusion"));
  eval::RunResult& result = network.run.result;
  result.seed = std::uint64_t(in.integer("seed"));
  result.last = in.number("accuracy");
  result.train_loss = in.number("train_loss");
  result.seconds = in.number("seconds");
  return network;
}

}  // namespace

nn::NetworkState KeptNetworks::beginning(const nn::Network& network, std::int64_t number,
                                         const Rng& rng) const {
  if (network_ == nullptr) return network.initialize(rng, dataset_.device());
  return train::widened(network, states_[std::size_t(number)], rng);
}

KeptNetwork KeptNetworks::trained(const Step& step, const data::ImageDataset& seen,
                                  const nn::Network& network, std::int64_t number,
                                  ProgressSink& progress, const StopFlag& stop) const {
  const double start = wall_seconds();
  const std::uint64_t seed = study_.seeds_of(order_)[std::size_t(number)];
  const Rng rng = Rng(seed).child("kept").child("classes", std::int64_t(step.seen.size()));
  const eval::Material material = material_of(step);
  auto options = eval::train_options(step.protocol, material, seen.info().mirror_changes_class);
  options.stop = &stop;
  auto lessons = eval::make_lessons(step.protocol, material, seen);
  if (network_ != nullptr) {
    options.loss = {.kind = train::StudentLoss::Kind::Retention, .temperature = kTemperature};
    lessons = std::make_unique<train::RetainingLessons>(std::move(lessons), *network_,
                                                        states_[std::size_t(number)]);
  }
  KeptNetwork outcome{.state = beginning(network, number, rng.child("init")), .run = {}};
  outcome.run.result.seed = seed;
  const auto after_epoch = [&](const train::EpochReport& report) {
    outcome.run.result.train_loss = report.loss;
    const std::int64_t done = report.epoch + 1;
    const double left = (wall_seconds() - start) / double(done) * double(options.epochs - done);
    progress.update({.phase = str("training network ", number + 1, " of ", study_.runs),
                     .done = done,
                     .total = options.epochs,
                     .earlier = 0,
                     .loss = report.loss,
                     .seconds_left = left});
    return !stop.requested();
  };
  train::train(network, outcome.state, *lessons, options, rng.child("train"), after_epoch);
  leave_if_requested(&stop, "the training");
  const auto tested = eval::test(network, outcome.state, seen, data::Split::Test);
  outcome.run.result.last = tested.accuracy;
  outcome.run.confusion = tested.confusion;
  outcome.run.result.seconds = wall_seconds() - start;
  progress.finish();
  return outcome;
}

eval::Material KeptNetworks::material_of(const Step& step) const {
  return {.training = by_place(step.memory, step.seen, dataset_.num_classes())};
}

std::string KeptNetworks::common_key(const Step& step, const data::ImageDataset& seen) const {
  const std::string key = step.key ? step.key(material_of(step), seen, step.protocol) : "";
  return str(step.config, "classes = ", join(step.seen), "\nkey = ", key, "\n");
}

std::string KeptNetworks::key_of(const std::string& common, std::int64_t number) const {
  Sha256 sha;
  sha.update(std::string_view(common));
  sha.update(std::string_view(str("seed = ", study_.seeds_of(order_)[std::size_t(number)], "\n")));
  if (network_ != nullptr) {
    const nn::NetworkState& earlier = states_[std::size_t(number)];
    hash(sha, earlier.parameters);
    hash(sha, earlier.buffers);
  }
  return sha.hex();
}

std::int64_t KeptNetworks::found(const Step& step) const {
  const std::string common = common_key(step, dataset_.only_classes(step.seen));
  std::int64_t count = 0;
  for (std::int64_t number = 0; number < study_.runs; ++number) {
    const auto kept =
        read_kept(file_of(step.folder, number), key_of(common, number), dataset_.device());
    count += kept ? 1 : 0;
  }
  return count;
}

eval::NetworkResult KeptNetworks::learn(const Step& step, ProgressSink& progress,
                                        const StopFlag& stop) {
  const data::ImageDataset seen = dataset_.only_classes(step.seen);
  const std::string common = common_key(step, seen);
  auto network = nn::make_network(study_.network(), seen.shape(), seen.num_classes());
  std::vector<nn::NetworkState> states;
  std::vector<double> accuracies;
  Tensor confusion = at::zeros({seen.num_classes(), seen.num_classes()}, at::kLong);
  eval::NetworkResult result;
  result.network = network->name();
  for (std::int64_t number = 0; number < study_.runs; ++number) {
    const fs::path file = file_of(step.folder, number);
    const std::string key = key_of(common, number);
    auto one = read_kept(file, key, dataset_.device());
    if (!one) {
      one = trained(step, seen, *network, number, progress, stop);
      write_kept(file, key, *one);
    }
    states.push_back(std::move(one->state));
    accuracies.push_back(one->run.result.last);
    confusion += to_tensor(one->run.confusion);
    result.seconds += one->run.result.seconds;
    result.runs.push_back(one->run.result);
  }
  network_ = std::move(network);
  states_ = std::move(states);
  const eval::Spread accuracy = eval::spread(accuracies);
  result.mean = accuracy.mean;
  result.std = accuracy.std;
  result.confusion = of_classes(confusion, step.seen, dataset_.num_classes());
  return result;
}

}  // namespace retort::experiments::continual
