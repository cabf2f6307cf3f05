#pragma once
// Parts of a set in words.

#include <string>

#include "lib/data/synthetic_set.h"

namespace retort::commands {

/// "10", or "3 to 10" when classes differ in size.
std::string per_class_text(const data::SyntheticSet& set);
/// "20 of 1x16x16, 5 per class, 4 classes"
std::string stored_images_text(const data::SyntheticSet& set);
std::string labels_text(const data::Labels& labels);
/// The name of class c, or "class 3" where names are not known.
std::string class_name(const data::SyntheticSet& set, std::int64_t c);

}  // namespace retort::commands
