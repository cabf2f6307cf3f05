#pragma once

#include <string>

#include "lib/augment/augment.h"
#include "tests/golden/golden.h"

namespace retort::testing::golden {

/// The parameters of one operation as the DSA family's files store them: datasets u_brightness,
/// u_saturation, u_contrast, shift_row, shift_col, center_row, center_col, u_flip, sx, sy, theta in
/// `group`, one value or one per sample.
/// @param operation "color", "crop", ...
augment::Draw read_draw(const GoldenFile& file, const std::string& group,
                        const std::string& operation);

}  // namespace retort::testing::golden
