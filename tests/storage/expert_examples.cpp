#include "tests/storage/expert_examples.h"

#include <limits>
#include <optional>

#include "tests/support/catch.h"

namespace retort::testing {

namespace fs = std::filesystem;
using storage::ExpertInfo;
using storage::ExpertPart;

ExpertInfo example_info() {
  ExpertInfo info;
  info.recipe = "sgd";
  info.dataset = "shapes";
  info.dataset_sha256 = std::string(64, 'd');
  info.dataset_note = "20 training images per class, seed 0";
  info.class_names = {"disk", "Dreieck ▲"};
  info.image = {.channels = 1, .height = 2, .width = 2};
  info.train_images = 40;
  info.network = "ConvNet-1";
  info.layout = {{"features.0.weight", {2, 1, 1, 3}}, {"features.0.bias", {2}}};
  info.preprocessing = data::Preprocessing::mean_std({0.25}, {1.0 / 3});
  info.epochs = {0, 1, 3};
  info.options = "epochs = 3\nlr = 0.01\n";
  info.program_version = "0.1.0";
  info.processor = "a processor";
  return info;
}

Tensor values_of(std::int64_t expert, std::int64_t snapshot, std::int64_t size) {
  return at::arange(size, at::kFloat).add(100.0 * double(expert) + double(snapshot)).div(7);
}

storage::SnapshotLog log_of(std::int64_t expert, std::int64_t snapshot) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return {.train_loss = snapshot == 0 ? nan : 2.5 / double(snapshot),
          .train_accuracy = snapshot == 0 ? nan : 50.5 + double(expert),
          .test_loss = 1.25,
          .test_accuracy = 25.0 * double(snapshot),
          .norm = 3.1 + double(expert),
          .step_norm = 0.1 * double(snapshot),
          .wall_seconds = 1.1 * double(snapshot)};
}

ExpertPart example_part(std::int64_t number, std::int64_t done, const ExpertInfo& info) {
  ExpertPart part;
  part.info = info;
  part.number = number;
  const auto seed = std::numeric_limits<std::uint64_t>::max() - std::uint64_t(number);
  part.seeds = {.init = seed, .data = 7, .augment = 8};
  for (std::int64_t s = 0; s < done; ++s) {
    part.snapshots.push_back(values_of(number, s));
    part.log.push_back(log_of(number, s));
  }
  part.complete = done == std::int64_t(info.epochs.size());
  part.state.tensors("momentum", {at::ones({2, 3}), at::zeros({2})});
  part.state.integer("epoch", done);
  return part;
}

fs::path written(const TemporaryFolder& folder, const ExpertPart& part) {
  const fs::path path = storage::part_path(folder / "experts.h5", part.number);
  storage::write_part(path, part);
  return path;
}

fs::path merged(const TemporaryFolder& folder, const std::vector<std::int64_t>& numbers,
                const ExpertInfo& info) {
  std::vector<fs::path> parts;
  for (const std::int64_t number : numbers) {
    parts.push_back(written(folder, example_part(number, 3, info)));
  }
  storage::merge_experts(folder / "experts.h5", std::nullopt, parts);
  return folder / "experts.h5";
}

std::size_t position_of(const std::string& bytes, const Tensor& values) {
  const std::string pattern(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  const std::size_t position = bytes.find(pattern);
  REQUIRE(position != std::string::npos);
  return position;
}

}  // namespace retort::testing
