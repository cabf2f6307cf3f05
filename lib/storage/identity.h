#pragma once
// What files say about themselves, as named texts: whatever two of them must have in common is
// compared field by field, and named where it differs. Private to lib/storage.

#include <optional>
#include <string>
#include <vector>

#include "lib/data/preprocessing.h"

namespace retort::storage {

struct Field {
  std::string name;
  std::string value;
};

/// A field per class.
std::vector<Field> class_fields(const std::vector<std::string>& class_names);
/// Numbers are the shortest texts that read back as the same bits, matrices their SHA-256.
std::vector<Field> preprocessing_fields(const data::Preprocessing& preprocessing);
std::string image_shape_text(data::ImageShape shape);  ///< "3x32x32"
void append(std::vector<Field>& fields, const std::vector<Field>& more);

struct Difference {
  std::string field;
  std::string expected;
  std::string found;
};
/// The first field that differs; "nothing" stands for one that is not there.
std::optional<Difference> difference(const std::vector<Field>& expected,
                                     const std::vector<Field>& found);

}  // namespace retort::storage
