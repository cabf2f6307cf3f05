#include "datasets/statistics_cache.h"

#include <optional>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"

namespace retort::datasets {
namespace {

namespace fs = std::filesystem;

data::Preprocessing read_mean_std(const fs::path& path, std::int64_t channels) {
  const storage::H5Reader file(path);
  auto result = data::Preprocessing::mean_std(file.doubles_attribute("", "mean"),
                                              file.doubles_attribute("", "std"));
  const auto found = std::int64_t(result.mean().size());
  if (found != channels) {
    throw StorageError(str("expected statistics of ", channels, " channels, found ", found));
  }
  return result;
}

data::Preprocessing read_zca(const fs::path& path, std::int64_t dimensions, double eps) {
  const storage::H5Reader file(path);
  const data::ZcaMatrices matrices{.eps = file.double_attribute("", "eps"),
                                   .mean = file.tensor("mean"),
                                   .whiten = file.tensor("whiten"),
                                   .inverse = file.tensor("inverse")};
  expect_shape(matrices.mean, {dimensions}, "mean");
  if (matrices.eps != eps) {
    throw StorageError(str("expected matrices of eps ", eps, ", found ", matrices.eps));
  }
  return data::Preprocessing::zca(matrices);
}

// A cache is a convenience: whatever is wrong with it must not stop the run.
template <class Read>
std::optional<data::Preprocessing> try_read(const fs::path& path, const Read& read) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  try {
    return read();
  } catch (const Error& e) {
    log::warn(str("cached statistics '", path.string(), "' are computed again: ", e.what()));
    return std::nullopt;
  }
}

template <class Write>
void try_write(const fs::path& path, const Write& write) {
  try {
    storage::H5Writer::create(path, write);
  } catch (const Error& e) {
    log::warn(str("statistics could not be kept in '", path.string(), "': ", e.what()));
  }
}

}  // namespace

StatisticsCache::StatisticsCache(fs::path folder, std::string dataset_sha256,
                                 data::ImageShape shape)
    : folder_(std::move(folder)), sha256_(std::move(dataset_sha256)), shape_(shape) {}

data::Preprocessing StatisticsCache::mean_std(
    const std::function<data::Preprocessing()>& compute) const {
  if (folder_.empty()) return compute();
  const fs::path path = folder_ / ("mean-std-" + sha256_ + ".h5");
  if (auto cached = try_read(path, [&] { return read_mean_std(path, shape_.channels); }))
    return *cached;
  auto fresh = compute();
  try_write(path, [&](storage::H5Writer& file) {
    file.attribute("", "mean", fresh.mean());
    file.attribute("", "std", fresh.std());
  });
  return fresh;
}

data::Preprocessing StatisticsCache::zca(double eps,
                                         const std::function<data::ZcaMatrices()>& compute) const {
  if (folder_.empty()) return data::Preprocessing::zca(compute());
  const fs::path path = folder_ / str("zca-", eps, "-", sha256_, ".h5");
  if (auto cached = try_read(path, [&] { return read_zca(path, shape_.numel(), eps); }))
    return *cached;
  auto fresh = data::Preprocessing::zca(compute());
  const data::ZcaMatrices& matrices = fresh.zca_matrices();
  try_write(path, [&](storage::H5Writer& file) {
    file.attribute("", "eps", matrices.eps);
    file.tensor("mean", matrices.mean);
    file.tensor("whiten", matrices.whiten);
    file.tensor("inverse", matrices.inverse);
  });
  return fresh;
}

}  // namespace retort::datasets
