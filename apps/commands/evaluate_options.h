#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/commands/attack_options.h"
#include "apps/commands/baselines.h"
#include "apps/commands/output_file.h"
#include "lib/config/options.h"
#include "lib/eval/protocol.h"
#include "lib/nn/network.h"

namespace retort::commands {

/// Networks of one architecture that are trained on everything that is judged.
struct NetworkRuns {
  std::string network;  ///< canonical name
  std::vector<std::uint64_t> seeds;
};

/// What `retort evaluate` does with a set.
struct EvaluateOptions {
  std::string protocol = "dsa-300";
  std::vector<std::string> protocol_changes;
  std::string teachers;
  std::vector<std::string> teacher_names;
  bool no_hard = false;
  AttackOptions attacks;
  std::vector<std::string> nets;
  std::string cross_arch;
  std::vector<std::string> without;
  std::int64_t runs = 0;
  std::vector<std::string> runs_of;
  std::vector<std::int64_t> seeds;
  std::vector<std::string> augment;
  std::vector<std::string> baselines;
  std::int64_t baseline_seed = 0;
  double real_accuracy = -1;
  double hold_out = 0;
  OutputFile out;

  void describe(config::OptionTable& table);

  /// @throws ConfigError for one that is none, or named twice
  std::vector<Baseline> parsed_baselines() const;
  /// @throws ConfigError for --runs beside --seeds, and for seeds that stand twice
  std::vector<std::uint64_t> seeds_under(const eval::Protocol& protocol) const;
  /// What can be said wrongly of networks before the data is known. @throws ConfigError
  void check_networks() const;
  /// @throws ConfigError for augmentations that are none, named twice, or not for this protocol
  void check_augmentations(const eval::Protocol& protocol) const;
  /// That nothing is asked for that has no meaning where the protocol ends in a score, or has one
  /// only there. @throws ConfigError
  void check_ranking(const eval::Protocol& protocol) const;
  /// Those of the pool, then those named, each once; without either the protocol's.
  /// @throws ConfigError for one that does not fit the images, and for --runs-of of none of them
  std::vector<NetworkRuns> networks_under(const eval::Protocol& protocol, nn::ImageShape shape,
                                          std::int64_t classes) const;
  /// "dc", "dc without VGG-11"
  std::string pool_text() const;

 private:
  std::vector<std::string> pool_networks(nn::ImageShape shape) const;
};

}  // namespace retort::commands
