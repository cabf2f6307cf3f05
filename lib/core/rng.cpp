#include "lib/core/rng.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort {
namespace {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche.
std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : name) h = (h ^ std::uint8_t(c)) * 0x100000001b3ULL;
  return mix(h);
}

}  // namespace

Rng::Rng(std::uint64_t seed) : key_(mix(seed + kGolden)) {}

Rng Rng::child(std::string_view name) const {
  Rng rng(0);
  rng.key_ = mix(key_ ^ mix(hash_name(name) + kGolden));
  return rng;
}

Rng Rng::child(std::int64_t index) const {
  Rng rng(0);
  // The added constant keeps child(0) apart from the parent itself.
  rng.key_ = mix(key_ + kGolden * (2 * std::uint64_t(index) + 0x632be59bd9b4e019ULL));
  return rng;
}

Rng Rng::child(std::string_view name, std::int64_t index) const {
  return child(name).child(index);
}

std::uint64_t Rng::bits() {
  ++counter_;
  // Two rounds: streams whose keys differ in few bits stay unrelated.
  return mix(mix(key_ + kGolden * counter_) ^ key_);
}

double Rng::uniform() { return double(bits() >> 11) * 0x1.0p-53; }

double Rng::uniform(double low, double high) { return low + (high - low) * uniform(); }

std::int64_t Rng::integer(std::int64_t count) {
  if (count < 1) throw ConfigError(str("Rng::integer: count must be at least 1, found ", count));
  const auto n = std::uint64_t(count);
  // Rejection makes every value exactly equally likely.
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  std::uint64_t value = bits();
  while (value >= limit) value = bits();
  return std::int64_t(value % n);
}

double Rng::normal() {
  // Box-Muller without keeping the second value: the stream position stays the only state.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::vector<std::int64_t> Rng::permutation(std::int64_t count) { return sample(count, count); }

std::vector<std::int64_t> Rng::sample(std::int64_t count, std::int64_t take) {
  if (take > count || take < 0) {
    throw ConfigError(str("Rng::sample: cannot take ", take, " of ", count, " without replacement"));
  }
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), std::int64_t{0});
  for (std::int64_t i = 0; i < take; ++i) {
    std::swap(values[std::size_t(i)], values[std::size_t(i + integer(count - i))]);
  }
  values.resize(std::size_t(take));
  return values;
}

Tensor Rng::uniform_tensor(at::IntArrayRef shape, double low, double high) {
  Tensor out = at::empty(shape, at::kFloat);
  auto* p = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) p[i] = float(uniform(low, high));
  return out;
}

Tensor Rng::normal_tensor(at::IntArrayRef shape) {
  Tensor out = at::empty(shape, at::kFloat);
  auto* p = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) p[i] = float(normal());
  return out;
}

Tensor Rng::permutation_tensor(std::int64_t count) {
  const auto values = permutation(count);
  return at::tensor(values, at::kLong);
}

}  // namespace retort
