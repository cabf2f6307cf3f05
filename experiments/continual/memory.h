#pragma once

#include <utility>

#include "experiments/continual/class_steps.h"
#include "lib/data/synthetic_set.h"

namespace retort::experiments::continual {

/// What is left of the classes seen so far, and all that networks are trained on. Sets are put
/// behind those that are there and never change.
class Memory {
 public:
  /// @param preprocessing that its images have; those of sets with another one are converted
  explicit Memory(data::Preprocessing preprocessing) : preprocessing_(std::move(preprocessing)) {}

  /// @param set of one step; its class i is class `classes[i]` of the whole dataset
  /// @throws DataError if a label of the set is none of them
  void add(const data::SyntheticSet& set, const Classes& classes);

  /// Decoded, with labels of the whole dataset; in the order of the steps.
  const data::LabelledImages& images() const { return images_; }
  std::int64_t size() const;    ///< decoded images
  std::int64_t stored() const;  ///< stored ones

 private:
  data::Preprocessing preprocessing_;
  data::LabelledImages images_;
  std::int64_t stored_ = 0;
};

}  // namespace retort::experiments::continual
