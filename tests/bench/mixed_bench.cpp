#include <utility>

#include "lib/core/str.h"
#include "lib/kernels/policy.h"
#include "tests/bench/lines.h"

namespace retort::bench {
namespace {

using kernels::Precision;

/// Half a unit in the last place of bf16, which has 8 bits.
constexpr double kRoundingOfBf16 = 1.0 / 512;

class WithMixed {
 public:
  WithMixed() { kernels::set_precision(Precision::Mixed); }
  ~WithMixed() { kernels::set_precision(Precision::Fp32); }
  WithMixed(const WithMixed&) = delete;
  WithMixed& operator=(const WithMixed&) = delete;
};

/// Our side of another comparison with `--precision mixed`, against the same in float32.
class MixedComparison : public Comparison {
 public:
  explicit MixedComparison(const Line& line) : mixed_(line.make()), fp32_(line.make()) {}

  std::vector<Check> checks() override {
    std::vector<Check> checks;
    {
      const WithMixed mixed;
      checks = mixed_->checks();
    }
    const std::vector<Check> exactly = fp32_->checks();
    for (std::size_t i = 0; i < checks.size(); ++i) {
      checks[i].plain = exactly[i].ours;
      checks[i].rounding = kRoundingOfBf16;
    }
    return checks;
  }

  void ours(std::int64_t round) override {
    const WithMixed mixed;
    mixed_->ours(round);
  }

  void plain(std::int64_t round) override { fp32_->ours(round); }

 private:
  std::unique_ptr<Comparison> mixed_;
  std::unique_ptr<Comparison> fp32_;
};

}  // namespace

std::vector<Line> mixed_lines(Scene& scene) {
  std::vector<Line> lines;
  for (const auto make : {feature_lines, matching_lines}) {
    for (Line& line : make(scene)) {
      const bool gains = line.work.starts_with("features/") || line.work.starts_with("dm/");
      if (line.opponent != style_name(Style::Best) || !gains) continue;
      lines.push_back({"fp32", "mixed/" + line.work, [line = std::move(line)] {
                         return std::make_unique<MixedComparison>(line);
                       }});
    }
  }
  return lines;
}

}  // namespace retort::bench
