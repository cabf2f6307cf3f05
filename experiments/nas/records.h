#pragma once
// What is kept of every training that is finished, so that none is done twice.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "experiments/nas/course.h"

namespace retort::experiments::nas {

/// One trained and tested network.
struct Trained {
  double accuracy = 0;      ///< percent; of one that diverged, what guessing reaches
  bool diverged = false;    ///< its loss was not finite
  double train_loss = 0;    ///< of the last epoch
  double seconds = 0;       ///< wall time on one thread, beside others
  double wall_seconds = 0;  ///< the same, divided among those that trained at once
};

/// trainings/<course>/<network>-seed<s>.json, each written aside and renamed. Safe to call from
/// several threads for different trainings.
class Records {
 public:
  explicit Records(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// None for a file that is missing, not understood or of another course.
  std::optional<Trained> find(const Course& course, const std::string& network,
                              std::uint64_t seed) const;
  /// @throws StorageError
  void keep(const Course& course, const std::string& network, std::uint64_t seed,
            const Trained& trained) const;
  std::filesystem::path file(const Course& course, const std::string& network,
                             std::uint64_t seed) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace retort::experiments::nas
