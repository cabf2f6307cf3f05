#include "lib/storage/expert_identity.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5_internal.h"

namespace retort::storage::experts {
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

void add_preprocessing(std::vector<Field>& fields, const data::Preprocessing& preprocessing) {
  if (preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    fields.push_back({"preprocessing", "mean-std"});
    fields.push_back({"preprocessing mean", h5::value_text(preprocessing.mean())});
    fields.push_back({"preprocessing std", h5::value_text(preprocessing.std())});
    return;
  }
  const data::ZcaMatrices& zca = preprocessing.zca_matrices();
  fields.push_back({"preprocessing", "zca"});
  fields.push_back({"preprocessing eps", h5::value_text(std::vector<double>{zca.eps})});
  fields.push_back({"preprocessing matrices", "SHA-256 " + matrices_sha256(zca)});
}

void add_options(std::vector<Field>& fields, const std::string& options) {
  std::istringstream lines(options);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = std::min(line.find(" = "), line.size());
    const std::string value = equals == line.size() ? "" : line.substr(equals + 3);
    fields.push_back({"option " + line.substr(0, equals), value});
  }
}

std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\\') {
      text += "\\\\";
    } else {
      text += c;
    }
  }
  return text;
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

std::vector<Field> fields(const ExpertInfo& info) {
  std::vector<Field> result = {
      {"method", info.recipe},
      {"dataset", info.dataset},
      {"dataset SHA-256", info.dataset_sha256},
      {"dataset note", info.dataset_note},
      {"training images", str(info.train_images)},
      {"image shape", str(info.image.channels, "x", info.image.height, "x", info.image.width)},
      {"network", info.network},
      {"store", info.store == ExpertInfo::Store::F32 ? "f32" : "bf16"},
      {"epochs", join(info.epochs, " ")},
  };
  for (std::size_t i = 0; i < info.class_names.size(); ++i) {
    result.push_back({str("class ", i), info.class_names[i]});
  }
  for (std::size_t i = 0; i < info.layout.size(); ++i) {
    result.push_back(
        {str("parameter ", i), str(info.layout[i].name, " [", join(info.layout[i].shape), "]")});
  }
  add_preprocessing(result, info.preprocessing);
  add_options(result, info.options);
  return result;
}

std::string identity_text(const ExpertInfo& info) {
  std::string text;
  for (const Field& field : fields(info)) {
    text += str(escaped(field.name), " = ", escaped(field.value), "\n");
  }
  return text;
}

std::optional<Difference> difference(const ExpertInfo& expected, const ExpertInfo& found) {
  const std::vector<Field> ours = fields(expected);
  const std::vector<Field> theirs = fields(found);
  const auto our_values = by_name(ours);
  const auto their_values = by_name(theirs);
  for (const std::vector<Field>* side : {&ours, &theirs}) {
    for (const Field& field : *side) {
      const std::string a = text_of(our_values, field.name);
      const std::string b = text_of(their_values, field.name);
      if (a != b) return Difference{field.name, a, b};
    }
  }
  return std::nullopt;
}

}  // namespace retort::storage::experts

namespace retort::storage {

std::string expert_id(const ExpertInfo& info) { return sha256_hex(experts::identity_text(info)); }

void expect_fitting(const ExpertReader& experts, const data::ImageDataset& dataset,
                    const std::string& network, const std::vector<ParameterLayout>& layout) {
  ExpertInfo wanted = experts.info();
  wanted.network = network;
  wanted.layout = layout;
  wanted.image = dataset.shape();
  wanted.class_names = dataset.info().class_names;
  wanted.preprocessing = dataset.preprocessing();
  wanted.dataset_sha256 = dataset.info().sha256;
  const auto different = experts::difference(wanted, experts.info());
  if (!different) return;
  throw DataError(str("'", experts.path().string(), "': the experts do not fit '",
                      dataset.info().name, "' and ", network,
                      ": they must share network, layout, images, classes in their order, "
                      "preprocessing and data; ",
                      different->field, ": expected ", different->expected, ", found ",
                      different->found));
}

}  // namespace retort::storage
