#pragma once

#include <string>
#include <vector>

#include "lib/augment/augment.h"
#include "methods/matching/objective.h"
#include "tests/golden/golden.h"

namespace retort::testing::golden {

/// The parameters of one operation as the DSA family's files store them: datasets u_brightness,
/// u_saturation, u_contrast, shift_row, shift_col, center_row, center_col, u_flip, sx, sy, theta in
/// `group`, one value or one per sample.
/// @param operation "color", "crop", ...
augment::Draw read_draw(const GoldenFile& file, const std::string& group,
                        const std::string& operation);

/// CHECKs that the operation at `op_index` of `group`, if that is stored, is the one named.
void check_choice(const GoldenFile& file, const std::string& group,
                  const std::vector<augment::Operation>& choices, const std::string& operation);

/// CHECKs that factors and angles in `group` follow from the uniform draws beside them.
void check_formulas(const GoldenFile& file, const std::string& group,
                    const augment::Strategy& strategy);

/// What the files of matching methods hand to an objective: one class's rows of inputs/real
/// [K,B,C,H,W] and of `synthetic` [K*n,C,H,W], both augmented where the file says how
/// (aug/class<k>).
/// @param with_flips FYI: mirror images are added first
std::vector<methods::matching::ClassPair> stored_pairs(const GoldenFile& file,
                                                       const Precision& precision,
                                                       const Tensor& synthetic,
                                                       bool with_flips = false);

}  // namespace retort::testing::golden
