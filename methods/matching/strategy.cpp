#include "methods/matching/strategy.h"

namespace retort::methods::matching {

augment::Strategy make_strategy(const std::string& text, const std::string& style,
                                bool mirror_changes_class) {
  std::string operations = text;
  if (text == "auto") {
    operations =
        style == "idc" ? "color_crop_cutout" : augment::usual_operations(mirror_changes_class);
  }
  return augment::Strategy::of(operations, style);
}

}  // namespace retort::methods::matching
