// What is drawn: order, bounds and distributions, each over 1e5 draws.

#include <cmath>
#include <map>

#include "lib/augment/augment.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"

using namespace retort;
using augment::Draw;
using augment::Operation;
using augment::Sharing;
using augment::Strategy;

namespace {

constexpr std::int64_t kDraws = 100000;
const std::string kAll = "color_crop_cutout_flip_scale_rotate";

Draw many(const std::string& operations, std::int64_t height = 28, std::int64_t width = 32) {
  Rng rng = Rng(11).child(operations);
  return augment::draw(Strategy::parse(operations), Sharing::PerSample, kDraws, height, width, rng);
}

/// Every bin of [low, high) holds its share to 4.5 sigma, and nothing lies outside.
void check_uniform(const std::vector<double>& values, double low, double high) {
  constexpr std::size_t kBins = 20;
  REQUIRE(values.size() == std::size_t(kDraws));
  std::vector<double> bins(kBins);
  for (const double v : values) {
    REQUIRE(v >= low - 1e-12);
    REQUIRE(v < high);
    bins[std::min(kBins - 1, std::size_t(std::max(0.0, (v - low) / (high - low) * kBins)))] += 1;
  }
  const double share = 1.0 / kBins;
  const double sigma = std::sqrt(kDraws * share * (1 - share));
  for (const double count : bins) CHECK(std::abs(count - kDraws * share) < 4.5 * sigma);
}

/// All integers low .. high occur equally often.
void check_uniform(const std::vector<std::int64_t>& values, std::int64_t low, std::int64_t high) {
  REQUIRE(values.size() == std::size_t(kDraws));
  std::map<std::int64_t, double> counts;
  for (const auto v : values) counts[v] += 1;
  CHECK(counts.begin()->first == low);
  CHECK(counts.rbegin()->first == high);
  const double share = 1.0 / double(high - low + 1);
  const double sigma = std::sqrt(kDraws * share * (1 - share));
  for (const auto& [value, count] : counts) {
    INFO(value);
    CHECK(std::abs(count - kDraws * share) < 4.5 * sigma);
  }
}

/// Independent draws of two parameters are uncorrelated.
template <class Value>
double correlation(const std::vector<Value>& a, const std::vector<Value>& b) {
  const Tensor x = at::stack({at::tensor(a, at::kDouble), at::tensor(b, at::kDouble)});
  return at::corrcoef(x)[0][1].item<double>();
}

/// "flip_color": what is applied, in order.
std::string sequence(const Draw& d) {
  Strategy applied;
  applied.operations = d.sequence;
  return applied.text();
}

constexpr double kUncorrelated = 4.5 / 316.2;  // 4.5 sigma of 1e5 pairs

}  // namespace

TEST_CASE("colour draws three independent uniforms", "[augment][draws]") {
  const Draw d = many("color");
  check_uniform(d.brightness, 0, 1);
  check_uniform(d.saturation, 0, 1);
  check_uniform(d.contrast, 0, 1);
  CHECK(std::abs(correlation(d.brightness, d.saturation)) < kUncorrelated);
  CHECK(std::abs(correlation(d.saturation, d.contrast)) < kUncorrelated);
}

TEST_CASE("crop shifts are uniform integers up to an eighth of each side", "[augment][draws]") {
  const Draw d = many("crop", 28, 64);
  check_uniform(d.shift_row, -4, 4);  // floor(3.5 + 0.5)
  check_uniform(d.shift_col, -8, 8);
  CHECK(std::abs(correlation(d.shift_row, d.shift_col)) < kUncorrelated);
}

TEST_CASE("cutout centres reach one further when the erased side is even", "[augment][draws]") {
  const Draw even = many("cutout", 28, 32);
  check_uniform(even.center_row, 0, 28);
  check_uniform(even.center_col, 0, 32);
  const Draw odd = many("cutout", 9, 13);  // erased sides 5 and 7
  check_uniform(odd.center_row, 0, 8);
  check_uniform(odd.center_col, 0, 12);
  CHECK(std::abs(correlation(even.center_row, even.center_col)) < kUncorrelated);
}

TEST_CASE("half of the samples are mirrored", "[augment][draws]") {
  const Draw d = many("flip");
  check_uniform(d.flip, 0, 1);
}

TEST_CASE("scale factors are uniform in their range, both axes independent", "[augment][draws]") {
  const Draw d = many("scale");
  check_uniform(d.scale_x, 1 / 1.2, 1.2);
  check_uniform(d.scale_y, 1 / 1.2, 1.2);
  CHECK(std::abs(correlation(d.scale_x, d.scale_y)) < kUncorrelated);
}

TEST_CASE("angles are uniform in +-15 degrees", "[augment][draws]") {
  const double largest = 15 * 3.14159265358979 / 180;
  check_uniform(many("rotate").angle, -largest, largest);
}

TEST_CASE("every operation of the list is equally likely", "[augment][draws]") {
  for (const bool flip_first : {false, true}) {
    Strategy s = Strategy::parse(kAll);
    s.flip_first = flip_first;
    std::map<Operation, double> counts;
    Rng rng = Rng(12).child("choice");
    for (std::int64_t i = 0; i < kDraws; ++i) {
      const Draw d = augment::draw(s, Sharing::Siamese, 1, 32, 32, rng);
      REQUIRE(d.sequence.size() == (flip_first ? 2 : 1));
      if (flip_first) REQUIRE(sequence(d).starts_with("flip_"));
      counts[d.sequence.back()] += 1;
    }
    REQUIRE(counts.size() == (flip_first ? 5 : 6));
    const double share = 1.0 / double(counts.size());
    const double sigma = std::sqrt(kDraws * share * (1 - share));
    for (const auto& [op, count] : counts) {
      INFO(augment::operation_name(op));
      CHECK(std::abs(count - kDraws * share) < 4.5 * sigma);
    }
  }
}

TEST_CASE("Siamese parameters are distributed like those per sample", "[augment][draws]") {
  const Strategy s = Strategy::parse("crop");
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < kDraws; ++i) {
    Rng rng = Rng(13).child("augment", i);  // a stream per iteration, as in distillation
    const Draw d = augment::draw(s, Sharing::Siamese, 64, 32, 32, rng);
    REQUIRE(d.shift_row.size() == 1);
    rows.push_back(d.shift_row[0]);
  }
  check_uniform(rows, -4, 4);
}

TEST_CASE("the combined mode applies flip, colour, one of the rest and cutout",
          "[augment][draws]") {
  Strategy s = Strategy::parse(kAll);
  s.combined = true;
  std::map<Operation, std::int64_t> third;
  Rng rng(14);
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const Draw d = augment::draw(s, Sharing::Siamese, 1, 32, 32, rng);
    REQUIRE(d.sequence.size() == 4);
    REQUIRE(d.sequence[0] == Operation::Flip);
    REQUIRE(d.sequence[1] == Operation::Color);
    REQUIRE(d.sequence[3] == Operation::Cutout);
    ++third[d.sequence[2]];
  }
  REQUIRE(third.size() == 3);
  for (const auto op : {Operation::Crop, Operation::Scale, Operation::Rotate}) {
    CHECK(std::abs(double(third[op]) - kDraws / 3.0) < 4.5 * std::sqrt(kDraws / 3.0 * 2 / 3));
  }
  s = Strategy::parse("color_crop_cutout");
  s.combined = true;
  const Draw d = augment::draw(s, Sharing::Siamese, 1, 32, 32, rng);
  CHECK(sequence(d) == "color_crop_cutout");
}

TEST_CASE("flip alone in flip-first mode is still a coin, and nothing else", "[augment][draws]") {
  Strategy s = Strategy::parse("flip");
  s.flip_first = true;
  Rng rng(15);
  const Draw d = augment::draw(s, Sharing::PerSample, 3, 8, 8, rng);
  CHECK(sequence(d) == "flip");
  CHECK(d.flip.size() == 3);
  CHECK(rng.position() == 3);
}

TEST_CASE("draws come in the documented order", "[augment][draws]") {
  Strategy s = Strategy::parse("color_scale_cutout_flip");
  s.combined = true;
  Rng rng = Rng(16).child("order");
  Rng expected = Rng(16).child("order");
  const Draw d = augment::draw(s, Sharing::PerSample, 2, 10, 9, rng);
  const auto pair = [&] {
    const double first = expected.uniform();
    return std::vector<double>{first, expected.uniform()};
  };
  const auto integers = [&](std::int64_t count) {
    const auto first = expected.integer(count);
    return std::vector<std::int64_t>{first, expected.integer(count)};
  };
  CHECK(d.flip == pair());
  CHECK(d.brightness == pair());
  CHECK(d.saturation == pair());
  CHECK(d.contrast == pair());
  CHECK(expected.integer(1) == 0);
  for (const auto* drawn : {&d.scale_x, &d.scale_y}) {
    const auto u = pair();
    CHECK((*drawn)[0] == augment::scale_factor(s, u[0]));
    CHECK((*drawn)[1] == augment::scale_factor(s, u[1]));
  }
  CHECK(d.center_row == integers(10));  // 5 of 10 rows: odd
  CHECK(d.center_col == integers(9));   // 5 of 9 columns
  CHECK(rng.position() == expected.position());
}
