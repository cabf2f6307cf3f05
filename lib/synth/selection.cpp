#include "lib/synth/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::synth {
namespace {

constexpr double kUsed = std::numeric_limits<double>::infinity();

/// Rows relative to their mean. Distances do not change, but |a|^2 - 2ab + |b|^2 cancels less,
/// which is what makes float32 good enough.
struct Centred {
  Tensor rows;   ///< [N,D], float32 or float64
  Tensor norms;  ///< [N] squared, same dtype

  std::int64_t size() const { return rows.size(0); }
};

Centred centred(const Tensor& features, std::int64_t n, const char* rule) {
  expect_shape(features, {-1, -1}, str(rule, ": features"));
  if (n < 1 || n > features.size(0)) {
    throw ConfigError(
        str(rule, ": cannot choose ", n, " of ", features.size(0), " images; at least 1"));
  }
  const bool wide = features.scalar_type() == at::kDouble;
  const Tensor x = features.detach().to(at::kCPU, wide ? at::kDouble : at::kFloat);
  const Tensor rows = (x - x.mean(0, true, at::kDouble).to(x.dtype())).contiguous();
  if (!rows.isfinite().all().item<bool>()) {
    throw NumericalError(str(rule, ": the features hold a value that is not finite"));
  }
  return {rows, rows.square().sum(1)};
}

/// [N] squared distances of all rows to row `i`; exactly 0 at i.
Tensor distances_to(const Centred& x, std::int64_t i) {
  Tensor d = (x.norms + x.norms[i] - 2 * x.rows.mv(x.rows[i])).clamp_min_(0);
  d[i].zero_();
  return d;
}

/// The row with the smallest score; of the few best the one nearest to `point` in float64, so that
/// the rounding of the scores does not decide.
/// @param scores [N], infinity for rows that may not be chosen
std::int64_t nearest_row(const Centred& x, const Tensor& scores, const Tensor& point) {
  const std::int64_t few = std::min<std::int64_t>(8, x.size());
  const Tensor candidates = std::get<1>(scores.topk(few, 0, /*largest=*/false)).contiguous();
  std::int64_t best = -1;
  double best_distance = kUsed;
  for (std::int64_t k = 0; k < few; ++k) {
    const auto i = candidates[k].item<std::int64_t>();
    if (std::isinf(scores[i].item<double>())) continue;
    const double distance = (x.rows[i].to(at::kDouble) - point).square().sum().item<double>();
    if (distance < best_distance || (distance == best_distance && i < best)) {
      best = i;
      best_distance = distance;
    }
  }
  return best;
}

/// Squared distances of rows to centroids, a chunk of rows at a time.
struct Assignment {
  Tensor cluster;   ///< int64 [N]
  Tensor distance;  ///< [N] squared, to the own centroid
};

Tensor chunk_distances(const Centred& x, const Tensor& centroids, const Tensor& centroid_norms,
                       std::int64_t first, std::int64_t last) {
  return (x.norms.slice(0, first, last).unsqueeze(1) + centroid_norms)
      .addmm_(x.rows.slice(0, first, last), centroids.t(), /*beta=*/1, /*alpha=*/-2);
}

constexpr std::int64_t kChunk = 4096;

Assignment assign(const Centred& x, const Tensor& centroids) {
  const Tensor norms = centroids.square().sum(1);
  Tensors clusters;
  Tensors distances;
  for (std::int64_t first = 0; first < x.size(); first += kChunk) {
    const std::int64_t last = std::min(first + kChunk, x.size());
    auto [distance, cluster] = chunk_distances(x, centroids, norms, first, last).min(1);
    distances.push_back(distance.clamp_min_(0));
    clusters.push_back(cluster);
  }
  return {at::cat(clusters), at::cat(distances)};
}

/// k-means++ (Arthur and Vassilvitskii 2007): every next seed with probability proportional to its
/// squared distance from the seeds so far.
std::vector<std::int64_t> seed_rows(const Centred& x, std::int64_t n, Rng& rng) {
  std::vector<std::int64_t> seeds{rng.integer(x.size())};
  Tensor distance = distances_to(x, seeds[0]);
  while (std::int64_t(seeds.size()) < n) {
    const Tensor cumulative = distance.cumsum(0, at::kDouble).contiguous();
    const auto* c = cumulative.const_data_ptr<double>();
    const double total = c[x.size() - 1];
    std::int64_t next = 0;
    if (total > 0) {
      // The first row whose cumulative weight exceeds the draw: rows of weight zero never do. The
      // product may round up to the total, which no row exceeds.
      const double draw = std::min(rng.uniform() * total, std::nextafter(total, 0.0));
      next = std::upper_bound(c, c + x.size(), draw) - c;
    } else {
      // Only copies of the seeds are left: the first unused row.
      while (std::find(seeds.begin(), seeds.end(), next) != seeds.end()) ++next;
    }
    seeds.push_back(next);
    distance = at::minimum(distance, distances_to(x, next));
  }
  return seeds;
}

/// Gives every empty cluster the row farthest from its centroid among clusters that keep one.
void repair_empty(Assignment& a, std::int64_t n) {
  auto* cluster = a.cluster.data_ptr<std::int64_t>();
  const Tensor wide = a.distance.to(at::kDouble).clone();
  auto* distance = wide.data_ptr<double>();
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < a.cluster.numel(); ++i) ++sizes[std::size_t(cluster[i])];
  for (std::int64_t empty = 0; empty < n; ++empty) {
    if (sizes[std::size_t(empty)] > 0) continue;
    std::int64_t farthest = -1;
    for (std::int64_t i = 0; i < a.cluster.numel(); ++i) {
      if (sizes[std::size_t(cluster[i])] < 2) continue;
      if (farthest < 0 || distance[i] > distance[farthest]) farthest = i;
    }
    --sizes[std::size_t(cluster[farthest])];
    ++sizes[std::size_t(empty)];
    cluster[farthest] = empty;
    distance[farthest] = 0;
  }
}

/// [n,D] mean of each cluster's rows; none is empty.
Tensor means_of(const Centred& x, const Tensor& cluster, std::int64_t n) {
  const Tensor members = at::one_hot(cluster, n).to(x.rows.dtype());  // [N,n]
  return members.t().mm(x.rows) / members.sum(0).unsqueeze(1);
}

/// Per centroid the nearest row that no earlier centroid has taken.
std::vector<std::int64_t> distinct_nearest(const Centred& x, const Tensor& centroids) {
  const Tensor norms = centroids.square().sum(1);
  Tensor used = at::zeros({x.size()}, x.rows.options());
  std::vector<std::int64_t> nearest;
  for (std::int64_t k = 0; k < centroids.size(0); ++k) {
    const Tensor scores = x.norms - 2 * x.rows.mv(centroids[k]) + used;
    nearest.push_back(nearest_row(x, scores, centroids[k].to(at::kDouble)));
    used[nearest.back()] = kUsed;
  }
  return nearest;
}

}  // namespace

std::vector<std::int64_t> herding(const Tensor& features, std::int64_t n) {
  const at::NoGradGuard no_gradients;
  const Centred x = centred(features, n, "herding");
  // With g = f - mu and G = sum of the chosen g: ||(k+1) mu - sum - f|| = ||g + G||.
  Tensor sum = at::zeros({x.rows.size(1)}, at::kDouble);
  Tensor used = at::zeros({x.size()}, x.rows.options());
  std::vector<std::int64_t> chosen;
  for (std::int64_t k = 0; k < n; ++k) {
    const Tensor scores = x.norms + 2 * x.rows.mv(sum.to(x.rows.dtype())) + used;
    const std::int64_t next = nearest_row(x, scores, -sum);
    chosen.push_back(next);
    sum += x.rows[next].to(at::kDouble);
    used[next] = kUsed;
  }
  return chosen;
}

std::vector<std::int64_t> k_center(const Tensor& features, std::int64_t n) {
  const at::NoGradGuard no_gradients;
  const Centred x = centred(features, n, "k-center");
  const Tensor mean = at::zeros({x.rows.size(1)}, at::kDouble);
  std::vector<std::int64_t> centers{nearest_row(x, x.norms, mean)};
  Tensor distance = distances_to(x, centers[0]);
  distance[centers[0]] = -1;  // below the distance of copies of a centre: never chosen again
  while (std::int64_t(centers.size()) < n) {
    const auto next = distance.argmax().item<std::int64_t>();
    centers.push_back(next);
    distance = at::minimum(distance, distances_to(x, next));
    distance[next] = -1;
  }
  return centers;
}

KMeansResult k_means(const Tensor& features, std::int64_t n, Rng rng, std::int64_t max_iterations) {
  const at::NoGradGuard no_gradients;
  const Centred x = centred(features, n, "k-means");
  Tensor centroids = x.rows.index_select(0, at::tensor(seed_rows(x, n, rng), at::kLong));
  Tensor assignment;
  for (std::int64_t i = 0; i < std::max<std::int64_t>(1, max_iterations); ++i) {
    Assignment next = assign(x, centroids);
    repair_empty(next, n);
    if (assignment.defined() && at::equal(assignment, next.cluster)) break;
    assignment = next.cluster;
    centroids = means_of(x, assignment, n);
  }
  KMeansResult result;
  result.nearest = distinct_nearest(x, centroids);
  const auto* cluster = assignment.const_data_ptr<std::int64_t>();
  result.assignment.assign(cluster, cluster + assignment.numel());
  const Tensor mean = features.detach().to(at::kCPU).mean(0, true, at::kDouble);
  result.centroids = (centroids.to(at::kDouble) + mean).to(x.rows.dtype());
  return result;
}

}  // namespace retort::synth
