#pragma once
// Who recovers which batch, and how much each says.

#include <cstdint>
#include <vector>

#include "lib/core/rng.h"
#include "lib/train/committee.h"
#include "methods/decoupled/committee.h"
#include "methods/decoupled/layout.h"
#include "methods/decoupled/recover_loss.h"
#include "methods/decoupled/recover_options.h"

namespace retort::methods::decoupled {

/// Teachers of one run with their offices. The teachers must outlive it.
class Voters {
 public:
  /// @throws ConfigError for a number of teachers, priors or statistics that the options do not fit
  Voters(const RecoverOptions& options, const std::vector<train::Member>& teachers,
         std::int64_t ipc, const Rng& rng);

  /// Of a batch in an iteration.
  std::vector<Voter> of(const Batch& batch, std::int64_t iteration) const;
  /// percent, one per teacher; empty where none says more than another
  const std::vector<double>& priors() const { return priors_; }

 private:
  void choose_pairs(const RecoverOptions& options, std::int64_t ipc, const Rng& rng);
  Voter voter(std::size_t teacher, double weight, const Batch& batch) const;

  enum class Kind { Single, Pairs, All, RoundRobin, OneEach };

  Kind kind_;
  const std::vector<train::Member>& teachers_;
  bool by_class_;
  std::vector<double> priors_;
  double temperature_;
  std::vector<Pair> pairs_;  ///< per place in a class
};

/// Priors that nobody gave: the accuracies of the teachers.
/// @throws ConfigError naming one that was not tested
std::vector<double> accuracies(const std::vector<train::Member>& teachers);

}  // namespace retort::methods::decoupled
