#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "lib/data/preprocessing.h"

namespace retort::datasets {

/// Computed preprocessing in files named after the dataset's SHA-256. A file that cannot be read or
/// is not of images of this shape (and, for ZCA, of this eps) is computed again and replaced, with
/// a warning.
class StatisticsCache {
 public:
  /// @param folder empty: nothing is kept
  StatisticsCache(std::filesystem::path folder, std::string dataset_sha256, data::ImageShape shape);

  data::Preprocessing mean_std(const std::function<data::Preprocessing()>& compute) const;
  data::Preprocessing zca(double eps, const std::function<data::ZcaMatrices()>& compute) const;

 private:
  std::filesystem::path folder_;
  std::string sha256_;
  data::ImageShape shape_;
};

}  // namespace retort::datasets
