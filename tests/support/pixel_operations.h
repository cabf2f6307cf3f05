#pragma once

#include <map>
#include <string>

#include "lib/augment/pixel_operations.h"

namespace retort::testing {

/// Operations on pixels by torchvision's names.
inline const std::map<std::string, augment::PixelOperation>& pixel_operations() {
  using Op = augment::PixelOperation;
  static const std::map<std::string, Op> operations = {{"ShearX", Op::ShearX},
                                                       {"ShearY", Op::ShearY},
                                                       {"TranslateX", Op::TranslateX},
                                                       {"TranslateY", Op::TranslateY},
                                                       {"Rotate", Op::Rotate},
                                                       {"Brightness", Op::Brightness},
                                                       {"Color", Op::Color},
                                                       {"Contrast", Op::Contrast},
                                                       {"Sharpness", Op::Sharpness},
                                                       {"Posterize", Op::Posterize},
                                                       {"Solarize", Op::Solarize},
                                                       {"AutoContrast", Op::AutoContrast},
                                                       {"Equalize", Op::Equalize},
                                                       {"Invert", Op::Invert},
                                                       {"Hue", Op::Hue},
                                                       {"Flip", Op::Flip}};
  return operations;
}

}  // namespace retort::testing
