#include "lib/storage/expert_identity.h"

#include <algorithm>
#include <sstream>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"

namespace retort::storage::experts {
namespace {

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

}  // namespace

std::vector<Field> fields(const ExpertInfo& info) {
  std::vector<Field> result = {
      {"method", info.recipe},
      {"dataset", info.dataset},
      {"dataset SHA-256", info.dataset_sha256},
      {"dataset note", info.dataset_note},
      {"training images", str(info.train_images)},
      {"image shape", image_shape_text(info.image)},
      {"network", info.network},
      {"store", info.store == ExpertInfo::Store::F32 ? "f32" : "bf16"},
      {"epochs", join(info.epochs, " ")},
  };
  append(result, class_fields(info.class_names));
  for (std::size_t i = 0; i < info.layout.size(); ++i) {
    result.push_back(
        {str("parameter ", i), str(info.layout[i].name, " [", join(info.layout[i].shape), "]")});
  }
  append(result, preprocessing_fields(info.preprocessing));
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
  return storage::difference(fields(expected), fields(found));
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
