#include "apps/commands/attack_options.h"

#include <charconv>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

/// NaN for what is no number.
double number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : std::nan("");
}

/// "8/255" or "0.03"
double radius_of(const std::string& text) {
  const auto slash = text.find('/');
  const double radius = slash == std::string::npos
                            ? number(text)
                            : number(text.substr(0, slash)) / number(text.substr(slash + 1));
  if (radius >= 0 && radius <= 1) return radius;
  throw ConfigError(str("option 'radius': expected fractions or decimals in 0 .. 1, as in 8/255, ",
                        "found '", text, "'"));
}

}  // namespace

void AttackOptions::describe(config::OptionTable& table) {
  using namespace config;
  table.add("attack", attacks, "test every network under these attacks as well: fgsm, pgd",
            any_text());
  table
      .add("radius", radii, "of attacks, largest change of a pixel, which lies in 0 .. 1",
           any_text())
      .not_with("attack", {""});
  table.add("attack-steps", steps, "of pgd", in_range(std::int64_t{1}, std::int64_t{10000}))
      .not_with("attack", {"", "fgsm"});
  table
      .add("attack-restarts", restarts, "of pgd, from random starts; one success is enough",
           in_range(std::int64_t{1}, std::int64_t{1000}))
      .not_with("attack", {"", "fgsm"});
}

std::vector<eval::Attack> AttackOptions::parsed() const {
  std::vector<eval::Attack> result;
  for (const std::string& attack : attacks) {
    for (const std::string& radius : radii) {
      result.push_back({.kind = eval::Attack::parse(attack),
                        .radius = radius_of(radius),
                        .steps = steps,
                        .restarts = restarts});
    }
  }
  return result;
}

}  // namespace retort::commands
