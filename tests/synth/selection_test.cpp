#include "lib/synth/selection.h"

#include <algorithm>
#include <limits>
#include <set>

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;

namespace {

using Rows = std::vector<std::int64_t>;

/// Five points on a line around the mean 2: 0, 1, 2.5, 3, 3.5.
Tensor five_points(at::ScalarType dtype = at::kDouble) {
  const Tensor x = at::tensor({0.0, 1.0, 2.5, 3.0, 3.5}, at::kDouble);
  return at::stack({x, at::zeros_like(x)}, 1).to(dtype);
}

/// `clusters` well separated groups of `size` rows; row i belongs to group i % clusters.
Tensor grouped(std::int64_t clusters, std::int64_t size, std::int64_t dimensions) {
  Rng rng = Rng(41).child("groups");
  const Tensor centers = 20 * rng.normal_tensor({clusters, dimensions});
  return centers.repeat({size, 1}) + 0.1 * rng.normal_tensor({clusters * size, dimensions});
}

/// Herding as its formula says, all in float64.
Rows plain_herding(const Tensor& features, std::int64_t n) {
  const Tensor f = features.to(at::kDouble);
  const Tensor mean = f.mean(0);
  Tensor sum = at::zeros_like(mean);
  Rows chosen;
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t best = -1;
    double smallest = std::numeric_limits<double>::infinity();
    for (std::int64_t i = 0; i < f.size(0); ++i) {
      if (std::find(chosen.begin(), chosen.end(), i) != chosen.end()) continue;
      const double distance = (double(k + 1) * mean - sum - f[i]).norm().item<double>();
      if (distance < smallest) {
        best = i;
        smallest = distance;
      }
    }
    chosen.push_back(best);
    sum += f[best];
  }
  return chosen;
}

/// Greedy k-center as its definition says, all in float64.
Rows plain_k_center(const Tensor& features, std::int64_t n) {
  const Tensor f = features.to(at::kDouble);
  Rows centers{(f - f.mean(0)).norm(2, 1).argmin().item<std::int64_t>()};
  while (std::int64_t(centers.size()) < n) {
    const Tensor c = f.index_select(0, at::tensor(centers, at::kLong));
    centers.push_back(std::get<0>(at::cdist(f, c).min(1)).argmax().item<std::int64_t>());
  }
  return centers;
}

double inertia(const Tensor& features, const synth::KMeansResult& r) {
  const Tensor own = r.centroids.index_select(0, at::tensor(r.assignment, at::kLong));
  return (features - own).square().sum().item<double>();
}

}  // namespace

TEST_CASE("herding on five points picks what a hand calculation picks", "[synth][herding]") {
  // Mean 2. k=0: 2.5 is nearest to 2. k=1: target 4 - 2.5 = 1.5, nearest 1. k=2: target
  // 6 - 3.5 = 2.5, nearest unused 3. k=3: target 8 - 6.5 = 1.5, nearest unused 0. Then the last.
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    CHECK(synth::herding(five_points(dtype), 5) == Rows{2, 1, 3, 0, 4});
    CHECK(synth::herding(five_points(dtype), 1) == Rows{2});
  }
}

TEST_CASE("k-center on five points picks what a hand calculation picks", "[synth][k-center]") {
  // 2.5 is nearest to the mean 2; 0 is farthest from it; then 1 and 3.5 are both 1 away from their
  // nearest centre and the first wins; then 3.5, then 3.
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    CHECK(synth::k_center(five_points(dtype), 5) == Rows{2, 0, 1, 4, 3});
    CHECK(synth::k_center(five_points(dtype), 1) == Rows{2});
  }
}

TEST_CASE("fast selection equals the plain definition", "[synth][herding][k-center]") {
  // Features far from the origin: where float32 without centring would fail.
  const Tensor x = 100 + Rng(42).normal_tensor({150, 12});
  CHECK(synth::herding(x, 40) == plain_herding(x, 40));
  CHECK(synth::k_center(x, 40) == plain_k_center(x, 40));
  const Tensor x64 = x.to(at::kDouble);
  CHECK(synth::herding(x64, 150) == plain_herding(x64, 150));
  CHECK(synth::k_center(x64, 60) == plain_k_center(x64, 60));
}

TEST_CASE("selection never takes an image twice, copies or not", "[synth]") {
  const Tensor copies = at::ones({6, 3});
  for (const auto& chosen : {synth::herding(copies, 6), synth::k_center(copies, 6),
                             synth::k_means(copies, 6, Rng(1)).nearest}) {
    CHECK(std::set<std::int64_t>(chosen.begin(), chosen.end()).size() == 6);
  }
}

TEST_CASE("k-means finds obvious clusters", "[synth][k-means]") {
  constexpr std::int64_t kClusters = 6;
  const Tensor x = grouped(kClusters, 30, 8);
  // k-means++ may seed one group twice; over these seeds it must nearly always recover.
  int found = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto r = synth::k_means(x, kClusters, Rng(seed));
    REQUIRE(r.assignment.size() == 180);
    bool all = true;
    for (std::int64_t i = 0; i < 180; ++i) {
      all = all && r.assignment[std::size_t(i)] == r.assignment[std::size_t(i % kClusters)];
    }
    const std::set<std::int64_t> used(r.assignment.begin(), r.assignment.end());
    found += all && used.size() == kClusters;
  }
  CHECK(found >= 18);
}

TEST_CASE("k-means ends at means with every row at its nearest centroid", "[synth][k-means]") {
  const Tensor x = (5 + Rng(43).normal_tensor({200, 10})).to(at::kDouble);
  const auto r = synth::k_means(x, 12, Rng(3), 500);
  REQUIRE(r.centroids.sizes() == at::IntArrayRef({12, 10}));
  const Tensor assignment = at::tensor(r.assignment, at::kLong);
  CHECK(at::equal(assignment, at::cdist(x, r.centroids).argmin(1)));
  for (std::int64_t k = 0; k < 12; ++k) {
    const Tensor members = x.index_select(0, (assignment == k).nonzero().view({-1}));
    CHECK_CLOSE(r.centroids[k], members.mean(0), 1e-10);
  }
  CHECK(std::set<std::int64_t>(r.nearest.begin(), r.nearest.end()).size() == 12);
  // The first centroid has first choice of the rows.
  CHECK(r.nearest[0] == (x - r.centroids[0]).norm(2, 1).argmin().item<std::int64_t>());
}

TEST_CASE("Lloyd iterations do not make k-means worse", "[synth][k-means]") {
  const Tensor x = Rng(44).normal_tensor({300, 5});
  double before = std::numeric_limits<double>::infinity();
  for (const std::int64_t iterations : {1, 3, 10, 100}) {
    const double now = inertia(x, synth::k_means(x, 15, Rng(5), iterations));
    CHECK(now <= before * (1 + 1e-6));
    before = now;
  }
}

TEST_CASE("k-means depends on the seed and on nothing else", "[synth][k-means]") {
  const Tensor x = Rng(45).normal_tensor({100, 4});
  const auto a = synth::k_means(x, 7, Rng(9));
  const auto b = synth::k_means(x, 7, Rng(9));
  CHECK(a.nearest == b.nearest);
  CHECK(a.assignment == b.assignment);
  CHECK(at::equal(a.centroids, b.centroids));
  CHECK(synth::k_means(x, 7, Rng(10)).nearest != a.nearest);
}

TEST_CASE("no cluster of k-means stays empty, even with copies", "[synth][k-means]") {
  // Two places, four clusters: two of them can only be filled by repair.
  const Tensor x = at::cat({at::zeros({5, 2}), at::ones({5, 2})});
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto r = synth::k_means(x, 4, Rng(seed));
    CHECK(std::set<std::int64_t>(r.assignment.begin(), r.assignment.end()).size() == 4);
    CHECK(std::set<std::int64_t>(r.nearest.begin(), r.nearest.end()).size() == 4);
    CHECK(r.centroids.isfinite().all().item<bool>());
  }
}

TEST_CASE("k-means over more rows than one chunk holds", "[synth][k-means]") {
  const Tensor x = grouped(3, 2000, 3);
  const auto r = synth::k_means(x, 3, Rng(2));
  const Tensor nearest = at::cdist(x, r.centroids).argmin(1);
  CHECK(at::equal(at::tensor(r.assignment, at::kLong), nearest));
}

TEST_CASE("as many clusters as rows is every row", "[synth][k-means]") {
  const auto r = synth::k_means(five_points(), 5, Rng(1));
  CHECK(std::set<std::int64_t>(r.nearest.begin(), r.nearest.end()).size() == 5);
  CHECK(inertia(five_points(), r) < 1e-20);
}

TEST_CASE("wrong features are answered with what is wrong", "[synth][errors]") {
  const Tensor x = five_points();
  CHECK_THROWS_WITH_TEXT(synth::herding(x, 6), ConfigError, "herding: cannot choose 6 of 5 images");
  CHECK_THROWS_WITH_TEXT(synth::k_center(x, 0), ConfigError, "k-center: cannot choose 0 of 5");
  CHECK_THROWS_WITH_TEXT(synth::k_means(x, 6, Rng(1)), ConfigError,
                         "k-means: cannot choose 6 of 5");
  CHECK_THROWS_WITH_TEXT(synth::herding(x[0], 1), ConfigError,
                         "herding: features: expected shape [*, *], found [2]");
  const Tensor broken = at::full({3, 2}, std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_WITH_TEXT(synth::k_means(broken, 2, Rng(1)), NumericalError, "not finite");
}
