#include "lib/storage/identity.h"

#include <map>
#include <string_view>

#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5_internal.h"

namespace retort::storage {
namespace {

std::string matrices_sha256(const data::ZcaMatrices& zca) {
  Sha256 hash;
  for (const Tensor& part : {zca.mean, zca.whiten, zca.inverse}) {
    const Tensor values = part.to(at::kCPU, at::kDouble).contiguous();
    hash.update(std::string_view(static_cast<const char*>(values.const_data_ptr()),
                                 std::size_t(values.nbytes())));
  }
  return hash.hex();
}

std::map<std::string, std::string> by_name(const std::vector<Field>& fields) {
  std::map<std::string, std::string> values;
  for (const Field& field : fields) values[field.name] = field.value;
  return values;
}

std::string text_of(const std::map<std::string, std::string>& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? "nothing" : str("'", found->second, "'");
}

}  // namespace

std::vector<Field> class_fields(const std::vector<std::string>& class_names) {
  std::vector<Field> fields;
  for (std::size_t i = 0; i < class_names.size(); ++i) {
    fields.push_back({str("class ", i), class_names[i]});
  }
  return fields;
}

std::vector<Field> preprocessing_fields(const data::Preprocessing& preprocessing) {
  if (preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    return {{"preprocessing", "mean-std"},
            {"preprocessing mean", h5::value_text(preprocessing.mean())},
            {"preprocessing std", h5::value_text(preprocessing.std())}};
  }
  const data::ZcaMatrices& zca = preprocessing.zca_matrices();
  return {{"preprocessing", "zca"},
          {"preprocessing eps", h5::value_text(std::vector<double>{zca.eps})},
          {"preprocessing matrices", "SHA-256 " + matrices_sha256(zca)}};
}

std::string image_shape_text(data::ImageShape shape) {
  return str(shape.channels, "x", shape.height, "x", shape.width);
}

void append(std::vector<Field>& fields, const std::vector<Field>& more) {
  fields.insert(fields.end(), more.begin(), more.end());
}

std::optional<Difference> difference(const std::vector<Field>& expected,
                                     const std::vector<Field>& found) {
  const auto our_values = by_name(expected);
  const auto their_values = by_name(found);
  for (const std::vector<Field>* side : {&expected, &found}) {
    for (const Field& field : *side) {
      const std::string a = text_of(our_values, field.name);
      const std::string b = text_of(their_values, field.name);
      if (a != b) return Difference{field.name, a, b};
    }
  }
  return std::nullopt;
}

}  // namespace retort::storage
