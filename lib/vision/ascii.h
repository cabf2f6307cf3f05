#pragma once

#include <string>

namespace retort::vision {

/// What a font of ASCII alone can draw of UTF-8: Latin letters lose their accents ("Kätzchen" ->
/// "Katzchen"), whatever else is not ASCII becomes '?', one per character.
std::string ascii_text(const std::string& text);

}  // namespace retort::vision
