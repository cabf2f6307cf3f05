#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/storage/expert_file.h"
#include "methods/trajectory_matching/schedule.h"

namespace retort::methods::trajectory_matching {

/// The piece of one expert that an iteration follows.
struct Segment {
  std::int64_t iteration = 0;
  std::int64_t expert = 0;
  std::int64_t start_epoch = 0;
  Tensor start;     ///< [P] float32
  Tensor target;    ///< [P], some epochs later
  Tensors between;  ///< [P] of every epoch between the two, if they were asked for
};

struct SegmentOptions {
  StartEpochs starts;
  std::int64_t epochs = 3;  ///< from start to target
  bool between = false;
};

/// Reads the segment of any iteration; what is chosen depends on the seed and the iteration alone.
class SegmentReader {
 public:
  /// @throws ConfigError when the file lacks an epoch that may be asked for, or none can be a start
  SegmentReader(std::shared_ptr<const storage::ExpertReader> experts, SegmentOptions options,
                const Rng& rng);

  /// From any thread.  @throws StorageError for damaged snapshots
  Segment read(std::int64_t iteration) const;

 private:
  Tensor at_epoch(std::int64_t expert, std::int64_t epoch) const;
  void expect_epochs() const;

  std::shared_ptr<const storage::ExpertReader> experts_;
  SegmentOptions options_;
  Rng rng_;
  std::map<std::int64_t, std::int64_t> snapshots_;  // by epoch
};

}  // namespace retort::methods::trajectory_matching
