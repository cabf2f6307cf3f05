#include "apps/commands/baselines.h"

#include <optional>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "lib/core/str.h"
#include "methods/method.h"

namespace retort::commands {
namespace {

constexpr const char* kPacked = "-packed";

/// Side of the grid of small images in one stored image.
std::string packing_factor(const data::SyntheticSet& set) {
  const auto factor = set.decoder.config.find("factor");
  if (set.decoder.id != "multi-formation" || factor == set.decoder.config.end()) {
    throw ConfigError(str("packed baselines are for multi-formation sets; this one's decoder is '",
                          set.decoder.id, "'"));
  }
  return factor->second;
}

/// Images per class that the run of a set was given; none: it does not say.
std::optional<std::int64_t> budget_of(const data::Provenance& provenance) {
  std::int64_t ipc = 0;
  config::OptionTable table;
  table.add("ipc", ipc, "images per class", config::at_least(std::int64_t{1}));
  for (const auto& entry : config::parse_config(provenance.config, "provenance of the set")) {
    if (entry.key == "ipc") table.set("ipc", entry.value, config::Origin::File);
  }
  return ipc > 0 ? std::optional(ipc) : std::nullopt;
}

/// Stored images per class of `set`.
std::int64_t stored_per_class(const data::SyntheticSet& set) {
  const Tensor counts = at::bincount(set.class_index, {}, set.num_classes());
  const auto smallest = counts.min().item<std::int64_t>();
  if (smallest != counts.max().item<std::int64_t>()) {
    throw ConfigError(str("baselines need a set with equally many images in every class; this one ",
                          "has ", smallest, " to ", counts.max().item<std::int64_t>()));
  }
  return smallest;
}

/// Whether it chooses real images, and needs nothing for that which a baseline cannot be given.
bool selects_real_images(const methods::MethodInfo& info) {
  const config::OptionTable options = info.factory()->options();
  return !options.contains("iterations") && !options.contains("teachers");
}

void expect_baseline(const methods::MethodInfo& asked) {
  if (selects_real_images(asked)) return;
  std::vector<std::string> possible;
  for (const auto& info : methods::all_methods()) {
    if (selects_real_images(info)) possible.push_back(info.name);
  }
  throw ConfigError(str("'", asked.name,
                        "' is no baseline: expected a method that selects real images and needs "
                        "no file, one of ",
                        join(possible)));
}

}  // namespace

Baseline parse_baseline(const std::string& text) {
  Baseline baseline{.method = text};
  if (text.ends_with(kPacked)) {
    baseline.packed = true;
    baseline.method = text.substr(0, text.size() - std::string(kPacked).size());
  }
  expect_baseline(methods::find_method(baseline.method));
  return baseline;
}

std::string baseline_title(const Baseline& baseline, const data::SyntheticSet& set) {
  if (!baseline.packed) {
    const std::int64_t ipc = images_per_class(set);
    return ipc == stored_per_class(set) ? baseline.method
                                        : str(baseline.method, " (", ipc, " per class)");
  }
  const std::string factor = packing_factor(set);
  return str(baseline.method, " packed ", factor, "x", factor);
}

std::int64_t images_per_class(const data::SyntheticSet& set) {
  const std::int64_t stored = stored_per_class(set);
  return budget_of(set.provenance).value_or(stored);
}

data::SyntheticSet make_baseline(const Baseline& baseline, const data::SyntheticSet& set,
                                 const data::ImageDataset& dataset, std::uint64_t seed,
                                 const StopFlag& stop) {
  const auto factory = methods::find_method(baseline.method).factory();
  config::OptionTable options = factory->options();
  if (baseline.packed) {
    if (!options.contains("factor")) {
      throw ConfigError(str("the method '", baseline.method, "' cannot pack images"));
    }
    options.set("factor", packing_factor(set), config::Origin::Flag);
  }
  const std::int64_t ipc = images_per_class(set);
  factory->settle(ipc);
  const auto method = factory->create();
  methods::RunContext context{.dataset = dataset, .ipc = ipc, .rng = Rng(seed), .stop = &stop};
  method->initialize(context);
  method->update(0);
  data::SyntheticSet result = method->snapshot();
  result.preprocessing = dataset.preprocessing();
  result.provenance.class_names = dataset.info().class_names;
  return result;
}

}  // namespace retort::commands
