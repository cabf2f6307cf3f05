#include "apps/commands/baselines.h"

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

}  // namespace

Baseline parse_baseline(const std::string& text) {
  Baseline baseline{.method = text};
  if (text.ends_with(kPacked)) {
    baseline.packed = true;
    baseline.method = text.substr(0, text.size() - std::string(kPacked).size());
  }
  methods::find_method(baseline.method);
  return baseline;
}

std::string baseline_title(const Baseline& baseline, const data::SyntheticSet& set) {
  if (!baseline.packed) return baseline.method;
  const std::string factor = packing_factor(set);
  return str(baseline.method, " packed ", factor, "x", factor);
}

std::int64_t images_per_class(const data::SyntheticSet& set) {
  const Tensor counts = at::bincount(set.class_index, {}, set.num_classes());
  const auto smallest = counts.min().item<std::int64_t>();
  if (smallest != counts.max().item<std::int64_t>()) {
    throw ConfigError(str("baselines need a set with equally many images in every class; this one ",
                          "has ", smallest, " to ", counts.max().item<std::int64_t>()));
  }
  return smallest;
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
  if (method->iterations() != 1) {
    throw ConfigError(str("'", baseline.method, "' is no baseline: it optimises its images for ",
                          method->iterations(), " iterations; use `retort condense`"));
  }
  methods::RunContext context{.dataset = dataset, .ipc = ipc, .rng = Rng(seed), .stop = &stop};
  method->initialize(context);
  method->update(0);
  data::SyntheticSet result = method->snapshot();
  result.preprocessing = dataset.preprocessing();
  result.provenance.class_names = dataset.info().class_names;
  return result;
}

}  // namespace retort::commands
