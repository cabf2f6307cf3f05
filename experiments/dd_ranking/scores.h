#pragma once
// DD-Ranking (NUS-HPC-AI-Lab 2025): what images carry beyond their labels and augmentation. All
// accuracies are fractions, 0 .. 1. The repository puts percentages into the exponential, which
// leaves the scale.

namespace retort::experiments::dd_ranking {

/// 100 (e^x - e^-1) / (e - e^-1): 0 at -1, 26.9 at 0, 100 at 1.
/// @param x -1 .. 1  @throws ConfigError outside
double score(double x);

/// Label robust score.
struct LabelAccuracies {
  double real_hard = 0;  ///< real data, labels are classes
  double set_hard = 0;   ///< the set, labels are classes
  double set = 0;        ///< the set, as its method wants it
  double random = 0;     ///< random real images, in the same way

  /// Hard label recovery: what is lost to real data.
  double hlr() const { return real_hard - set_hard; }
  /// Improvement over random.
  double ior() const { return set - random; }
  /// @param weight of ior, 0 .. 1; hlr has the rest
  double score(double weight) const;
};

/// Augmentation robust score.
struct AugmentationAccuracies {
  double set_augmented = 0;
  double random_augmented = 0;
  double set_plain = 0;
  double random_plain = 0;

  double ior_augmented() const { return set_augmented - random_augmented; }
  double ior_plain() const { return set_plain - random_plain; }
  /// @param weight of ior_augmented, 0 .. 1; ior_plain has the rest
  double score(double weight) const;
};

}  // namespace retort::experiments::dd_ranking
