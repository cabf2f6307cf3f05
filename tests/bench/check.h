#pragma once
// Whether two implementations in float32 compute the same: both against float64.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::bench {

/// A result in float64, by plain operations.
struct Exact {
  Tensor value;
  /// What the result changes by when every ReLU whose input lies within kUndecidedBelow of zero
  /// passes its gradient instead of stopping it: float32 cannot tell which of the two is right.
  /// Undefined where no gradient is taken.
  Tensor undecided;
};

/// ReLU inputs are normalised, of size 1; this is what float32 leaves open about them.
constexpr double kUndecidedBelow = 1e-5;
/// Ours may be this many times as far from float64 as plain LibTorch. Winograd convolutions add up
/// transformed tiles and lose two to three bits to a direct one.
constexpr double kAllowedMultiple = 8;
/// Relative; where plain is better than this by luck, ours need not be.
constexpr double kRounding = 1e-6;

/// All results of one piece of work with ReLUs that pass a gradient above the given input only; one
/// list of results for each threshold.
using AtThresholds = std::function<std::vector<Tensors>(const std::vector<double>& thresholds)>;
/// @return one for every result
std::vector<Exact> bracketed(const AtThresholds& compute);

/// Computes every exact result once, however many opponents and numbers of cores it is compared to.
class ExactResults {
 public:
  const std::vector<Exact>& get(const std::string& key,
                                const std::function<std::vector<Exact>()>& compute);

 private:
  std::map<std::string, std::vector<Exact>> known_;
};

struct Check {
  std::string of;  ///< "gradient of the images"
  Tensor ours;
  Tensor plain;
  Exact exact;
  /// Rows are images that share nothing, so an undecided ReLU spoils one of them: also compare the
  /// row that 19 in 20 do not exceed, where none is to be found.
  bool by_row = false;
  double rounding = kRounding;  ///< larger where ours computes in fewer bits
};

/// Relative errors in the Euclidean norm; of a check by row, the row that 19 in 20 do not exceed.
struct Errors {
  double ours_vs_f64 = 0;
  double plain_vs_f64 = 0;
  double ours_vs_plain = 0;
  double undecided = 0;  ///< of the whole result
};
Errors errors_of(const Check& check);

/// Empty if ours is no further from float64 than kAllowedMultiple times plain (at least kRounding)
/// plus what is undecided, else a sentence that says what is wrong.
std::string objection(const Check& check);

}  // namespace retort::bench
