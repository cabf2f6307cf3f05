// AutoAugment's policies: which pairs are drawn, how often and how strong, against torchvision's.
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "lib/augment/pixel_recipes.h"
#include "lib/core/files.h"
#include "tests/support/catch.h"
#include "tests/support/pixel_operations.h"

using namespace retort;
using nlohmann::json;
using Op = augment::PixelOperation;

namespace {

/// Operations and magnitudes in the order of application, magnitudes in thousandths.
using Drawn = std::vector<std::pair<Op, std::int64_t>>;

std::int64_t thousandths(double magnitude) { return std::llround(1000 * magnitude); }

/// Every outcome of a draw with its probability: of a pair both, one or none, either sign.
std::map<Drawn, double> expected_of(const json& policy) {
  std::map<Drawn, double> outcomes;
  for (const json& pair : policy.at("pairs")) {
    std::map<Drawn, double> so_far = {{{}, 1.0 / double(policy.at("pairs").size())}};
    for (const json& step : pair) {
      const Op operation = testing::pixel_operations().at(step[0]);
      const double taken = step[1].get<double>();
      const double magnitude = step[2].get<double>();
      std::map<Drawn, double> next;
      for (const auto& [drawn, probability] : so_far) {
        next[drawn] += probability * (1 - taken);
        for (const double sign : {1.0, -1.0}) {
          Drawn longer = drawn;
          longer.emplace_back(operation, thousandths(step[3] ? sign * magnitude : magnitude));
          next[longer] += probability * taken / 2;
        }
      }
      so_far = next;
    }
    for (const auto& [drawn, probability] : so_far) outcomes[drawn] += probability;
  }
  return outcomes;
}

}  // namespace

TEST_CASE("AutoAugment draws the pairs of torchvision's policies, as often and as strong",
          "[augment][pixels][draws]") {
  constexpr int kDraws = 200'000;
  const json policies = json::parse(read_text(RETORT_TEST_DATA "/golden/pixel_policies.json"));
  for (const auto& [name, policy] : policies.items()) {
    INFO(name);
    const std::map<Drawn, double> expected = expected_of(policy);
    std::map<Drawn, double> counts;
    Rng rng(11);
    for (int i = 0; i < kDraws; ++i) {
      const auto drawn = augment::draw(augment::PixelRecipe::parse("autoaugment"),
                                       policy.at("height"), policy.at("width"), rng);
      Drawn steps;
      for (const auto& step : drawn.steps) {
        steps.emplace_back(step.operation, thousandths(step.magnitude));
      }
      counts[steps] += 1;
    }
    double chi_square = 0;
    double outcomes = 0;
    for (const auto& [drawn, probability] : expected) {
      if (probability == 0) continue;
      const double mean = probability * kDraws;
      chi_square += std::pow(counts[drawn] - mean, 2) / mean;
      outcomes += 1;
    }
    for (const auto& [drawn, count] : counts) {
      INFO("an outcome that no pair has, drawn " << count << " times");
      CHECK((count == 0 || (expected.count(drawn) > 0 && expected.at(drawn) > 0)));
    }
    // Mean outcomes - 1, variance twice that: five standard deviations above.
    CHECK(chi_square < outcomes - 1 + 5 * std::sqrt(2 * (outcomes - 1)));
  }
}
