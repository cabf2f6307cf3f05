#pragma once

#include <string>

namespace retort::config {

/// "8/255" for a whole number of the 255 levels of a pixel, else the shortest decimal text.
/// @param radius of an attack, of a pixel that lies in 0 .. 1
std::string radius_text(double radius);

}  // namespace retort::config
