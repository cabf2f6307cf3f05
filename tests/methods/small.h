#pragma once

#include <string>

#include "datasets/dataset.h"
#include "methods/method.h"
#include "tests/methods/small_committee.h"
#include "tests/methods/small_experts.h"

namespace retort::testing {

/// The generated dataset, opened once per test program.
inline const data::ImageDataset& shapes() {
  static const data::ImageDataset dataset = datasets::open_dataset("shapes", {});
  return dataset;
}

/// Sets the options that cost time to tiny values, where the method has them.
/// @param recipe of the experts that it follows, if it does
inline void make_small(config::OptionTable& table, const std::string& iterations,
                       const std::string& recipe) {
  const auto set = [&](const std::string& name, const std::string& value) {
    if (table.contains(name)) table.set(name, value, config::Origin::Flag);
  };
  set("iterations", iterations);
  set("batch-real", "8");
  set("net-epochs", "2");
  set("net-steps", "3");
  set("feature-epochs", "0");
  set("feature-net", "ConvNet-2-w8");
  if (table.contains("net")) {
    const bool batch_norm = table.find("net").value().ends_with("BN");
    set("net", batch_norm ? "ConvNet-2-BN-w8" : "ConvNet-2-w8");
  }
  if (table.contains("r-bn")) {
    set("teachers", small_committee());
    // Compensators take all there are, one each.
    const bool alone = table.contains("committee") && table.find("committee").value() == "single";
    if (alone) set("teacher-names", "0");
    set("lr-images", "0.1");
    set("crop-images", "10");
    set("crops", "2");
  }
  if (table.contains("experts")) {
    set("experts", small_experts(recipe));
    set("syn-steps", "3");
    set("batch-syn", "5");
    set("expert-epochs", "2");
    set("max-start-epoch", "3");
    if (table.find("current-max-start-epoch").value() != "0") set("current-max-start-epoch", "2");
    set("expansion-end", "2");
    set("threshold", "0");
    set("lr-images", "1");
    set("lr-lr", "1e-6");
  }
}

inline std::unique_ptr<methods::DistillationMethod> small_method(
    const std::string& name, const std::string& iterations = "3",
    const std::vector<std::pair<std::string, std::string>>& more = {}) {
  const auto factory = methods::find_method(name).factory();
  config::OptionTable table = factory->options();
  const bool flat = name == "ftd" || name == "datm";
  make_small(table, iterations, flat ? "gsam" : name == "ast" ? "ast" : "sgd");
  for (const auto& [key, value] : more) table.set(key, value, config::Origin::Flag);
  return factory->create();
}

}  // namespace retort::testing
