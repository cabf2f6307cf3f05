#pragma once
// Who recovers which batch, and how much each says.

#include <cstdint>
#include <optional>
#include <utility>
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
  /// Without priors that somebody gave all count alike, until set_priors.
  /// @throws ConfigError for a number of teachers, priors or statistics that the options do not fit
  Voters(const RecoverOptions& options, const std::vector<train::Member>& teachers,
         std::int64_t ipc, const Rng& rng);

  /// Of a batch in an iteration.
  std::vector<Voter> of(const Batch& batch, std::int64_t iteration) const;
  /// All teachers, each as if it were alone.
  std::vector<Voter> everyone(const Batch& batch) const;
  /// @param scales of the statistics, one per teacher
  void set_scales(std::vector<double> scales) { scales_ = std::move(scales); }
  /// Whether priors decide and nobody gave them.
  bool lacks_priors() const { return lacks_priors_; }
  /// @param priors percent, one per teacher; decides pairs too
  void set_priors(std::vector<double> priors);
  /// percent, one per teacher; empty where none says more than another
  const std::vector<double>& priors() const { return priors_; }

 private:
  Voter voter(std::size_t teacher, double weight, const Batch& batch) const;

  enum class Kind { Single, Pairs, All, RoundRobin, OneEach };

  Kind kind_;
  const std::vector<train::Member>& teachers_;
  bool by_class_;
  std::int64_t ipc_;
  Rng rng_;
  bool lacks_priors_ = false;
  std::vector<double> priors_;
  double temperature_;
  std::optional<Pair> given_pair_;
  std::vector<Pair> pairs_;     ///< per place in a class
  std::vector<double> scales_;  ///< of statistics; empty: 1
};

}  // namespace retort::methods::decoupled
