#include "methods/matching/strategy.h"

namespace retort::methods::matching {

augment::Strategy make_strategy(const std::string& text, const std::string& style,
                                bool mirror_changes_class) {
  std::string operations = text;
  if (text == "auto") {
    operations = mirror_changes_class ? "color_crop_cutout_scale_rotate"
                                      : "color_crop_cutout_flip_scale_rotate";
    if (style == "idc") operations = "color_crop_cutout";
  }
  return augment::Strategy::of(operations, style);
}

}  // namespace retort::methods::matching
