#include "apps/commands/preset_cost.h"

#include <memory>
#include <utility>

#include "datasets/dataset.h"
#include "lib/config/options.h"
#include "lib/core/str.h"
#include "lib/data/image_dataset.h"
#include "methods/method.h"
#include "methods/prediction.h"

namespace retort::commands {
namespace {

/// Black images of some dataset's size: enough for counting operations.
class BlankStore : public data::ImageStore {
 public:
  BlankStore(std::int64_t size, data::ImageShape shape) : size_(size), shape_(shape) {}
  std::int64_t size() const override { return size_; }
  data::ImageShape shape() const override { return shape_; }
  Tensor pixels(const Tensor& indices) const override {
    return at::zeros({indices.numel(), shape_.channels, shape_.height, shape_.width}, at::kByte);
  }

 private:
  std::int64_t size_;
  data::ImageShape shape_;
};

data::ImageDataset blank_dataset(const std::string& name, const datasets::KnownSize& size) {
  data::DatasetInfo info{.name = name, .class_names = {}, .sha256 = "", .note = "blank"};
  for (std::int64_t c = 0; c < size.classes; ++c) info.class_names.push_back(str(c));
  const auto split = [&](std::int64_t images) {
    return data::DataSplit{std::make_shared<BlankStore>(images, size.shape),
                           at::arange(images, at::kLong).remainder(size.classes)};
  };
  return {std::move(info), split(size.training_images), split(size.classes),
          data::Preprocessing::identity(size.shape.channels)};
}

std::string take(std::vector<config::ConfigEntry>& entries, const std::string& key) {
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (entry->key != key) continue;
    const std::string value = entry->value;
    entries.erase(entry);
    return value;
  }
  return "";
}

}  // namespace

std::optional<double> predicted_seconds(const experiments::TextFile& preset) {
  auto entries = config::parse_config(preset.text, preset.name);
  const std::string name = take(entries, "dataset");
  const auto factory = methods::find_method(take(entries, "method")).factory();
  config::OptionTable options = factory->options();
  std::int64_t ipc = 1;
  options.add("ipc", ipc, "", config::at_least(1));
  for (const auto& entry : entries) {
    // Options of the run around the method cost nothing here.
    if (options.contains(entry.key)) {
      options.set(entry.key, entry.value, config::Origin::Preset);
    }
  }
  if (name.empty()) return std::nullopt;
  factory->settle(ipc);
  const std::optional<datasets::KnownSize>& size = datasets::find_dataset(name).size;
  if (!size) return std::nullopt;
  const data::ImageDataset dataset = blank_dataset(name, *size);
  const methods::RunContext context{.dataset = dataset, .ipc = ipc, .rng = Rng(0)};
  return methods::predict(*factory->create(), context).total_seconds;
}

}  // namespace retort::commands
