#include "lib/eval/protocol.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/nn/naming.h"

namespace retort::eval {

void Protocol::describe(config::OptionTable& table) {
  using namespace config;
  table.add("source", source, "paper or code base and what differs, one line", any_text());
  table.add("epochs", epochs, "nominal epochs", in_range(std::int64_t{1}, std::int64_t{1000000}));
  table.add("schedule", schedule,
            "dc: E+1 epochs and one drop with a new optimiser; steps: E epochs and drop-epochs",
            one_of({"dc", "steps"}));
  table.add("drop-epochs", drop_epochs, "steps: the step size drops after these, counted from 1",
            at_least(std::int64_t{1}));
  table.add("drop-factor", drop_factor, "factor of every drop", positive());
  table.add("drop-momentum", drop_momentum, "of SGD after a drop; -1: as before",
            in_range(-1.0, 1.0));
  table.add("step-size", step_size,
            "learned: the one the set has learned, where it has one; protocol: lr",
            one_of({"protocol", "learned"}));
  table.add("lr", lr, "step size at the start", positive());
  table.add("momentum", momentum, "of SGD", in_range(0.0, 1.0));
  table.add("weight-decay", weight_decay, "on all parameters", non_negative());
  table.add("batch-size", batch_size, "images per step; the last partial batch is used",
            in_range(std::int64_t{1}, std::int64_t{100000}));
  table.add("augmentation", augmentation, "operations joined by _, or none", any_text());
  table.add("augmentation-digits", augmentation_digits,
            "the same for digits, where mirroring harms; empty: as augmentation", any_text());
  table.add("augmentation-style", augmentation_style, "whose conventions augmentation follows",
            one_of({"dsa", "mtt", "fyi", "idc"}));
  table.add("cutmix-probability", cutmix_probability, "of CutMix in a mini-batch",
            in_range(0.0, 1.0));
  table.add("networks", networks, "fresh networks if no seeds are given",
            in_range(std::int64_t{1}, std::int64_t{1000}));
  table.add(
      "net", net,
      "architecture if none is given; a ConvNet without a depth: as deep as the image size asks",
      any_text());
  table.add("test-every", test_every, "epochs between extra tests for `best`; 0: none",
            at_least(std::int64_t{0}));
}

std::string Protocol::network_for(nn::ImageShape shape) const {
  return nn::with_depth(net, nn::default_convnet_depth(shape));
}

train::TrainOptions Protocol::train_options(bool mirror_changes_class) const {
  train::TrainOptions options;
  options.epochs = epochs;
  options.lr = lr;
  options.momentum = momentum;
  options.weight_decay = weight_decay;
  options.batch_size = batch_size;
  options.cutmix_probability = cutmix_probability;
  const bool digits = mirror_changes_class && !augmentation_digits.empty();
  options.augmentation =
      augment::Strategy::of(digits ? augmentation_digits : augmentation, augmentation_style);
  if (schedule == "dc") {
    if (!drop_epochs.empty()) {
      throw ConfigError("drop-epochs: expected none, the schedule dc has its own; found " +
                        join(drop_epochs));
    }
    options = train::dc_schedule(std::move(options), epochs);
  }
  for (const std::int64_t epoch : drop_epochs) {
    if (epoch < 1 || epoch > epochs) {
      throw ConfigError(str("drop-epochs: expected 1 .. ", epochs, ", found ", epoch));
    }
    options.drops.push_back({.after_epoch = epoch - 1});
  }
  for (auto& drop : options.drops) {
    drop.factor = drop_factor;
    if (drop_momentum >= 0) drop.momentum = drop_momentum;
  }
  return options;
}

Protocol Protocol::for_set(const data::SyntheticSet& set) const {
  Protocol protocol = *this;
  if (step_size == "learned" && set.learned_lr) protocol.lr = *set.learned_lr;
  return protocol;
}

std::int64_t Protocol::sgd_steps(std::int64_t images) const {
  return train_options(false).epochs * ((images + batch_size - 1) / batch_size);
}

Protocol parse_protocol(const std::string& name, const std::string& text,
                        const std::string& source) {
  Protocol protocol;
  protocol.name = name;
  config::OptionTable table;
  protocol.describe(table);
  config::apply_config(table, config::parse_config(text, source), source, config::Origin::File);
  with_context(source, [&] {
    protocol.train_options(false);
    protocol.train_options(true);
  });
  return protocol;
}

}  // namespace retort::eval
