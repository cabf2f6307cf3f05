#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "experiments/continual/study.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"

namespace retort::experiments::continual {

/// One of them after a step.
struct KeptNetwork {
  nn::NetworkState state;
  eval::FinishedRun run;  ///< confusion between places in the order of classes
};

/// The networks of one order that learn on from step to step (Kim et al., ICML 2022): with every
/// step they get outputs for the new classes, and while they train on the whole memory they are
/// held to what they said of its images before.
class KeptNetworks {
 public:
  /// @param dataset of the study, preprocessed as the memory is
  KeptNetworks(const Study& study, const data::ImageDataset& dataset, std::int64_t order)
      : study_(study), dataset_(dataset), order_(order) {}

  struct Step {
    const data::LabelledImages& memory;  ///< with labels of the whole dataset
    const Classes& seen;                 ///< all classes so far, the new ones last
    const eval::Protocol& protocol;
    std::string config;  ///< what the networks depend on besides
    /// As Surroundings::key.
    std::function<std::string(const eval::Material& material, const data::ImageDataset& tested_on,
                              const eval::Protocol& protocol)>
        key;
    std::filesystem::path folder;  ///< keeps every network that is finished
  };
  /// Trains all networks, tests them on all classes seen, and is ready for the next step. Networks
  /// that lie in the folder are taken from there if all that they depend on is the same, down to
  /// the bits of the networks that they go on from.
  /// @throws Interrupted when a stop was requested; NumericalError
  eval::NetworkResult learn(const Step& step, ProgressSink& progress, const StopFlag& stop);
  /// How many of them lie in the folder.
  std::int64_t found(const Step& step) const;

 private:
  eval::Material material_of(const Step& step) const;
  /// Of everything that the networks of a step have in common.
  std::string common_key(const Step& step, const data::ImageDataset& seen) const;
  /// Of network `number` and what it goes on from.
  std::string key_of(const std::string& common, std::int64_t number) const;
  KeptNetwork trained(const Step& step, const data::ImageDataset& seen, const nn::Network& network,
                      std::int64_t number, ProgressSink& progress, const StopFlag& stop) const;
  nn::NetworkState beginning(const nn::Network& network, std::int64_t number, const Rng& rng) const;

  const Study& study_;
  const data::ImageDataset& dataset_;
  std::int64_t order_;
  std::unique_ptr<nn::Network> network_;  ///< of the step before
  std::vector<nn::NetworkState> states_;  ///< of the networks then
};

}  // namespace retort::experiments::continual
